//! Which node gets which ports, and whether they are free.

use anyhow::{Context, bail, ensure};
use procfs::net::TcpState;
use procfs::process::FDTarget;
use skein_bootstrap::config::Config;
use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Between a mesh's first port and the first port for media.
const MEDIA_OFFSET: u32 = 100;
/// How many ports for media a node has at least.
const MIN_MEDIA_PORTS: u32 = 32;
/// How many nodes a mesh has at most: more would reach into the ports for media.
pub const MAX_NODES: u16 = 100;
/// How many ports the nodes that the leader launches use in turn.
const SLOTS: u16 = skein_bootstrap::process::SLOTS;

/// The ports of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// HTTP and WebSocket (TCP), and QUIC (UDP).
    pub http: u16,
    /// The first worker's WebRTC server, UDP and TCP; the next worker has the next one.
    pub media: u16,
}

/// Plans the ports of a mesh: `base`, `base` + 1… for HTTP and QUIC, and from `base` + 100 on a block for the media of
/// each node.
///
/// # Errors
/// When they do not fit below 65536.
pub fn plan(base: u16, nodes: u16, workers: u16) -> anyhow::Result<Vec<NodePorts>> {
    let block = MIN_MEDIA_PORTS.max(workers.into());
    let end = u32::from(base) + MEDIA_OFFSET + u32::from(nodes) * block;
    ensure!(base > 0, "--base-port 0 is no port");
    ensure!(
        end <= u32::from(u16::MAX) + 1,
        "--base-port {base} is too high: {nodes} nodes reach to port {}; take one up to {}",
        end - 1,
        u32::from(u16::MAX) + 1 - (end - u32::from(base))
    );
    let port = |offset: u32| u16::try_from(u32::from(base) + offset);
    (0..u32::from(nodes))
        .map(|index| Ok(NodePorts { http: port(index)?, media: port(MEDIA_OFFSET + index * block)? }))
        .collect()
}

/// The ports, HTTP's and media's, of the first node that the leader launches beside so many.
///
/// # Errors
/// When those of all that it may launch do not fit.
pub fn first_launched(base: u16, nodes: u16, workers: u16) -> anyhow::Result<(u16, u16)> {
    ensure!(
        nodes + SLOTS <= MAX_NODES,
        "--nodes {nodes} leaves no ports for nodes that are launched; at most {} do",
        MAX_NODES - SLOTS
    );
    plan(base, nodes + SLOTS, workers)?
        .get(usize::from(nodes))
        .map(|first| (first.http, first.media))
        .context("no node is left to launch")
}

/// Which of so many nodes vote, counted from 1: an odd number.
pub fn voters(nodes: usize) -> std::ops::RangeInclusive<usize> {
    1..=match nodes {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

/// How many workers a node will have.
pub fn workers_of(config: &Config) -> u16 {
    match config.media.workers {
        0 => std::thread::available_parallelism()
            .map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX)),
        workers => workers,
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// A port that a node is going to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which node.
    pub node: String,
    /// What for.
    pub purpose: String,
    /// Which kind of port.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
}

/// All ports that a node is going to listen on, except those that it lets the system choose.
pub fn wanted(config: &Config) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut add = |purpose: &str, protocol, address: SocketAddr| {
        all.push(Wanted { node: config.node.id.to_string(), purpose: purpose.to_owned(), protocol, address });
    };
    add("HTTP and WebSocket", Protocol::Tcp, config.http.listen);
    add("QUIC between nodes", Protocol::Udp, config.mesh.listen);
    for listen in config.media.listen.iter().filter(|_| config.media.port != 0) {
        for worker in 0..workers_of(config) {
            // One that does not exist is for the node to refuse.
            let Some(port) = config.media.port.checked_add(worker) else { break };
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                add("media", protocol, SocketAddr::new(listen.ip, port));
            }
        }
    }
    all
}

/// Makes sure that ports are free.
///
/// # Errors
/// Names the first that is not, who wants it, and who has it where that can be seen.
pub fn check(wanted: &[Wanted]) -> anyhow::Result<()> {
    for port in wanted {
        let bound = match port.protocol {
            Protocol::Tcp => TcpListener::bind(port.address).map(drop),
            Protocol::Udp => UdpSocket::bind(port.address).map(drop),
        };
        let Err(error) = bound else { continue };
        let Wanted { node, purpose, protocol, address } = port;
        if error.kind() != ErrorKind::AddrInUse {
            bail!("{protocol} {address}, which {node} wants for {purpose}, cannot be used: {error}");
        }
        let holder =
            holder(*protocol, address.port()).map(|holder| format!(" by {holder}")).unwrap_or_default();
        bail!(
            "{protocol} port {} is in use{holder}, and {node} wants it for {purpose}; stop that (`skein down`, if it is a \
             mesh of ours) or take other ports with --base-port",
            address.port()
        );
    }
    Ok(())
}

/// Which process has a port, as far as this user may see.
fn holder(protocol: Protocol, port: u16) -> Option<String> {
    let inodes: Vec<u64> = match protocol {
        Protocol::Tcp => [procfs::net::tcp(), procfs::net::tcp6()]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.state == TcpState::Listen && entry.local_address.port() == port)
            .map(|entry| entry.inode)
            .collect(),
        Protocol::Udp => [procfs::net::udp(), procfs::net::udp6()]
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.local_address.port() == port)
            .map(|entry| entry.inode)
            .collect(),
    };
    procfs::process::all_processes().ok()?.flatten().find_map(|process| {
        let has = |target: &FDTarget| matches!(target, FDTarget::Socket(inode) if inodes.contains(inode));
        process.fd().ok()?.flatten().any(|fd| has(&fd.target)).then_some(())?;
        let name = process.stat().ok()?.comm;
        Some(format!("{name} (process {})", process.pid()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_from_the_first() {
        let ports = plan(4440, 3, 2).expect("fits");
        assert_eq!(ports.iter().map(|node| node.http).collect::<Vec<_>>(), [4440, 4441, 4442]);
        assert_eq!(ports.iter().map(|node| node.media).collect::<Vec<_>>(), [4540, 4572, 4604]);
    }

    #[test]
    fn many_workers_get_wider_blocks() {
        let ports = plan(4440, 2, 64).expect("fits");
        assert_eq!(ports[1].media - ports[0].media, 64);
    }

    #[test]
    fn ports_that_do_not_fit_are_refused_with_one_that_does() {
        let error = plan(65_500, 3, 2).expect_err("too high").to_string();
        assert!(error.contains("up to 65340"), "{error}");
        assert!(plan(65_340, 3, 2).is_ok());
        assert!(plan(65_341, 3, 2).is_err());
        assert!(plan(0, 3, 2).is_err());
    }

    #[test]
    fn a_port_in_use_is_named_with_who_wants_it_and_who_has_it() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("binds");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("binds");
        for (protocol, address) in [(Protocol::Tcp, tcp.local_addr()), (Protocol::Udp, udp.local_addr())] {
            let address = address.expect("bound");
            let wanted = Wanted { node: "node-2".to_owned(), purpose: "media".to_owned(), protocol, address };
            let error = check(&[wanted]).expect_err("in use").to_string();
            for part in [address.port().to_string(), "node-2".to_owned(), std::process::id().to_string()] {
                assert!(error.contains(&part), "{error:?} does not name {part}");
            }
            assert!(error.starts_with(&protocol.to_string()), "{error}");
        }
    }
}
