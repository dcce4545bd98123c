//! What a peer sends: packets that are Opus and VP8 to everyone who only looks at RTP.

use super::link::Link;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use str0m::media::{MediaKind, Mid, Pt, Rid};
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};

/// 50 packets a second.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// Samples in 20 ms at 48 kHz.
const AUDIO_TICKS: u32 = 960;
/// A talking Opus stream at 32 kbit/s.
const AUDIO_BYTES: usize = 80;
/// How loud somebody is who speaks, and who does not, dBov.
pub(super) const SPEAKS: i8 = -30;
pub(super) const SILENT: i8 = -127;
/// 30 frames a second.
const VIDEO_INTERVAL: Duration = Duration::from_nanos(33_333_333);
/// 90 kHz.
const VIDEO_TICKS: u32 = 3000;
/// Frames between key frames that nobody asked for: as a browser, hardly ever.
const KEY_FRAME_INTERVAL: u64 = 3000;
/// Key frames are this much larger.
const KEY_FRAME_FACTOR: usize = 3;
/// Largest payload.
const PAYLOAD: usize = 1100;
/// When the task was held up for longer than this, it goes on from now instead of catching up.
const LATE: Duration = Duration::from_millis(500);

/// How the layers of a simulcast video are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulcast {
    /// By RTP stream id, as Chromium does.
    Rid,
    /// By SSRCs that are declared up front, as Firefox once did.
    Ssrc,
}

/// A video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Video {
    /// One stream, about 240 kbit/s.
    Single,
    /// The same, and it says so: the node expects what it then measures.
    Declared,
    /// The same in three temporal layers by its word, as browsers send a small camera, and in the lowest of them by deed.
    Temporal,
    /// Three, about 100, 240 and 530 kbit/s.
    Simulcast(Simulcast),
    /// One stream of about 18 Mbit/s, 2,100 packets a second: what few consumers keep a worker busy with.
    Heavy,
}

/// What [`Video::Declared`] declares: a packet for each frame, as large as the node takes packets to be.
const DECLARED_BITS: u32 = 265_000;

/// What a layer is like: bytes of a frame, width and height.
const LAYERS: [(usize, u16, u16); 3] = [(400, 320, 180), (1000, 640, 360), (2200, 1280, 720)];

/// The same of [`Video::Heavy`].
const HEAVY: (usize, u16, u16) = (70 * PAYLOAD, 3840, 2160);

/// One encoded stream.
struct Layer {
    index: u8,
    ssrc: Ssrc,
    rtx: Option<Ssrc>,
    /// What str0m tells the layers apart by. It goes over the wire too, and means nothing to a router that was told of
    /// SSRCs.
    rid: Option<Rid>,
    by_ssrc: bool,
    sequence: u64,
    frames: u64,
    wants_key_frame: bool,
    bytes: usize,
    size: (u16, u16),
}

/// A track.
pub(super) struct Source {
    pub mid: Mid,
    pub kind: MediaKind,
    pub paused: bool,
    /// How loud it is, dBov.
    pub level: i8,
    most_bits: Option<u32>,
    /// Its scalability mode, where it says one.
    mode: Option<&'static str>,
    payload_type: Pt,
    layers: Vec<Layer>,
    timestamp: u32,
    next: Instant,
}

fn ssrc() -> u32 {
    // Above mediasoup's own.
    rand::random_range(0x1000_0000..0xF000_0000)
}

impl Source {
    /// A microphone.
    pub fn audio(mid: &str, payload_type: Pt, level: i8) -> Self {
        let layers = vec![Layer::new(0, false, None, (AUDIO_BYTES, 0, 0))];
        Self { level, ..Self::new(mid, MediaKind::Audio, payload_type, layers) }
    }

    /// A camera.
    pub fn video(mid: &str, payload_type: Pt, video: Video) -> Self {
        let layers = match video {
            Video::Single | Video::Declared | Video::Temporal => vec![Layer::new(0, true, None, LAYERS[1])],
            Video::Heavy => vec![Layer::new(0, true, None, HEAVY)],
            Video::Simulcast(by) => (0..3u8)
                .map(|index| {
                    let rid = Rid::from(format!("r{index}").as_str());
                    let mut layer = Layer::new(index, true, Some(rid), LAYERS[usize::from(index)]);
                    layer.by_ssrc = by == Simulcast::Ssrc;
                    layer
                })
                .collect(),
        };
        let most_bits = (video == Video::Declared).then_some(DECLARED_BITS);
        let mode = (video == Video::Temporal).then_some("L1T3");
        Self { most_bits, mode, ..Self::new(mid, MediaKind::Video, payload_type, layers) }
    }

    fn new(mid: &str, kind: MediaKind, payload_type: Pt, layers: Vec<Layer>) -> Self {
        let timestamp = rand::random_range(0..1 << 30);
        Self {
            mid: mid.into(),
            kind,
            paused: false,
            level: SPEAKS,
            most_bits: None,
            mode: None,
            payload_type,
            layers,
            timestamp,
            next: Instant::now(),
        }
    }

    /// The encodings for mediasoup.
    pub fn encodings(&self) -> Vec<Value> {
        let encoding = |layer: &Layer| match (layer.rid.filter(|_| !layer.by_ssrc), layer.rtx) {
            (Some(rid), _) => json!({ "rid": rid.to_string(), "scalabilityMode": "L1T1" }),
            (None, Some(rtx)) => json!({ "ssrc": *layer.ssrc, "rtx": { "ssrc": *rtx } }),
            (None, None) => json!({ "ssrc": *layer.ssrc }),
        };
        let declare = |mut encoding: Value| {
            if let Some(bits) = self.most_bits {
                encoding["maxBitrate"] = json!(bits);
            }
            if let Some(mode) = self.mode {
                encoding["scalabilityMode"] = json!(mode);
            }
            encoding
        };
        self.layers.iter().map(encoding).map(declare).collect()
    }

    /// Declares the streams to str0m.
    pub fn declare(&mut self, link: &mut Link) {
        let mut direct = link.rtc.direct_api();
        direct.declare_media(self.mid, self.kind);
        for layer in &self.layers {
            direct.declare_stream_tx(layer.ssrc, layer.rtx, self.mid, layer.rid);
        }
        self.next = Instant::now();
    }

    /// Takes the streams back.
    pub fn remove(&self, link: &mut Link) {
        link.rtc.direct_api().remove_media(self.mid);
    }

    /// When [`Source::send`] is due.
    pub fn due(&self) -> Option<Instant> {
        (!self.paused).then_some(self.next)
    }

    /// Goes on or stops.
    pub fn pause(&mut self, paused: bool) {
        if self.paused && !paused {
            self.next = Instant::now();
        }
        self.paused = paused;
    }

    /// The next frame of this layer, or of all, is a key frame. Answers the layer's index.
    pub fn request_key_frame(&mut self, rid: Option<Rid>) -> Option<u8> {
        let mut index = None;
        for layer in self.layers.iter_mut().filter(|layer| rid.is_none() || layer.rid == rid) {
            layer.wants_key_frame = true;
            index = Some(layer.index);
        }
        index
    }

    /// Writes what is due. Answers packets and bytes.
    pub fn send(&mut self, link: &mut Link, now: Instant) -> (u64, u64) {
        let (mut packets, mut bytes) = (0, 0);
        if self.paused {
            return (packets, bytes);
        }
        if now.saturating_duration_since(self.next) > LATE {
            self.next = now;
        }
        let (interval, ticks) = match self.kind {
            MediaKind::Audio => (AUDIO_INTERVAL, AUDIO_TICKS),
            MediaKind::Video => (VIDEO_INTERVAL, VIDEO_TICKS),
        };
        while self.next <= now {
            for layer in &mut self.layers {
                let sent = match self.kind {
                    MediaKind::Audio => {
                        layer.send_audio(link, self.payload_type, self.timestamp, self.level, now)
                    }
                    MediaKind::Video => layer.send_video(link, self.payload_type, self.timestamp, now),
                };
                packets += sent.0;
                bytes += sent.1;
            }
            self.timestamp = self.timestamp.wrapping_add(ticks);
            self.next += interval;
        }
        (packets, bytes)
    }
}

impl Layer {
    fn new(index: u8, rtx: bool, rid: Option<Rid>, (bytes, width, height): (usize, u16, u16)) -> Self {
        Self {
            index,
            ssrc: ssrc().into(),
            rtx: rtx.then(|| ssrc().into()),
            rid,
            by_ssrc: false,
            sequence: rand::random_range(1..10_000),
            frames: 0,
            wants_key_frame: true,
            bytes,
            size: (width, height),
        }
    }

    fn write(&mut self, link: &mut Link, packet: RtpWrite) {
        if let Some(stream) = link.rtc.direct_api().stream_tx(&self.ssrc) {
            stream.write_rtp(packet);
        }
        link.touch();
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn send_audio(
        &mut self,
        link: &mut Link,
        payload_type: Pt,
        timestamp: u32,
        level: i8,
        now: Instant,
    ) -> (u64, u64) {
        let extensions = ExtensionValues {
            audio_level: Some(level),
            voice_activity: Some(level > SILENT),
            ..ExtensionValues::default()
        };
        let sequence = self.next_sequence();
        // TOC byte of a 20 ms CELT frame, then noise.
        let mut payload = vec![0xf8; self.bytes];
        payload[1..].fill(u8::try_from(sequence % 251).unwrap_or(0));
        let length = payload.len() as u64;
        self.write(
            link,
            RtpWrite::new(payload_type, sequence.into(), timestamp, now, payload).ext_vals(extensions),
        );
        (1, length)
    }

    fn send_video(&mut self, link: &mut Link, payload_type: Pt, timestamp: u32, now: Instant) -> (u64, u64) {
        let key = self.wants_key_frame || self.frames.is_multiple_of(KEY_FRAME_INTERVAL);
        self.wants_key_frame = false;
        let total = if key { self.bytes * KEY_FRAME_FACTOR } else { self.bytes };
        let frame = vp8::frame(total, key, self.size, self.index);
        let (mut packets, mut bytes) = (0, 0);
        let chunks = frame.chunks(PAYLOAD).count();
        for (number, chunk) in frame.chunks(PAYLOAD).enumerate() {
            let mut payload = vp8::descriptor(number == 0, self.frames);
            payload.extend_from_slice(chunk);
            bytes += payload.len() as u64;
            packets += 1;
            let sequence = self.next_sequence();
            let packet = RtpWrite::new(payload_type, sequence.into(), timestamp, now, payload)
                .marker(number + 1 == chunks)
                .nackable(true);
            self.write(link, packet);
        }
        self.frames += 1;
        (packets, bytes)
    }
}

/// Just enough of VP8 (RFC 6386) and its payload format (RFC 7741).
pub(super) mod vp8 {
    /// Bytes of the payload descriptor that this module writes.
    const DESCRIPTOR: usize = 6;

    /// A payload descriptor with picture id, TL0PICIDX and temporal layer 0.
    pub fn descriptor(first: bool, frame: u64) -> Vec<u8> {
        let start = if first { 0x10 } else { 0x00 };
        let picture = (frame & 0x7fff) as u16 | 0x8000;
        let [high, low] = picture.to_be_bytes();
        // X set; I, L and T set; 15 bits of picture id; TL0PICIDX; TID 0 with Y.
        vec![0x80 | start, 0xe0, high, low, (frame & 0xff) as u8, 0x20]
    }

    /// A frame of this many bytes, all of which but its header say which layer it is.
    pub fn frame(bytes: usize, key: bool, (width, height): (u16, u16), layer: u8) -> Vec<u8> {
        let mut frame = vec![layer; bytes.max(16)];
        // Frame tag: the lowest bit is 0 in key frames; version 0, shown.
        frame[..3].copy_from_slice(&[if key { 0x10 } else { 0x11 }, 0, 0]);
        if key {
            frame[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
            frame[6..8].copy_from_slice(&width.to_le_bytes());
            frame[8..10].copy_from_slice(&height.to_le_bytes());
        }
        frame
    }

    /// What a payload of the above says.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Seen {
        /// First packet of a key frame.
        pub key: bool,
        /// The layer.
        pub layer: u8,
    }

    /// Reads a payload. mediasoup may have changed the descriptor, never its length.
    pub fn read(payload: &[u8]) -> Option<Seen> {
        let first = payload.first()? & 0x10 != 0;
        let key = first && payload.get(DESCRIPTOR)? & 1 == 0;
        Some(Seen { key, layer: *payload.last()? })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_is_written_is_read() {
            for (key, layer) in [(true, 0), (false, 2)] {
                let mut payload = descriptor(true, 70_000);
                payload.extend(frame(400, key, (320, 180), layer));
                assert_eq!(read(&payload), Some(Seen { key, layer }));
            }
            assert_eq!(read(&[]), None);
        }
    }
}
