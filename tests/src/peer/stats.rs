//! What a peer has sent and received.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How many messages of a data consumer are kept.
pub(super) const MESSAGES: usize = 1000;

/// One consumer, as the client sees it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The consumer's id.
    pub consumer: String,
    /// The producer's id.
    pub producer: String,
    /// Who sends.
    pub peer: String,
    /// `audio` or `video`.
    pub kind: String,
    /// mediasoup's type: `simple`, `simulcast` or `svc`.
    pub consumer_type: String,
    /// RTP packets.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Video: key frames.
    pub key_frames: u64,
    /// Video: packets of each simulcast layer.
    pub layers: [u64; 3],
    /// Video: the layer of the last packet.
    pub last_layer: Option<u8>,
    /// When the first packet came.
    pub first_packet: Option<Instant>,
    /// When the last packet came.
    pub last_packet: Option<Instant>,
    /// Whether the node said that the producer is paused.
    pub paused: bool,
    /// Whether the node closed it.
    pub closed: bool,
}

/// One data consumer.
#[derive(Debug, Clone)]
pub struct ReceivedData {
    /// Who sends; nobody is the server.
    pub peer: Option<String>,
    /// The data channel's label.
    pub label: String,
    /// Messages so far.
    pub messages: u64,
    /// The last of them.
    pub last: VecDeque<Vec<u8>>,
    /// Whether the node closed it.
    pub closed: bool,
}

/// How evenly something arrives, over whichever consumer.
#[derive(Debug, Clone, Copy)]
pub struct Evenness {
    /// When the last packet came.
    pub last: Instant,
    /// The longest time between two packets.
    pub longest: Duration,
}

impl Evenness {
    /// The longest time without a packet, until `now`.
    pub fn gap(&self, now: Instant) -> Duration {
        self.longest.max(now.saturating_duration_since(self.last))
    }
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// By consumer id.
    pub received: BTreeMap<String, Received>,
    /// By data consumer id.
    pub received_data: BTreeMap<String, ReceivedData>,
    /// By sender and kind: what arrives of it over all consumers together.
    pub evenness: BTreeMap<(String, String), Evenness>,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// Bytes of their payloads.
    pub bytes_sent: u64,
    /// Requests for key frames that came, of each simulcast layer.
    pub key_frame_requests: [u64; 3],
    /// Whether each transport is connected: sending, receiving.
    pub connected: [bool; 2],
    /// Why the task ended, if it did.
    pub failed: Option<String>,
}
