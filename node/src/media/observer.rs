//! Who speaks, among the producers of one router.

use super::{MediaError, Router, bounded, id};
use mediasoup::audio_level_observer::AudioLevelObserverVolume;
use mediasoup::prelude::*;
use skein_proto::ids::ProducerId;
use std::num::NonZeroU16;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often volumes are compared, milliseconds; mediasoup-demo's value.
const INTERVAL_MS: u16 = 800;
/// What is too quiet to be speech, dBov; mediasoup-demo's value.
const THRESHOLD: i8 = -80;
/// How many are reported at once.
const LOUDEST: NonZeroU16 = NonZeroU16::new(5).expect("not zero");

/// How long producers that were reported are held.
///
/// mediasoup calls back on the worker's thread under the lock that the end of a producer takes too. It hands out
/// producers there; were the last handle of one dropped in the callback, because it is closed at that very moment, the
/// worker would stand still for ever. So another one is kept until the callback is over, and dropped elsewhere.
const HOLD: Duration = Duration::from_millis(250);
/// How many reports wait to be let go.
const HELD: usize = 16;

/// What an observer reports: the loudest producers with their volumes in dBov, none in silence; and on which worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Whose router it is.
    pub worker: u16,
    /// The loudest first.
    pub loudest: Vec<(ProducerId, i8)>,
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
        let (hold, mut held) = mpsc::channel::<Vec<Producer>>(HELD);
        tokio::spawn(async move {
            while let Some(producers) = held.recv().await {
                tokio::time::sleep(HOLD).await;
                drop(producers);
            }
        });
        observer
            .on_volumes(move |volumes| {
                let _ = hold.try_send(volumes.iter().map(|entry| entry.producer.clone()).collect());
                let volume = |entry: &AudioLevelObserverVolume| {
                    (ProducerId(entry.producer.id().to_string()), entry.volume)
                };
                let loudest = volumes.iter().map(volume).collect();
                let _ = heard.try_send(Heard { worker, loudest });
            })
            .detach();
        observer
            .on_silence(move || {
                let _ = silence.try_send(Heard { worker, loudest: Vec::new() });
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
