//! Who speaks, among the producers of one router.

use super::{MediaError, Router, bounded, id};
use mediasoup::prelude::*;
use skein_proto::ids::ProducerId;
use std::num::NonZeroU16;
use tokio::sync::mpsc;

/// How often volumes are compared, milliseconds; mediasoup-demo's value.
const INTERVAL_MS: u16 = 800;
/// What is too quiet to be speech, dBov; mediasoup-demo's value.
const THRESHOLD: i8 = -80;
const LOUDEST: NonZeroU16 = NonZeroU16::new(1).expect("not zero");

/// What an observer reports: the loudest producer and its volume in dBov, or silence; and on which worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Whose router it is.
    pub worker: u16,
    /// The loudest.
    pub loudest: Option<(ProducerId, i8)>,
}

/// Observes the audio producers that it is given.
pub struct SpeakerObserver {
    observer: AudioLevelObserver,
}

impl SpeakerObserver {
    pub(super) async fn create(router: &Router, heard: mpsc::Sender<Heard>) -> Result<Self, MediaError> {
        let mut options = AudioLevelObserverOptions::default();
        options.max_entries = LOUDEST;
        options.threshold = THRESHOLD;
        options.interval = INTERVAL_MS;
        let observer = bounded(router.router.create_audio_level_observer(options)).await?;
        let worker = router.worker();
        let silence = heard.clone();
        observer
            .on_volumes(move |volumes| {
                let loudest =
                    volumes.first().map(|entry| (ProducerId(entry.producer.id().to_string()), entry.volume));
                let _ = heard.try_send(Heard { worker, loudest });
            })
            .detach();
        observer
            .on_silence(move || {
                let _ = silence.try_send(Heard { worker, loudest: None });
            })
            .detach();
        Ok(Self { observer })
    }

    /// Observes one more producer; it leaves by closing.
    ///
    /// # Errors
    /// When there is no such producer on the router.
    pub async fn add(&self, producer: &ProducerId) -> Result<(), MediaError> {
        let options = RtpObserverAddProducerOptions::new(id("producerId", &producer.0)?);
        bounded(self.observer.add_producer(options)).await
    }
}
