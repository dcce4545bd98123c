//! The mesh: who is in it, and streams of frames to everyone. The only code that names quinn and chitchat.
//!
//! ```text
//! Mesh ── open, call ──► peers ──► link ──► stream        (a connection per node, frames on streams)
//!   │                      ▲         ▲
//!   │          observe ────┘   dial, accept ── hello       (nothing is heard before both hellos are checked)
//!   │             ▲
//!   └── view ◄────┴── gossip                               (chitchat over the same connections)
//! ```
//!
//! [`Mesh::start`] binds one UDP socket for everything. chitchat spreads what each node says about itself; every node
//! it names is dialled, so that the mesh is fully connected and QUIC notices deaths as well as gossip does. What the
//! two know together becomes a [`View`]. Machines that have no certificate yet come to the same socket and get no
//! further than [`Enrolments`]; the node's own certificate can be exchanged while it runs ([`Mesh::adopt`]).

mod accept;
mod counters;
mod dial;
mod enrol;
mod error;
mod gossip;
mod hello;
mod home;
mod limits;
mod link;
mod membership;
mod observe;
mod once;
mod peers;
mod refusal;
mod rotate;
mod seeds;
mod stream;
mod tls;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use counters::MeshCounters;
pub use enrol::{Enrolment, Enrolments};
pub use error::MeshError;
pub use stream::{MeshReceiver, MeshSender, MeshStream};
pub use view::{Member, View};

use crate::clock::now_ms;
use counters::count;
use once::Once;
use parking_lot::RwLock;
use peers::Peers;
use refusal::{Refused, code};
use skein_bootstrap::config;
use skein_bootstrap::seeds::{Names, SeedSource};
use skein_proto::gossip::{Facts, Lead, Load, Phase, Queue};
use skein_proto::ids::NodeId;
use skein_proto::rpc::{Call, Open, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a mesh is started with.
#[derive(Debug, Clone)]
pub struct MeshSettings {
    /// Addresses, seeds and the files of the node's identity. A port of 0 lets the system choose.
    pub config: config::Mesh,
    /// The node's name, the one in its certificate.
    pub node: NodeId,
    /// What the node gossips about itself for good.
    pub facts: Facts,
    /// What the node says at first about what it is about to do; [`Phase::Starting`] until it can take something.
    pub phase: Phase,
    /// Whether machines without a certificate may ask for one here ([`Mesh::enrolments`]).
    pub enrols: bool,
    /// Where else to look for nodes to join through, beside the seeds of the configuration.
    pub sources: Vec<Arc<dyn SeedSource>>,
}

/// A node's part in the mesh. Cheap to clone; when the last clone is dropped without [`Mesh::shutdown`] everything
/// ends at once.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

/// Streams that other nodes, or this one, opened. At most 1,024 wait in it; who opened one that is not taken within
/// 5 s sees it end.
pub struct Incoming {
    streams: mpsc::Receiver<(NodeId, Open, MeshStream)>,
    cancel: CancellationToken,
}

/// What all parts of the mesh work on.
struct Shared {
    id: NodeId,
    mesh: String,
    generation: u64,
    /// Where others reach this node.
    addr: SocketAddr,
    endpoint: quinn::Endpoint,
    config: config::Mesh,
    /// Read for each dial, so that a certificate can be exchanged while the node runs.
    identity: RwLock<tls::Identity>,
    /// None where machines cannot enrol.
    desk: Option<enrol::Desk>,
    /// Seeds that were found while the node runs.
    found: watch::Sender<BTreeSet<SocketAddr>>,
    unfound: Once<Arc<str>>,
    counters: MeshCounters,
    peers: Peers,
    dialer: dial::Dialer,
    own: watch::Sender<OwnState>,
    view: watch::Sender<Arc<View>>,
    incoming: mpsc::Sender<(NodeId, Open, MeshStream)>,
    gossip_in: mpsc::Sender<gossip::Heard>,
    refusals: Once<(IpAddr, Refused)>,
    misbehaviour: Once<NodeId>,
    gossiped: Once<Arc<str>>,
    failed: watch::Sender<Option<MeshError>>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// What the node says about itself and changes.
#[derive(Debug, Clone)]
struct OwnState {
    load: Load,
    phase: Phase,
    lead: Lead,
    queue: Queue,
}

/// Ends everything when the last handle goes.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.cancel.cancel();
        self.0.endpoint.close(code::LEAVING, b"leaving");
    }
}

impl Mesh {
    /// Binds the QUIC endpoint, starts gossip, and joins through the seeds: in the background and for as long as it
    /// takes. A node without seeds, or whose seeds do not answer, is a mesh of its own until somebody finds it.
    ///
    /// # Errors
    /// When the identity cannot be read or is not the node's, or the address cannot be had.
    pub async fn start(settings: MeshSettings) -> Result<(Self, Incoming), MeshError> {
        let MeshSettings { config, node, facts, phase, enrols, mut sources } = settings;
        let identity = tls::Identity::new(&config, &node, tls::Texts::read(&config)?, enrols)?;
        let listen = |e: std::io::Error| MeshError::Listen { addr: config.listen, problem: e.to_string() };
        let endpoint = quinn::Endpoint::server(identity.server.clone(), config.listen).map_err(listen)?;
        let mut addr = config.advertised();
        if addr.port() == 0 {
            addr.set_port(endpoint.local_addr().map_err(listen)?.port());
        }
        let (incoming, streams) = mpsc::channel(limits::INCOMING_QUEUE);
        let (gossip_in, heard) = mpsc::channel(limits::GOSSIP_IN_QUEUE);
        let before = View { mesh: config.name.clone(), own: node.clone(), nodes: BTreeMap::new() };
        let shared = Arc::new(Shared {
            id: node.clone(),
            mesh: config.name.clone(),
            generation: now_ms(),
            addr,
            endpoint,
            config: config.clone(),
            identity: RwLock::new(identity),
            desk: enrols.then(enrol::Desk::new),
            found: watch::Sender::default(),
            unfound: Once::new(),
            counters: MeshCounters::default(),
            peers: Peers::new(node),
            dialer: dial::Dialer::default(),
            own: watch::Sender::new(OwnState {
                load: Load::default(),
                phase,
                lead: Lead::default(),
                queue: Queue::default(),
            }),
            view: watch::Sender::new(Arc::new(before)),
            incoming,
            gossip_in,
            refusals: Once::new(),
            misbehaviour: Once::new(),
            gossiped: Once::new(),
            failed: watch::Sender::new(None),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        });
        let end = Arc::new(End(shared.clone()));
        // Before anyone can look: the own node is always in the view.
        shared.view.send_modify(|view| {
            Arc::make_mut(view).nodes.insert(shared.id.clone(), shared.member(facts.clone()));
        });
        let gossip = gossip::start(&shared, heard, &config.seeds, &facts).await?;
        shared.spawn_vital("the accept loop", shared.clone().accept_connections());
        sources.extend(Names::of(&config.seeds).map(|names| Arc::new(names) as Arc<dyn SeedSource>));
        if !sources.is_empty() {
            shared.spawn(shared.clone().find_seeds(sources));
        }
        shared.spawn_vital("membership", shared.clone().observe(gossip, facts));
        tracing::info!(node = %shared.id, mesh = %shared.mesh, %addr, generation = shared.generation, "mesh started");
        let incoming = Incoming { streams, cancel: shared.cancel.clone() };
        Ok((Self { shared, _end: end }, incoming))
    }

    /// Opens a stream to a node and sends its first frame. To the own node it is a pipe in memory to the own
    /// [`Incoming`]. A node that is in the view and not connected is dialled first.
    ///
    /// That the call returns does not mean that the other side has read the frame.
    ///
    /// # Errors
    /// [`MeshError::Unknown`] or [`MeshError::Unreachable`] when there is no connection and none can be made now,
    /// [`MeshError::Busy`] when the node takes no more streams, and those of [`MeshSender::send`]. All within 15 s.
    pub async fn open(&self, node: &NodeId, open: &Open) -> Result<MeshStream, MeshError> {
        let shared = &self.shared;
        if shared.cancel.is_cancelled() {
            return Err(MeshError::ShutDown);
        }
        let mut stream = if *node == shared.id {
            let (near, far) = MeshStream::pair(shared);
            shared.accept_stream(far);
            near
        } else {
            shared.link(node).await?.open(shared).await?
        };
        count(&shared.counters.streams_opened);
        match timeout(limits::OPEN_DEADLINE, stream.send(open)).await {
            Ok(sent) => sent.map(|()| stream),
            Err(_) => Err(MeshError::Busy(node.clone())),
        }
    }

    /// Asks one question and waits for the answer, `deadline` long for everything together.
    ///
    /// # Errors
    /// Those of [`Mesh::open`] and [`MeshReceiver::recv`], [`MeshError::NoAnswer`] when the node ended the stream, and
    /// [`MeshError::Deadline`]. After the last three the node may or may not have done what was asked.
    pub async fn call(&self, node: &NodeId, call: Call, deadline: Duration) -> Result<Reply, MeshError> {
        let ask = async {
            let (sender, mut receiver) = self.open(node, &Open::Call(call)).await?.split();
            sender.finish().await;
            receiver.recv().await?.ok_or_else(|| MeshError::NoAnswer(node.clone()))
        };
        match timeout(deadline, ask).await {
            Ok(answer) => answer,
            Err(_) => Err(MeshError::Deadline { node: node.clone(), deadline }),
        }
    }

    /// The current view and its changes. It changes with every load that is gossiped, so take the newest and do not
    /// count on seeing each.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.shared.view.subscribe()
    }

    /// Says how loaded the node is. Gossiped only when it is different; reaches everyone within a few rounds of 200 ms.
    pub fn set_load(&self, load: &Load) {
        self.shared.own.send_if_modified(|own| {
            let is_new = own.load != *load;
            if is_new {
                own.load = load.clone();
            }
            is_new
        });
    }

    /// Says what the node is about to do.
    pub fn set_phase(&self, phase: Phase) {
        self.shared.own.send_if_modified(|own| {
            let is_new = own.phase != phase;
            own.phase = phase;
            is_new
        });
    }

    /// Says what the node knows of who leads.
    pub fn set_lead(&self, lead: Lead) {
        self.shared.own.send_if_modified(|own| {
            let is_new = own.lead != lead;
            own.lead = lead;
            is_new
        });
    }

    /// Says who waits at the homes on the node.
    pub fn set_queue(&self, queue: Queue) {
        self.shared.own.send_if_modified(|own| {
            let is_new = own.queue != queue;
            own.queue = queue;
            is_new
        });
    }

    /// The requests of machines without a certificate. None where they may not ask, and after the first call.
    pub fn enrolments(&self) -> Option<Enrolments> {
        self.shared.desk.as_ref()?.take()
    }

    /// What is counted.
    pub fn counters(&self) -> &MeshCounters {
        &self.shared.counters
    }

    /// The own node's name.
    pub fn id(&self) -> &NodeId {
        &self.shared.id
    }

    /// Where others reach this node, with the port that was bound.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Start of this process, as the others see it: milliseconds since 1970.
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// Waits until gossip, the endpoint or another part that must run has ended on its own. The process must then
    /// stop: the mesh does not know about it any more. Does not end after a shutdown.
    pub async fn failed(&self) -> MeshError {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => error.clone(),
            // Cannot be: the sender is in this handle.
            _ => std::future::pending().await,
        }
    }

    /// Tells the others that the node leaves, by gossip and with the close of every connection, and ends everything.
    /// Open streams break. Takes less than 3 s; a second call returns after the first one is through.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        self.set_phase(Phase::Leaving);
        if !shared.cancel.is_cancelled() {
            tokio::time::sleep(limits::LEAVE).await;
        }
        shared.cancel.cancel();
        shared.endpoint.close(code::LEAVING, b"leaving");
        shared.tasks.close();
        if timeout(limits::SHUTDOWN, shared.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = shared.tasks.len(), "tasks of the mesh did not end in time");
        }
        // Until the close has been sent, and for a while after it, in case it got lost.
        let _ = timeout(limits::SHUTDOWN, shared.endpoint.wait_idle()).await;
    }
}

impl Incoming {
    /// The next stream: who opened it, what for, and the frames after the first. None after the shutdown.
    /// Cancel-safe.
    pub async fn accept(&mut self) -> Option<(NodeId, Open, MeshStream)> {
        tokio::select! {
            stream = self.streams.recv() => stream,
            () = self.cancel.cancelled() => None,
        }
    }
}

impl Shared {
    /// The connection to a node: the one there is, or a new one to where the view says it is.
    async fn link(self: &Arc<Self>, node: &NodeId) -> Result<Arc<link::Link>, MeshError> {
        if let Some(link) = self.peers.get(node) {
            return Ok(link);
        }
        let addr = self.view.borrow().get(node).map(|member| member.addr);
        let link = self.reach(addr.ok_or_else(|| MeshError::Unknown(node.clone()))?).await?;
        // Somebody else may be at that address by now.
        if link.node == *node { Ok(link) } else { Err(MeshError::Unknown(node.clone())) }
    }

    /// Runs a task until it is done or the mesh is shut down.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = cancel.cancelled() => {}
            }
        });
    }

    /// Runs a task without which the mesh is nothing; it must end by itself at shutdown. If it ends before, whether
    /// it returns or panics, the mesh has failed.
    fn spawn_vital(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        struct Vital(Arc<Shared>, &'static str);
        impl Drop for Vital {
            fn drop(&mut self) {
                self.0.fail(MeshError::Ended(self.1));
            }
        }
        let vital = Vital(self.clone(), name);
        self.tasks.spawn(async move {
            let _vital = vital;
            task.await;
        });
    }

    /// Says that the mesh has failed; the first reason counts. At shutdown everything ends, and that is no failure.
    fn fail(&self, error: MeshError) {
        if self.cancel.is_cancelled() {
            return;
        }
        self.failed.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                tracing::error!(%error, "the mesh has failed");
                *failed = Some(error);
            }
            is_first
        });
    }
}
