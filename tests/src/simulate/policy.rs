//! What a placement policy is to the simulator: it hears of joins, leaves and changes in virtual time, admits or
//! refuses, and says what the mesh spends.

use skein_proto::capacity::{Cost, REFERENCE};
use std::time::Duration;

/// What an audio stream costs: Opus in packets of 20 ms, at 40 kbit/s.
pub const AUDIO: Cost = Cost::new(50, 40_000);

/// What a video stream costs: the reference stream.
pub const VIDEO: Cost = REFERENCE;

/// The machines of a simulated mesh. All are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeshSpec {
    /// How many nodes there are.
    pub nodes: u32,
    /// How many workers each has.
    pub workers: u16,
    /// What one worker can send. Only its packets are a limit of its own: bits are the node's.
    pub worker: Cost,
    /// What one node can send to clients and other nodes, in bits a second.
    pub node_bits: u64,
}

impl MeshSpec {
    /// A mesh whose workers carry so many reference streams each. A node's bits suffice for that many on all of its
    /// workers, so that packets are the limit.
    pub const fn of_streams(nodes: u32, workers: u16, streams: u64) -> Self {
        let worker =
            Cost::new(REFERENCE.packets.saturating_mul(streams), REFERENCE.bits.saturating_mul(streams));
        Self { nodes, workers, worker, node_bits: worker.bits.saturating_mul(workers as u64) }
    }

    /// What all workers of one node can send together.
    pub const fn node(&self) -> Cost {
        Cost::new(self.worker.packets.saturating_mul(self.workers as u64), self.node_bits)
    }

    /// What all workers of the mesh can send together, in packets a second.
    pub const fn packets(&self) -> u64 {
        self.node().packets.saturating_mul(self.nodes as u64)
    }

    /// What all workers of the mesh can send together, in whole reference streams.
    pub const fn streams(&self) -> u64 {
        self.packets() / REFERENCE.packets
    }
}

/// A peer in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    /// Its room.
    pub room: u32,
    /// Which of the room's peers.
    pub peer: u32,
}

/// What a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Everybody may publish and receives everybody else.
    Conference,
    /// Few publish, many listen.
    Stage,
    /// Two who publish to each other.
    OneToOne,
}

/// What is known of a room before anybody is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomSpec {
    /// What it is.
    pub mode: Mode,
    /// How many peers are in it when it is full.
    pub size: u32,
}

/// What a peer sends now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Media {
    /// Whether it may send at all. A listener sends nothing, whatever the other two say.
    pub publishes: bool,
    /// Whether its microphone is on.
    pub audio: bool,
    /// Whether its camera is on.
    pub video: bool,
}

impl Media {
    /// A listener's.
    pub const NOTHING: Self = Self { publishes: false, audio: false, video: false };
    /// A publisher's, with microphone and camera.
    pub const BOTH: Self = Self { publishes: true, audio: true, video: true };

    /// Whether an audio stream is sent.
    pub const fn sends_audio(self) -> bool {
        self.publishes && self.audio
    }

    /// Whether a video stream is sent.
    pub const fn sends_video(self) -> bool {
        self.publishes && self.video
    }

    /// What each receiver of this peer costs.
    pub fn cost(self) -> Cost {
        let audio = if self.sends_audio() { AUDIO } else { Cost::ZERO };
        let video = if self.sends_video() { VIDEO } else { Cost::ZERO };
        audio + video
    }
}

/// The answer to a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The peer is in.
    Admitted {
        /// How long it waited for this answer, in virtual time.
        waited: Duration,
    },
    /// The peer is not in, and nothing more is heard of it.
    Refused {
        /// Why, for people.
        reason: &'static str,
    },
}

/// What the mesh spends at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Packets a second to clients.
    pub delivered: u64,
    /// Packets a second into pipes.
    pub piped: u64,
    /// Packets a second spent altogether: to clients, into pipes, and on producers that nobody consumes.
    pub spent: u64,
    /// What the node with the highest load spends, in packets a second.
    pub highest_node: u64,
    /// How many peers have been moved to another host so far.
    pub moves: u64,
    /// How many workers or nodes are over budget now.
    pub over: u64,
}

/// Decides who hosts whom.
pub trait Policy {
    /// What it is called on the command line and in results.
    fn name(&self) -> &'static str;

    /// Time passes up to `now`. Called before each event, never backwards.
    fn advance(&mut self, now: Duration);

    /// A peer wants to join. The room begins with the first peer admitted to it.
    fn join(&mut self, now: Duration, room: &RoomSpec, peer: PeerKey, media: Media) -> Outcome;

    /// How long a join that finds no place goes on asking before it is refused.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// An admitted peer leaves. The room ends with its last peer.
    fn leave(&mut self, now: Duration, peer: PeerKey);

    /// An admitted peer mutes, unmutes, is promoted to the stage or put back.
    fn change(&mut self, now: Duration, peer: PeerKey, media: Media);

    /// What is spent now. Called after joins and changes, so it takes no more than a look at each node.
    fn sample(&self) -> Sample;

    /// Whether the last admitted peer went to a worker or node that was over budget just after. Nothing where the
    /// policy does not know; then a join counts as too much where [`Sample::over`] rises with it.
    fn last_join_overloads(&self) -> Option<bool> {
        None
    }
}

/// Makes a policy for a mesh. The seed is for whatever it decides at random.
pub type MakePolicy = fn(&MeshSpec, seed: u64) -> Box<dyn Policy + Send>;
