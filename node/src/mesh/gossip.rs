//! chitchat over QUIC: its transport, its settings, and what it is told about this node.

use super::counters::count;
use super::{MeshError, OwnState, Shared, limits};
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, FailureDetectorConfig, Serializable,
    spawn_chitchat,
};
use parking_lot::Mutex;
use serde::Serialize;
use skein_bootstrap::seeds::Seed;
use skein_proto::gossip::{FACTS, Facts, LEAD, LOAD, PHASE, QUEUE};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What reaches chitchat, and from where.
pub(super) type Heard = (SocketAddr, ChitchatMessage);

/// Starts chitchat. Dropping the handle ends it.
pub(super) async fn start(
    shared: &Arc<Shared>,
    heard: mpsc::Receiver<Heard>,
    seeds: &[Seed],
    facts: &Facts,
) -> Result<ChitchatHandle, MeshError> {
    let own = shared.own.borrow().clone();
    // Names are looked up elsewhere: chitchat would do it once a minute, and wait for the first time.
    let seeds = seeds.iter().filter_map(|seed| match seed {
        Seed::Address(addr) if *addr != shared.addr => Some(addr.to_string()),
        _ => None,
    });
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(shared.id.as_str(), shared.generation, shared.addr),
        cluster_id: shared.mesh.clone(),
        gossip_interval: limits::GOSSIP_INTERVAL,
        listen_addr: shared.addr,
        seed_nodes: seeds.collect(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: limits::PHI,
            sampling_window_size: limits::HEARTBEAT_WINDOW,
            max_interval: limits::HEARTBEAT_MAX,
            initial_interval: limits::HEARTBEAT_INITIAL,
            dead_node_grace_period: limits::DEAD_MEMORY,
        },
        marked_for_deletion_grace_period: limits::TOMBSTONES,
        // The state is small: chitchat itself brings a node up to date that fell behind.
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    // Values travel in the order in which they were set: whoever has the phase has the rest.
    let values = vec![
        (FACTS.to_owned(), json(facts)?),
        (LOAD.to_owned(), json(&own.load)?),
        (LEAD.to_owned(), json(&own.lead)?),
        (QUEUE.to_owned(), json(&own.queue)?),
        (PHASE.to_owned(), json(&own.phase)?),
    ];
    let transport = QuicTransport { shared: shared.clone(), heard: Mutex::new(Some(heard)) };
    let gossip =
        spawn_chitchat(config, values, &transport).await.map_err(|e| MeshError::Gossip(e.to_string()))?;
    let (shared, ended) = (shared.clone(), gossip.termination_watcher());
    let cancel = shared.cancel.clone();
    shared.clone().spawn(async move {
        tokio::select! {
            ended = ended => shared.fail(match ended {
                Ok(()) => MeshError::Ended("gossip"),
                Err(error) => MeshError::Gossip(error.to_string()),
            }),
            () = cancel.cancelled() => {}
        }
    });
    Ok(gossip)
}

/// Tells chitchat what the node says about itself now.
pub(super) async fn publish(gossip: &ChitchatHandle, own: &OwnState) -> Result<(), MeshError> {
    let values = [
        (LOAD, json(&own.load)?),
        (LEAD, json(&own.lead)?),
        (QUEUE, json(&own.queue)?),
        (PHASE, json(&own.phase)?),
    ];
    gossip
        .with_chitchat(|chitchat| {
            let state = chitchat.self_node_state();
            // What is the same as before is not gossiped again.
            for (key, value) in &values {
                state.set(*key, value);
            }
        })
        .await;
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Result<String, MeshError> {
    match serde_json::to_string(value) {
        Ok(text) if text.len() <= limits::GOSSIP_VALUE_BYTES => Ok(text),
        Ok(text) => Err(MeshError::Gossip(format!(
            "a value of {} bytes; at most {} are allowed",
            text.len(),
            limits::GOSSIP_VALUE_BYTES
        ))),
        Err(error) => Err(MeshError::Gossip(error.to_string())),
    }
}

struct QuicTransport {
    shared: Arc<Shared>,
    heard: Mutex<Option<mpsc::Receiver<Heard>>>,
}

#[async_trait]
impl Transport for QuicTransport {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let heard = self.heard.lock().take();
        let heard = heard.ok_or_else(|| anyhow::anyhow!("gossip was opened twice"))?;
        Ok(Box::new(QuicSocket { shared: self.shared.clone(), heard, queues: HashMap::new() }))
    }
}

struct QuicSocket {
    shared: Arc<Shared>,
    heard: mpsc::Receiver<Heard>,
    /// One queue and one task for each address, so that nobody waits for anybody's dial.
    queues: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
}

#[async_trait]
impl Socket for QuicSocket {
    /// Queues the message. Never waits and never fails: a message that finds no space is lost, as with UDP.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let message = message.serialize_to_vec();
        // At the own address an earlier process of this node was.
        if to != self.shared.addr
            && (message.len() > limits::GOSSIP_MESSAGE_BYTES || !self.queue(to, message))
        {
            count(&self.shared.counters.gossip_dropped);
        }
        Ok(())
    }

    /// Cancel-safe: a message that was not returned stays in the queue.
    async fn recv(&mut self) -> anyhow::Result<Heard> {
        self.heard.recv().await.ok_or_else(|| anyhow::anyhow!("the mesh is gone"))
    }
}

impl QuicSocket {
    /// Whether there was space.
    fn queue(&mut self, to: SocketAddr, message: Vec<u8>) -> bool {
        match self.queues.get(&to).map(mpsc::Sender::try_reserve) {
            Some(Ok(space)) => {
                space.send(message);
                return true;
            }
            Some(Err(mpsc::error::TrySendError::Full(()))) => return false,
            // Nothing was sent there yet, or not for long.
            Some(Err(mpsc::error::TrySendError::Closed(()))) | None => {}
        }
        if self.queues.len() >= limits::GOSSIP_PEERS {
            self.queues.retain(|_, queue| !queue.is_closed());
            if self.queues.len() >= limits::GOSSIP_PEERS {
                return false;
            }
        }
        let (queue, messages) = mpsc::channel(limits::GOSSIP_OUT_QUEUE);
        let queued = queue.try_send(message).is_ok();
        self.queues.insert(to, queue);
        let shared = self.shared.clone();
        self.shared.spawn(async move { shared.gossip_to(to, messages).await });
        queued
    }
}

impl Shared {
    /// Sends what is queued for an address, until nothing comes for a while.
    async fn gossip_to(self: &Arc<Self>, to: SocketAddr, mut messages: mpsc::Receiver<Vec<u8>>) {
        while let Ok(Some(message)) = timeout(limits::GOSSIP_PEER_IDLE, messages.recv()).await {
            let sent = match self.reach(to).await {
                Ok(link) => timeout(limits::GOSSIP_DEADLINE, link.gossip(&message)).await,
                Err(_) => {
                    count(&self.counters.gossip_dropped);
                    continue;
                }
            };
            count(match sent {
                Ok(Ok(())) => &self.counters.gossip_messages_out,
                _ => &self.counters.gossip_dropped,
            });
        }
    }
}
