//! How long the machine gave this process no time: what is late by that is nobody's fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

/// Watches for it, from a thread of its own. Dropping it ends that.
#[derive(Debug)]
pub struct Stall {
    longest: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Stall {
    /// From now on.
    pub fn watch() -> Self {
        let stall = Self { longest: Arc::default(), over: Arc::default() };
        let (longest, over) = (Arc::clone(&stall.longest), Arc::clone(&stall.over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::park_timeout(LOOK);
                let late = begun.elapsed().saturating_sub(LOOK).as_micros();
                longest.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        stall
    }

    /// The longest time.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Ordering::Relaxed))
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
