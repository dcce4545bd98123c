//! A client's transport.

use super::entity::{Events, watch_consumer, watch_producer};
use super::{Consumer, Counted, DataConsumer, DataProducer, MediaError, MediaEvent, Producer, Router};
use super::{bounded, defaults, id, json, parse, typed};
use crate::placement::estimate;
use mediasoup::prelude::*;
use mediasoup::transport::{TransportTraceEventData, TransportTraceEventType};
use mediasoup::types::rtp_parameters::MediaKind as Kind;
use serde_json::Value;
use skein_proto::capacity::Sends;
use skein_proto::ids;
use skein_proto::signaling::{self, MediaKind, WebRtcTransportInfo};
use std::sync::Arc;

/// How little a client's downlink is taken for at least, bits a second: enough for the lowest layer of a picture. The
/// estimator hears only of what is sent. After a few seconds without word from a client, whose machine stood still, say,
/// it would sink below what any layer takes; then nothing is sent, and nothing is heard, for good (`IsRttAboveLimit()` of
/// `TargetRateController.cpp` of mediasoup-sys 0.24.0).
const LEAST_OUTGOING: u64 = 200_000;

/// What a client asks of a transport.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransportOptions {
    /// TCP candidates only.
    pub force_tcp: bool,
    /// With data channels.
    pub sctp: bool,
}

/// A client's transport.
pub struct WebRtcTransport {
    transport: mediasoup::webrtc_transport::WebRtcTransport,
    router: Router,
    events: Events,
    _counted: Counted,
}

pub(super) fn kind(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Audio => Kind::Audio,
        MediaKind::Video => Kind::Video,
    }
}

/// What a client can receive.
#[derive(Debug)]
pub struct Capabilities(RtpCapabilities);

impl Capabilities {
    /// Reads what a client says.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn read(said: signaling::RtpCapabilities) -> Result<Self, MediaError> {
        parse("rtpCapabilities", defaults::rtp_capabilities(said.0)).map(Self)
    }
}

impl WebRtcTransport {
    pub(super) async fn create(
        router: &Router,
        options: &TransportOptions,
        events: Events,
    ) -> Result<Self, MediaError> {
        let worker = &router.worker;
        let mut all = WebRtcTransportOptions::new_with_server(worker.server.clone());
        all.enable_udp = !options.force_tcp;
        all.enable_tcp = true;
        all.prefer_udp = true;
        all.enable_sctp = options.sctp;
        all.initial_available_outgoing_bitrate = u64::from(worker.settings.initial_outgoing_bitrate);
        all.min_outgoing_bitrate = Some(LEAST_OUTGOING);
        let transport = bounded(router.router.create_webrtc_transport(all)).await?;
        if worker.settings.max_incoming_bitrate > 0 {
            let limit = u64::from(worker.settings.max_incoming_bitrate);
            bounded(transport.set_max_incoming_bitrate(limit)).await?;
        }
        let _counted = worker.counts.hold(|counts| &counts.transports);
        Ok(Self { transport, router: router.clone(), events, _counted })
    }

    /// Its id.
    pub fn id(&self) -> ids::TransportId {
        ids::TransportId(self.transport.id().to_string())
    }

    /// What the client needs to connect.
    ///
    /// # Errors
    /// Never, in practice: mediasoup's own structures are JSON.
    pub fn info(&self) -> Result<WebRtcTransportInfo, MediaError> {
        let transport = &self.transport;
        let sctp = transport.sctp_parameters().map(|parameters| json(&parameters)).transpose()?;
        Ok(WebRtcTransportInfo {
            id: self.id(),
            ice_parameters: signaling::IceParameters(json(transport.ice_parameters())?),
            ice_candidates: signaling::IceCandidates(with_ip(json(transport.ice_candidates())?)),
            dtls_parameters: signaling::DtlsParameters(json(&transport.dtls_parameters())?),
            sctp_parameters: sctp.map(signaling::SctpParameters),
        })
    }

    /// Gives it the client's fingerprints.
    ///
    /// # Errors
    /// When they are malformed or were given before.
    pub async fn connect(&self, parameters: signaling::DtlsParameters) -> Result<(), MediaError> {
        let dtls_parameters = parse("dtlsParameters", parameters.0)?;
        bounded(self.transport.connect(WebRtcTransportRemoteParameters { dtls_parameters })).await
    }

    /// Tells the session what the bandwidth estimator thinks, from now on.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn watch_bandwidth(&self) -> Result<(), MediaError> {
        let events = self.events.clone();
        self.transport
            .on_trace(Arc::new(move |trace| {
                if let TransportTraceEventData::Bwe { info, .. } = trace {
                    let _ = events.try_send(MediaEvent::Bandwidth {
                        desired: info.desired_bitrate,
                        // mediasoup's trace names the least it would go to, not what priorities leave.
                        effective_desired: info.desired_bitrate.min(info.max_bitrate),
                        available: info.available_bitrate,
                    });
                }
            }))
            .detach();
        bounded(self.transport.enable_trace_event(vec![TransportTraceEventType::Bwe])).await
    }

    /// New ICE credentials.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn restart_ice(&self) -> Result<signaling::IceParameters, MediaError> {
        json(&bounded(self.transport.restart_ice()).await?).map(signaling::IceParameters)
    }

    /// What the client is expected to send with these parameters.
    ///
    /// # Errors
    /// Names the field of the parameters that is wrong.
    pub fn expect(media: MediaKind, parameters: &signaling::RtpParameters) -> Result<Sends, MediaError> {
        let parameters: RtpParameters =
            parse("rtpParameters", defaults::rtp_parameters(parameters.0.clone()))?;
        check_kind(media, &parameters)?;
        Ok(declared(media, &parameters))
    }

    /// Receives a track from the client.
    ///
    /// # Errors
    /// Names the field of the parameters that is wrong.
    pub async fn produce(
        &self,
        media: MediaKind,
        parameters: signaling::RtpParameters,
    ) -> Result<Producer, MediaError> {
        let mut parameters: RtpParameters = parse("rtpParameters", defaults::rtp_parameters(parameters.0))?;
        check_kind(media, &parameters)?;
        let sends = declared(media, &parameters);
        // mediasoup-client sends an empty name for the first producer of a browser, and the worker refuses it.
        if parameters.rtcp.cname.as_deref() == Some("") {
            parameters.rtcp.cname = None;
        }
        let producer = bounded(self.transport.produce(ProducerOptions::new(kind(media), parameters))).await?;
        watch_producer(&producer, &self.events);
        let worker = &self.router.worker;
        let own = ids::ProducerId(producer.id().to_string());
        let account = worker.accounts.producer(&self.router.room, worker.index(), &own, sends);
        worker.meter.producer(&producer, &account, false);
        Ok(Producer::new(producer, media, account, worker.counts.hold(|counts| &counts.producers)))
    }

    /// Whether the client can receive a producer of its router.
    pub fn can_consume(&self, producer: &ids::ProducerId, capabilities: &Capabilities) -> bool {
        id("producerId", &producer.0)
            .is_ok_and(|producer| self.router.router.can_consume(&producer, &capabilities.0))
    }

    /// Sends a producer of its router to the client, paused at first. Where it `waits` for more than the client it costs
    /// nothing before it is resumed.
    ///
    /// # Errors
    /// When the producer is gone or the client cannot receive it.
    pub async fn consume(
        &self,
        producer: &ids::ProducerId,
        capabilities: &Capabilities,
        waits: bool,
    ) -> Result<Consumer, MediaError> {
        let mut options = ConsumerOptions::new(id("producerId", &producer.0)?, capabilities.0.clone());
        options.paused = true;
        // Opus repeats lost packets too: audio over a lossy link gains more than its few bytes cost.
        options.enable_rtx = Some(true);
        let consumer = bounded(self.transport.consume(options)).await?;
        watch_consumer(&consumer, &self.events);
        let worker = &self.router.worker;
        let account =
            worker.accounts.consumer(&self.router.room, worker.index(), producer, waits, |sends| sends.one);
        let account = Arc::new(account);
        worker.meter.consumer(&consumer, &account, true);
        Ok(Consumer::new(consumer, account, worker.counts.hold(|counts| &counts.consumers)))
    }

    /// Receives a data channel from the client.
    ///
    /// # Errors
    /// Names the field of the parameters that is wrong; also when the transport has no SCTP.
    pub async fn produce_data(
        &self,
        parameters: signaling::SctpStreamParameters,
        label: &str,
        protocol: &str,
    ) -> Result<DataProducer, MediaError> {
        let parameters = parse("sctpStreamParameters", defaults::sctp_stream_parameters(parameters.0))?;
        let mut options = DataProducerOptions::new_sctp(parameters);
        options.label = label.to_owned();
        options.protocol = protocol.to_owned();
        let producer = bounded(self.transport.produce_data(options)).await?;
        DataProducer::new(producer, self.router.worker.counts.hold(|counts| &counts.data_producers))
    }

    /// Sends a data producer of its router to the client. `parameters` say how reliable it was made.
    ///
    /// # Errors
    /// When the data producer is gone or the transport has no SCTP.
    pub async fn consume_data(
        &self,
        producer: &ids::DataProducerId,
        parameters: &signaling::SctpStreamParameters,
    ) -> Result<DataConsumer, MediaError> {
        let producer = id("dataProducerId", &producer.0)?;
        let parameters: SctpStreamParameters =
            parse("sctpStreamParameters", defaults::sctp_stream_parameters(parameters.0.clone()))?;
        let options = match (parameters.max_packet_life_time, parameters.max_retransmits) {
            (Some(life_time), _) => {
                DataConsumerOptions::new_sctp_unordered_with_life_time(producer, life_time)
            }
            (_, Some(retransmits)) => {
                DataConsumerOptions::new_sctp_unordered_with_retransmits(producer, retransmits)
            }
            _ => DataConsumerOptions::new_sctp_ordered(producer),
        };
        let consumer = bounded(self.transport.consume_data(options)).await?;
        let own = ids::DataConsumerId(consumer.id().to_string());
        let events = self.events.clone();
        consumer
            .on_data_producer_close(move || {
                let _ = events.try_send(MediaEvent::DataConsumerClosed(own));
            })
            .detach();
        DataConsumer::new(consumer, self.router.worker.counts.hold(|counts| &counts.data_consumers))
    }

    /// mediasoup's statistics.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn stats(&self) -> Result<signaling::Stats, MediaError> {
        typed("webrtc-transport", json(&bounded(self.transport.get_stats()).await?)?)
    }
}

/// mediasoup does not compare the kind with the codecs, and others would be offered a track of the wrong one.
fn check_kind(media: MediaKind, parameters: &RtpParameters) -> Result<(), MediaError> {
    for (index, codec) in parameters.codecs.iter().enumerate() {
        let is = match codec {
            RtpCodecParameters::Audio { .. } => MediaKind::Audio,
            RtpCodecParameters::Video { .. } => MediaKind::Video,
        };
        if is != media {
            let field = format!("rtpParameters.codecs[{index}]");
            return Err(MediaError::Parameter { field, problem: format!("is {is}, and kind is {media}") });
        }
    }
    Ok(())
}

/// What a client declares that it will send.
pub(super) fn declared(media: MediaKind, parameters: &RtpParameters) -> Sends {
    let bitrates: Vec<_> = parameters.encodings.iter().map(|e| e.max_bitrate).collect();
    estimate::producer(media, &bitrates)
}

/// mediasoup's crate names a candidate's address `address`; older clients look for it under `ip`.
fn with_ip(mut candidates: Value) -> Value {
    for candidate in candidates.as_array_mut().into_iter().flatten() {
        let address = candidate.get("address").cloned();
        if let (Some(all), Some(address)) = (candidate.as_object_mut(), address) {
            all.entry("ip").or_insert(address);
        }
    }
    candidates
}
