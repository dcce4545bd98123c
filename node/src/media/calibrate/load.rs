//! The load: one thread that makes the packets of reference streams and sends them on time, in the clear, to the source.

use parking_lot::Mutex;
use skein_proto::capacity::REFERENCE;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Payload type of the streams.
pub const PAYLOAD_TYPE: u8 = 96;

/// Packets of one frame: the reference stream has 28 frames a second.
const PACKETS_PER_FRAME: u64 = 6;

/// A key frame four times a second. A worker forwards a stream from its next key frame on, and a stream that paused
/// while a step was set up counts as new; nobody answers the requests for key frames that clients would answer.
const FRAMES_PER_KEY_FRAME: u64 = 7;

/// How far the clock of the frames goes from one to the next, at 90 kHz.
const FRAME_TICKS: u64 = 90_000 * PACKETS_PER_FRAME / REFERENCE.packets;

/// Bytes of one packet, with the RTP header of [`HEADER_BYTES`]: 1,102.
const PACKET_BYTES: usize = (REFERENCE.bits / 8 / REFERENCE.packets) as usize;

const HEADER_BYTES: usize = 12;

/// How often the thread looks what is due. Streams do not send all at the same time, so this makes small bursts.
const TICK: Duration = Duration::from_millis(1);

/// The longest time that is made up for when the thread did not get a core in time. A longer one would make a burst
/// that no client sends; the streams are slower for that moment instead.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The SSRC of a stream, by its number.
pub fn ssrc(stream: usize) -> u32 {
    1_000 + stream as u32
}

/// The running thread. Ends when it is dropped.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// How many streams send.
    active: AtomicUsize,
    /// Packets that were handed to the system.
    sent: AtomicU64,
    stop: AtomicBool,
    streams: Mutex<Vec<Stream>>,
}

struct Stream {
    socket: Arc<UdpSocket>,
    ssrc: u32,
    /// Packets so far.
    number: u64,
    /// Packets that are due, with the fraction of the next.
    due: f64,
}

impl Load {
    /// Starts the thread, without streams.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || run(&of_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds streams that go to one address, from one socket. They have the next numbers, and are silent at first.
    pub fn add(&self, streams: usize, to: SocketAddr) -> std::io::Result<()> {
        let socket = UdpSocket::bind((to.ip(), 0))?;
        socket.connect(to)?;
        let socket = Arc::new(socket);
        let mut all = self.shared.streams.lock();
        for _ in 0..streams {
            let number = all.len();
            // Spread over the time between two packets of one stream, by the golden ratio.
            let due = (number as f64 * 0.618_034).fract();
            all.push(Stream { socket: Arc::clone(&socket), ssrc: ssrc(number), number: 0, due });
        }
        Ok(())
    }

    /// Lets the first so many streams send.
    pub fn set_active(&self, streams: usize) {
        self.shared.active.store(streams, Ordering::Relaxed);
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Fails when it panicked, and then it has ended too.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared) {
    let mut packet = [0; PACKET_BYTES];
    let mut last = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(TICK);
        let now = Instant::now();
        let due = now.duration_since(last).min(CATCH_UP).as_secs_f64() * REFERENCE.packets as f64;
        last = now;
        let active = shared.active.load(Ordering::Relaxed);
        let mut sent = 0;
        for stream in shared.streams.lock().iter_mut().take(active) {
            stream.due += due;
            while stream.due >= 1.0 {
                stream.due -= 1.0;
                stream.write(&mut packet);
                stream.number += 1;
                // What the system refuses was not sent, and is not counted.
                sent += u64::from(stream.socket.send(&packet).is_ok());
            }
        }
        shared.sent.fetch_add(sent, Ordering::Relaxed);
    }
}

impl Stream {
    /// Its next packet: VP8 with a picture id, as browsers send it, and nothing behind the first byte of the frame.
    fn write(&self, packet: &mut [u8; PACKET_BYTES]) {
        let (frame, part) = (self.number / PACKETS_PER_FRAME, self.number % PACKETS_PER_FRAME);
        let last = part == PACKETS_PER_FRAME - 1;
        packet[0] = 0x80;
        packet[1] = PAYLOAD_TYPE | if last { 0x80 } else { 0 };
        packet[2..4].copy_from_slice(&(self.number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&((frame * FRAME_TICKS) as u32).to_be_bytes());
        packet[8..HEADER_BYTES].copy_from_slice(&self.ssrc.to_be_bytes());
        // VP8's descriptor: extended, start of the partition; with a picture id of 15 bits.
        packet[12] = 0x80 | if part == 0 { 0x10 } else { 0 };
        packet[13] = 0x80;
        packet[14..16].copy_from_slice(&(0x8000 | (frame as u16 & 0x7fff)).to_be_bytes());
        // The first bit of VP8's frame header is 0 in a key frame.
        packet[16] = u8::from(!frame.is_multiple_of(FRAMES_PER_KEY_FRAME));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reference_streams() {
        let sink = UdpSocket::bind("127.0.0.1:0").expect("binds");
        sink.set_read_timeout(Some(Duration::from_millis(300))).expect("sets");
        let load = Load::start().expect("starts");
        load.add(2, sink.local_addr().expect("has one")).expect("adds");
        assert_eq!(load.sent(), 0);
        load.set_active(1);
        std::thread::park_timeout(Duration::from_millis(500));
        load.set_active(0);
        let (mut packets, mut bytes) = (0_u64, [0; 2_000]);
        while let Ok(length) = sink.recv(&mut bytes) {
            assert_eq!(length, PACKET_BYTES);
            assert_eq!(bytes[8..12], ssrc(0).to_be_bytes());
            assert_eq!(u64::from(u16::from_be_bytes([bytes[2], bytes[3]])), packets);
            assert_eq!(bytes[12] & 0x10 != 0, packets.is_multiple_of(PACKETS_PER_FRAME));
            assert_eq!(bytes[1] & 0x80 != 0, packets % PACKETS_PER_FRAME == PACKETS_PER_FRAME - 1);
            let key = (packets / PACKETS_PER_FRAME).is_multiple_of(FRAMES_PER_KEY_FRAME);
            assert_eq!(bytes[16] == 0, key);
            packets += 1;
        }
        assert_eq!(packets, load.sent());
        // 85 in half a second, and fewer on a machine that is busy.
        assert!((20..=95).contains(&packets), "{packets}");
    }
}
