//! Wires between nodes that can be cut: what others send to a node goes through a socket of the test's.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// More than a UDP datagram on loopback can have.
const DATAGRAM: usize = 65_536;

/// The nodes that nobody reaches and that reach nobody, by the address on which they listen.
#[derive(Debug, Clone, Default)]
pub(super) struct Cuts(Arc<Mutex<HashSet<SocketAddr>>>);

impl Cuts {
    /// From now on nothing goes to or from this node.
    pub(super) fn cut(&self, node: SocketAddr) {
        self.0.lock().insert(node);
    }

    /// Everything goes everywhere again.
    pub(super) fn mend(&self) {
        self.0.lock().clear();
    }

    fn between(&self, one: SocketAddr, other: SocketAddr) -> bool {
        let cut = self.0.lock();
        cut.contains(&one) || cut.contains(&other)
    }
}

/// The way to one node. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Wire {
    addr: SocketAddr,
    _carries: JoinSet<()>,
}

impl Wire {
    /// A way to the node that listens here. Nodes dial from where they listen, so it knows who sends.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub(super) async fn to(node: SocketAddr, cuts: Cuts) -> std::io::Result<Self> {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let addr = front.local_addr()?;
        let mut carries = JoinSet::new();
        carries.spawn(carry(front, node, cuts));
        Ok(Self { addr, _carries: carries })
    }

    /// What the node tells others as its address.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn carry(front: Arc<UdpSocket>, node: SocketAddr, cuts: Cuts) {
    // One socket towards the node for each that sends to it; as many as the test has nodes.
    let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let Ok((length, from)) = front.recv_from(&mut datagram).await else { continue };
        if cuts.between(from, node) {
            continue;
        }
        let way = match ways.get(&from) {
            Some(way) => Arc::clone(way),
            None => {
                let Ok(way) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { continue };
                if way.connect(node).await.is_err() {
                    continue;
                }
                let way = Arc::new(way);
                back.spawn(answer(Arc::clone(&way), Arc::clone(&front), node, from, cuts.clone()));
                ways.insert(from, Arc::clone(&way));
                way
            }
        };
        // What gets lost is sent again, as on any wire.
        let _ = way.send(&datagram[..length]).await;
    }
}

async fn answer(way: Arc<UdpSocket>, front: Arc<UdpSocket>, node: SocketAddr, to: SocketAddr, cuts: Cuts) {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let Ok(length) = way.recv(&mut datagram).await else { continue };
        if !cuts.between(to, node) {
            let _ = front.send_to(&datagram[..length], to).await;
        }
    }
}
