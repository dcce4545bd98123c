//! How the workers and the process are doing: CPU of each worker's thread, and memory. Alarms, not load: what a worker
//! carries is counted in packets ([`skein_proto::capacity`]), and one whose thread is nearly always busy all the same is
//! closed to more until it has air again.

mod memory;

pub use memory::Memory;

use super::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Above this share of a core, for [`PATIENCE`], a worker is closed: packets begin to wait for its thread.
pub const CLOSE_ABOVE: f64 = 0.90;

/// Below this share, for [`PATIENCE`], it is open again. Lower than [`CLOSE_ABOVE`], so that it does not flap.
pub const OPEN_BELOW: f64 = 0.80;

/// How long a share must last: longer than a burst of joins with its handshakes and key frames.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How one worker is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct WorkerHealth {
    /// Share of one core that its thread used since the sample before: 0 to 1.
    pub cpu: f64,
    /// Whether it shall take nothing more.
    pub closed: bool,
}

/// How the workers and the process are doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// The workers, by index.
    pub workers: Vec<WorkerHealth>,
    /// The process' memory; nothing where the system does not say.
    pub memory: Option<Memory>,
}

/// Says from samples which workers are to be closed. Knows no clock.
#[derive(Debug)]
pub struct Watch {
    workers: Vec<Watched>,
    // When the samples before these were taken.
    last: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Watched {
    health: WorkerHealth,
    /// Since when it would have to change, if it would.
    since: Option<Instant>,
}

impl Watch {
    /// Begins with so many open workers.
    pub fn new(workers: usize, now: Instant) -> Self {
        Self { workers: vec![Watched::default(); workers], last: now }
    }

    /// Takes the share of a core that each worker used since the call before. A worker without a sample stays as it is,
    /// and its time starts anew.
    pub fn sample(&mut self, shares: &[Option<f64>], now: Instant) -> Vec<WorkerHealth> {
        // A share is that of the time since the sample before, so it lasts since then.
        let begin = std::mem::replace(&mut self.last, now);
        for (index, watched) in self.workers.iter_mut().enumerate() {
            watched.take(shares.get(index).copied().flatten(), begin, now);
        }
        self.workers.iter().map(|watched| watched.health).collect()
    }
}

impl Watched {
    fn take(&mut self, share: Option<f64>, begin: Instant, now: Instant) {
        self.health.cpu = share.unwrap_or(0.0);
        let turns = share
            .is_some_and(|share| if self.health.closed { share < OPEN_BELOW } else { share > CLOSE_ABOVE });
        if !turns {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(begin);
        if now.saturating_duration_since(since) >= PATIENCE {
            self.health.closed = !self.health.closed;
            self.since = None;
        }
    }
}

/// Watches the workers' threads, by index, and the process' memory once a second until `cancel`. The receiver starts
/// with idle, open workers.
pub fn spawn(cancel: CancellationToken, threads: Vec<Option<Thread>>) -> watch::Receiver<Health> {
    let workers = vec![WorkerHealth::default(); threads.len()];
    let (sender, receiver) = watch::channel(Health { workers, memory: None });
    tokio::spawn(async move {
        let run = observe(threads, sender);
        tokio::select! {
            () = run => {}
            () = cancel.cancelled() => {}
        }
    });
    receiver
}

async fn observe(threads: Vec<Option<Thread>>, health: watch::Sender<Health>) {
    let used = || threads.iter().map(|thread| thread.and_then(Thread::cpu_time)).collect::<Vec<_>>();
    let mut ticks = tokio::time::interval(INTERVAL);
    // After a stall one sample of the whole time, not a burst of empty ones.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut last = Instant::now();
    let mut watch = Watch::new(threads.len(), last);
    let mut before = used();
    loop {
        ticks.tick().await;
        let (now, after) = (Instant::now(), used());
        let wall = now.saturating_duration_since(last);
        let shares: Vec<_> =
            before.iter().zip(&after).map(|(before, after)| share((*before)?, (*after)?, wall)).collect();
        let workers = watch.sample(&shares, now);
        health.send_replace(Health { workers, memory: Memory::read() });
        (last, before) = (now, after);
    }
}

/// What share of a core a thread used. The counter is read a moment after the clock, so it can be slightly over 1.
fn share(before: Duration, after: Duration, wall: Duration) -> Option<f64> {
    let used = after.saturating_sub(before).as_secs_f64();
    (!wall.is_zero()).then(|| (used / wall.as_secs_f64()).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one worker with one share a second and says in which seconds it is closed.
    fn closed(shares: &[f64]) -> Vec<bool> {
        let start = Instant::now();
        let mut watch = Watch::new(1, start);
        let sample = |(second, share): (usize, &f64)| {
            let now = start + Duration::from_secs(second as u64 + 1);
            watch.sample(&[Some(*share)], now)[0].closed
        };
        shares.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn five_busy_seconds_close_a_worker_and_five_calm_ones_open_it() {
        let shares = [&[0.95; 7][..], &[0.5; 6]].concat();
        let expected = [&[false; 4][..], &[true; 7], &[false; 2]].concat();
        assert_eq!(closed(&shares), expected);
    }

    #[test]
    fn a_breath_in_between_starts_the_time_anew() {
        let busy = [0.95, 0.95, 0.95, 0.95, 0.90, 0.95, 0.95, 0.95, 0.95];
        assert!(closed(&busy).iter().all(|closed| !closed));
        let calm = [&[0.99; 5][..], &[0.5, 0.5, 0.5, 0.5, 0.80, 0.5, 0.5, 0.5, 0.5]].concat();
        assert!(closed(&calm)[4..].iter().all(|closed| *closed));
    }

    #[test]
    fn between_the_marks_nothing_changes() {
        assert!(closed(&[0.85; 20]).iter().all(|closed| !closed));
        let shares = [&[0.95; 5][..], &[0.85; 20]].concat();
        assert!(closed(&shares)[4..].iter().all(|closed| *closed));
    }

    #[test]
    fn each_worker_for_itself_and_one_that_is_gone_stays_as_it_is() {
        let start = Instant::now();
        let mut watch = Watch::new(3, start);
        let mut health = Vec::new();
        for second in 1..=5 {
            let last = (second < 5).then_some(0.95);
            health = watch.sample(&[Some(0.95), Some(0.1), last], start + Duration::from_secs(second));
        }
        let closed: Vec<_> = health.iter().map(|worker| worker.closed).collect();
        assert_eq!(closed, [true, false, false]);
        // Fewer samples than workers are no panic.
        assert_eq!(watch.sample(&[], start + Duration::from_secs(6)).len(), 3);
    }

    #[test]
    fn one_late_sample_counts_for_the_whole_time() {
        let start = Instant::now();
        let mut watch = Watch::new(1, start);
        assert!(watch.sample(&[Some(0.99)], start + Duration::from_secs(6))[0].closed);
    }

    #[tokio::test]
    async fn a_busy_thread_shows_and_cancelling_ends_it() {
        let cancel = CancellationToken::new();
        let mut health = spawn(cancel.clone(), vec![Thread::current(), None]);
        assert_eq!(health.borrow().workers.len(), 2);
        tokio::time::timeout(Duration::from_secs(20), health.changed())
            .await
            .expect("in time")
            .expect("sends");
        {
            let seen = health.borrow_and_update();
            assert!((0.0..=1.0).contains(&seen.workers[0].cpu), "{seen:?}");
            assert!(seen.memory.is_some_and(|memory| memory.resident > 0), "{seen:?}");
        }
        cancel.cancel();
        let ended = async { while health.changed().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("ends");
    }
}
