//! One peer on its host: protoo requests turned into media calls, and what happens in the room turned into protoo.
//!
//! A session is one task. It owns its peer's transports, producers and consumers, and ends them by ending itself.
//! What takes time, bringing a producer from another worker or node and asking the home for room, happens beside the
//! loop, in [`Pending`].

mod consume;
mod pending;
mod publish;
mod request;
mod stage;
mod stalled;

use crate::media::{
    Capabilities, Consumer, Counted, DataConsumer, DataProducer, MediaEvent, Producer, WebRtcTransport,
};
use crate::mesh::{MeshError, MeshReceiver, MeshSender, MeshStream, View};
use crate::room::data::DataLease;
use crate::room::host::RoomEvent;
use crate::room::pipes::Lease;
use crate::room::{HostRoom, Rooms};
use consume::Arrived;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use pending::Pending;
use publish::Decided;
use request::{Answer, Failure};
use skein_proto::ids::{
    ConsumerId, DataConsumerId, DataProducerId, NodeId, PeerId, ProducerId, SessionId, TransportId,
    WorkerAddress,
};
use skein_proto::operator::NodeState;
use skein_proto::rpc::{DataProducerEntry, ProducerEntry, SessionFrame, SessionOpen};
use skein_proto::signaling::{
    self, ClientFrame, ClientRequest, MediaKind, Notification, Score, ServerRequest,
};
use stalled::Stalled;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How many of the media's reports may wait; scores and layers that do not fit are lost, the next ones tell the same.
const MEDIA_EVENTS: usize = 1024;
/// How long a client may take to accept a consumer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// How long a client may take nothing before its session ends.
const SEND_DEADLINE: Duration = Duration::from_secs(10);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// WebSocket close code 1008: the client broke a rule (RFC 6455, section 7.4.1).
const CLOSE_POLICY: u16 = 1008;
/// WebSocket close code 1011: the server met a condition that prevented it from going on (RFC 6455, section 7.4.1).
const CLOSE_INTERNAL: u16 = 1011;
/// WebSocket close code 1013: try again later (IANA's registry).
pub const CLOSE_TRY_AGAIN: u16 = 1013;

struct Transport {
    transport: WebRtcTransport,
    consuming: bool,
    sctp: bool,
    connected: bool,
}

struct Sending {
    producer: Producer,
    entry: ProducerEntry,
    /// When others were told last what it costs.
    told: Instant,
}

struct Receiving {
    consumer: Consumer,
    producer: ProducerId,
    /// Whose it is.
    peer: PeerId,
    /// From which of its connections, where that goes to nobody while an older one stands.
    quiet: Option<SessionId>,
    kind: MediaKind,
    /// Whether the client wants it right now; what it accepted starts when this is so.
    paused_by_client: bool,
    accepted: bool,
    /// Whether the room forwards it to this peer.
    forwarded: bool,
    lease: Option<Lease>,
}

impl Receiving {
    /// Whether it is to be sent, as far as the room and the client are concerned.
    fn is_wanted(&self) -> bool {
        self.accepted && self.forwarded && !self.paused_by_client
    }
}

struct ReceivingData {
    consumer: DataConsumer,
    producer: DataProducerId,
    _lease: Option<DataLease>,
}

#[derive(Debug)]
enum Asked {
    Consumer(ConsumerId),
    DataConsumer(DataConsumerId),
    Move,
}

/// What the peer said when it joined.
struct Joined {
    capabilities: Option<Capabilities>,
}

/// One peer on its host.
pub struct Session {
    open: SessionOpen,
    entry: NodeId,
    own: WorkerAddress,
    room: Arc<HostRoom>,
    sender: MeshSender,
    media: mpsc::Sender<MediaEvent>,
    joined: Option<Joined>,
    transports: HashMap<TransportId, Transport>,
    producers: HashMap<ProducerId, Sending>,
    data_producers: HashMap<DataProducerId, (DataProducer, DataProducerEntry)>,
    consumers: HashMap<ConsumerId, Receiving>,
    stalled: Stalled,
    data_consumers: HashMap<DataConsumerId, ReceivingData>,
    /// What the others in the room send.
    offered: HashMap<ProducerId, ProducerEntry>,
    data_offered: HashMap<DataProducerId, DataProducerEntry>,
    /// What is consumed, about to be, or was rejected by the client.
    taken: HashSet<ProducerId>,
    data_taken: HashSet<DataProducerId>,
    /// How often the client could not receive a producer, or did not answer.
    unreceived: HashMap<ProducerId, u8>,
    data_unreceived: HashMap<DataProducerId, u8>,
    /// Whose video the client wants whoever speaks.
    pins: HashSet<PeerId>,
    arrivals: Pending<Arrived>,
    /// What the peer wants to send and the home has not decided on yet, by the request's number.
    publishing: HashMap<u64, MediaKind>,
    decisions: Pending<Decided>,
    asked: HashMap<u64, (Asked, Instant)>,
    last_request: u64,
    rate: DefaultDirectRateLimiter,
    _counted: Counted,
}

/// Why a session ends.
enum End {
    /// The client's socket closed, or the entry is gone.
    Client,
    /// The host closes it.
    Close { code: u16, reason: String },
}

impl From<MeshError> for End {
    fn from(_: MeshError) -> Self {
        Self::Client
    }
}

/// Runs a session for as long as its stream lasts.
pub async fn run(rooms: Arc<Rooms>, entry: NodeId, open: SessionOpen, stream: MeshStream) {
    let context = Arc::clone(rooms.context());
    if context.workers.get(open.worker).is_none() {
        tracing::warn!(%entry, worker = open.worker, "a session for a worker that is not there");
        return;
    }
    let (room, mut events) = rooms.enter(&open);
    let (sender, mut receiver) = stream.split();
    let (media, mut reports) = mpsc::channel(MEDIA_EVENTS);
    let id = open.session;
    let worker = open.worker;
    let burst = context.requests_per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
    let mut session = Session {
        own: WorkerAddress { node: context.mesh.id().clone(), worker },
        room: Arc::clone(&room),
        sender,
        media,
        joined: None,
        transports: HashMap::new(),
        producers: HashMap::new(),
        data_producers: HashMap::new(),
        consumers: HashMap::new(),
        stalled: Stalled::default(),
        data_consumers: HashMap::new(),
        offered: HashMap::new(),
        data_offered: HashMap::new(),
        taken: HashSet::new(),
        data_taken: HashSet::new(),
        unreceived: HashMap::new(),
        data_unreceived: HashMap::new(),
        pins: HashSet::new(),
        arrivals: Pending::default(),
        publishing: HashMap::new(),
        decisions: Pending::default(),
        asked: HashMap::new(),
        last_request: 0,
        rate: RateLimiter::direct(Quota::per_second(context.requests_per_second).allow_burst(burst)),
        _counted: context.workers.counts().hold(|counts| &counts.sessions),
        entry,
        open,
    };
    if session.open.from.is_none() {
        // Who moves is not one more.
        context.workers.counts().joined.fetch_add(1, Ordering::Relaxed);
    }
    tracing::debug!(session = %id, room = %room.id, peer = %session.open.peer, entry = %session.entry, "session begins");
    let end = tokio::select! {
        () = context.cancel.cancelled() => End::Close { code: CLOSE_TRY_AGAIN, reason: "the node stops".to_owned() },
        end = session.work(&mut receiver, &mut events, &mut reports) => end,
    };
    if let End::Close { code, reason } = &end {
        let close = SessionFrame::Close { code: *code, reason: reason.clone() };
        let _ = tokio::time::timeout(SEND_DEADLINE, session.sender.send(&close)).await;
    }
    // The roster first, so that nobody is told of a peer whose media is gone already.
    rooms.leave(&room, id);
    context.workers.accounts().release_session(id);
    tracing::debug!(session = %id, room = %room.id, "session ended");
}

impl Session {
    async fn work(
        &mut self,
        receiver: &mut MeshReceiver,
        events: &mut mpsc::Receiver<RoomEvent>,
        reports: &mut mpsc::Receiver<MediaEvent>,
    ) -> End {
        let outcome: Result<(), End> = async {
            self.greet().await?;
            let mut ticks = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    frame = receiver.recv::<SessionFrame>() => match frame {
                        Ok(Some(SessionFrame::Text(text))) => self.hear_client(&text).await?,
                        Ok(Some(SessionFrame::Close { .. }) | None) | Err(_) => return Err(End::Client),
                    },
                    event = events.recv() => match event {
                        Some(event) => self.hear_room(event).await?,
                        None => return Err(close(CLOSE_TRY_AGAIN, "the session fell behind its room")),
                    },
                    Some(report) = reports.recv() => self.hear_media(report).await?,
                    arrived = self.arrivals.next() => self.take(arrived).await?,
                    decided = self.decisions.next() => self.decided(decided).await?,
                    () = at(self.stalled.next()) => self.wake_stalled().await,
                    _ = ticks.tick() => self.expire().await?,
                }
            }
        }
        .await;
        match outcome {
            Ok(()) => End::Client,
            Err(end) => end,
        }
    }

    async fn greet(&mut self) -> Result<(), End> {
        let version = crate::media::MEDIASOUP_VERSION.to_owned();
        self.notify(Notification::MediasoupVersion { version }).await?;
        if self.open.skein {
            let view = self.room.mesh().view().borrow().clone();
            let endpoints = endpoints(&view, &self.entry);
            self.notify(Notification::Welcome {
                session: self.open.session.to_string(),
                node: self.entry.clone(),
                host: self.own.node.clone(),
                endpoints,
                role: self.open.role,
                room: self.open.options,
            })
            .await?;
        }
        Ok(())
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        match tokio::time::timeout(SEND_DEADLINE, self.sender.send(&SessionFrame::Text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(close(CLOSE_TRY_AGAIN, "the client takes nothing")),
        }
    }

    async fn notify(&mut self, notification: Notification) -> Result<(), End> {
        self.send(signaling::notification(&notification)).await
    }

    async fn ask(&mut self, request: ServerRequest, asked: Asked) -> Result<(), End> {
        self.last_request += 1;
        let id = self.last_request;
        self.asked.insert(id, (asked, Instant::now() + ANSWER_DEADLINE));
        self.send(signaling::request(id, &request)).await
    }

    async fn hear_client(&mut self, text: &str) -> Result<(), End> {
        let frame = ClientFrame::parse(text);
        // Answers to our own requests are as many as those, and bounded by them.
        if !matches!(frame, Ok(ClientFrame::Success { .. } | ClientFrame::Failure { .. }))
            && self.rate.check().is_err()
        {
            return Err(close(CLOSE_POLICY, "too many requests a second"));
        }
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                return self.send(signaling::failure(error.id.unwrap_or(0), 400, &error.reason)).await;
            }
        };
        match frame {
            ClientFrame::Request { id, method, data } => {
                let answer = match ClientRequest::parse(&method, data) {
                    Ok(request) => self.answer(id, request).await,
                    Err(error) => Err(Failure::bad(error.to_string())),
                };
                self.reply(id, answer).await?;
                // Consumers come after the answer: a client that has not heard that it joined expects none.
                self.consume_offered();
                Ok(())
            }
            ClientFrame::Success { id } => self.accepted(id).await,
            ClientFrame::Failure { id, code, reason } => {
                self.rejected(id, &reason, code < 500);
                self.consume_offered();
                Ok(())
            }
            ClientFrame::Notification => Ok(()),
        }
    }

    async fn reply(&mut self, request: u64, answer: Answer) -> Result<(), End> {
        match answer {
            Ok(Some(answer)) => self.send(signaling::success(request, &answer)).await,
            Ok(None) => Ok(()),
            Err(Failure { code, reason }) => self.send(signaling::failure(request, code, &reason)).await,
        }
    }

    async fn hear_room(&mut self, event: RoomEvent) -> Result<(), End> {
        match event {
            RoomEvent::PeerJoined(peer) => {
                let (id, display_name, device) = (peer.id, peer.display_name, peer.device);
                self.notify(Notification::NewPeer { id, display_name, device }).await?;
                self.refresh_forwarded().await
            }
            // To clients nothing happened, but for what is forwarded.
            RoomEvent::PeerMoved(_) => self.refresh_forwarded().await,
            RoomEvent::PeerLeft(peer_id) => self.notify(Notification::PeerClosed { peer_id }).await,
            RoomEvent::PeerRenamed { peer, to, from } => {
                self.notify(Notification::PeerDisplayNameChanged {
                    peer_id: peer,
                    display_name: to,
                    old_display_name: from,
                })
                .await
            }
            RoomEvent::Producer(entry) => {
                self.offered.insert(entry.id.clone(), entry);
                self.consume_offered();
                Ok(())
            }
            RoomEvent::ProducerGone(id) => self.producer_gone(&id).await,
            RoomEvent::DataProducer(entry) => {
                self.data_offered.insert(entry.id.clone(), entry);
                self.consume_offered();
                Ok(())
            }
            RoomEvent::DataProducerGone(id) => self.data_producer_gone(&id).await,
            RoomEvent::Speaker(speaker) => {
                let (peer_id, volume) = match speaker {
                    Some(speaker) => (Some(speaker.peer), Some(speaker.volume)),
                    None => (None, None),
                };
                self.notify(Notification::ActiveSpeaker { peer_id, volume }).await
            }
            RoomEvent::Role(peer, role) => self.role_changed(peer, role).await,
            RoomEvent::Forward(_) => self.refresh_forwarded().await,
            RoomEvent::Move(mut body) if self.open.skein && self.joined.is_some() => {
                let view = self.room.mesh().view().borrow().clone();
                if !view.get(&self.entry).is_some_and(|entry| entry.state == NodeState::Alive) {
                    body.endpoints = endpoints(&view, &body.host);
                }
                self.ask(ServerRequest::Move(body), Asked::Move).await
            }
            RoomEvent::Move(_) => {
                self.room.stay(self.open.session);
                Ok(())
            }
            RoomEvent::Close { code, reason } => Err(End::Close { code, reason }),
        }
    }

    async fn hear_media(&mut self, event: MediaEvent) -> Result<(), End> {
        let notification = match event {
            MediaEvent::ProducerScore(producer_id, score) => {
                Notification::ProducerScore { producer_id, score: Score(score) }
            }
            MediaEvent::ConsumerScore(consumer_id, score) => {
                if !self.is_accepted(&consumer_id) {
                    return Ok(());
                }
                // The first packet of a stream is one of the things that it tells.
                self.watch_stalled(&consumer_id);
                Notification::ConsumerScore { consumer_id, score: Score(score) }
            }
            MediaEvent::ConsumerLayers(consumer_id, layers) => {
                self.follow_layers(&consumer_id, layers.is_some()).await;
                if !self.is_accepted(&consumer_id) {
                    return Ok(());
                }
                let (spatial_layer, temporal_layer) = match layers {
                    Some((spatial, temporal)) => (Some(spatial), temporal),
                    None => (None, None),
                };
                Notification::ConsumerLayersChanged { consumer_id, spatial_layer, temporal_layer }
            }
            MediaEvent::ConsumerPaused(consumer_id, paused) => {
                if !paused {
                    self.watch_stalled(&consumer_id);
                }
                // What is not forwarded is paused to the client, whatever its sender does.
                if !self.consumers.get(&consumer_id).is_some_and(|receiving| receiving.forwarded) {
                    return Ok(());
                }
                if paused {
                    Notification::ConsumerPaused { consumer_id }
                } else {
                    Notification::ConsumerResumed { consumer_id }
                }
            }
            MediaEvent::ConsumerClosed(consumer_id) => return self.consumer_closed(consumer_id).await,
            MediaEvent::DataConsumerClosed(id) => return self.data_consumer_closed(id).await,
            MediaEvent::Bandwidth { desired, effective_desired, available } => Notification::DownlinkBwe {
                desired_bitrate: desired,
                effective_desired_bitrate: effective_desired,
                available_bitrate: available,
            },
        };
        self.notify(notification).await
    }

    fn is_accepted(&self, consumer: &ConsumerId) -> bool {
        self.consumers.get(consumer).is_some_and(|receiving| receiving.accepted)
    }

    /// Closes the consumers that the client never answered for.
    async fn expire(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let late: Vec<_> =
            self.asked.iter().filter(|(_, (_, until))| *until <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.unanswered(id).await?;
        }
        self.tell_costs(now);
        // What could not be brought here a moment ago is tried again.
        self.consume_offered();
        Ok(())
    }
}

/// The WebSocket addresses of the nodes that take clients, that of `first` before the others.
fn endpoints(view: &View, first: &NodeId) -> Vec<String> {
    let mut members: Vec<_> = view.nodes.values().collect();
    members.sort_by_key(|member| member.id != *first);
    let alive = members.into_iter().filter(|member| member.state == NodeState::Alive);
    // http becomes ws, https wss.
    alive.map(|member| member.facts.url.replacen("http", "ws", 1)).collect()
}

/// Ends then; never where there is no such time.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

fn close(code: u16, reason: &str) -> End {
    End::Close { code, reason: reason.to_owned() }
}
