//! One connection that is up: both hellos were said and checked.

use super::counters::count;
use super::peers::Older;
use super::refusal::code;
use super::stream::{MeshStream, Origin};
use super::{MeshError, Shared, limits};
use bytes::Bytes;
use chitchat::{ChitchatMessage, Deserializable};
use quinn::VarInt;
use skein_proto::ids::NodeId;
use skein_proto::rpc::Open;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::time::{Instant, timeout, timeout_at};

/// A connection to a node.
pub(super) struct Link {
    /// The node on the other side, as its certificate says.
    pub node: NodeId,
    /// Start of its process.
    pub generation: u64,
    /// Whether this side dialled.
    pub dialled: bool,
    /// Where it is, as it was at the hello.
    pub remote: SocketAddr,
    pub connection: quinn::Connection,
    /// Streams that something in this process holds.
    held: AtomicUsize,
}

impl Link {
    pub(super) fn new(
        node: NodeId,
        generation: u64,
        dialled: bool,
        remote: SocketAddr,
        connection: quinn::Connection,
    ) -> Arc<Self> {
        Arc::new(Self { node, generation, dialled, remote, connection, held: AtomicUsize::new(0) })
    }

    pub(super) fn hold(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    pub(super) fn release(&self) {
        self.held.fetch_sub(1, Relaxed);
    }

    /// Whether any stream uses it.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Relaxed) > 0
    }

    /// Lets the other side open more streams before it has used up what it may. `allowed` is what it may now; only
    /// the task that listens on the connection asks.
    fn make_room(&self, allowed: &mut u32) {
        if *allowed < limits::STREAMS_AT_MOST && self.held.load(Relaxed) >= *allowed as usize / 2 {
            *allowed = allowed.saturating_mul(4).min(limits::STREAMS_AT_MOST);
            self.connection.set_max_concurrent_bi_streams(VarInt::from_u32(*allowed));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Opens a stream.
    pub(super) async fn open(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<MeshStream, MeshError> {
        let (writer, reader) = timeout(limits::OPEN_DEADLINE, self.connection.open_bi())
            .await
            .map_err(|_| MeshError::Busy(self.node.clone()))?
            .map_err(|e| MeshError::Lost { node: self.node.clone(), problem: e.to_string() })?;
        let origin = Origin::new(shared.clone(), self.node.clone(), Some(self.clone()));
        Ok(MeshStream::new(origin, reader, writer))
    }

    /// Sends one gossip message. It goes ahead of everything else on the connection, so that a busy node is not taken
    /// for a dead one.
    pub(super) async fn gossip(&self, message: &[u8]) -> Result<(), quinn::WriteError> {
        let mut stream = self.connection.open_uni().await?;
        // Fails only when the stream is gone, and then writing says so.
        let _ = stream.set_priority(1);
        stream.write_all(message).await
        // Dropping it finishes it.
    }
}

impl Shared {
    /// Makes a connection known and listens on it until it ends.
    pub(super) fn link_up(self: &Arc<Self>, link: Arc<Link>) -> Result<(), Older> {
        self.peers.add(link.clone())?;
        count(&self.counters.connections);
        tracing::debug!(node = %link.node, remote = %link.remote, dialled = link.dialled, "connected");
        let shared = self.clone();
        self.spawn(async move {
            let why = shared.listen(&link).await;
            super::counters::uncount(&shared.counters.connections);
            let left = matches!(&why, quinn::ConnectionError::ApplicationClosed(close)
                if close.error_code == code::LEAVING);
            tracing::debug!(node = %link.node, remote = %link.remote, %why, "disconnected");
            shared.peers.remove(&link, left);
        });
        Ok(())
    }

    /// Takes the streams of a connection. Each is read in a task of its own, so that none can hold up another; their
    /// number is bounded by what the other side may open.
    async fn listen(self: &Arc<Self>, link: &Arc<Link>) -> quinn::ConnectionError {
        let mut allowed = limits::STREAMS_AT_FIRST;
        loop {
            tokio::select! {
                stream = link.connection.accept_bi() => match stream {
                    Ok((writer, reader)) => {
                        let origin = Origin::new(self.clone(), link.node.clone(), Some(link.clone()));
                        self.accept_stream(MeshStream::new(origin, reader, writer));
                        link.make_room(&mut allowed);
                    }
                    Err(error) => return error,
                },
                stream = link.connection.accept_uni() => match stream {
                    Ok(stream) => {
                        let (shared, link) = (self.clone(), link.clone());
                        self.spawn(async move { shared.hear_gossip(&link, stream).await });
                    }
                    Err(error) => return error,
                },
            }
        }
    }

    /// Reads a stream's first frame and hands the stream to the program.
    pub(super) fn accept_stream(self: &Arc<Self>, mut stream: MeshStream) {
        let shared = self.clone();
        self.spawn(async move {
            let deadline = Instant::now() + limits::OPEN_DEADLINE;
            let open = match timeout_at(deadline, stream.recv::<Open>()).await {
                Ok(Ok(Some(open))) => open,
                // Opened and ended without a word, or the connection broke: nobody is waiting.
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => return count(&shared.counters.streams_refused),
            };
            if matches!(open, Open::Hello(_)) {
                let _ = stream.misplaced("a second hello");
                return;
            }
            let item = (stream.node().clone(), open, stream);
            match timeout_at(deadline, shared.incoming.send(item)).await {
                Ok(Ok(())) => count(&shared.counters.streams_accepted),
                _ => count(&shared.counters.streams_refused),
            }
        });
    }

    async fn hear_gossip(&self, link: &Link, mut stream: quinn::RecvStream) {
        let counters = &self.counters;
        let bytes =
            match timeout(limits::GOSSIP_DEADLINE, stream.read_to_end(limits::GOSSIP_MESSAGE_BYTES)).await {
                Ok(Ok(bytes)) => Bytes::from(bytes),
                Ok(Err(quinn::ReadToEndError::TooLong)) => {
                    count(&counters.frames_too_large);
                    return self.misbehaved(link, "a gossip message is too long");
                }
                Ok(Err(quinn::ReadToEndError::Read(_))) | Err(_) => return count(&counters.gossip_dropped),
            };
        let mut rest = &bytes[..];
        match ChitchatMessage::deserialize(&mut rest) {
            Ok(message) if rest.is_empty() => {
                count(&counters.gossip_messages_in);
                if self.gossip_in.try_send((link.remote, message)).is_err() {
                    count(&counters.gossip_dropped);
                }
            }
            _ => {
                count(&counters.gossip_decode_errors);
                self.misbehaved(link, "a gossip message cannot be read");
            }
        }
    }
}
