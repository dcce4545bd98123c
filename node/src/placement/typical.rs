//! How many peers rooms have in the end, learned from those that ended: where nobody says how large a room will be, it is
//! put where it can grow to that.

/// How much one room that ended counts.
const WEIGHT: f64 = 0.05;

/// How many peers rooms have in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Typical(f64);

impl Typical {
    /// Before any room has ended.
    pub fn new(peers: u32) -> Self {
        Self(f64::from(peers))
    }

    /// A room ended that had so many peers at most.
    pub fn ended(&mut self, peak: usize) {
        if peak > 0 {
            self.0 += (peak as f64 - self.0) * WEIGHT;
        }
    }

    /// What a new room is expected to come to.
    pub fn peers(&self) -> u64 {
        self.0.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_rooms_come_to() {
        let mut typical = Typical::new(4);
        assert_eq!(typical.peers(), 4);
        (0..200).for_each(|_| typical.ended(12));
        assert_eq!(typical.peers(), 12);
        typical.ended(0);
        assert_eq!(typical.peers(), 12, "a room that nobody entered says nothing");
    }
}
