//! A WebRTC client without a browser: joins a room like mediasoup-demo, sends Opus and VP8, and counts what arrives.
//!
//! Media is str0m in RTP mode, set up from mediasoup's parameters without SDP. One task and two UDP sockets a peer.

mod link;
mod options;
mod parameters;
mod roamer;
mod source;
mod stats;
mod task;

pub use options::{Kind, PeerOptions};
pub use roamer::Roamer;
pub use source::{Simulcast, Video};
pub use stats::{Evenness, Received, ReceivedData, Stats};

use crate::protoo::Protoo;
use crate::wait;
use anyhow::{Context, ensure};
use link::{Direction, Link};
use parameters::{Capabilities, Remote};
use parking_lot::Mutex;
use serde_json::{Value, json};
use source::Source;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::media::MediaKind;
use task::{Command, Task};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// How many commands may wait for the task.
const COMMANDS: usize = 256;

/// A peer in a room. Dropping it drops its connection without a closing handshake; [`Peer::leave`] leaves properly.
pub struct Peer {
    id: String,
    opened: Instant,
    protoo: Protoo,
    capabilities: Capabilities,
    send: Option<String>,
    receive: Option<String>,
    joined: Value,
    tracks: Mutex<BTreeMap<Kind, String>>,
    level: i8,
    stats: Arc<Mutex<Stats>>,
    commands: mpsc::Sender<Command>,
    _task: AbortOnDropHandle<()>,
}

impl Peer {
    /// Connects to a node's `ws://` address, makes transports, joins and begins to send.
    ///
    /// # Errors
    /// When the node refuses something.
    pub async fn join(url: &str, options: PeerOptions) -> anyhow::Result<Self> {
        let id = options.connect.peer.clone().unwrap_or_default();
        let opening = Instant::now();
        let protoo =
            Protoo::connect(url, &options.connect).await.with_context(|| format!("{id} cannot connect"))?;
        let peer = Self::set_up(id.clone(), opening, protoo, &options).await;
        peer.with_context(|| format!("{id} cannot join"))
    }

    async fn set_up(
        id: String,
        opened: Instant,
        protoo: Protoo,
        options: &PeerOptions,
    ) -> anyhow::Result<Self> {
        let messages = protoo.take_messages().context("the connection is new")?;
        let router = protoo.request("getRouterRtpCapabilities", json!({})).await?;
        let capabilities = Capabilities::from_router(&router)?;
        let sends = options.audio || options.video.is_some() || options.data;
        let (send, receive) = tokio::try_join!(
            transport(&protoo, &capabilities, sends.then_some(Direction::Send), options.data),
            transport(&protoo, &capabilities, options.receive.then_some(Direction::Receive), options.data),
        )?;
        let ids = [&send, &receive].map(|link| link.as_ref().map(|link| link.id.clone()));
        let [send_id, receive_id] = ids;
        let stats = Arc::new(Mutex::new(Stats::default()));
        let (commands, queue) = mpsc::channel(COMMANDS);
        let task =
            Task::new(send, receive, protoo.clone(), messages, queue, Arc::clone(&stats), options.moves);
        let task = AbortOnDropHandle::new(tokio::spawn(task.run()));
        let mut join = json!({
            "displayName": id,
            "device": { "flag": "str0m", "name": "skein-tests", "version": env!("CARGO_PKG_VERSION") },
        });
        if options.receive {
            join["rtpCapabilities"] = capabilities.json.clone();
        }
        if options.data {
            join["sctpCapabilities"] = sctp_capabilities();
        }
        let joined = protoo.request("join", join).await?;
        let peer = Self {
            id,
            opened,
            protoo,
            capabilities,
            send: send_id,
            receive: receive_id,
            joined: joined["peers"].clone(),
            tracks: Mutex::new(BTreeMap::new()),
            level: options.level,
            stats,
            commands,
            _task: task,
        };
        if options.audio {
            peer.produce_audio().await?;
        }
        if let Some(video) = options.video {
            peer.produce_video(video).await?;
        }
        Ok(peer)
    }

    /// The peer's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it began to connect.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Its signalling.
    pub fn protoo(&self) -> &Protoo {
        &self.protoo
    }

    /// Who was there when it joined: ids, sorted.
    pub fn found(&self) -> Vec<String> {
        let ids = self.joined.as_array().into_iter().flatten().filter_map(|peer| peer["id"].as_str());
        let mut ids: Vec<_> = ids.map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// The ids of its sending and receiving transport.
    pub fn transports(&self) -> (Option<&str>, Option<&str>) {
        (self.send.as_deref(), self.receive.as_deref())
    }

    /// Everything it sent and received so far.
    pub fn stats(&self) -> Stats {
        self.stats.lock().clone()
    }

    /// How evenly things arrive counts from now on.
    pub fn forget_gaps(&self) {
        let now = Instant::now();
        for even in self.stats.lock().evenness.values_mut() {
            *even = Evenness { last: now, longest: Duration::ZERO };
        }
    }

    /// What it receives of another peer, newest consumer first, closed ones last.
    pub fn received(&self, peer: &str, kind: Kind) -> Option<Received> {
        let stats = self.stats.lock();
        let of_it = stats.received.values().filter(|one| one.peer == peer && one.kind == kind.as_str());
        of_it.min_by_key(|one| one.closed).cloned()
    }

    /// The id of its producer of this kind.
    ///
    /// # Errors
    /// When it produces none.
    pub fn producer(&self, kind: Kind) -> anyhow::Result<String> {
        let producer = self.tracks.lock().get(&kind).cloned();
        producer.with_context(|| format!("{} sends no {}", self.id, kind.as_str()))
    }

    async fn command(&self, command: Command) -> anyhow::Result<()> {
        let failed = || format!("{}: its task ended: {:?}", self.id, self.stats.lock().failed);
        self.commands.send(command).await.ok().with_context(failed)
    }

    /// Begins to send sound.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn produce_audio(&self) -> anyhow::Result<String> {
        let payload_type = self.capabilities.payload_type(MediaKind::Audio)?;
        let source = Source::audio(Kind::Audio.mid(), payload_type, self.level);
        self.produce(Kind::Audio, source).await
    }

    /// Begins to send pictures.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn produce_video(&self, video: Video) -> anyhow::Result<String> {
        let source =
            Source::video(Kind::Video.mid(), self.capabilities.payload_type(MediaKind::Video)?, video);
        self.produce(Kind::Video, source).await
    }

    /// Has a camera that sends nothing before [`Peer::begin`], as a browser whose encoder takes its time.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn produce_video_later(&self, video: Video) -> anyhow::Result<String> {
        let payload_type = self.capabilities.payload_type(MediaKind::Video)?;
        let mut source = Source::video(Kind::Video.mid(), payload_type, video);
        source.pause(true);
        self.produce(Kind::Video, source).await
    }

    /// Begins to send pictures, without a word to the node.
    ///
    /// # Errors
    /// When its task ended.
    pub async fn begin(&self, kind: Kind) -> anyhow::Result<()> {
        self.command(Command::Pause(kind.mid().into(), false)).await
    }

    async fn produce(&self, kind: Kind, source: Source) -> anyhow::Result<String> {
        let transport = self.send.as_deref().context("there is no transport to send on")?;
        let encodings = source.encodings();
        let data = json!({
            "transportId": transport,
            "kind": kind.as_str(),
            "rtpParameters": self.capabilities.rtp_parameters(kind.media(), kind.mid(), &self.id, &encodings),
            "appData": { "source": kind.as_str() },
        });
        let answer = self.protoo.request("produce", data).await.context("produce")?;
        let id = answer["id"].as_str().context("produce is answered without an id")?.to_owned();
        self.tracks.lock().insert(kind, id.clone());
        self.command(Command::Start(source)).await?;
        Ok(id)
    }

    /// Pauses or resumes its producer, and stops or goes on sending.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn pause(&self, kind: Kind, paused: bool) -> anyhow::Result<()> {
        let method = if paused { "pauseProducer" } else { "resumeProducer" };
        self.protoo.request(method, json!({ "producerId": self.producer(kind)? })).await?;
        self.command(Command::Pause(kind.mid().into(), paused)).await
    }

    /// Speaks, or is silent: what is sent says so of itself.
    ///
    /// # Errors
    /// When its task ended.
    pub async fn speak(&self, speaks: bool) -> anyhow::Result<()> {
        let level = if speaks { source::SPEAKS } else { source::SILENT };
        self.command(Command::Level(Kind::Audio.mid().into(), level)).await
    }

    /// Closes its producer.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn close_producer(&self, kind: Kind) -> anyhow::Result<()> {
        let producer = self.producer(kind)?;
        self.command(Command::Remove(kind.mid().into())).await?;
        self.protoo.request("closeProducer", json!({ "producerId": producer })).await?;
        self.tracks.lock().remove(&kind);
        Ok(())
    }

    /// Asks for a key frame by RTCP, as a decoder that lost its picture.
    ///
    /// # Errors
    /// When its task ended.
    pub async fn send_pli(&self, consumer: &str) -> anyhow::Result<()> {
        self.command(Command::Pli(consumer.to_owned())).await
    }

    /// Opens a data channel to send on. Answers the data producer's id.
    ///
    /// # Errors
    /// When the node refuses it, or the peer was made without data channels.
    pub async fn produce_data(&self, stream: u16, label: &str) -> anyhow::Result<String> {
        let transport = self.send.as_deref().context("there is no transport to send on")?;
        let data = json!({
            "transportId": transport,
            "sctpStreamParameters": { "streamId": stream, "ordered": true },
            "label": label,
            "protocol": "",
            "appData": {},
        });
        let answer = self.protoo.request("produceData", data).await.context("produceData")?;
        self.command(Command::OpenData { stream, label: label.to_owned() }).await?;
        Ok(answer["id"].as_str().context("produceData is answered without an id")?.to_owned())
    }

    /// Sends a text on a data channel of its own.
    ///
    /// # Errors
    /// When its task ended.
    pub async fn send_data(&self, stream: u16, text: &str) -> anyhow::Result<()> {
        self.command(Command::SendData { stream, text: text.to_owned() }).await
    }

    /// Waits until the data consumer of another peer's data channel is there: what is sent before that is lost.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn expect_data_consumer(
        &self,
        peer: &str,
        label: &str,
        deadline: Duration,
    ) -> anyhow::Result<ReceivedData> {
        let what = format!("{} gets a data consumer of {peer}'s {label}", self.id);
        wait::until(&what, deadline, async || {
            let stats = self.stats.lock();
            let mut all = stats.received_data.values();
            let fits =
                |one: &&ReceivedData| one.peer.as_deref() == Some(peer) && one.label == label && !one.closed;
            all.find(fits).cloned().with_context(|| format!("{:?}", stats.received_data))
        })
        .await
    }

    /// Waits until a message came on another peer's data channel.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn expect_message(
        &self,
        peer: &str,
        label: &str,
        text: &str,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let what = format!("{} gets {text:?} on {peer}'s {label}", self.id);
        wait::until(&what, deadline, async || {
            let one = self.expect_data_consumer(peer, label, deadline).await?;
            ensure!(one.last.iter().any(|message| message == text.as_bytes()), "{one:?}");
            Ok(())
        })
        .await
    }

    /// Waits until the consumer of another peer's track is there.
    ///
    /// # Errors
    /// When it does not come in time.
    pub async fn expect_consumer(
        &self,
        peer: &str,
        kind: Kind,
        deadline: Duration,
    ) -> anyhow::Result<Received> {
        let what = format!("{} gets a consumer of {peer}'s {}", self.id, kind.as_str());
        wait::until(&what, deadline, async || {
            self.received(peer, kind).filter(|one| !one.closed).with_context(|| self.told())
        })
        .await
    }

    /// What it receives of one producer, through the consumer that is open.
    pub fn received_from(&self, producer: &str) -> Option<Received> {
        let stats = self.stats.lock();
        stats.received.values().find(|one| one.producer == producer && !one.closed).cloned()
    }

    /// Waits until this many more packets of one producer came than there were at the beginning.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn expect_from(
        &self,
        producer: &str,
        more: u64,
        deadline: Duration,
    ) -> anyhow::Result<Received> {
        let (mut before, mut consumer) = (0, String::new());
        let what = format!("{} receives producer {producer}", self.id);
        wait::until(&what, deadline, async || {
            let one = self.received_from(producer).with_context(|| self.told())?;
            if consumer != one.consumer {
                (before, consumer) = (one.packets, one.consumer.clone());
            }
            ensure!(one.packets >= before + more, "only {} packets more: {one:?}", one.packets - before);
            Ok(one)
        })
        .await
    }

    /// Waits until this many more packets of another peer's track came than there were at the beginning.
    ///
    /// # Errors
    /// When they do not come in time.
    pub async fn expect_packets(
        &self,
        peer: &str,
        kind: Kind,
        more: u64,
        deadline: Duration,
    ) -> anyhow::Result<Received> {
        let before = self.received(peer, kind).map_or(0, |one| one.packets);
        let what = format!("{} receives {peer}'s {}", self.id, kind.as_str());
        wait::until(&what, deadline, async || {
            let one = self.received(peer, kind).with_context(|| self.told())?;
            ensure!(
                one.packets >= before + more,
                "{} packets more and not {more}: {one:?}",
                one.packets - before
            );
            Ok(one)
        })
        .await
    }

    /// Checks that nothing of another peer's track comes for a while.
    ///
    /// # Errors
    /// When something does.
    pub async fn expect_silence(&self, peer: &str, kind: Kind, time: Duration) -> anyhow::Result<()> {
        let before = self.received(peer, kind).map_or(0, |one| one.packets);
        tokio::time::sleep(time).await;
        let after = self.received(peer, kind).map_or(0, |one| one.packets);
        ensure!(
            after == before,
            "{} received {} packets of {peer}'s {}",
            self.id,
            after - before,
            kind.as_str()
        );
        Ok(())
    }

    /// For error messages: how it stands.
    fn told(&self) -> String {
        let stats = self.stats.lock();
        format!(
            "{}: connected {:?}, failed {:?}, closed {:?}, consumers {:?}",
            self.id,
            stats.connected,
            stats.failed,
            self.protoo.is_closed(),
            stats.received.values().collect::<Vec<_>>()
        )
    }

    /// Leaves with a closing handshake.
    pub async fn leave(self) {
        self.protoo.close().await;
        let _ = self.protoo.expect_close(Duration::from_secs(3)).await;
    }

    /// Goes without a word: nothing is read, answered or sent any more, and the connection stays open as long as the
    /// peer is kept.
    ///
    /// # Errors
    /// When its task ended before.
    pub async fn vanish(&self) -> anyhow::Result<()> {
        self.protoo.freeze().await;
        self.command(Command::Vanish).await
    }
}

/// Waits until each of these peers has received this many more packets of each other one's tracks, all at once.
///
/// # Errors
/// The first that does not.
pub async fn all_receive(
    peers: &[&Peer],
    kinds: &[Kind],
    more: u64,
    deadline: Duration,
) -> anyhow::Result<()> {
    let pairs = peers.iter().flat_map(|receiver| {
        let others = peers.iter().filter(|sender| sender.id != receiver.id);
        others.flat_map(move |sender| kinds.iter().map(move |kind| (*receiver, *sender, *kind)))
    });
    let waits =
        pairs.map(|(receiver, sender, kind)| receiver.expect_packets(&sender.id, kind, more, deadline));
    futures::future::try_join_all(waits).await?;
    Ok(())
}

/// Waits until each of these peers has received this many more packets of the producer beside it, all at once. A
/// consumer that is closed in between counts no more, and its successor from its first packet.
///
/// # Errors
/// Names some of those that do not.
pub async fn all_receive_from<'a>(
    pairs: impl IntoIterator<Item = (&'a Peer, &'a str)>,
    more: u64,
    deadline: Duration,
) -> anyhow::Result<()> {
    let before = |(peer, producer): (&'a Peer, &'a str)| {
        let now =
            peer.received_from(producer).map_or_else(Default::default, |one| (one.consumer, one.packets));
        (peer, producer, now)
    };
    let mut waiting: Vec<_> = pairs.into_iter().map(before).collect();
    let all = waiting.len();
    wait::until("all receive", deadline, async || {
        waiting.retain_mut(|(peer, producer, (consumer, packets))| {
            let Some(now) = peer.received_from(producer) else { return true };
            if now.consumer != *consumer {
                (*consumer, *packets) = (now.consumer, 0);
            }
            now.packets < *packets + more
        });
        let some: Vec<_> = waiting
            .iter()
            .take(5)
            .map(|(peer, producer, _)| {
                format!("{} of {producer}: {:?}", peer.id, peer.received_from(producer))
            })
            .collect();
        ensure!(waiting.is_empty(), "{} of {all} do not: {some:#?}", waiting.len());
        Ok(())
    })
    .await
}

fn sctp_capabilities() -> Value {
    json!({ "numStreams": { "OS": 1024, "MIS": 1024 } })
}

async fn transport(
    protoo: &Protoo,
    capabilities: &Capabilities,
    direction: Option<Direction>,
    data: bool,
) -> anyhow::Result<Option<Link>> {
    let Some(direction) = direction else { return Ok(None) };
    let mut wish = json!({
        "forceTcp": false,
        "producing": direction == Direction::Send,
        "consuming": direction == Direction::Receive,
    });
    if data {
        wish["sctpCapabilities"] = sctp_capabilities();
    }
    let answer = protoo.request("createWebRtcTransport", wish).await.context("createWebRtcTransport")?;
    let mut link = Link::new(capabilities, &Remote::parse(&answer)?, direction, data).await?;
    let connect = json!({ "transportId": link.id, "dtlsParameters": link.dtls_parameters() });
    protoo.request("connectWebRtcTransport", connect).await.context("connectWebRtcTransport")?;
    Ok(Some(link))
}
