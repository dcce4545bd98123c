//! The task behind a peer: both transports, its tracks, and the node's requests and notifications.

use super::link::Link;
use super::parameters::ConsumedStream;
use super::source::{Source, vp8};
use super::stats::{Evenness, MESSAGES, Received, ReceivedData, Stats};
use crate::protoo::{Message, Protoo};
use anyhow::Context;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::Event;
use str0m::channel::{ChannelConfig, ChannelId};
use str0m::media::{KeyframeRequestKind, MediaKind, Mid};
use str0m::rtp::{RtpPacket, Ssrc};
use tokio::sync::mpsc;

/// How long the task sleeps at most.
const IDLE: Duration = Duration::from_millis(500);
/// How many messages wait for a data channel to open.
const PENDING: usize = 1000;

/// What the task is told.
pub(super) enum Command {
    Start(Source),
    Pause(Mid, bool),
    Level(Mid, i8),
    Remove(Mid),
    Pli(String),
    OpenData { stream: u16, label: String },
    SendData { stream: u16, text: String },
    Vanish,
}

/// A data channel that the peer sends on.
struct Outgoing {
    id: ChannelId,
    open: bool,
    waiting: VecDeque<String>,
}

/// Everything that a peer does by itself.
pub(super) struct Task {
    send: Option<Link>,
    receive: Option<Link>,
    protoo: Protoo,
    messages: mpsc::Receiver<Message>,
    commands: mpsc::Receiver<Command>,
    stats: Arc<Mutex<Stats>>,
    sources: Vec<Source>,
    /// Consumers by the SSRC that they send.
    streams: BTreeMap<u32, String>,
    outgoing: BTreeMap<u16, Outgoing>,
    incoming: Vec<(ChannelId, String)>,
    vanished: bool,
    moves: bool,
}

async fn readable(link: &Option<Link>) {
    match link {
        // An error shows when the socket is read.
        Some(link) => drop(link.readable().await),
        None => std::future::pending().await,
    }
}

impl Task {
    pub(super) fn new(
        send: Option<Link>,
        receive: Option<Link>,
        protoo: Protoo,
        messages: mpsc::Receiver<Message>,
        commands: mpsc::Receiver<Command>,
        stats: Arc<Mutex<Stats>>,
        moves: bool,
    ) -> Self {
        Self {
            send,
            receive,
            protoo,
            messages,
            commands,
            stats,
            sources: Vec::new(),
            streams: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: Vec::new(),
            vanished: false,
            moves,
        }
    }

    pub(super) async fn run(mut self) {
        if let Err(error) = self.work().await {
            self.stats.lock().failed = Some(format!("{error:#}"));
        }
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        loop {
            self.step(&mut sent, &mut received)?;
            let due = self.due();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                Some(message) = self.messages.recv() => self.hear(message).await?,
                () = readable(&self.send), if !self.vanished => {
                    if let Some(link) = &mut self.send {
                        link.receive(&mut sent)?;
                    }
                }
                () = readable(&self.receive), if !self.vanished => {
                    if let Some(link) = &mut self.receive {
                        link.receive(&mut received)?;
                    }
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    }

    fn due(&self) -> Instant {
        let latest = Instant::now() + IDLE;
        if self.vanished {
            return latest;
        }
        let links = self.send.iter().chain(&self.receive).map(Link::due);
        links.chain(self.sources.iter().filter_map(Source::due)).min().map_or(latest, |due| due.min(latest))
    }

    fn step(&mut self, sent: &mut Vec<Event>, received: &mut Vec<Event>) -> anyhow::Result<()> {
        if self.vanished {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(link) = &mut self.send {
            let (mut packets, mut bytes) = (0, 0);
            if link.rtc.is_connected() {
                for source in &mut self.sources {
                    let written = source.send(link, now);
                    packets += written.0;
                    bytes += written.1;
                }
            }
            link.poll(now, sent)?;
            let mut stats = self.stats.lock();
            stats.packets_sent += packets;
            stats.bytes_sent += bytes;
        }
        if let Some(link) = &mut self.receive {
            link.poll(now, received)?;
        }
        for event in sent.drain(..) {
            self.sending(event);
        }
        for event in received.drain(..) {
            self.receiving(event);
        }
        Ok(())
    }

    fn sending(&mut self, event: Event) {
        match event {
            Event::Connected => self.stats.lock().connected[0] = true,
            Event::KeyframeRequest(request) => {
                let source = self.sources.iter_mut().find(|source| source.mid == request.mid);
                let layer = source.and_then(|source| source.request_key_frame(request.rid));
                if let Some(layer) = layer {
                    self.stats.lock().key_frame_requests[usize::from(layer.min(2))] += 1;
                }
            }
            Event::ChannelOpen(id, _) => {
                let Some(link) = &mut self.send else { return };
                for outgoing in self.outgoing.values_mut().filter(|outgoing| outgoing.id == id) {
                    outgoing.open = true;
                    for text in outgoing.waiting.drain(..) {
                        write(link, id, &text);
                    }
                }
            }
            _ => {}
        }
    }

    fn receiving(&mut self, event: Event) {
        match event {
            Event::Connected => self.stats.lock().connected[1] = true,
            Event::RtpPacket(packet) => self.count(&packet),
            Event::ChannelData(message) => {
                let Some((_, consumer)) = self.incoming.iter().find(|(id, _)| *id == message.id) else {
                    return;
                };
                if let Some(data) = self.stats.lock().received_data.get_mut(consumer) {
                    data.messages += 1;
                    if data.last.len() == MESSAGES {
                        data.last.pop_front();
                    }
                    data.last.push_back(message.data);
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, packet: &RtpPacket) {
        let Some(consumer) = self.streams.get(&*packet.header.ssrc) else { return };
        let mut stats = self.stats.lock();
        let Stats { received, evenness, .. } = &mut *stats;
        let Some(received) = received.get_mut(consumer) else { return };
        let first = Evenness { last: packet.timestamp, longest: Duration::ZERO };
        let even = evenness.entry((received.peer.clone(), received.kind.clone())).or_insert(first);
        even.longest = even.longest.max(packet.timestamp.saturating_duration_since(even.last));
        even.last = even.last.max(packet.timestamp);
        received.packets += 1;
        received.bytes += packet.payload.len() as u64;
        received.first_packet.get_or_insert(packet.timestamp);
        received.last_packet = Some(packet.timestamp);
        if received.kind == "video"
            && let Some(seen) = vp8::read(&packet.payload)
        {
            received.key_frames += u64::from(seen.key);
            received.last_layer = Some(seen.layer);
            if let Some(layer) = received.layers.get_mut(usize::from(seen.layer)) {
                *layer += 1;
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Start(mut source) => {
                // What the node ended, as when a role was taken away, is still sent.
                self.obey(Command::Remove(source.mid));
                if let Some(link) = &mut self.send {
                    source.declare(link);
                    self.sources.push(source);
                }
            }
            Command::Pause(mid, paused) => {
                for source in self.sources.iter_mut().filter(|source| source.mid == mid) {
                    source.pause(paused);
                }
            }
            Command::Level(mid, level) => {
                for source in self.sources.iter_mut().filter(|source| source.mid == mid) {
                    source.level = level;
                }
            }
            Command::Remove(mid) => {
                if let Some(link) = &mut self.send {
                    self.sources
                        .iter()
                        .filter(|source| source.mid == mid)
                        .for_each(|source| source.remove(link));
                }
                self.sources.retain(|source| source.mid != mid);
            }
            Command::Pli(consumer) => {
                let ssrc =
                    self.streams.iter().find(|(_, id)| **id == consumer).map(|(ssrc, _)| Ssrc::from(*ssrc));
                if let (Some(ssrc), Some(link)) = (ssrc, &mut self.receive) {
                    if let Some(stream) = link.rtc.direct_api().stream_rx(&ssrc) {
                        stream.request_keyframe(KeyframeRequestKind::Pli);
                    }
                    link.touch();
                }
            }
            Command::OpenData { stream, label } => {
                if let Some(link) = &mut self.send {
                    let id = open_channel(link, stream, &label);
                    self.outgoing.insert(stream, Outgoing { id, open: false, waiting: VecDeque::new() });
                }
            }
            Command::SendData { stream, text } => {
                let (Some(outgoing), Some(link)) = (self.outgoing.get_mut(&stream), &mut self.send) else {
                    return;
                };
                if outgoing.open {
                    write(link, outgoing.id, &text);
                } else if outgoing.waiting.len() < PENDING {
                    outgoing.waiting.push_back(text);
                }
            }
            Command::Vanish => self.vanished = true,
        }
    }

    async fn hear(&mut self, message: Message) -> anyhow::Result<()> {
        let data = &message.data;
        let consumer = || data["consumerId"].as_str().unwrap_or_default();
        match (message.method.as_str(), message.id) {
            ("newConsumer", Some(id)) => match self.consume(data) {
                Ok(()) => self.protoo.accept(id).await,
                Err(error) => self.protoo.reject(id, 500, &format!("{error:#}")).await,
            },
            ("newDataConsumer", Some(id)) => match self.consume_data(data) {
                Ok(()) => self.protoo.accept(id).await,
                Err(error) => self.protoo.reject(id, 500, &format!("{error:#}")).await,
            },
            // Whoever made the peer does the rest.
            ("move", Some(id)) if self.moves => self.protoo.accept(id).await,
            (_, Some(id)) => self.protoo.reject(id, 404, "unknown").await,
            ("consumerPaused", None) => self.note(consumer(), |one| one.paused = true),
            ("consumerResumed", None) => self.note(consumer(), |one| one.paused = false),
            ("consumerClosed", None) => {
                self.note(consumer(), |one| one.closed = true);
                self.streams.retain(|ssrc, id| {
                    let gone = id == consumer();
                    if gone && let Some(link) = &mut self.receive {
                        link.rtc.direct_api().remove_stream_rx((*ssrc).into());
                    }
                    !gone
                });
            }
            ("dataConsumerClosed", None) => {
                let id = data["dataConsumerId"].as_str().unwrap_or_default();
                if let Some(one) = self.stats.lock().received_data.get_mut(id) {
                    one.closed = true;
                }
                self.incoming.retain(|(channel, consumer)| {
                    let gone = consumer == id;
                    if gone && let Some(link) = &mut self.receive {
                        link.rtc.direct_api().close_data_channel(*channel);
                        link.touch();
                    }
                    !gone
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&self, consumer: &str, change: impl FnOnce(&mut Received)) {
        if let Some(received) = self.stats.lock().received.get_mut(consumer) {
            change(received);
        }
    }

    /// Makes str0m ready for a consumer's packets, before the node is told to send them.
    fn consume(&mut self, data: &Value) -> anyhow::Result<()> {
        let link = self.receive.as_mut().context("there is no transport to receive on")?;
        let text =
            |key: &str| data[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {data}"));
        let stream = ConsumedStream::parse(&data["rtpParameters"])?;
        let kind = text("kind")?;
        let received = Received {
            consumer: text("id")?,
            producer: text("producerId")?,
            peer: text("peerId")?,
            consumer_type: text("type")?,
            packets: 0,
            bytes: 0,
            key_frames: 0,
            layers: [0; 3],
            last_layer: None,
            first_packet: None,
            last_packet: None,
            paused: data["producerPaused"].as_bool().unwrap_or(false),
            closed: false,
            kind: kind.clone(),
        };
        let mut direct = link.rtc.direct_api();
        let mid = Mid::from(stream.mid.as_str());
        direct.declare_media(mid, if kind == "audio" { MediaKind::Audio } else { MediaKind::Video });
        direct.expect_stream_rx(stream.ssrc.into(), stream.rtx.map(Into::into), mid, None);
        self.streams.insert(stream.ssrc, received.consumer.clone());
        self.stats.lock().received.insert(received.consumer.clone(), received);
        Ok(())
    }

    fn consume_data(&mut self, data: &Value) -> anyhow::Result<()> {
        let link = self.receive.as_mut().context("there is no transport to receive on")?;
        let stream = data["sctpStreamParameters"]["streamId"].as_u64().context("no streamId")?;
        let label = data["label"].as_str().unwrap_or_default();
        let channel = open_channel(link, u16::try_from(stream)?, label);
        let id = data["id"].as_str().context("no id")?.to_owned();
        let received = ReceivedData {
            peer: data["peerId"].as_str().map(str::to_owned),
            label: label.to_owned(),
            messages: 0,
            last: VecDeque::new(),
            closed: false,
        };
        self.incoming.push((channel, id.clone()));
        self.stats.lock().received_data.insert(id, received);
        Ok(())
    }
}

/// mediasoup names SCTP streams by signalling and speaks no DCEP.
fn open_channel(link: &mut Link, stream: u16, label: &str) -> ChannelId {
    let config =
        ChannelConfig { label: label.to_owned(), negotiated: Some(stream), ..ChannelConfig::default() };
    let id = link.rtc.direct_api().create_data_channel(config);
    link.touch();
    id
}

fn write(link: &mut Link, id: ChannelId, text: &str) {
    if let Some(mut channel) = link.rtc.channel(id) {
        // What does not fit is lost, as over a channel without reliability.
        let _ = channel.write(false, text.as_bytes());
    }
    link.touch();
}
