//! The sending end of pipes.

use super::host::HostRoom;
use super::pipes::{self, Lease};
use crate::media::{MediaError, PipeConsumer, PipeTransport};
use crate::mesh::{MeshError, MeshStream};
use futures::stream::{FuturesUnordered, StreamExt};
use skein_proto::ids::{NodeId, ProducerId};
use skein_proto::rpc::{PipeEvent, PipeOpen, PipeRequest};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many changes of producers (pause, resume, close) may wait for one pipe.
const CHANGES: usize = 1024;

/// How many producers may be on the way to one pipe.
const COMING: usize = 1024;

/// Why a pipe's sending end stops.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error("{0}")]
    Refused(String),
}

/// A producer that goes into the pipe. The lease keeps it here where it is itself piped.
struct Sent {
    consumer: PipeConsumer,
    lease: Option<Lease>,
}

impl Sent {
    /// Sends it, or not, and so do the pipes through which it comes.
    async fn flow(&self, flows: bool) {
        if let Some(lease) = &self.lease {
            lease.flow(flows);
        }
        let done = if flows { self.consumer.resume().await } else { self.consumer.pause().await };
        if let Err(error) = done {
            // Mostly the producer has just ended, which is about to be heard of.
            tracing::debug!(%error, flows, "cannot pause or resume what goes into a pipe");
        }
    }
}

/// Serves the sending end of a pipe for as long as its stream lasts.
pub async fn serve(room: Option<Arc<HostRoom>>, peer: NodeId, open: PipeOpen, mut stream: MeshStream) {
    let outcome = match &room {
        Some(room) => {
            tokio::select! {
                () = room.cancel.cancelled() => Ok(()),
                outcome = work(room, &peer, &open, &mut stream) => outcome,
            }
        }
        None => Err(SourceError::Refused(format!("room {}: nobody of it is here", open.room))),
    };
    if let Err(error) = outcome {
        tracing::debug!(room = %open.room, %peer, %error, "pipe refused or broken");
        let _ = stream.send(&PipeEvent::Refused(error.to_string())).await;
    }
}

async fn work(
    room: &Arc<HostRoom>,
    peer: &NodeId,
    open: &PipeOpen,
    stream: &mut MeshStream,
) -> Result<(), SourceError> {
    if open.to.node != *peer {
        return Err(SourceError::Refused(format!("{peer} asks for a pipe to {}", open.to.node)));
    }
    let stage = room.stage(open.from).await?;
    let transport = stage.router.create_pipe_transport(peer != room.node()).await?;
    transport.connect(open.end.clone()).await?;
    stream.send(&PipeEvent::Opened(transport.end()?)).await?;
    let (sender, mut changes) = mpsc::channel(CHANGES);
    let mut sent: HashMap<ProducerId, Sent> = HashMap::new();
    // What comes through another pipe first may take long; what is here already does not wait for it.
    let (mut coming, mut awaited) = (FuturesUnordered::new(), HashMap::new());
    let mut asked = 0_u64;
    loop {
        tokio::select! {
            // What changes of a producer is heard after it has come.
            biased;
            Some((number, producer, outcome)) = coming.next() => {
                if awaited.get(&producer) != Some(&number) {
                    // It is not wanted any more.
                    continue;
                }
                awaited.remove(&producer);
                let event = match outcome {
                    Ok((one, event)) => {
                        sent.insert(producer, one);
                        event
                    }
                    Err(error) => {
                        tracing::debug!(room = %room.id, %producer, %error, "a producer asked for is not to be had");
                        PipeEvent::Gone(producer)
                    }
                };
                stream.send(&event).await?;
            }
            Some((producer, change)) = changes.recv() => {
                if !sent.contains_key(&producer) {
                    continue;
                }
                let event = match change {
                    Some(true) => PipeEvent::Paused(producer),
                    Some(false) => PipeEvent::Resumed(producer),
                    None => {
                        sent.remove(&producer);
                        PipeEvent::Gone(producer)
                    }
                };
                stream.send(&event).await?;
            }
            request = stream.recv::<PipeRequest>() => match request? {
                Some(PipeRequest::Consume(producer)) if coming.len() == COMING => {
                    stream.send(&PipeEvent::Gone(producer)).await?;
                }
                Some(PipeRequest::Consume(producer)) => {
                    asked += 1;
                    awaited.insert(producer.clone(), asked);
                    let (transport, sender, number) = (&transport, &sender, asked);
                    coming.push(async move {
                        let outcome = consume(room, transport, open.from, &producer, sender).await;
                        (number, producer, outcome)
                    });
                }
                Some(PipeRequest::Pause(producer)) => {
                    if let Some(one) = sent.get(&producer) {
                        one.flow(false).await;
                    }
                }
                Some(PipeRequest::Resume(producer)) => {
                    if let Some(one) = sent.get(&producer) {
                        one.flow(true).await;
                    }
                }
                Some(PipeRequest::Stop(producer)) => {
                    awaited.remove(&producer);
                    sent.remove(&producer);
                }
                None => return Ok(()),
            },
        }
    }
}

async fn consume(
    room: &Arc<HostRoom>,
    transport: &PipeTransport,
    worker: u16,
    producer: &ProducerId,
    changes: &mpsc::Sender<(ProducerId, Option<bool>)>,
) -> Result<(Sent, PipeEvent), SourceError> {
    let entry = room
        .producer(producer)
        .ok_or_else(|| SourceError::Refused(format!("producer {producer}: there is none")))?;
    // The other end says when it is to flow.
    let lease = pipes::ensure(room, &entry, worker, false).await;
    let lease = lease.map_err(|error| SourceError::Refused(error.to_string()))?;
    let consumer = transport.consume(producer, changes.clone()).await?;
    let event = PipeEvent::Consumed {
        producer: producer.clone(),
        kind: consumer.kind(),
        rtp_parameters: consumer.rtp_parameters()?,
        paused: consumer.producer_paused(),
        sends: entry.sends,
    };
    Ok((Sent { consumer, lease }, event))
}
