//! The chain of three workers that the load goes through: source, tested, sink.

use super::CalibrateError;
use super::load::{Load, PAYLOAD_TYPE, ssrc};
use crate::media::thread::{Introduced, Thread};
use crate::media::{bounded, codecs, json, parse};
use futures::future::try_join_all;
use mediasoup::prelude::*;
use mediasoup::types::rtp_parameters::{RtpCodecParametersParameters, RtpEncodingParametersRtx};
use mediasoup::types::srtp_parameters::SrtpCryptoSuite;
use mediasoup::worker::WorkerLogLevel;
use skein_proto::capacity::REFERENCE;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

/// Streams of one room: they share transports, as those of a client in a call do.
pub const ROOM: usize = 10;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const VIDEO_CLOCK: NonZeroU32 = NonZeroU32::new(90_000).expect("not zero");

/// Between the SSRC of a stream and the one of what is repeated of it.
const RTX_OFFSET: u32 = 1_000_000;

/// How the links are made.
#[derive(Debug, Clone, Copy)]
pub struct Links {
    /// With SRTP, in the suite that browsers and mediasoup agree on.
    pub encrypted: bool,
    /// With transport-wide congestion control: feedback, and an estimator at the sending end.
    pub estimator: bool,
    /// How many times the tested worker sends each stream.
    pub consumers: usize,
}

/// Three workers and the rooms on them.
pub struct Chain {
    source: Station,
    tested: Station,
    sink: Station,
    links: Links,
    rooms: Vec<Room>,
}

struct Station {
    worker: Worker,
    introduced: Introduced,
}

/// What goes through the chain together. Held because all of it closes when it is dropped.
struct Room {
    _source: (Router, PlainTransport, Vec<Producer>),
    _first: Link,
    last: Vec<Link>,
}

/// Streams from one router to another, each over one pair of transports.
struct Link {
    _routers: (Router, Router),
    near: PlainTransport,
    _far: PlainTransport,
    _consumers: Vec<Consumer>,
    producers: Vec<Producer>,
}

impl Station {
    async fn start(manager: &WorkerManager) -> Result<Self, CalibrateError> {
        let introduced = Introduced::default();
        let mut settings = WorkerSettings::default();
        settings.log_level = WorkerLogLevel::Error;
        settings.log_tags = Vec::new();
        settings.thread_initializer = Some(introduced.initializer());
        let worker = bounded(manager.create_worker(settings)).await?;
        Ok(Self { worker, introduced })
    }

    async fn router(&self) -> Result<Router, CalibrateError> {
        Ok(bounded(self.worker.create_router(RouterOptions::new(codecs::codecs()))).await?)
    }

    fn cpu_time(&self) -> Result<Duration, CalibrateError> {
        self.introduced.thread().and_then(Thread::cpu_time).ok_or(CalibrateError::NoCpuTime)
    }
}

impl Chain {
    pub async fn start(links: Links) -> Result<Self, CalibrateError> {
        let manager = WorkerManager::new();
        let source = Station::start(&manager).await?;
        let tested = Station::start(&manager).await?;
        let sink = Station::start(&manager).await?;
        Ok(Self { source, tested, sink, links, rooms: Vec::new() })
    }

    /// Makes rooms until so many streams can go through, and adds them to the load.
    pub async fn grow(&mut self, streams: usize, load: &Load) -> Result<(), CalibrateError> {
        while self.rooms.len() * ROOM < streams {
            let room = self.room().await?;
            let to = SocketAddr::new(LOOPBACK, room._source.1.tuple().local_port());
            self.rooms.push(room);
            load.add(ROOM, to).map_err(CalibrateError::Load)?;
        }
        Ok(())
    }

    async fn room(&self) -> Result<Room, CalibrateError> {
        let first_stream = self.rooms.len() * ROOM;
        let source = self.source.router().await?;
        let tested = self.tested.router().await?;
        let mut options = PlainTransportOptions::new(loopback());
        options.comedia = true;
        let inlet = bounded(source.create_plain_transport(options)).await?;
        let mut produced = Vec::new();
        for stream in first_stream..first_stream + ROOM {
            let options = ProducerOptions::new(MediaKind::Video, parameters(stream));
            produced.push(bounded(inlet.produce(options)).await?);
        }
        let first = self.link(&source, &tested, &produced).await?;
        let mut last = Vec::new();
        for _ in 0..self.links.consumers {
            let sink = self.sink.router().await?;
            last.push(self.link(&tested, &sink, &first.producers).await?);
        }
        Ok(Room { _source: (source, inlet, produced), _first: first, last })
    }

    async fn link(&self, from: &Router, to: &Router, streams: &[Producer]) -> Result<Link, CalibrateError> {
        let near = self.transport(from).await?;
        let far = self.transport(to).await?;
        for (one, other) in [(&near, &far), (&far, &near)] {
            let remote = PlainTransportRemoteParameters {
                ip: Some(LOOPBACK),
                port: Some(other.tuple().local_port()),
                rtcp_port: None,
                srtp_parameters: other.srtp_parameters(),
            };
            bounded(one.connect(remote)).await?;
        }
        // The crate gives capabilities in a finished form and takes them in an open one; they are the same JSON.
        let mut capabilities: RtpCapabilities = parse("rtpCapabilities", json(&from.rtp_capabilities())?)?;
        if !self.links.estimator {
            capabilities.header_extensions.retain(|extension| {
                !matches!(
                    extension.uri,
                    RtpHeaderExtensionUri::TransportWideCcDraft01 | RtpHeaderExtensionUri::AbsSendTime
                )
            });
        }
        let (mut consumers, mut producers) = (Vec::new(), Vec::new());
        for stream in streams {
            let options = ConsumerOptions::new(stream.id(), capabilities.clone());
            let consumer = bounded(near.consume(options)).await?;
            let options = ProducerOptions::new(MediaKind::Video, consumer.rtp_parameters().clone());
            producers.push(bounded(far.produce(options)).await?);
            consumers.push(consumer);
        }
        let _routers = (from.clone(), to.clone());
        Ok(Link { _routers, near, _far: far, _consumers: consumers, producers })
    }

    async fn transport(&self, router: &Router) -> Result<PlainTransport, CalibrateError> {
        let mut options = PlainTransportOptions::new(loopback());
        options.enable_bwe = self.links.estimator;
        options.enable_srtp = self.links.encrypted;
        options.srtp_crypto_suite = SrtpCryptoSuite::AeadAes256Gcm;
        // Enough from the start, so that the estimator has no reason to send packets of its own.
        options.initial_available_outgoing_bitrate = REFERENCE.bits * ROOM as u64 * 2;
        Ok(bounded(router.create_plain_transport(options)).await?)
    }

    /// The CPU time that the tested worker's thread has used.
    pub fn cpu_time(&self) -> Result<Duration, CalibrateError> {
        self.tested.cpu_time()
    }

    /// The same for source and sink, which are there for the test only.
    pub fn others_cpu_time(&self) -> Result<[Duration; 2], CalibrateError> {
        Ok([self.source.cpu_time()?, self.sink.cpu_time()?])
    }

    /// Bytes of padding that the tested worker has sent to find out how much the way to the sink carries.
    pub async fn padding(&self) -> Result<u64, CalibrateError> {
        let links = self.rooms.iter().flat_map(|room| &room.last);
        let all = try_join_all(links.map(|link| bounded(link.near.get_stats()))).await?;
        Ok(all.iter().flatten().map(|transport| transport.probation_bytes_sent).sum())
    }

    /// Packets of the streams that the sink has received, decrypted and found new.
    pub async fn delivered(&self) -> Result<u64, CalibrateError> {
        let producers = self.rooms.iter().flat_map(|room| &room.last).flat_map(|link| &link.producers);
        let all = try_join_all(producers.map(|producer| bounded(producer.get_stats()))).await?;
        Ok(all.iter().flatten().map(|stream| stream.packet_count).sum())
    }
}

fn loopback() -> ListenInfo {
    ListenInfo {
        protocol: Protocol::Udp,
        ip: LOOPBACK,
        announced_address: None,
        expose_internal_ip: false,
        port: None,
        port_range: None,
        flags: None,
        send_buffer_size: None,
        recv_buffer_size: None,
    }
}

/// What a stream of the load is: VP8, with a stream for what is repeated.
fn parameters(stream: usize) -> RtpParameters {
    let mut repeats = RtpCodecParametersParameters::default();
    repeats.insert("apt", u32::from(PAYLOAD_TYPE));
    let codec = |mime_type, payload_type, parameters, rtcp_feedback| RtpCodecParameters::Video {
        mime_type,
        payload_type,
        clock_rate: VIDEO_CLOCK,
        parameters,
        rtcp_feedback,
    };
    let feedback = vec![RtcpFeedback::Nack, RtcpFeedback::NackPli, RtcpFeedback::CcmFir];
    let ssrc = ssrc(stream);
    RtpParameters {
        codecs: vec![
            codec(MimeTypeVideo::Vp8, PAYLOAD_TYPE, RtpCodecParametersParameters::default(), feedback),
            codec(MimeTypeVideo::Rtx, PAYLOAD_TYPE + 1, repeats, Vec::new()),
        ],
        encodings: vec![RtpEncodingParameters {
            ssrc: Some(ssrc),
            rtx: Some(RtpEncodingParametersRtx { ssrc: ssrc + RTX_OFFSET }),
            ..RtpEncodingParameters::default()
        }],
        rtcp: RtcpParameters { cname: Some(format!("stream-{stream}")), reduced_size: true },
        ..RtpParameters::default()
    }
}
