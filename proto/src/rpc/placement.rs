//! What homes and hosts ask of each other about places: joins, reservations, guarantees, moves.

use crate::capacity::{Cost, Sends};
use crate::ids::{NodeId, PeerId, RoomId, SessionId, WorkerAddress};
use crate::room::{RoomOptions, RoomWish};
use crate::signaling::Role;
use serde::{Deserialize, Serialize};

/// Why a join is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The room has as many peers as it may have.
    RoomFull,
    /// No worker of the mesh has room.
    MeshFull,
    /// The peer may not have what it asks for; says why.
    NotAllowed(String),
    /// The same peer asked again before there was a place for it.
    Superseded,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RoomFull => f.write_str("room full"),
            Self::MeshFull => f.write_str("mesh full"),
            Self::Superseded => f.write_str("the peer connected again"),
            Self::NotAllowed(why) => write!(f, "not allowed: {why}"),
        }
    }
}

/// A client wants into a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// Which room.
    pub room: RoomId,
    /// As which peer.
    pub peer: PeerId,
    /// The node that holds the WebSocket.
    pub entry: NodeId,
    /// The most that the client may do.
    pub role: Role,
    /// What it asked to be, or its token says; the room's mode decides where neither does.
    pub asked: Option<Role>,
    /// What the room should be like.
    pub wish: RoomWish,
    /// The token of a move, where the client comes from another host.
    pub moving: Option<String>,
    /// Whether the client said that it knows Skein's additions, and can be moved without a gap.
    pub skein: bool,
    /// Its place in line, where it was told to wait.
    pub line: Option<InLine>,
}

/// A place in the line of those who wait for a machine. It holds no seat, and nothing is reserved for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InLine {
    /// Names the connection that waits; it keeps the name when it is admitted. A newer one of the same peer takes the place.
    pub session: SessionId,
    /// Since when the peer waits, milliseconds since 1970: who has waited longer comes first, also at another home.
    pub since_ms: u64,
}

/// There is no place, and the mesh can grow: ask again at once, with the place in line. The answer comes when there is
/// one, or after some seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The place in line. Forgotten when nobody has asked with it for ten seconds.
    pub line: InLine,
    /// In how many seconds a place is expected, as the leader says; 0 where it does not say.
    pub eta_s: u32,
}

/// A client that waits is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwait {
    /// For which room it waited.
    pub room: RoomId,
    /// As which peer.
    pub peer: PeerId,
    /// By which of its connections.
    pub session: SessionId,
}

/// Where an admitted client goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Names the connection.
    pub session: SessionId,
    /// The worker that reserved room for it.
    pub host: WorkerAddress,
    /// What the client may do.
    pub role: Role,
    /// What the room is like.
    pub options: RoomOptions,
    /// The connection that this one takes the place of when it ends, where the client moves.
    pub from: Option<SessionId>,
    /// Whether what it sends goes to nobody until then: there is no room for both.
    pub quiet: bool,
}

/// Names one reservation, so that it can be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// How much of what a worker has left a reservation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// For a newcomer while there may be other places: what rooms on its worker need to go on elsewhere, and what is kept
    /// for moves, stay.
    Place,
    /// For a newcomer who has no other place: only what is kept for moves stays.
    LastPlace,
    /// For a peer that moves: all of it, except that on its new worker what is kept for moves stays; and when it comes what is
    /// kept for others of its room who are to move and have not come yet, where that is not enough.
    Move,
}

/// Keep room for a session. Decided from live counters; expires within seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// Names it.
    pub ticket: Ticket,
    /// For whom.
    pub session: SessionId,
    /// In which room.
    pub room: RoomId,
    /// What is needed on which workers of the node asked.
    pub demands: Vec<(u16, Cost)>,
    /// On which worker the session is to be, where that is one of them.
    pub at: Option<(u16, Outlook)>,
    /// How much of what is left it may take.
    pub claim: Claim,
    /// What is kept already for the same and is given up for this; it stays where this is refused.
    pub replaces: Option<Ticket>,
}

/// What a room may need on a worker beside what it has there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// How much it is expected to grow there still, packets a second.
    pub growth: u64,
    /// What it takes there for the room to go on elsewhere: to send what its peers there send to another worker, and what a
    /// newcomer there sends to them. Packets a second.
    pub spare: u64,
}

/// Keep so much for a room at any time, used or not. Expires unless it is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// Which room.
    pub room: RoomId,
    /// What on which workers of the node asked.
    pub demands: Vec<(u16, Cost)>,
}

/// A peer wants to send something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// In which room.
    pub room: RoomId,
    /// Who.
    pub session: SessionId,
    /// What it is expected to cost.
    pub sends: Sends,
}

/// An operator moves a peer, or its entry wants to be rid of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovePeer {
    /// In which room.
    pub room: RoomId,
    /// Who.
    pub peer: PeerId,
    /// To which node; to any other where it is not said.
    pub node: Option<NodeId>,
    /// Whether it may stay where it is: only its entry goes, and it connects to its host another time, by another.
    pub same_host: bool,
}

/// A room lacks something on a worker that others could leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clear {
    /// The room that needs it.
    pub room: RoomId,
    /// Where.
    pub worker: u16,
    /// How much more it needs there, packets a second.
    pub packets: u64,
    /// The workers that it stays on: nobody makes way to there.
    pub avoid: Vec<WorkerAddress>,
    /// Whether somebody waits for it, or the room only lies better then.
    pub urgent: bool,
}

/// A room had better leave a worker, with all or some of its peers there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeWay {
    /// The room that is to leave.
    pub room: RoomId,
    /// Which worker.
    pub at: WorkerAddress,
    /// How much is needed there, packets a second.
    pub packets: u64,
    /// Where it had better not go: who needs the place is there, and would be in want of that next.
    pub avoid: Vec<WorkerAddress>,
    /// Whether somebody waits for it, or the room that needs the place only lies better then.
    pub urgent: bool,
    /// Whether some of its peers may go where the room is not yet. All streams that are sent in it are then piped there, so
    /// that is for when nobody can leave otherwise.
    pub spreads: bool,
}
