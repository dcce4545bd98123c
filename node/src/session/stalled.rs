//! Consumers that send nothing although they could.
//!
//! Of a stream with layers (simulcast, SVC, and a single stream with temporal layers, as browsers send a small camera)
//! the worker sends the layers that it decided on when the consumer was resumed, by the bitrates that it had measured.
//! Of a stream that begins only then, or goes on after a pause, nothing is measured: it decides on no layer, and
//! decides again only when its bandwidth estimator has news of the transport, which may be seconds later, or never
//! where nothing else is sent over it. That is so in mediasoup-sys 0.24.0: `GetBitrateOptions()` and
//! `RecalculateTargetLayers()` of `SvcProducerStreamManager.cpp` and `SimulcastProducerStreamManager.cpp`, `GetRate()`
//! of `RateCalculator.cpp`. So consumers that should send are looked at until they do.

use skein_proto::ids::ConsumerId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after it was resumed, or its producer began, a consumer is looked at. By then there is something to
/// measure, and a browser that is asked for a key frame sends one: libwebrtc sends no two within 300 ms.
const FIRST: Duration = Duration::from_millis(300);
/// How long at most from one look to the next; each time it is twice as long as before.
const MOST: Duration = Duration::from_secs(5);

/// When to look again at which consumers.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    waiting: HashMap<ConsumerId, Look>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    due: Instant,
    wait: Duration,
    looks: u32,
}

impl Stalled {
    /// Something happened after which this consumer should send.
    pub fn watch(&mut self, consumer: ConsumerId, now: Instant) {
        self.waiting.insert(consumer, Look { due: now + FIRST, wait: FIRST, looks: 0 });
    }

    /// It sends, or should not.
    pub fn forget(&mut self, consumer: &ConsumerId) {
        self.waiting.remove(consumer);
    }

    /// How often it has been due since something happened.
    pub fn looks(&self, consumer: &ConsumerId) -> u32 {
        self.waiting.get(consumer).map_or(0, |look| look.looks)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|look| look.due).min()
    }

    /// Those that are due. Each of them will be again, later, unless it is forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<ConsumerId> {
        let mut due = Vec::new();
        for (consumer, look) in self.waiting.iter_mut().filter(|(_, look)| look.due <= now) {
            look.wait = (look.wait * 2).min(MOST);
            look.due = now + look.wait;
            look.looks += 1;
            due.push(consumer.clone());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_looked_at_less_and_less_often_until_it_is_forgotten() {
        let start = Instant::now();
        let id = ConsumerId("one".to_owned());
        let mut stalled = Stalled::default();
        assert_eq!(stalled.next(), None);
        stalled.watch(id.clone(), start);
        assert_eq!(stalled.due(start + FIRST - Duration::from_millis(1)), []);
        let mut waits = Vec::new();
        let mut last = start;
        for _ in 0..7 {
            let due = stalled.next().expect("it is watched");
            assert_eq!(stalled.due(due), std::slice::from_ref(&id));
            waits.push((due - last).as_millis());
            last = due;
        }
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 5000, 5000]);
        assert_eq!(stalled.looks(&id), 7);
        stalled.watch(id.clone(), last);
        assert_eq!(stalled.next(), Some(last + FIRST), "news of it make it be looked at soon");
        stalled.forget(&id);
        assert_eq!(stalled.next(), None);
        assert_eq!(stalled.due(last + MOST), []);
    }
}
