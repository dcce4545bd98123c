//! What transports carry: producers, consumers, data producers, data consumers; and what they report.

use super::accounts::{ConsumerAccount, ProducerAccount};
use super::{Counted, MediaError, bounded, json, typed};
use mediasoup::consumer::ConsumerType as MediasoupType;
use mediasoup::prelude::*;
use parking_lot::Mutex;
use serde_json::Value;
use skein_proto::capacity::Sends;
use skein_proto::ids;
use skein_proto::signaling::{self, ConsumerType, MediaKind, Stats};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where a session's media reports to.
pub type Events = mpsc::Sender<MediaEvent>;

/// What mediasoup reports of a session's media. Reports are dropped while the session's queue is full.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// How well a producer's streams arrive.
    ProducerScore(ids::ProducerId, Value),
    /// How well a consumer's stream arrives.
    ConsumerScore(ids::ConsumerId, Value),
    /// Which layers a consumer gets.
    ConsumerLayers(ids::ConsumerId, Option<(u8, Option<u8>)>),
    /// A consumer's producer was paused or resumed.
    ConsumerPaused(ids::ConsumerId, bool),
    /// A consumer's producer closed.
    ConsumerClosed(ids::ConsumerId),
    /// A data consumer's data producer closed.
    DataConsumerClosed(ids::DataConsumerId),
    /// What the bandwidth estimator thinks, bits per second.
    Bandwidth {
        /// What the consumers would take.
        desired: u64,
        /// What they may take of it.
        effective_desired: u64,
        /// What there is.
        available: u64,
    },
}

/// A track that a client sends.
pub struct Producer {
    producer: mediasoup::producer::Producer,
    kind: MediaKind,
    account: Arc<ProducerAccount>,
    _counted: Counted,
}

impl Producer {
    pub(super) fn new(
        producer: mediasoup::producer::Producer,
        kind: MediaKind,
        account: Arc<ProducerAccount>,
        counted: Counted,
    ) -> Self {
        Self { producer, kind, account, _counted: counted }
    }

    /// What it costs: as it was declared, or as it was measured last while it was not paused.
    pub fn sends(&self) -> Sends {
        self.account.sends()
    }

    /// Its id.
    pub fn id(&self) -> ids::ProducerId {
        ids::ProducerId(self.producer.id().to_string())
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// Stops forwarding it.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn pause(&self) -> Result<(), MediaError> {
        bounded(self.producer.pause()).await
    }

    /// Forwards it again.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn resume(&self) -> Result<(), MediaError> {
        bounded(self.producer.resume()).await
    }

    /// mediasoup's statistics.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn stats(&self) -> Result<Stats, MediaError> {
        typed("inbound-rtp", json(&bounded(self.producer.get_stats()).await?)?)
    }
}

pub(super) fn watch_producer(producer: &mediasoup::producer::Producer, events: &Events) {
    let own = ids::ProducerId(producer.id().to_string());
    let events = events.clone();
    producer
        .on_score(move |scores| {
            if let Ok(scores) = serde_json::to_value(scores) {
                let _ = events.try_send(MediaEvent::ProducerScore(own.clone(), scores));
            }
        })
        .detach();
}

/// What a consumer starts with.
const LOWEST: ConsumerLayers = ConsumerLayers { spatial_layer: 0, temporal_layer: Some(0) };

/// Whether a consumer is kept at its lowest layers.
#[derive(Debug)]
struct Low {
    /// The layers that the client would like at most, all of them before it says so.
    wanted: Option<ConsumerLayers>,
    held: bool,
}

/// A track that a client receives.
pub struct Consumer {
    consumer: mediasoup::consumer::Consumer,
    low: Mutex<Low>,
    account: Arc<ConsumerAccount>,
    _counted: Counted,
}

impl Consumer {
    pub(super) fn new(
        consumer: mediasoup::consumer::Consumer,
        account: Arc<ConsumerAccount>,
        counted: Counted,
    ) -> Self {
        let low = Mutex::new(Low { wanted: consumer.preferred_layers(), held: false });
        Self { consumer, low, account, _counted: counted }
    }

    /// Its id.
    pub fn id(&self) -> ids::ConsumerId {
        ids::ConsumerId(self.consumer.id().to_string())
    }

    /// How it is layered.
    pub fn consumer_type(&self) -> ConsumerType {
        match self.consumer.r#type() {
            MediasoupType::Simple | MediasoupType::Pipe => ConsumerType::Simple,
            MediasoupType::Simulcast => ConsumerType::Simulcast,
            MediasoupType::Svc => ConsumerType::Svc,
        }
    }

    /// What the client will receive.
    ///
    /// # Errors
    /// Never, in practice: mediasoup's own structure is JSON.
    pub fn rtp_parameters(&self) -> Result<signaling::RtpParameters, MediaError> {
        json(self.consumer.rtp_parameters()).map(signaling::RtpParameters)
    }

    /// Whether its producer is paused.
    pub fn producer_paused(&self) -> bool {
        self.consumer.producer_paused()
    }

    /// Whether it could send, its producer not being paused, and the worker has decided on no layer of it. Never so where
    /// it has no layers.
    pub fn is_stalled(&self) -> bool {
        let layered = matches!(self.consumer.r#type(), MediasoupType::Simulcast | MediasoupType::Svc);
        layered && !self.consumer.producer_paused() && self.consumer.current_layers().is_none()
    }

    /// Whether packets of its producer have come to the worker.
    pub fn producer_flows(&self) -> bool {
        self.consumer.score().producer_scores.iter().any(|score| *score > 0)
    }

    /// Whether its first key frame is lost unless only the lowest temporal layer is sent until then, as
    /// [`start_low`](Self::start_low) says.
    fn starts_low(&self) -> bool {
        let codecs = &self.consumer.rtp_parameters().codecs;
        let is_vp8 =
            matches!(codecs.first(), Some(RtpCodecParameters::Video { mime_type: MimeTypeVideo::Vp8, .. }));
        is_vp8 && self.consumer.r#type() == MediasoupType::Svc
    }

    /// From now on the lowest layers count as what is preferred, where it has to start with them. Answers whether it has.
    fn hold_low(&self) -> bool {
        let starts_low = self.starts_low();
        if starts_low {
            self.low.lock().held = true;
        }
        starts_low
    }

    /// Prefers the lowest layers until some are sent.
    ///
    /// Of a single VP8 stream with temporal layers the worker drops the key frame that it waits for where more than the
    /// lowest temporal layer is to be sent, since it sends no layer yet. Then it waits for one of the highest layer that
    /// refers to the lowest only, of which there may be none, and asks for no other key frame. That is so in
    /// mediasoup-sys 0.24.0: `Process()` in `RTP/Codecs/VP8.cpp`, `UpdateTargetLayers()` in `SvcProducerStreamManager.cpp`.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn start_low(&self) -> Result<(), MediaError> {
        if !self.hold_low() {
            return Ok(());
        }
        bounded(self.consumer.set_preferred_layers(LOWEST)).await
    }

    /// Prefers what is wanted, now that some layer is sent. Answers whether it did not before.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn go_up(&self) -> Result<bool, MediaError> {
        let wanted = {
            let mut low = self.low.lock();
            std::mem::take(&mut low.held).then_some(low.wanted).flatten()
        };
        let Some(wanted) = wanted else { return Ok(false) };
        bounded(self.consumer.set_preferred_layers(wanted)).await?;
        Ok(true)
    }

    /// Whether it sends a lower temporal layer than the worker means it to: that one lets it go up with a key frame.
    pub async fn is_below_target(&self) -> bool {
        if !self.starts_low() || self.low.lock().held {
            return false;
        }
        let Ok(dump) = bounded(self.consumer.dump()).await else { return false };
        dump.current_temporal_layer.is_some_and(|now| now >= 0)
            && dump.current_temporal_layer < dump.target_temporal_layer
    }

    /// Has the worker decide anew which layers it sends. Where it sends some by now, nothing is lost by it.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn reconsider(&self) -> Result<(), MediaError> {
        let low = self.hold_low();
        let wanted = if low { Some(LOWEST) } else { self.consumer.preferred_layers() };
        let Some(wanted) = wanted else { return Ok(()) };
        // It does so when other layers are preferred than before, and only then.
        bounded(self.consumer.set_preferred_layers(others_than(wanted))).await?;
        bounded(self.consumer.set_preferred_layers(wanted)).await?;
        if low {
            // It asks for none where it dropped the one that it had asked for.
            self.request_key_frame().await?;
        }
        Ok(())
    }

    /// How well it arrives.
    ///
    /// # Errors
    /// Never, in practice: mediasoup's own structure is JSON.
    pub fn score(&self) -> Result<signaling::Score, MediaError> {
        json(&self.consumer.score()).map(signaling::Score)
    }

    /// Stops sending it.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn pause(&self) -> Result<(), MediaError> {
        bounded(self.consumer.pause()).await
    }

    /// Sends it; video begins with a key frame that is asked of the producer.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn resume(&self) -> Result<(), MediaError> {
        if self.consumer.current_layers().is_none() {
            self.start_low().await?;
        }
        self.account.begins();
        bounded(self.consumer.resume()).await
    }

    /// The layers that the client would like at most.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn set_preferred_layers(&self, spatial: u8, temporal: Option<u8>) -> Result<(), MediaError> {
        let layers = ConsumerLayers { spatial_layer: spatial, temporal_layer: temporal };
        let held = {
            let mut low = self.low.lock();
            low.wanted = Some(layers);
            low.held
        };
        if held {
            return Ok(());
        }
        bounded(self.consumer.set_preferred_layers(layers)).await
    }

    /// Which consumer gets bandwidth first.
    ///
    /// # Errors
    /// When the priority is 0 or the worker is gone.
    pub async fn set_priority(&self, priority: u8) -> Result<(), MediaError> {
        bounded(self.consumer.set_priority(priority)).await
    }

    /// Asks the sender for a key frame.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn request_key_frame(&self) -> Result<(), MediaError> {
        bounded(self.consumer.request_key_frame()).await
    }

    /// mediasoup's statistics.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn stats(&self) -> Result<Stats, MediaError> {
        let mut stats = typed("outbound-rtp", json(&bounded(self.consumer.get_stats()).await?)?)?;
        // The second object, where there is one, is of the producer's stream.
        if let Some(second) = stats.0.get_mut(1) {
            second["type"] = "inbound-rtp".into();
        }
        Ok(stats)
    }
}

/// Layers next to these: lower ones where there are any, else higher ones, which the worker bounds.
fn others_than(layers: ConsumerLayers) -> ConsumerLayers {
    let ConsumerLayers { spatial_layer, temporal_layer } = layers;
    match (spatial_layer, temporal_layer.unwrap_or(0)) {
        (0, 0) => ConsumerLayers { spatial_layer: 1, temporal_layer: Some(1) },
        (_, 0) => ConsumerLayers { spatial_layer: spatial_layer - 1, temporal_layer },
        (_, temporal) => ConsumerLayers { spatial_layer, temporal_layer: Some(temporal - 1) },
    }
}

pub(super) fn watch_consumer(consumer: &mediasoup::consumer::Consumer, events: &Events) {
    let own = ids::ConsumerId(consumer.id().to_string());
    // Every callback gets a sender and the id, and nothing that could be the last handle of anything.
    let report = |make: fn(ids::ConsumerId) -> MediaEvent| {
        let (events, own) = (events.clone(), own.clone());
        move || {
            let _ = events.try_send(make(own.clone()));
        }
    };
    consumer.on_producer_pause(report(|id| MediaEvent::ConsumerPaused(id, true))).detach();
    consumer.on_producer_resume(report(|id| MediaEvent::ConsumerPaused(id, false))).detach();
    consumer.on_producer_close(report(MediaEvent::ConsumerClosed)).detach();
    let (sender, consumer_id) = (events.clone(), own.clone());
    consumer
        .on_score(move |score| {
            if let Ok(score) = serde_json::to_value(score) {
                let _ = sender.try_send(MediaEvent::ConsumerScore(consumer_id.clone(), score));
            }
        })
        .detach();
    let sender = events.clone();
    consumer
        .on_layers_change(move |layers| {
            let layers = layers.as_ref().map(|layers| (layers.spatial_layer, layers.temporal_layer));
            let _ = sender.try_send(MediaEvent::ConsumerLayers(own.clone(), layers));
        })
        .detach();
}

/// A data channel that a client sends.
pub struct DataProducer {
    producer: Arc<mediasoup::data_producer::DataProducer>,
    _counted: Counted,
}

impl DataProducer {
    pub(super) fn new(
        producer: mediasoup::data_producer::DataProducer,
        counted: Counted,
    ) -> Result<Self, MediaError> {
        Ok(Self { producer: Arc::new(producer), _counted: counted })
    }

    /// Its id.
    pub fn id(&self) -> ids::DataProducerId {
        ids::DataProducerId(self.producer.id().to_string())
    }

    /// mediasoup's statistics.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn stats(&self) -> Result<Stats, MediaError> {
        typed("data-producer", json(&bounded(self.producer.get_stats()).await?)?)
    }
}

/// A data channel that a client receives.
pub struct DataConsumer {
    consumer: mediasoup::data_consumer::DataConsumer,
    parameters: signaling::SctpStreamParameters,
    _counted: Counted,
}

impl DataConsumer {
    pub(super) fn new(
        consumer: mediasoup::data_consumer::DataConsumer,
        counted: Counted,
    ) -> Result<Self, MediaError> {
        let parameters = signaling::SctpStreamParameters(json(&consumer.sctp_stream_parameters())?);
        Ok(Self { consumer, parameters, _counted: counted })
    }

    /// Its id.
    pub fn id(&self) -> ids::DataConsumerId {
        ids::DataConsumerId(self.consumer.id().to_string())
    }

    /// Its SCTP stream and reliability.
    pub fn parameters(&self) -> &signaling::SctpStreamParameters {
        &self.parameters
    }

    /// mediasoup's statistics.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn stats(&self) -> Result<Stats, MediaError> {
        typed("data-consumer", json(&bounded(self.consumer.get_stats()).await?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_layers_are_the_next_lower_ones_where_there_are_any() {
        let layers =
            |spatial_layer, temporal| ConsumerLayers { spatial_layer, temporal_layer: Some(temporal) };
        assert_eq!(others_than(layers(0, 2)), layers(0, 1));
        assert_eq!(others_than(layers(2, 0)), layers(1, 0));
        assert_eq!(others_than(layers(0, 0)), layers(1, 1));
    }
}
