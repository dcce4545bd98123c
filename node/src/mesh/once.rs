//! A small memory of what was logged, so that what repeats is logged once and not per packet or per try.

use super::limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Remembers keys for a while.
pub(super) struct Once<K> {
    seen: Mutex<HashMap<K, Instant>>,
}

impl<K: Hash + Eq + Clone> Once<K> {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::new(HashMap::new()) }
    }

    /// Whether the key is new, or so old that it is forgotten. When there is no space the oldest goes.
    pub(super) fn first(&self, key: K, now: Instant) -> bool {
        let mut seen = self.seen.lock();
        seen.retain(|_, since| now.duration_since(*since) < limits::LOGGED_FOR);
        if seen.contains_key(&key) {
            return false;
        }
        if seen.len() >= limits::LOGGED
            && let Some(oldest) = seen.iter().min_by_key(|(_, since)| **since).map(|(key, _)| key.clone())
        {
            seen.remove(&oldest);
        }
        seen.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_is_new_once_until_it_is_forgotten() {
        let once = Once::new();
        let start = Instant::now();
        assert!(once.first("a", start));
        assert!(!once.first("a", start + Duration::from_secs(1)));
        assert!(once.first("b", start));
        assert!(once.first("a", start + limits::LOGGED_FOR));
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let once = Once::new();
        let start = Instant::now();
        for n in 0..limits::LOGGED as u64 + 1 {
            assert!(once.first(n, start + Duration::from_millis(n)));
        }
        assert_eq!(once.seen.lock().len(), limits::LOGGED);
        let now = start + Duration::from_secs(1);
        assert!(!once.first(1, now), "the second oldest is still there");
        assert!(once.first(0, now), "the oldest went");
    }
}
