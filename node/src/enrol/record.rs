//! Which token was used for which key, as one voter knows it. Pure, and in memory only.
//!
//! A voter that starts again has forgotten it. While fewer than half of the voters do, a majority still has one that
//! remembers each use. Where more did, a token can be used for a second key, by who has it, from the machine's own
//! address, while no node of its name is in the mesh, and until the machine's window or the invitation's time ends.

use skein_proto::rpc::TokenUse;
use std::collections::{HashMap, VecDeque};

/// Uses that are remembered; then the oldest is forgotten. Far more than one mesh launches in a window.
const USES: usize = 16_384;

/// What a voter remembers.
#[derive(Default)]
pub(super) struct Record {
    keys: HashMap<[u8; 32], [u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Record {
    /// Takes a key for a token. Whether the token is that key's: the first one's.
    pub(super) fn take(&mut self, token_use: TokenUse) -> bool {
        if let Some(key) = self.keys.get(&token_use.token) {
            return *key == token_use.key;
        }
        if self.order.len() >= USES
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        self.keys.insert(token_use.token, token_use.key);
        self.order.push_back(token_use.token);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_use(token: u32, key: u8) -> TokenUse {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&token.to_be_bytes());
        TokenUse { token: hash, key: [key; 32] }
    }

    #[test]
    fn a_token_is_for_its_first_key_however_often() {
        let mut record = Record::default();
        assert!(record.take(token_use(1, 1)));
        assert!(record.take(token_use(1, 1)));
        assert!(!record.take(token_use(1, 2)));
        assert!(record.take(token_use(2, 2)));
        assert!(record.take(token_use(1, 1)));
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes_first() {
        let mut record = Record::default();
        for token in 0..=USES as u32 {
            assert!(record.take(token_use(token, 1)));
        }
        assert_eq!((record.keys.len(), record.order.len()), (USES, USES));
        assert!(!record.take(token_use(1, 2)), "the second is remembered");
        assert!(record.take(token_use(0, 2)), "the first is not");
    }
}
