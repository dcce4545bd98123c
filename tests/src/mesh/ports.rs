//! Free ports.

use anyhow::bail;
use rand::Rng;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Below the range from which Linux takes ports for connections (32768 and up) and below mediasoup's pipes, so that
/// nothing but another mesh of this library can take one in between.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried.
const TRIES: u32 = 500;

/// A node's ports, held until the node is started.
#[derive(Debug)]
pub struct Ports {
    /// HTTP and WebSocket, TCP.
    pub http: SocketAddr,
    /// QUIC, UDP.
    pub mesh: SocketAddr,
    held: Option<(TcpListener, UdpSocket)>,
}

impl Ports {
    /// Lets go of them.
    pub fn release(&mut self) {
        self.held = None;
    }
}

/// Finds a port that is free for TCP and UDP, and holds it.
///
/// # Errors
/// When hundreds of them are taken.
pub fn reserve() -> anyhow::Result<Ports> {
    let mut rng = rand::rng();
    for _ in 0..TRIES {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.random_range(RANGE)));
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(addr), UdpSocket::bind(addr)) {
            return Ok(Ports { http: addr, mesh: addr, held: Some((tcp, udp)) });
        }
    }
    bail!("no free port between {} and {}", RANGE.start, RANGE.end)
}
