// Made from proto/ by `cargo run -p skein-proto --example typescript`. Do not edit.
import type { types as mediasoup } from 'mediasoup-client';

/**
 * A room, as clients name it.
 */
export type RoomId = string;

/**
 * A peer within a room, as clients name it. Peers are named by (room id, peer id).
 */
export type PeerId = string;

/**
 * A node, as its certificate names it.
 */
export type NodeId = string;

/**
 * A WebRTC transport.
 */
export type TransportId = string;

/**
 * A producer; the same id on every router it is piped to.
 */
export type ProducerId = string;

/**
 * A consumer.
 */
export type ConsumerId = string;

/**
 * A data producer; the same id for clients on every node.
 */
export type DataProducerId = string;

/**
 * A data consumer.
 */
export type DataConsumerId = string;

/**
 * mediasoup's RtpCapabilities.
 */
export type RtpCapabilities = mediasoup.RtpCapabilities;

/**
 * mediasoup's RtpParameters.
 */
export type RtpParameters = mediasoup.RtpParameters;

/**
 * mediasoup's IceParameters.
 */
export type IceParameters = mediasoup.IceParameters;

/**
 * mediasoup's IceCandidate, all of a transport.
 */
export type IceCandidates = mediasoup.IceCandidate[];

/**
 * mediasoup's DtlsParameters.
 */
export type DtlsParameters = mediasoup.DtlsParameters;

/**
 * mediasoup's SctpCapabilities.
 */
export type SctpCapabilities = { numStreams: { OS: number; MIS: number } };

/**
 * mediasoup's SctpParameters.
 */
export type SctpParameters = mediasoup.SctpParameters;

/**
 * mediasoup's SctpStreamParameters.
 */
export type SctpStreamParameters = mediasoup.SctpStreamParameters;

/**
 * Whatever the application attached; carried, never read.
 */
export type AppData = mediasoup.AppData;

/**
 * mediasoup's stats of one entity, one object a stream or transport tuple.
 */
export type Stats = Record<string, unknown>[];

/**
 * mediasoup's score of a consumer or of each stream of a producer.
 */
export type Score = unknown;

/**
 * Audio or video.
 */
export type MediaKind = "audio" | "video";

/**
 * What a peer joins with, for others to show.
 */
export type Device = { 
/**
 * A short name of the browser or program, such as `chrome`.
 */
flag?: string, 
/**
 * A readable name.
 */
name?: string, 
/**
 * Its version.
 */
version?: string, };

/**
 * What a peer may do in its room, as its token says. Without tokens everyone moderates.
 */
export type Role = "listen" | "publish" | "moderate";

/**
 * Who may send in a room.
 */
export type RoomMode = "conference" | "stage" | "one-to-one";

/**
 * What a room is like, from its first peer to its last.
 */
export type RoomOptions = { 
/**
 * Who may send.
 */
mode: RoomMode, 
/**
 * How many peers it holds at most.
 */
size: number, 
/**
 * Whether capacity for all of them is reserved from the start.
 */
guaranteed: boolean, 
/**
 * Of how many peers, those who spoke last, video is forwarded; of all where it is 0.
 */
lastN: number, };

/**
 * No body, or no answer. Fields that a client sends all the same are ignored.
 */
export type Empty = Record<string, never>;

/**
 * Names a transport of this peer.
 */
export type TransportRef = { 
/**
 * Which one.
 */
transportId: TransportId, };

/**
 * Names a producer of this peer.
 */
export type ProducerRef = { 
/**
 * Which one.
 */
producerId: ProducerId, };

/**
 * Names a consumer of this peer.
 */
export type ConsumerRef = { 
/**
 * Which one.
 */
consumerId: ConsumerId, };

/**
 * Names a data producer of this peer.
 */
export type DataProducerRef = { 
/**
 * Which one.
 */
dataProducerId: DataProducerId, };

/**
 * Names a data consumer of this peer.
 */
export type DataConsumerRef = { 
/**
 * Which one.
 */
dataConsumerId: DataConsumerId, };

/**
 * Names a peer of the room.
 */
export type PeerRef = { 
/**
 * Which one.
 */
peerId: PeerId, };

/**
 * Body of `createWebRtcTransport`.
 */
export type CreateWebRtcTransport = { 
/**
 * TCP candidates only.
 */
forceTcp: boolean, 
/**
 * The client will produce on it.
 */
producing: boolean, 
/**
 * The client will consume on it.
 */
consuming: boolean, 
/**
 * Given where the client wants data channels.
 */
sctpCapabilities?: SctpCapabilities, };

/**
 * Answer to `createWebRtcTransport`.
 */
export type WebRtcTransportInfo = { 
/**
 * The transport's id.
 */
id: TransportId, 
/**
 * For the client's ICE agent.
 */
iceParameters: IceParameters, 
/**
 * Where the worker listens, best first.
 */
iceCandidates: IceCandidates, 
/**
 * Fingerprints and role.
 */
dtlsParameters: DtlsParameters, 
/**
 * Present where the client gave SCTP capabilities.
 */
sctpParameters?: SctpParameters, };

/**
 * Body of `connectWebRtcTransport`.
 */
export type ConnectWebRtcTransport = { 
/**
 * Which transport.
 */
transportId: TransportId, 
/**
 * The client's fingerprints and role.
 */
dtlsParameters: DtlsParameters, };

/**
 * Body of `join`.
 */
export type Join = { 
/**
 * A name for others to show.
 */
displayName: string, 
/**
 * What the client runs on.
 */
device: Device, 
/**
 * What the client can receive; without them it gets no consumers.
 */
rtpCapabilities?: RtpCapabilities, 
/**
 * Given where the client wants data consumers.
 */
sctpCapabilities?: SctpCapabilities, };

/**
 * Answer to `join`.
 */
export type Joined = { 
/**
 * Everyone else who has joined.
 */
peers: Array<PeerInfo>, };

/**
 * A peer, as others see it.
 */
export type PeerInfo = { 
/**
 * The peer's id.
 */
id: PeerId, 
/**
 * Its name for people.
 */
displayName: string, 
/**
 * What it runs on.
 */
device: Device, };

/**
 * Body of `produce`.
 */
export type Produce = { 
/**
 * On which transport.
 */
transportId: TransportId, 
/**
 * Audio or video.
 */
kind: MediaKind, 
/**
 * What will be sent.
 */
rtpParameters: RtpParameters, 
/**
 * Passed on to every consumer.
 */
appData: AppData, };

/**
 * Answer to `produce`.
 */
export type Produced = { 
/**
 * The producer's id.
 */
id: ProducerId, };

/**
 * Body of `setConsumerPreferredLayers`.
 */
export type ConsumerLayers = { 
/**
 * Which consumer.
 */
consumerId: ConsumerId, 
/**
 * From 0, the smallest.
 */
spatialLayer: number, 
/**
 * From 0, the slowest; the highest where it is not given.
 */
temporalLayer?: number, };

/**
 * Body of `setConsumerPriority`.
 */
export type ConsumerPriority = { 
/**
 * Which consumer.
 */
consumerId: ConsumerId, 
/**
 * 1 (the default) to 255.
 */
priority: number, };

/**
 * Body of `produceData`.
 */
export type ProduceData = { 
/**
 * On which transport.
 */
transportId: TransportId, 
/**
 * The SCTP stream and its reliability.
 */
sctpStreamParameters: SctpStreamParameters, 
/**
 * The data channel's label.
 */
label: string, 
/**
 * The data channel's sub-protocol.
 */
protocol: string, 
/**
 * Passed on to every data consumer.
 */
appData: AppData, };

/**
 * Answer to `produceData`.
 */
export type DataProduced = { 
/**
 * The data producer's id.
 */
id: DataProducerId, };

/**
 * Body of `changeDisplayName`.
 */
export type ChangeDisplayName = { 
/**
 * The new name.
 */
displayName: string, };

/**
 * How a consumer's streams are layered.
 */
export type ConsumerType = "simple" | "simulcast" | "svc";

/**
 * Body of `newConsumer`.
 */
export type NewConsumer = { 
/**
 * Who sends.
 */
peerId: PeerId, 
/**
 * What it sends.
 */
producerId: ProducerId, 
/**
 * The consumer's id.
 */
id: ConsumerId, 
/**
 * Audio or video.
 */
kind: MediaKind, 
/**
 * What the client will receive.
 */
rtpParameters: RtpParameters, 
/**
 * How it is layered.
 */
type: ConsumerType, 
/**
 * What the producer attached.
 */
appData: AppData, 
/**
 * Whether the producer is paused right now.
 */
producerPaused: boolean, };

/**
 * Body of `newDataConsumer`.
 */
export type NewDataConsumer = { 
/**
 * Who sends; null for the server's own.
 */
peerId: PeerId | null, 
/**
 * What it sends.
 */
dataProducerId: DataProducerId, 
/**
 * The data consumer's id.
 */
id: DataConsumerId, 
/**
 * The SCTP stream and its reliability.
 */
sctpStreamParameters: SctpStreamParameters, 
/**
 * The data channel's label.
 */
label: string, 
/**
 * The data channel's sub-protocol.
 */
protocol: string, 
/**
 * What the data producer attached.
 */
appData: AppData, };

/**
 * Body of `pin`.
 */
export type Pin = { 
/**
 * Who.
 */
peerIds: Array<PeerId>, };

/**
 * Body of `move`. A client that accepts connects once more, with `move=TOKEN` in its query, joins and sends there what it
 * sends here, and ends this connection when what it receives there flows.
 */
export type Move = { 
/**
 * To be shown by the new connection. Good once, for `seconds`.
 */
token: string, 
/**
 * How long the other host keeps room for the client.
 */
seconds: number, 
/**
 * The other host.
 */
host: NodeId, 
/**
 * For people: why.
 */
reason: string, 
/**
 * WebSocket addresses to dial, the best first, where the client's entry goes; none where that will do.
 */
endpoints: Array<string>, };

/**
 * All that a node asks of a client. The client accepts or rejects; a rejected consumer is closed.
 */
export type ServerRequest = { "method": "newConsumer", "data": NewConsumer } | { "method": "newDataConsumer", "data": NewDataConsumer } | { "method": "move", "data": Move };

/**
 * All that a node tells a client.
 */
export type Notification = { "method": "mediasoup-version", "data": { 
/**
 * Of the Rust crate.
 */
version: string, } } | { "method": "welcome", "data": { 
/**
 * Names this connection in logs.
 */
session: string, 
/**
 * The entry: the node that holds the WebSocket.
 */
node: NodeId, 
/**
 * The host: the node that holds the transports.
 */
host: NodeId, 
/**
 * WebSocket addresses of all nodes of the mesh, the entry's first.
 */
endpoints: Array<string>, 
/**
 * What the client may do.
 */
role: Role, 
/**
 * What the room is like.
 */
room: RoomOptions, } } | { "method": "waiting", "data": { 
/**
 * For people: what is waited for.
 */
reason: string, 
/**
 * In how many seconds a place is expected; null where that is not known.
 */
etaSeconds: number | null, } } | { "method": "roleChanged", "data": { 
/**
 * Who.
 */
peerId: PeerId, 
/**
 * What it may do.
 */
role: Role, } } | { "method": "newPeer", "data": { 
/**
 * Who.
 */
id: PeerId, 
/**
 * Its name for people.
 */
displayName: string, 
/**
 * What it runs on.
 */
device: Device, } } | { "method": "peerClosed", "data": { 
/**
 * Who.
 */
peerId: PeerId, } } | { "method": "peerDisplayNameChanged", "data": { 
/**
 * Who.
 */
peerId: PeerId, 
/**
 * The new name.
 */
displayName: string, 
/**
 * The one before.
 */
oldDisplayName: string, } } | { "method": "consumerClosed", "data": { 
/**
 * Which.
 */
consumerId: ConsumerId, } } | { "method": "consumerPaused", "data": { 
/**
 * Which consumer.
 */
consumerId: ConsumerId, } } | { "method": "consumerResumed", "data": { 
/**
 * Which consumer.
 */
consumerId: ConsumerId, } } | { "method": "consumerLayersChanged", "data": { 
/**
 * Which consumer.
 */
consumerId: ConsumerId, 
/**
 * From 0, the smallest.
 */
spatialLayer: number | null, 
/**
 * From 0, the slowest.
 */
temporalLayer: number | null, } } | { "method": "consumerScore", "data": { 
/**
 * Which consumer.
 */
consumerId: ConsumerId, 
/**
 * mediasoup's score.
 */
score: Score, } } | { "method": "producerScore", "data": { 
/**
 * Which producer.
 */
producerId: ProducerId, 
/**
 * mediasoup's scores.
 */
score: Score, } } | { "method": "dataConsumerClosed", "data": { 
/**
 * Which.
 */
dataConsumerId: DataConsumerId, } } | { "method": "downlinkBwe", "data": { 
/**
 * What the consumers would take.
 */
desiredBitrate: number, 
/**
 * What they take of it with their priorities.
 */
effectiveDesiredBitrate: number, 
/**
 * What there is.
 */
availableBitrate: number, } } | { "method": "activeSpeaker", "data": { 
/**
 * Who.
 */
peerId: PeerId | null, 
/**
 * dBov, -127 (silent) to 0.
 */
volume?: number, } };

/**
 * Body of `POST /v1/rooms/{id}/peers/{peer}/move`: moves a peer to another node without a gap.
 */
export type MoveRequest = { 
/**
 * Where to; where most is free when it is not said.
 */
node: NodeId | null, };

/**
 * Body of `POST /v1/nodes/{id}/drain`: the node takes no more peers, and those who are there go elsewhere.
 */
export type DrainRequest = { 
/**
 * Also when no other node takes peers.
 */
force: boolean, 
/**
 * Seconds after which those who are still there are told to dial another node; `scaling.drain_minutes` of the node
 * where it is not said.
 */
deadline_s: number | null, };

/**
 * Body of `POST /v1/nodes/{id}/undrain`: the node takes peers again.
 */
export type UndrainRequest = Record<symbol, never>;

/**
 * `GET /v1/mesh`: what the node knows of the mesh from gossip.
 */
export type MeshStatus = { 
/**
 * Name of the mesh.
 */
mesh: string, 
/**
 * The node that answers.
 */
node: NodeId, 
/**
 * The node that launches and retires machines, where there is one.
 */
leader: NodeId | null, 
/**
 * All nodes that are not dead, by name.
 */
nodes: Array<NodeStatus>, 
/**
 * How many rooms there are.
 */
rooms: number, 
/**
 * How many joins wait for a machine.
 */
waiting: number, };

/**
 * `GET /v1/scaling`: what the leader knows of growing and shrinking, and did about it.
 */
export type Scaling = { 
/**
 * The node that leads.
 */
leader: NodeId, 
/**
 * Its term.
 */
term: number, 
/**
 * How many reference streams should be free or on their way.
 */
wanted_streams: number, 
/**
 * How many are free on nodes whose figures are new.
 */
free_streams: number, 
/**
 * How many are on their way, on machines that boot.
 */
booting_streams: number, 
/**
 * Whether those who find no place are kept waiting: the mesh grows, or can.
 */
grows: boolean, 
/**
 * In how many seconds they can expect one.
 */
eta_s: number, 
/**
 * What somebody has to look at.
 */
alarm: string | null, 
/**
 * Why not more is done.
 */
reasons: Array<string>, 
/**
 * What was done last, in its order.
 */
steps: Array<ScalingStep>, 
/**
 * How many nodes there are at least, those among them that the leader did not launch.
 */
min_nodes: number, 
/**
 * How many there are at most.
 */
max_nodes: number, 
/**
 * The machines that the leader launched and that are not gone, by their numbers.
 */
machines: Array<ScalingMachine>, };

/**
 * One thing that the leader did.
 */
export type ScalingStep = { 
/**
 * When, milliseconds since 1970.
 */
at_ms: number, 
/**
 * What, and why.
 */
step: string, };

/**
 * One machine that the leader launched.
 */
export type ScalingMachine = { 
/**
 * The node that it is, or is to be.
 */
node: NodeId, 
/**
 * The name of its type.
 */
kind: string, 
/**
 * How it is.
 */
state: MachineState, 
/**
 * Seconds since it was launched, or started last.
 */
age_s: number, };

/**
 * How a launched machine is, as its cloud and gossip say together.
 */
export type MachineState = "starting" | "serving" | "draining" | "lost" | "stopped" | "ending";

/**
 * How a node is, as another sees it.
 */
export type NodeState = "starting" | "alive" | "suspect" | "draining";

/**
 * One node of the mesh.
 */
export type NodeStatus = { 
/**
 * Its name.
 */
id: NodeId, 
/**
 * How it is.
 */
state: NodeState, 
/**
 * `seed` or `node`.
 */
role: string, 
/**
 * Where it is.
 */
region: string, 
/**
 * Where in the region.
 */
zone: string, 
/**
 * How many more streams it can carry.
 */
free_streams: number, 
/**
 * How many it can carry in all.
 */
total_streams: number, 
/**
 * Free streams of each worker.
 */
workers: Array<number>, 
/**
 * Peers whose transports it holds.
 */
peers: number, 
/**
 * WebSockets that it holds, wherever their peers' transports are.
 */
sockets: number, 
/**
 * Rooms whose home it is.
 */
rooms: number, 
/**
 * Joins to these that wait for a machine.
 */
waiting: number, 
/**
 * Address of its HTTP and WebSocket server.
 */
url: string, 
/**
 * Version of its program.
 */
version: string, };

/**
 * `GET /v1/rooms`: all rooms of the mesh, as their homes know them.
 */
export type Rooms = { 
/**
 * By name.
 */
rooms: Array<RoomSummary>, 
/**
 * Nodes that did not answer; rooms whose home they are, are missing.
 */
missing: Array<NodeId>, };

/**
 * One room, in short.
 */
export type RoomSummary = { 
/**
 * Its name.
 */
id: RoomId, 
/**
 * The node that keeps its roster.
 */
home: NodeId, 
/**
 * Connected peers, joined or about to.
 */
peers: number, 
/**
 * Nodes that hold transports of its peers, with how many each.
 */
hosts: { [key in NodeId]: number }, 
/**
 * Producers.
 */
producers: number, 
/**
 * Pipes, each one producer to one worker.
 */
pipes: number, };

/**
 * `GET /v1/rooms/{id}`: one room, as its home knows it.
 */
export type RoomDetail = { 
/**
 * Its name.
 */
id: RoomId, 
/**
 * The node that keeps its roster.
 */
home: NodeId, 
/**
 * Nodes that hold transports of its peers.
 */
hosts: Array<NodeId>, 
/**
 * All peers.
 */
peers: Array<RoomPeer>, 
/**
 * All producers.
 */
producers: Array<RoomProducer>, 
/**
 * All data producers.
 */
data_producers: Array<RoomDataProducer>, 
/**
 * All pipes.
 */
pipes: Array<Pipe>, 
/**
 * Who speaks.
 */
speaker: PeerId | null, 
/**
 * What it is like.
 */
options: RoomOptions, };

/**
 * A peer of a room.
 */
export type RoomPeer = { 
/**
 * Its name in the room.
 */
id: PeerId, 
/**
 * Its name for people.
 */
display_name: string, 
/**
 * What it runs on.
 */
device: Device, 
/**
 * Whether it has joined.
 */
joined: boolean, 
/**
 * What it may do.
 */
role: Role, 
/**
 * The node that holds its transports.
 */
host: NodeId, 
/**
 * The worker on it.
 */
worker: number, };

/**
 * A producer of a room.
 */
export type RoomProducer = { 
/**
 * Which.
 */
id: ProducerId, 
/**
 * Whose.
 */
peer: PeerId, 
/**
 * Audio or video.
 */
kind: MediaKind, 
/**
 * Whether its peer paused it.
 */
paused: boolean, 
/**
 * The node it is on.
 */
host: NodeId, 
/**
 * The worker on it.
 */
worker: number, };

/**
 * A data producer of a room.
 */
export type RoomDataProducer = { 
/**
 * Which.
 */
id: DataProducerId, 
/**
 * Whose.
 */
peer: PeerId, 
/**
 * The data channel's label.
 */
label: string, 
/**
 * The node it is on.
 */
host: NodeId, };

/**
 * A producer that is piped from one worker to another.
 */
export type Pipe = { 
/**
 * Which room.
 */
room: RoomId, 
/**
 * What is piped.
 */
producer: ProducerId, 
/**
 * From where.
 */
from: Place, 
/**
 * To where.
 */
to: Place, };

/**
 * A worker of a node.
 */
export type Place = { 
/**
 * The node.
 */
node: NodeId, 
/**
 * The worker on it, from 0.
 */
worker: number, };

/**
 * `GET /v1/node`: what the node itself holds.
 */
export type NodeDetail = { 
/**
 * Its name.
 */
id: NodeId, 
/**
 * Version of its program.
 */
version: string, 
/**
 * Seconds since it started.
 */
uptime_s: number, 
/**
 * Its workers.
 */
workers: Array<WorkerDetail>, 
/**
 * Rooms that have sessions on it.
 */
rooms: Array<RoomId>, 
/**
 * Sessions on it: peers whose transports it holds.
 */
sessions: number, 
/**
 * WebSockets that it holds, wherever their transports are.
 */
sockets: number, 
/**
 * Routers, one for a room and worker.
 */
routers: number, 
/**
 * WebRTC transports.
 */
transports: number, 
/**
 * Producers of its own peers.
 */
producers: number, 
/**
 * Consumers of its own peers.
 */
consumers: number, 
/**
 * Data producers of its own peers.
 */
data_producers: number, 
/**
 * Data consumers of its own peers.
 */
data_consumers: number, 
/**
 * Memory that the process holds, bytes; absent where the system does not say.
 */
memory: number | null, 
/**
 * Ends of pipes: transports, each of one pipe between two workers.
 */
pipe_transports: number, 
/**
 * Producers that come in through pipes.
 */
pipes: Array<Pipe>, 
/**
 * Data producers whose messages come in from other workers and nodes.
 */
data_pipes: number, 
/**
 * Everything it counts, as `/metrics` shows it.
 */
counters: Record<string, number>, };

/**
 * A worker.
 */
export type WorkerDetail = { 
/**
 * From 0.
 */
index: number, 
/**
 * Streams that it carries.
 */
streams: number, 
/**
 * Streams that are reserved on it.
 */
reserved: number, 
/**
 * How many more it can carry.
 */
free_streams: number, 
/**
 * How many it can carry in all.
 */
total_streams: number, 
/**
 * Packets a second that it sends, by estimate and measurement.
 */
packets: number, 
/**
 * Packets a second that it can still take.
 */
free_packets: number, 
/**
 * Packets a second that it can send in all.
 */
total_packets: number, 
/**
 * How busy its thread is, percent of a core.
 */
cpu_percent: number, 
/**
 * Whether it takes no more peers because it is too busy.
 */
closed: boolean, 
/**
 * The port of its WebRTC server, UDP and TCP.
 */
port: number, };

/**
 * `GET /v1/events`: server-sent events; the event's name is the tag.
 */
export type Event = { "event": "node", 
/**
 * What happened.
 */
change: Change, 
/**
 * Which node.
 */
id: NodeId, 
/**
 * How it is now; absent when it is gone.
 */
status: NodeStatus | null, } | { "event": "room", 
/**
 * What happened.
 */
change: Change, 
/**
 * Which room.
 */
id: RoomId, 
/**
 * How it is now; absent when it is gone.
 */
summary: RoomSummary | null, };

/**
 * What happened to a thing.
 */
export type Change = "added" | "changed" | "removed";

/**
 * What a refused or failed request to the operator API is answered with.
 */
export type ApiError = { 
/**
 * For people.
 */
error: string, };

/** Every method a client may call: its body and its answer. */
export interface ClientMethods {
  getRouterRtpCapabilities: { data: Empty; answer: RtpCapabilities };
  createWebRtcTransport: { data: CreateWebRtcTransport; answer: WebRtcTransportInfo };
  connectWebRtcTransport: { data: ConnectWebRtcTransport; answer: Empty };
  restartIce: { data: TransportRef; answer: IceParameters };
  join: { data: Join; answer: Joined };
  produce: { data: Produce; answer: Produced };
  closeProducer: { data: ProducerRef; answer: Empty };
  pauseProducer: { data: ProducerRef; answer: Empty };
  resumeProducer: { data: ProducerRef; answer: Empty };
  pauseConsumer: { data: ConsumerRef; answer: Empty };
  resumeConsumer: { data: ConsumerRef; answer: Empty };
  setConsumerPreferredLayers: { data: ConsumerLayers; answer: Empty };
  setConsumerPriority: { data: ConsumerPriority; answer: Empty };
  requestConsumerKeyFrame: { data: ConsumerRef; answer: Empty };
  produceData: { data: ProduceData; answer: DataProduced };
  changeDisplayName: { data: ChangeDisplayName; answer: Empty };
  getTransportStats: { data: TransportRef; answer: Stats };
  getProducerStats: { data: ProducerRef; answer: Stats };
  getConsumerStats: { data: ConsumerRef; answer: Stats };
  getDataProducerStats: { data: DataProducerRef; answer: Stats };
  getDataConsumerStats: { data: DataConsumerRef; answer: Stats };
  applyNetworkThrottle: { data: Empty; answer: Empty };
  resetNetworkThrottle: { data: Empty; answer: Empty };
  kick: { data: PeerRef; answer: Empty };
  closeRoom: { data: Empty; answer: Empty };
  promote: { data: PeerRef; answer: Empty };
  demote: { data: PeerRef; answer: Empty };
  pin: { data: Pin; answer: Empty };
}
