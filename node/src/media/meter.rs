//! Measures what streams cost: every few seconds each is asked how much it has sent or received.

use super::accounts::{ConsumerAccount, ProducerAccount};
use super::bounded;
use mediasoup::consumer::{Consumer, ConsumerRtpStreamStat, WeakConsumer};
use mediasoup::producer::{Producer, WeakProducer};
use parking_lot::Mutex;
use skein_proto::capacity::{Cost, Sends};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long a stream runs before it is measured, and how often it is from then on.
const PERIOD: Duration = Duration::from_secs(5);
/// How much the newest measurement counts in the moving average; as much as all before it.
const NEWEST: f64 = 0.5;
/// How often the streams that are due are looked for.
const ROUND: Duration = Duration::from_millis(500);
/// What a packet has beside its payload and RTP header, bits: UDP, IPv4 and SRTP's tag.
const OVERHEAD: u64 = (8 + 20 + 10) * 8;

enum Stream {
    Consumer { consumer: WeakConsumer, account: Weak<ConsumerAccount>, leaves_node: bool },
    Producer { producer: WeakProducer, account: Weak<ProducerAccount>, piped: bool },
}

struct Metered {
    stream: Stream,
    due: Instant,
    /// Packets and bytes so far, and when that was; not known before the first measurement.
    last: Option<(Instant, Vec<(u64, u64)>)>,
    /// The moving average, per stream of it.
    average: Vec<(f64, f64)>,
}

/// All streams that are measured, by when they are due.
#[derive(Default)]
pub struct Meter {
    queue: Mutex<VecDeque<Metered>>,
}

impl Meter {
    pub(super) fn consumer(&self, consumer: &Consumer, account: &Arc<ConsumerAccount>, leaves_node: bool) {
        let (consumer, account) = (consumer.downgrade(), Arc::downgrade(account));
        self.push(Stream::Consumer { consumer, account, leaves_node });
    }

    /// `piped` says that it comes through a pipe.
    pub(super) fn producer(&self, producer: &Producer, account: &Arc<ProducerAccount>, piped: bool) {
        let (producer, account) = (producer.downgrade(), Arc::downgrade(account));
        self.push(Stream::Producer { producer, account, piped });
    }

    fn push(&self, stream: Stream) {
        // The first look takes the counters, the second one measures: both within the first period.
        let due = Instant::now() + PERIOD / 2;
        self.queue.lock().push_back(Metered { stream, due, last: None, average: Vec::new() });
    }

    /// Measures until it is cancelled.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = rounds.tick() => {}
            }
            for mut metered in self.take_due(Instant::now()) {
                if cancel.is_cancelled() {
                    return;
                }
                let first = metered.last.is_none();
                if metered.measure().await {
                    metered.due = Instant::now() + if first { PERIOD / 2 } else { PERIOD };
                    self.queue.lock().push_back(metered);
                }
            }
        }
    }

    fn take_due(&self, now: Instant) -> Vec<Metered> {
        let mut queue = self.queue.lock();
        let (due, later) = std::mem::take(&mut *queue).into_iter().partition(|metered| metered.due <= now);
        *queue = later;
        Vec::from(due)
    }
}

impl Metered {
    /// Looks at the stream. Answers whether it is still there.
    async fn measure(&mut self) -> bool {
        match &self.stream {
            Stream::Consumer { consumer, account, leaves_node } => {
                let (Some(consumer), Some(account)) = (consumer.upgrade(), account.upgrade()) else {
                    return false;
                };
                let leaves_node = *leaves_node;
                let Ok(stats) = bounded(consumer.get_stats()).await else { return true };
                let sent = stats.iter().filter_map(|stat| match stat {
                    ConsumerRtpStreamStat::Outbound(stat) => Some((stat.packet_count, stat.byte_count)),
                    ConsumerRtpStreamStat::Inbound(_) => None,
                });
                if self.look(sent.collect()) {
                    let cost: Cost = self.rates().sum();
                    account.measured(if leaves_node { cost } else { cost.inside() });
                }
            }
            Stream::Producer { producer, account, piped } => {
                let (Some(producer), Some(account)) = (producer.upgrade(), account.upgrade()) else {
                    return false;
                };
                // What is paused costs nothing now, and will again what it did.
                if producer.paused() {
                    self.last = None;
                    return true;
                }
                let piped = *piped;
                let Ok(stats) = bounded(producer.get_stats()).await else { return true };
                let counters: Vec<_> =
                    stats.iter().map(|stat| (stat.packet_count, stat.byte_count)).collect();
                // So does what rests in its pipe since nobody here is to get it.
                if piped && self.last.as_ref().is_some_and(|(_, before)| *before == counters) {
                    self.last = Some((Instant::now(), counters));
                    return true;
                }
                if self.look(counters) {
                    let all: Cost = self.rates().sum();
                    let one = self.rates().max_by_key(|cost| cost.bits).unwrap_or_default();
                    account.measured(Sends { all, one });
                }
            }
        }
        true
    }

    /// Takes new counters. Answers whether they tell a rate.
    fn look(&mut self, counters: Vec<(u64, u64)>) -> bool {
        let now = Instant::now();
        let last = self.last.replace((now, counters.clone()));
        let Some((then, before)) = last.filter(|(_, before)| before.len() == counters.len()) else {
            return false;
        };
        let seconds = now.duration_since(then).as_secs_f64();
        if seconds < 1.0 {
            return false;
        }
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let rates: Vec<_> =
            counters.iter().zip(&before).map(|(n, b)| (rate(n.0, b.0), rate(n.1, b.1) * 8.0)).collect();
        if self.average.len() == rates.len() {
            for (average, rate) in self.average.iter_mut().zip(&rates) {
                average.0 += (rate.0 - average.0) * NEWEST;
                average.1 += (rate.1 - average.1) * NEWEST;
            }
        } else {
            self.average = rates;
        }
        true
    }

    fn rates(&self) -> impl Iterator<Item = Cost> + '_ {
        self.average.iter().map(|(packets, bits)| {
            let packets = packets.ceil() as u64;
            Cost::new(packets, bits.ceil() as u64 + packets * OVERHEAD)
        })
    }
}
