//! Frames on the QUIC streams between nodes.
//!
//! Gossip takes one uni-directional stream per message. Everything else takes a bi-directional stream whose first
//! frame is an [`Open`], which says what the stream is for:
//!
//! | stream | opened by | then |
//! | --- | --- | --- |
//! | `Hello` | the dialling node, first on a connection | one [`Hello`] back |
//! | `Call` | anyone | one [`Reply`] |
//! | `Session` | the entry, to the host | [`SessionFrame`]s both ways, until the session ends |
//! | `Room` | a host, to the room's home | [`HostMessage`]s there, [`HomeMessage`]s back, while the host has sessions in the room |
//! | `Pipe` | the receiving node, to the node that has the producers | [`PipeRequest`]s there, [`PipeEvent`]s back, while the pipe lives |
//! | `Data` | the receiving node, to the node that has the data producer | [`DataEvent`]s back, while the data producer lives |
//!
//! A stream that ends is the end of what it stood for, on both sides, so nothing is left behind by a node that dies.
//! mediasoup's own structures use untagged enums, which bincode cannot decode: they travel as [`Json`].

mod enrol;
pub mod lease;
mod placement;

pub use enrol::{ENROL_ALPN, EnrolRefusal, EnrolReply, EnrolRequest, MAX_ENROL_BYTES, TokenUse};
pub use placement::{
    Admit, Admitted, Claim, Clear, Guarantee, InLine, MakeWay, MovePeer, Outlook, Publish, Refusal, Reserve,
    Ticket, Unwait, Wait,
};

use crate::capacity::{Cost, Sends};
use crate::ids::{DataProducerId, NodeId, PeerId, ProducerId, RoomId, SessionId, WorkerAddress};
use crate::room::RoomOptions;
use crate::signaling::{Device, MediaKind, Role};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Raised when a frame changes its meaning; nodes of different versions refuse each other.
pub const VERSION: u16 = 6;

/// A JSON document inside a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Json(String);

impl Json {
    /// Wraps a value.
    ///
    /// # Errors
    /// When the value cannot be JSON (a map with keys that are not text, a number that is not finite).
    pub fn new<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When the document is not a `T`.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "no JSON document is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// For a field whose type leaves fields out when it is written: in a frame, where fields have no names, it must be JSON.
mod as_json {
    use super::Json;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        Json::new(value).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    pub fn deserialize<'de, T: for<'a> Deserialize<'a>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        Json::deserialize(deserializer)?.read().map_err(serde::de::Error::custom)
    }
}

/// First frame of a bi-directional stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Open {
    /// Who dials.
    Hello(Hello),
    /// One question, one answer.
    Call(Call),
    /// Signalling of one session, relayed from its entry.
    Session(SessionOpen),
    /// A host's part of a room, announced to the room's home.
    Room(RoomOpen),
    /// A pipe between two routers of one room.
    Pipe(PipeOpen),
    /// Messages of one data producer.
    Data(DataOpen),
}

/// Who speaks; checked against the certificate before anything else is heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u16,
    /// Name of the mesh.
    pub mesh: String,
    /// The sender's name; its certificate must carry it.
    pub node: NodeId,
    /// Start of the sender's process, milliseconds since 1970. The higher of two is the live one.
    pub generation: u64,
}

/// One question to another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// Entry to home: a client wants into a room.
    Admit(Admit),
    /// Entry to home: a client that waits is gone.
    Unwait(Unwait),
    /// Home to host: keep room on workers for a session, all or nothing.
    Reserve(Reserve),
    /// Home to host: another host refused its part, so this one is not needed.
    Release(Ticket),
    /// Home to host: keep so much for a room at any time, or renew that.
    Guarantee(Guarantee),
    /// Home to host: that is not needed any more.
    Unguarantee(RoomId),
    /// Home to host: have other rooms leave a worker. Answered with `Left` when they have, or none can.
    Clear(Clear),
    /// Host to home: another room needs what yours has on a worker. Answered with `Leaving`.
    MakeWay(MakeWay),
    /// Host to home: a peer wants to send something that nothing was kept for when it came.
    Publish(Publish),
    /// An operator moves a peer, or its entry wants to be rid of it; said to the room's home.
    MovePeer(MovePeer),
    /// Take no more peers and send away those who are there, or take peers again. Answered with `Done`, or `Refused`
    /// with the reason.
    Drain {
        /// Which of the two.
        on: bool,
        /// Seconds after which those who are still there are told to dial another node; `scaling.drain_minutes` where
        /// it is not said.
        deadline_s: Option<u32>,
        /// Also when no other node takes peers.
        force: bool,
    },
    /// One voter to another, about who leads.
    Lease(lease::Request),
    /// What do you know of growing and shrinking? Answered with JSON: a [`crate::operator::Scaling`], or null by a node
    /// that does not lead.
    Scaling,
    /// Which rooms are you home of? Answered with JSON: a list of [`crate::operator::RoomSummary`].
    Rooms,
    /// What do you know of this room, as its home? Answered with JSON: a [`crate::operator::RoomDetail`] or null.
    Room(RoomId),
    /// Seed to voter: a token is to be used for a key. Answered with `Done`, or `Taken` where it was for another.
    UseToken(TokenUse),
    /// Node to seed: sign a certificate with this request (PKCS #10, DER) for my own name. Answered with `Signed`.
    Renew(Vec<u8>),
    /// A home that takes over a room: what do you keep for it at any time? Answered with `Guaranteed`.
    Guaranteed(RoomId),
}

/// Answer to a [`Call`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The client may come, to this worker.
    Admitted(Admitted),
    /// It may not.
    Refused(Refusal),
    /// It may when there is a place.
    Wait(Wait),
    /// The workers keep the room asked for.
    Reserved {
        /// What is left on each worker that was asked, packets a second.
        left: Vec<(u16, u64)>,
    },
    /// A worker has no room, and none keeps anything.
    Full {
        /// Which.
        worker: u16,
        /// What it has left, packets a second.
        left: u64,
    },
    /// What is left on the worker now.
    Left {
        /// Packets a second.
        packets: u64,
    },
    /// About what will be left more on the worker when those have gone who are on their way.
    Leaving {
        /// Packets a second.
        packets: u64,
    },
    /// The peer may send.
    Granted,
    /// Done, and there is nothing to say.
    Done,
    /// To a voter's question.
    Lease(lease::Answer),
    /// Ask this node: it is the room's home as far as the answering node can see.
    NotHome(NodeId),
    /// A document.
    Json(Json),
    /// The node could not answer.
    Failed(String),
    /// A certificate, PEM.
    Signed(String),
    /// It is somebody else's.
    Taken,
    /// What is kept for a room at any time, on which workers.
    Guaranteed {
        /// All of it, used or not.
        kept: Vec<(u16, Cost)>,
    },
}

/// A session's signalling begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpen {
    /// Names the connection.
    pub session: SessionId,
    /// Which room.
    pub room: RoomId,
    /// As which peer.
    pub peer: PeerId,
    /// On which worker.
    pub worker: u16,
    /// What the client may do.
    pub role: Role,
    /// Whether the client said that it knows Skein's additions.
    pub skein: bool,
    /// What the room is like.
    pub options: RoomOptions,
    /// The connection that this one takes the place of when it ends, where the client moves.
    pub from: Option<SessionId>,
    /// Whether what it sends goes to nobody until then.
    pub quiet: bool,
}

/// What travels on a session's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionFrame {
    /// A protoo text frame, as the client sent it or shall get it.
    Text(String),
    /// The end: from the host, close the client's socket like this; from the entry, the client's socket closed.
    Close {
        /// WebSocket close code.
        code: u16,
        /// For people.
        reason: String,
    },
}

/// A host has sessions in a room; said to the room's home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomOpen {
    /// Which room.
    pub room: RoomId,
}

/// A peer of a room. Its host owns the truth about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerEntry {
    /// Who.
    pub peer: PeerId,
    /// The connection; a newer one replaces an older.
    pub session: SessionId,
    /// Where its transports are.
    pub host: WorkerAddress,
    /// Its name for people.
    pub display_name: String,
    /// What it runs on. As JSON, because it leaves fields out.
    #[serde(with = "as_json")]
    pub device: Device,
    /// Whether it has joined; until then only home and host know it.
    pub joined: bool,
    /// What it may do.
    pub role: Role,
    /// Whether it knows Skein's additions.
    pub skein: bool,
    /// The peer's connection whose place this one takes when that ends; until then the others know that one.
    pub from: Option<SessionId>,
}

/// A producer of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerEntry {
    /// Which.
    pub id: ProducerId,
    /// Whose.
    pub peer: PeerId,
    /// By which of its connections.
    pub session: SessionId,
    /// On which worker.
    pub host: WorkerAddress,
    /// Audio or video.
    pub kind: MediaKind,
    /// What it costs: as it declared at first, then as it is measured.
    pub sends: Sends,
    /// Whether its peer paused it.
    pub paused: bool,
    /// Whether it goes to nobody while an older connection of its peer stands.
    pub quiet: bool,
    /// What the client attached: [`crate::signaling::AppData`].
    pub app_data: Json,
}

/// A data producer of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataProducerEntry {
    /// Which.
    pub id: DataProducerId,
    /// Whose.
    pub peer: PeerId,
    /// By which of its connections.
    pub session: SessionId,
    /// On which worker.
    pub host: WorkerAddress,
    /// The data channel's label.
    pub label: String,
    /// The data channel's sub-protocol.
    pub protocol: String,
    /// The SCTP stream and its reliability: [`crate::signaling::SctpStreamParameters`].
    pub parameters: Json,
    /// What the client attached: [`crate::signaling::AppData`].
    pub app_data: Json,
}

/// A producer that is piped to a worker; announced by the receiving side.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PipeEntry {
    /// What is piped.
    pub producer: ProducerId,
    /// From where: its own worker, or one that itself gets it through a pipe.
    pub from: WorkerAddress,
    /// To where.
    pub to: WorkerAddress,
}

/// A change of a room's roster. Applying one twice changes nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RosterChange {
    /// A peer came or changed.
    Peer(PeerEntry),
    /// A peer's session ended; its producers went before.
    PeerGone(PeerId, SessionId),
    /// Another connection took the place of a peer's, whose producers went before. To clients nothing happened.
    PeerMoved(PeerEntry),
    /// A producer came or changed.
    Producer(ProducerEntry),
    /// A producer closed.
    ProducerGone(ProducerId),
    /// A data producer came.
    DataProducer(DataProducerEntry),
    /// A data producer closed.
    DataProducerGone(DataProducerId),
}

/// A roster, or one host's part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// All peers.
    pub peers: Vec<PeerEntry>,
    /// All producers.
    pub producers: Vec<ProducerEntry>,
    /// All data producers.
    pub data_producers: Vec<DataProducerEntry>,
}

/// What a host tells a room's home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostMessage {
    /// All that the host has; first on the stream.
    Snapshot {
        /// Its peers and what they send.
        roster: Roster,
        /// The pipes that end at it.
        pipes: Vec<PipeEntry>,
        /// What the room is like, should the home not know it.
        options: RoomOptions,
    },
    /// One change of it.
    Change(RosterChange),
    /// A producer is piped here now.
    PipeUp(PipeEntry),
    /// It no longer is.
    PipeDown(PipeEntry),
    /// The loudest of the host's peers, the loudest first; nobody when all are silent.
    Speakers(Vec<Speaker>),
    /// A moderator sends a peer away.
    Kick(PeerId),
    /// A moderator closes the room.
    CloseRoom,
    /// A moderator lets a peer do something else.
    SetRole(PeerId, Role),
    /// A client does not want to move.
    MoveRefused(SessionId),
    /// The host sees another node as the room's home and goes there; the last on the stream. Nothing of it is gone.
    Elsewhere,
}

/// Who speaks and how loud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speaker {
    /// Who.
    pub peer: PeerId,
    /// dBov, -127 to 0.
    pub volume: i8,
}

/// What a room's home tells a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HomeMessage {
    /// All that the other hosts have; first on the stream. While the home is `settling` (it just became home, and
    /// other hosts may not have announced themselves yet) what is missing may still come.
    Roster {
        /// The others' peers and what they send.
        roster: Roster,
        /// Whether absence means nothing yet.
        settling: bool,
    },
    /// One change of it.
    Change(RosterChange),
    /// Who speaks in the room, or nobody.
    Speaker(Option<Speaker>),
    /// End this session, with this close code and reason.
    CloseSession {
        /// Which.
        session: SessionId,
        /// WebSocket close code.
        code: u16,
        /// For people.
        reason: String,
    },
    /// A session is to move to another host.
    Move {
        /// Which.
        session: SessionId,
        /// For its new connection.
        token: String,
        /// The other host.
        host: NodeId,
        /// How long that keeps room.
        seconds: u32,
        /// For people.
        reason: String,
    },
    /// A session that came to take the place of another has it.
    Arrived(SessionId),
    /// A peer may do something else.
    Role(PeerId, Role),
    /// From which workers to get the producers of other nodes, where not from those nodes themselves. Replaces what was
    /// said before.
    Relays(Vec<(NodeId, WorkerAddress)>),
    /// Whose media is forwarded, in a room that does not forward all. Replaces what was said before.
    Forward(Forward),
    /// The answering node is not the room's home; ask this one.
    NotHome(NodeId),
}

/// Whose media is forwarded to everyone in a room that does not forward all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Their video; to some also that of those whom they pinned.
    pub video: Vec<PeerId>,
    /// Their audio.
    pub audio: Vec<PeerId>,
}

/// How RTP reaches one end of a pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeEnd {
    /// Where the other end must send to, and what it sends from.
    pub ip: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// mediasoup's SrtpParameters, where the pipe leaves the node.
    pub srtp: Option<Json>,
}

/// A worker wants producers from another worker's router of the same room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeOpen {
    /// Which room.
    pub room: RoomId,
    /// From which worker of the node asked.
    pub from: u16,
    /// To which worker.
    pub to: WorkerAddress,
    /// The receiving end.
    pub end: PipeEnd,
}

/// From the receiving end of a pipe to the sending end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PipeRequest {
    /// Make this producer ready to be sent; answered with `Consumed` or `Gone`. Nothing is sent before `Resume`.
    Consume(ProducerId),
    /// Nobody consumes it at the moment.
    Pause(ProducerId),
    /// The receiving end is ready for it, or somebody consumes it again.
    Resume(ProducerId),
    /// Nobody has for a while.
    Stop(ProducerId),
}

/// From the sending end of a pipe to the receiving end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PipeEvent {
    /// The sending end; first on the stream.
    Opened(PipeEnd),
    /// The pipe cannot be; the last on the stream.
    Refused(String),
    /// The producer comes through the pipe.
    Consumed {
        /// Which.
        producer: ProducerId,
        /// Audio or video.
        kind: MediaKind,
        /// mediasoup's RtpParameters.
        rtp_parameters: Json,
        /// Whether its peer has paused it.
        paused: bool,
        /// What it costs, as far as the sending end knows.
        sends: Sends,
    },
    /// Its peer paused it.
    Paused(ProducerId),
    /// Its peer resumed it.
    Resumed(ProducerId),
    /// There is no such producer, or no longer.
    Gone(ProducerId),
}

/// A worker wants the messages of a data producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataOpen {
    /// Which room.
    pub room: RoomId,
    /// Which data producer, of a peer that the node asked hosts.
    pub producer: DataProducerId,
}

/// From a data producer's node to a node that wants its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataEvent {
    /// Messages follow; first on the stream.
    Opened,
    /// There is no such data producer; the last on the stream.
    Gone,
    /// One message.
    Message {
        /// SCTP payload protocol identifier (RFC 8831, section 8).
        ppid: u32,
        /// The message.
        payload: Vec<u8>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    fn peer(device: Device) -> PeerEntry {
        PeerEntry {
            peer: "p".parse().expect("a name"),
            session: SessionId { admitted_ms: 1, nonce: 2 },
            host: WorkerAddress { node: "n".parse().expect("a name"), worker: 0 },
            display_name: "P".to_owned(),
            device,
            joined: true,
            role: Role::Publish,
            skein: true,
            from: None,
        }
    }

    #[test]
    fn a_peer_comes_back_whatever_its_device_leaves_out() {
        let full = Device { flag: Some("a".into()), name: Some("b".into()), version: None };
        for device in [Device::default(), full] {
            let message = HostMessage::Change(RosterChange::Peer(peer(device)));
            assert_eq!(decode::<HostMessage>(&encode(&message).expect("encodes")).expect("decodes"), message);
        }
    }
}
