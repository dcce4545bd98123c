//! What a stream is expected to cost, from what its sender declares, until it has run for long enough to be measured.

use skein_proto::capacity::{Cost, REFERENCE, Sends};
use skein_proto::signaling::MediaKind;

/// Opus with a packet every 20 ms (RFC 7587, section 4.2) at 32 kbit/s and its headers.
pub const AUDIO: Cost = Cost::new(50, 40_000);

/// Bits in a video packet: what the reference stream has.
const BITS_PER_PACKET: u64 = REFERENCE.bits / REFERENCE.packets;
/// A stream has at least as many packets as frames; this is a slow one.
const FEWEST_PACKETS: u64 = 10;
/// Nobody sends more video than this on one encoding, whatever is declared.
const MOST_BITS: u64 = 20_000_000;

/// What a video encoding costs that may have so many bits a second.
pub fn video(bits: u64) -> Cost {
    let bits = bits.clamp(1, MOST_BITS);
    Cost::new((bits / BITS_PER_PACKET).max(FEWEST_PACKETS), bits)
}

/// What a producer is expected to send: `encodings` are the highest bitrates that it declares, bits a second, one for
/// each simulcast layer from the smallest, none where it does not say.
pub fn producer(kind: MediaKind, encodings: &[Option<u64>]) -> Sends {
    match kind {
        MediaKind::Audio => Sends { all: AUDIO, one: AUDIO },
        MediaKind::Video => {
            let top = encodings.len().saturating_sub(1);
            // Where nothing is declared, each layer has a quarter of the next one's pixels, and of its bits.
            let layer = |(index, declared): (usize, &Option<u64>)| {
                let below = u32::try_from(top - index).unwrap_or(u32::MAX);
                let by_size = REFERENCE.bits.checked_shr(below.saturating_mul(2)).unwrap_or(1);
                video(declared.unwrap_or(by_size))
            };
            let layers: Vec<_> = encodings.iter().enumerate().map(layer).collect();
            let one = layers.iter().copied().reduce(Cost::max).unwrap_or(REFERENCE);
            let all = if layers.is_empty() { REFERENCE } else { layers.into_iter().sum() };
            Sends { all, one }
        }
    }
}

/// What a peer that may publish is expected to send before it does: a microphone and a camera.
pub fn peer() -> Sends {
    producer(MediaKind::Audio, &[]).plus(producer(MediaKind::Video, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_stream_costs_one() {
        assert_eq!(producer(MediaKind::Video, &[]).one.streams(), 1);
        assert_eq!(producer(MediaKind::Video, &[Some(1_500_000)]).one, REFERENCE);
    }

    #[test]
    fn a_consumer_of_simulcast_costs_its_largest_layer_and_a_pipe_all() {
        let sends = producer(MediaKind::Video, &[Some(150_000), Some(500_000), Some(1_500_000)]);
        assert_eq!(sends.one, REFERENCE);
        assert_eq!(sends.all.bits, 2_150_000);
        let undeclared = producer(MediaKind::Video, &[None, None, None]);
        assert_eq!(undeclared.one, REFERENCE);
        assert_eq!(undeclared.all.bits, 1_500_000 + 375_000 + 93_750);
    }

    #[test]
    fn absurd_declarations_are_bounded() {
        assert_eq!(video(u64::MAX).bits, MOST_BITS);
        assert!(video(0).packets >= FEWEST_PACKETS);
        assert!(producer(MediaKind::Video, &[None; 64]).all.bits < 2_100_000);
    }
}
