//! Frames on streams: four bytes of length, then what [`skein_proto::codec`] makes of a value.
//!
//! The same code runs over QUIC and, for the own node, over pipes in memory.

use super::counters::count;
use super::link::Link;
use super::{MeshError, Shared, limits, refusal::code};
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skein_proto::codec::{self, CodecError, MAX_FRAME_BYTES};
use skein_proto::ids::NodeId;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec, LengthDelimitedCodecError};

type Reader = Box<dyn AsyncRead + Send + Sync + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Sync + Unpin>;

/// Where a stream comes from; shared by its two halves.
pub(super) struct Origin {
    shared: Arc<Shared>,
    node: NodeId,
    /// None for the own node.
    link: Option<Arc<Link>>,
}

impl Origin {
    pub(super) fn new(shared: Arc<Shared>, node: NodeId, link: Option<Arc<Link>>) -> Arc<Self> {
        if let Some(link) = &link {
            link.hold();
        }
        Arc::new(Self { shared, node, link })
    }

    fn lost(&self, problem: impl ToString) -> MeshError {
        MeshError::Lost { node: self.node.clone(), problem: problem.to_string() }
    }

    fn misread(&self, error: &CodecError) -> MeshError {
        count(&self.shared.counters.rpc_decode_errors);
        self.misbehaved(error.to_string())
    }

    fn over_long(&self) -> MeshError {
        count(&self.shared.counters.frames_too_large);
        self.misbehaved(format!("a frame says that it is longer than {MAX_FRAME_BYTES} bytes"))
    }

    /// Closes the connection because of what came through it: after that nothing that the other side says can be
    /// trusted. The caller counts.
    fn misbehaved(&self, problem: String) -> MeshError {
        if let Some(link) = &self.link {
            self.shared.misbehaved(link, &problem);
        }
        MeshError::Protocol { node: self.node.clone(), problem }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.release();
        }
    }
}

/// Frames to and from a node.
///
/// Dropping it, or both of its halves, ends it: what was sent still arrives, and the other side then reads the end.
pub struct MeshStream {
    sender: MeshSender,
    receiver: MeshReceiver,
}

/// The sending half of a [`MeshStream`]. Dropping it is the same as [`MeshSender::finish`].
pub struct MeshSender {
    frames: FramedWrite<Writer, LengthDelimitedCodec>,
    origin: Arc<Origin>,
}

/// The receiving half of a [`MeshStream`]. Dropping it tells the other side that nothing more is read: its sends fail.
pub struct MeshReceiver {
    frames: FramedRead<Reader, LengthDelimitedCodec>,
    origin: Arc<Origin>,
}

fn framing() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec()
}

impl MeshStream {
    pub(super) fn new(
        origin: Arc<Origin>,
        reader: impl AsyncRead + Send + Sync + Unpin + 'static,
        writer: impl AsyncWrite + Send + Sync + Unpin + 'static,
    ) -> Self {
        let reader: Reader = Box::new(reader);
        let writer: Writer = Box::new(writer);
        Self {
            sender: MeshSender {
                frames: FramedWrite::with_capacity(writer, framing(), limits::FRAME_BUFFER),
                origin: origin.clone(),
            },
            receiver: MeshReceiver {
                frames: FramedRead::with_capacity(reader, framing(), limits::FRAME_BUFFER),
                origin,
            },
        }
    }

    /// Both ends of a stream within this process. One pipe for each direction, so that dropping one half of an end
    /// is seen at the other, as with QUIC.
    pub(super) fn pair(shared: &Arc<Shared>) -> (Self, Self) {
        let (near_writer, far_reader) = tokio::io::duplex(limits::LOCAL_BUFFER);
        let (far_writer, near_reader) = tokio::io::duplex(limits::LOCAL_BUFFER);
        let origin = || Origin::new(shared.clone(), shared.id.clone(), None);
        (Self::new(origin(), near_reader, near_writer), Self::new(origin(), far_reader, far_writer))
    }

    /// The node on the other side.
    pub fn node(&self) -> &NodeId {
        self.receiver.node()
    }

    /// Sends one frame. See [`MeshSender::send`].
    ///
    /// # Errors
    /// See [`MeshSender::send`].
    pub async fn send<T: Serialize>(&mut self, value: &T) -> Result<(), MeshError> {
        self.sender.send(value).await
    }

    /// Waits for a frame. See [`MeshReceiver::recv`].
    ///
    /// # Errors
    /// See [`MeshReceiver::recv`].
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, MeshError> {
        self.receiver.recv().await
    }

    /// Makes two halves that different tasks can own.
    pub fn split(self) -> (MeshSender, MeshReceiver) {
        (self.sender, self.receiver)
    }

    /// Closes the connection because a frame came where it does not belong.
    pub(super) fn misplaced(&self, what: &str) -> MeshError {
        let origin = &self.receiver.origin;
        count(&origin.shared.counters.rpc_decode_errors);
        origin.misbehaved(format!("{what} does not belong here"))
    }
}

impl MeshSender {
    /// Sends one frame, at most [`MAX_FRAME_BYTES`]. Waits while the other side does not read, for
    /// [`limits::SEND_DEADLINE`]. Dropped half way, the frame is sent whole by the next call, or not at all.
    ///
    /// # Errors
    /// [`MeshError::Encode`] when the value does not fit a frame, and nothing was sent; [`MeshError::Lost`] when the
    /// connection broke or the other side reads no more; [`MeshError::Deadline`] when it reads too slowly.
    pub async fn send<T: Serialize>(&mut self, value: &T) -> Result<(), MeshError> {
        let frame = codec::encode(value)
            .map_err(|e| MeshError::Encode { node: self.origin.node.clone(), problem: e.to_string() })?;
        let deadline = limits::SEND_DEADLINE;
        match tokio::time::timeout(deadline, self.frames.send(frame)).await {
            Ok(sent) => sent.map_err(|e| self.origin.lost(e)),
            Err(_) => Err(MeshError::Deadline { node: self.origin.node.clone(), deadline }),
        }
    }

    /// Says that nothing more comes: the other side reads the end after all frames.
    pub async fn finish(mut self) {
        // Fails only where the stream is gone already, and then the other side knows.
        let _ = self.frames.get_mut().shutdown().await;
    }

    /// The node on the other side.
    pub fn node(&self) -> &NodeId {
        &self.origin.node
    }
}

impl MeshReceiver {
    /// Waits for a frame; none when the other side finished. Cancel-safe: nothing is lost when it is dropped while it
    /// waits. There is no deadline.
    ///
    /// # Errors
    /// [`MeshError::Lost`] when the connection broke or the frame ends half way; [`MeshError::Protocol`] when what
    /// came is too large or no `T`: it is counted, logged, and the whole connection closed.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<Option<T>, MeshError> {
        match self.frames.next().await {
            None => Ok(None),
            Some(Ok(frame)) => codec::decode(&frame).map(Some).map_err(|e| self.origin.misread(&e)),
            Some(Err(error)) if is_over_long(&error) => Err(self.origin.over_long()),
            Some(Err(error)) => Err(self.origin.lost(error)),
        }
    }

    /// The node on the other side.
    pub fn node(&self) -> &NodeId {
        &self.origin.node
    }
}

fn is_over_long(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<LengthDelimitedCodecError>())
}

impl Shared {
    /// Closes a connection that something unreadable came through, and says so once per node.
    pub(super) fn misbehaved(&self, link: &Link, problem: &str) {
        link.connection.close(code::PROTOCOL, problem.as_bytes());
        if self.misbehaviour.first(link.node.clone(), std::time::Instant::now()) {
            tracing::warn!(node = %link.node, remote = %link.remote, problem, "unreadable data; connection closed");
        }
    }
}
