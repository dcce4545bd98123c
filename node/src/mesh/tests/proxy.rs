//! A UDP proxy, to lose packets in.

use super::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Passes on what comes to its address, from a socket of its own for each sender.
pub(super) struct Proxy {
    pub addr: SocketAddr,
    network: Arc<Network>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Network {
    cut: AtomicBool,
    lost_percent: AtomicU32,
}

impl Network {
    fn passes(&self) -> bool {
        !self.cut.load(Relaxed) && rand::random_range(0..100) >= self.lost_percent.load(Relaxed)
    }
}

impl Proxy {
    /// Gives the node an address to listen on and the proxy's to advertise.
    pub(super) async fn start(config: &mut config::Mesh) -> Self {
        let bind = async || UdpSocket::bind("127.0.0.1:0").await.expect("binds");
        let target = bind().await.local_addr().expect("is bound");
        let socket = Arc::new(bind().await);
        let addr = socket.local_addr().expect("is bound");
        config.listen = target;
        config.advertise = Some(addr);
        let network = Arc::new(Network::default());
        let mut task = JoinSet::new();
        task.spawn(run(socket, target, network.clone()));
        Self { addr, network, _task: task }
    }

    /// Lets nothing through.
    pub(super) fn cut(&self, cut: bool) {
        self.network.cut.store(cut, Relaxed);
    }

    /// Loses some of the packets, each way.
    pub(super) fn lose(&self, percent: u32) {
        self.network.lost_percent.store(percent, Relaxed);
    }
}

async fn run(socket: Arc<UdpSocket>, target: SocketAddr, network: Arc<Network>) {
    let mut senders: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut packet = vec![0; 65_536];
    loop {
        // An error is about an earlier packet that found nobody.
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        let sender = match senders.get(&from) {
            Some(sender) => sender.clone(),
            None => {
                let sender = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("binds"));
                sender.connect(target).await.expect("connects");
                senders.insert(from, sender.clone());
                back.spawn(answer(sender.clone(), socket.clone(), from, network.clone()));
                sender
            }
        };
        if network.passes() {
            let _ = sender.send(&packet[..length]).await;
        }
    }
}

async fn answer(sender: Arc<UdpSocket>, socket: Arc<UdpSocket>, to: SocketAddr, network: Arc<Network>) {
    let mut packet = vec![0; 65_536];
    loop {
        if let Ok(length) = sender.recv(&mut packet).await
            && network.passes()
        {
            let _ = socket.send_to(&packet[..length], to).await;
        }
    }
}
