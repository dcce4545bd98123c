//! Every limit of the mesh, with its reason.

use std::time::Duration;

/// Without a packet for this long a connection is dead. Three keep-alives may be lost in a row before that, and it is
/// of the order in which gossip notices a death (1 to 2.5 s), so that a dead node is out of the view within 5 s.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// A third of [`IDLE_TIMEOUT`].
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// From the first packet of a connection to both hellos. Several round trips on any path, and short enough that
/// whoever connects and says nothing holds nothing for long.
pub(super) const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// For the first frame of a stream, and for the program to take the stream out of [`super::Incoming`].
pub(super) const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// For one frame to be taken by the other side. What is that far behind is better started over.
pub(super) const SEND_DEADLINE: Duration = Duration::from_secs(15);

/// For one gossip message to leave or to arrive. A later one is worth nothing: the next rounds said it again.
pub(super) const GOSSIP_DEADLINE: Duration = Duration::from_secs(2);

/// Streams that one peer may have open here at first. quinn keeps an entry for each stream that may come, whether it
/// does or not: this is what makes hundreds of connections affordable (with the number below from the start, 40 nodes
/// in one process took 4.7 GB).
pub(super) const STREAMS_AT_FIRST: u32 = 64;

/// Streams that one peer may have open here after it has used half of what it had, again and again. One session, room,
/// pipe or call each: more than an entry's default of 10,000 sockets, so that all of its clients may be hosted here.
pub(super) const STREAMS_AT_MOST: u32 = 16_384;

/// Gossip messages of one peer that may be under way. Honest peers have a handful.
pub(super) const GOSSIP_STREAMS: u32 = 64;

/// What one stream may send ahead of its reader, bytes: 20 Mbit/s over a path of 100 ms.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;

/// What all streams of a connection may send ahead of their readers, bytes: 256 readers may be stuck before anyone
/// else on the connection waits for them. It bounds the memory that a peer can take.
pub(super) const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// As [`CONNECTION_WINDOW`], until the other side has said a hello: who has shown no certificate takes no more.
pub(super) const STRANGER_WINDOW: u32 = 512 * 1024;

/// What a connection keeps of what was sent and not yet acknowledged, bytes.
pub(super) const SEND_WINDOW: u64 = 16 * 1024 * 1024;

/// Connections that may be in their handshake at once; more are refused before any cryptography.
pub(super) const HANDSHAKES: usize = 256;

/// With this many in their handshake, newcomers first prove that their address is theirs.
pub(super) const HANDSHAKES_BEFORE_RETRY: usize = 32;

/// Connections to one node. Two come from dialling each other at once; the others are on their way out.
pub(super) const LINKS_PER_NODE: usize = 4;

/// A second connection to a node is kept this long at least, so that the other side has noticed which one stays, and
/// then until no stream uses it.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// Streams that wait for the program.
pub(super) const INCOMING_QUEUE: usize = 1024;

/// Gossip messages that wait for chitchat. A round of 1,000 nodes is about 3 messages in.
pub(super) const GOSSIP_IN_QUEUE: usize = 1024;

/// Gossip messages that wait for one peer, while it is dialled or slow.
pub(super) const GOSSIP_OUT_QUEUE: usize = 32;

/// Peers that gossip is queued for at once. One mesh ends near 1,000 nodes.
pub(super) const GOSSIP_PEERS: usize = 4096;

/// A peer that chitchat has nothing for is forgotten after this long; the next message makes a new queue.
pub(super) const GOSSIP_PEER_IDLE: Duration = Duration::from_secs(30);

/// Largest gossip message, bytes: chitchat cuts its messages to this.
pub(super) const GOSSIP_MESSAGE_BYTES: usize = 65_507;

/// Largest value that this node gossips, bytes. The load of 256 workers takes 4 KiB; chitchat writes broken messages
/// from 64 KiB on.
pub(super) const GOSSIP_VALUE_BYTES: usize = 16 * 1024;

/// Between two rounds of gossip. With the failure detector below, deaths were noticed in 1 to 2.5 s up to 60 nodes
/// with a tenth of the packets lost and no false alarm.
pub(super) const GOSSIP_INTERVAL: Duration = Duration::from_millis(200);

/// What the failure detector takes for the time between heartbeats before it has measured.
pub(super) const HEARTBEAT_INITIAL: Duration = Duration::from_millis(200);

/// Longer gaps between heartbeats are not learned from.
pub(super) const HEARTBEAT_MAX: Duration = Duration::from_secs(2);

/// Heartbeats that the failure detector remembers per node.
pub(super) const HEARTBEAT_WINDOW: usize = 100;

/// Silence of this many usual intervals is death.
pub(super) const PHI: f64 = 10.0;

/// How long the failure detector must take a node for dead before it counts. It measures time between heartbeats, which
/// in a small mesh come several times in a round: a process that gets no processor for half a second looks dead to it,
/// and is back in the next round.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// How long the dead are remembered, by gossip and by those who heard them leave. Long enough that nobody who was
/// away for a moment brings them back, and short enough that names and addresses may be used again.
pub(super) const DEAD_MEMORY: Duration = Duration::from_secs(300);

/// Tombstones are kept longer than the dead, so that nobody who is remembered misses one. The mesh deletes no keys.
pub(super) const TOMBSTONES: Duration = Duration::from_secs(600);

/// A node that gossip just discovered may take this long to say hello before it counts as suspect.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// How often membership is looked at when nothing happens: for the end of a grace, and to dial again.
pub(super) const OBSERVE: Duration = Duration::from_millis(250);

/// First wait after an address could not be reached; doubled each time.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait after an address could not be reached.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// An address that led back to this very process is dialled again after this long: it may be one that leads to
/// several nodes.
pub(super) const OWN_AGAIN: Duration = Duration::from_secs(60);

/// Addresses of connected nodes that are remembered; when there are more, all that no connection is from are forgotten.
pub(super) const ADDRESSES: usize = 8192;

/// Addresses whose failures are remembered.
pub(super) const DIAL_TARGETS: usize = 4096;

/// Things that were logged and are not logged again.
pub(super) const LOGGED: usize = 256;

/// After this long they are.
pub(super) const LOGGED_FOR: Duration = Duration::from_secs(600);

/// How long a leaving node stays to tell the others by gossip: one round. Neighbours also hear it from the close of
/// the connection.
pub(super) const LEAVE: Duration = GOSSIP_INTERVAL;

/// For tasks and connections to end at shutdown, each.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(1);

/// Bytes that a stream to the own node holds before its reader takes them.
pub(super) const LOCAL_BUFFER: usize = 64 * 1024;

/// First size of a stream's read and write buffers, bytes. They grow; thousands of idle sessions stay small.
pub(super) const FRAME_BUFFER: usize = 1024;

/// Machines that enrol at once; others are told to come back. Each costs a question to the cloud and one to each voter.
pub(super) const ENROLMENTS: usize = 8;

/// How often one address may ask to enrol, a minute; it may use up a third of that at once. Machines behind one address
/// share it.
pub(super) const ENROLMENTS_PER_MINUTE: u32 = 60;

/// Addresses whose enrolments are counted; when there are more, those that did not ask lately are forgotten.
pub(super) const ENROLMENT_ADDRESSES: usize = 4096;

/// For the answer to a machine that enrols: the cloud's list, then the voters.
pub(super) const ENROLMENT_ANSWER: Duration = Duration::from_secs(12);

/// For a machine that has its answer to say so.
pub(super) const ENROLMENT_END: Duration = Duration::from_secs(2);

/// How often seeds are looked for while the node is alone.
pub(super) const SEEDS_ALONE: Duration = Duration::from_secs(5);

/// How often seeds are looked for while it is not, so that a mesh in two parts becomes one.
pub(super) const SEEDS_KNOWN: Duration = Duration::from_secs(60);

/// How often a seed that was found and is not connected is greeted.
pub(super) const SEEDS_GREETED: Duration = Duration::from_secs(1);
