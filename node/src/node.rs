//! The one place that joins the parts.

mod drain;
mod load;
mod sources;

pub use drain::{DrainError, Drainer};

use crate::enrol::{Enrol, Signer, SignerError};
use crate::media::{MediaError, Workers, health};
use crate::mesh::{Incoming, Mesh, MeshError, MeshSettings, MeshStream};
use crate::operator::{self, Operator};
use crate::room::homes::HomeSettings;
use crate::room::host::Context;
use crate::room::{Homes, Rooms, data, source};
use crate::scaler::cloud::CloudError;
#[cfg(feature = "ec2")]
use crate::scaler::cloud::ec2::{Metadata, MetadataError};
use crate::scaler::leader::{self, Leader, LeaderError};
#[cfg(feature = "ec2")]
use crate::scaler::notice;
use crate::session;
use crate::signaling::{Signaling, SignalingCounters, Sockets};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use skein_bootstrap::config::Config;
use skein_bootstrap::token::{TokenError, Verifier};
use skein_proto::gossip::{Facts, Phase};
use skein_proto::ids::NodeId;
use skein_proto::rpc::{Call, Guarantee, Json, Open, Refusal, Reply, Reserve};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long sessions and sockets may take to end when the node stops.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// How many events a watching operator may fall behind.
const EVENTS: usize = 1024;

/// Why a node does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// What the node has to do about leading.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// Where seeds are looked for.
    #[error("mesh.seeds_from_ec2: {0}")]
    Seeds(CloudError),
    /// A worker.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The mesh.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The key that client tokens are checked with.
    #[error("auth.client_key: {0}")]
    ClientKey(#[from] TokenError),
    /// What the node signs certificates with.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Where spot notices would come from.
    #[cfg(feature = "ec2")]
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The HTTP server's address.
    #[error("http.listen: {addr}: {problem}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why not.
        problem: std::io::Error,
    },
    /// The HTTP server's certificate.
    #[error("http.tls_cert {}: {problem}", path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: std::io::Error,
    },
    /// The HTTP server ended on its own.
    #[error("the HTTP server ended: {0}")]
    Http(String),
    /// A worker died.
    #[error("worker {0} died")]
    WorkerDied(u16),
}

/// A running node.
pub struct Node {
    mesh: Mesh,
    drainer: Arc<Drainer>,
    addr: SocketAddr,
    tasks: TaskTracker,
    cancel: CancellationToken,
    handle: Handle<SocketAddr>,
    server: JoinHandle<std::io::Result<()>>,
    deaths: mpsc::Receiver<u16>,
}

impl Node {
    /// Starts all parts. The node takes rooms and peers when this returns.
    ///
    /// # Errors
    /// Names what does not start and why.
    pub async fn start(config: &Config) -> Result<Self, NodeError> {
        let listener = listen(config.http.listen)?;
        let addr = listener
            .local_addr()
            .map_err(|problem| NodeError::Listen { addr: config.http.listen, problem })?;
        let cloud = leader::open(config).await.map_err(LeaderError::from)?;
        let sources = sources::open(config).await.map_err(NodeError::Seeds)?;
        let verifier = config.auth.client_key.as_deref().map(Verifier::new).transpose()?;
        let tls = server_tls(config).await?;
        let (workers, deaths) = Workers::start(&config.media).await?;
        let counts = Arc::clone(workers.counts());
        let meter = Arc::clone(workers.meter());
        let facts = Facts {
            role: config.node.role.as_str().to_owned(),
            region: config.node.region.clone(),
            zone: config.node.zone.clone(),
            url: config.public_url(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let signer = Signer::read(config)?;
        if let Some(signer) = &signer {
            signer.refresh(config);
        }
        let settings = MeshSettings {
            config: config.mesh.clone(),
            node: config.node.id.clone(),
            facts,
            phase: Phase::Starting,
            enrols: signer.as_ref().is_some_and(|signer| signer.secret().is_some()),
            sources,
        };
        let (mesh, incoming) = Mesh::start(settings).await?;
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let enrol = Enrol::new(mesh.clone(), config, signer, cloud.clone());
        let rooms = Arc::new(Rooms::new(Context {
            mesh: mesh.clone(),
            workers,
            linger: Duration::from_secs_f64(config.media.pipe_linger_s),
            requests_per_second: NonZeroU32::new(config.signaling.requests_per_second)
                .unwrap_or(NonZeroU32::MIN),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        }));
        let health =
            health::spawn(cancel.clone(), rooms.context().workers.iter().map(|w| w.thread()).collect());
        tasks.spawn(load::heed(health.clone(), Arc::clone(&rooms), cancel.clone()));
        let settings = HomeSettings {
            options: config.room.options(),
            max_size: config.room.max_size,
            placement: config.placement.clone(),
            max_waiting: config.scaling.max_waiting,
        };
        let homes = Homes::new(mesh.clone(), settings, tasks.clone());
        let leader = Leader::start(config, mesh.clone(), cloud, tasks.clone(), &cancel)?;
        let signaling = Arc::new(Signaling {
            mesh: mesh.clone(),
            limits: config.signaling.clone(),
            rooms: config.room.clone(),
            patience: Duration::from_secs_f64(config.scaling.patience_s),
            max_waiting: config.scaling.max_waiting_clients,
            verifier,
            sockets: Arc::new(Sockets::default()),
            counts,
            counters: SignalingCounters::default(),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        });
        let patience = Duration::from_secs_f64(config.scaling.drain_minutes * 60.0);
        let drainer = Drainer::new(mesh.clone(), Arc::clone(&rooms), Arc::clone(&signaling), patience);
        #[cfg(feature = "ec2")]
        if config.scaling.ec2.spot {
            let metadata = Metadata::new(config.scaling.ec2.metadata.as_deref())?;
            tasks.spawn(notice::heed(metadata, Arc::clone(&drainer), cancel.clone()));
        }
        let operator = Arc::new(Operator {
            mesh: mesh.clone(),
            homes: Arc::clone(&homes),
            rooms: Arc::clone(&rooms),
            signaling,
            token: config.auth.operator_token.clone(),
            health,
            started: Instant::now(),
            events: broadcast::Sender::new(EVENTS),
        });
        tasks.spawn(meter.run(cancel.clone()));
        tasks.spawn(Arc::clone(&homes).run(cancel.clone()));
        tasks.spawn(operator::run_watch(Arc::clone(&operator), cancel.clone()));
        let gossiper = load::Gossiper::new(mesh.clone(), Arc::clone(&rooms), Arc::clone(&homes));
        tasks.spawn(gossiper.run(cancel.clone()));
        let parts = Parts {
            rooms: Arc::clone(&rooms),
            homes,
            drainer: Arc::clone(&drainer),
            leader,
            enrol: Arc::clone(&enrol),
        };
        tasks.spawn(enrol.run(tasks.clone(), cancel.clone()));
        tasks.spawn(dispatch(incoming, parts, tasks.clone()));
        let handle = Handle::new();
        let server = serve(listener, tls, operator, handle.clone())?;
        mesh.set_phase(Phase::Ready);
        tracing::info!(node = %config.node.id, %addr, url = config.public_url(), "node started");
        Ok(Self { mesh, drainer, addr, tasks, cancel, handle, server, deaths })
    }

    /// Where it serves HTTP and WebSocket.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What drains it.
    pub fn drainer(&self) -> &Arc<Drainer> {
        &self.drainer
    }

    /// Waits until a part fails that the node cannot do without.
    pub async fn failed(&mut self) -> NodeError {
        tokio::select! {
            error = self.mesh.failed() => NodeError::Mesh(error),
            Some(worker) = self.deaths.recv() => NodeError::WorkerDied(worker),
            ended = &mut self.server => NodeError::Http(format!("{ended:?}")),
        }
    }

    /// Stops: says so to the mesh, closes all sessions and sockets with a reason, and waits for them, for a while.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "tasks did not end in time");
        }
        self.handle.graceful_shutdown(Some(Duration::from_secs(1)));
        self.mesh.shutdown().await;
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener, NodeError> {
    let error = |problem| NodeError::Listen { addr, problem };
    let listener = TcpListener::bind(addr).map_err(error)?;
    listener.set_nonblocking(true).map_err(error)?;
    Ok(listener)
}

async fn server_tls(config: &Config) -> Result<Option<RustlsConfig>, NodeError> {
    let (Some(cert), Some(key)) = (&config.http.tls_cert, &config.http.tls_key) else { return Ok(None) };
    let tls = RustlsConfig::from_pem_file(cert, key).await;
    tls.map(Some).map_err(|problem| NodeError::Tls { path: cert.clone(), problem })
}

fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    operator: Arc<Operator>,
    handle: Handle<SocketAddr>,
) -> Result<JoinHandle<std::io::Result<()>>, NodeError> {
    let service = operator::routes(operator).into_make_service();
    let error = |problem: std::io::Error| NodeError::Http(problem.to_string());
    Ok(match tls {
        Some(tls) => {
            let server = axum_server::from_tcp_rustls(listener, tls).map_err(error)?.handle(handle);
            tokio::spawn(server.serve(service))
        }
        None => {
            let server = axum_server::from_tcp(listener).map_err(error)?.handle(handle);
            tokio::spawn(server.serve(service))
        }
    })
}

/// What other nodes' streams are for.
#[derive(Clone)]
struct Parts {
    rooms: Arc<Rooms>,
    homes: Arc<Homes>,
    drainer: Arc<Drainer>,
    leader: Arc<Leader>,
    enrol: Arc<Enrol>,
}

/// Gives each stream that a node opened to the part that it is for. Ends with the mesh.
async fn dispatch(mut incoming: Incoming, parts: Parts, tasks: TaskTracker) {
    let cancel = parts.rooms.context().cancel.clone();
    loop {
        let next = tokio::select! {
            () = cancel.cancelled() => return,
            next = incoming.accept() => next,
        };
        let Some((node, open, stream)) = next else { return };
        let parts = parts.clone();
        let Parts { rooms, homes, .. } = parts.clone();
        match open {
            Open::Call(call) => {
                tasks.spawn(async move { answer(&parts, node, call, stream).await });
            }
            Open::Session(open) => {
                tasks.spawn(session::run(rooms, node, open, stream));
            }
            Open::Room(open) => {
                let cancel = cancel.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = homes.serve(node, open.room, stream) => {}
                    }
                });
            }
            Open::Pipe(open) => {
                tasks.spawn(source::serve(rooms.get(&open.room), node, open, stream));
            }
            Open::Data(open) => {
                tasks.spawn(data::serve(rooms.get(&open.room), open, stream));
            }
            // The mesh answers a hello itself; one on a later stream means nothing.
            Open::Hello(_) => log_stray_hello(&node),
        }
    }
}

fn log_stray_hello(node: &NodeId) {
    tracing::debug!(%node, "a second hello");
}

async fn answer(parts: &Parts, from: NodeId, call: Call, mut stream: MeshStream) {
    let Parts { rooms, homes, drainer, leader, enrol } = parts;
    let json = |value: Result<Json, serde_json::Error>| match value {
        Ok(json) => Reply::Json(json),
        Err(error) => Reply::Failed(error.to_string()),
    };
    let accounts = rooms.context().workers.accounts();
    let reply = match call {
        Call::Admit(admit) => homes.admit(admit).await,
        // Who asks may not have heard yet that the node drains. What its peers need to leave it is another matter.
        Call::Reserve(Reserve { at: Some((worker, _)), .. }) if drainer.is_draining() => {
            Reply::Full { worker, left: accounts.figures(worker, Instant::now()).free }
        }
        Call::Guarantee(Guarantee { demands, .. }) if drainer.is_draining() => {
            let worker = demands.first().map_or(0, |(worker, _)| *worker);
            Reply::Full { worker, left: accounts.figures(worker, Instant::now()).free }
        }
        Call::Unwait(unwait) => homes.unwait(unwait),
        Call::Reserve(reserve) => match accounts.reserve(&reserve, Instant::now()) {
            Ok(left) => Reply::Reserved { left },
            Err(full) => Reply::Full { worker: full.worker, left: full.left.packets },
        },
        Call::Release(ticket) => {
            accounts.release(ticket);
            Reply::Done
        }
        Call::Guarantee(guarantee) => match accounts.guarantee(&guarantee, Instant::now()) {
            Ok(()) => Reply::Done,
            Err(full) => Reply::Full { worker: full.worker, left: full.left.packets },
        },
        Call::Guaranteed(room) => Reply::Guaranteed { kept: accounts.guaranteed(&room, Instant::now()) },
        Call::Unguarantee(room) => {
            accounts.unguarantee(&room);
            Reply::Done
        }
        Call::Clear(clear) => rooms.clear(clear).await,
        Call::MakeWay(wish) => homes.make_way(wish).await,
        Call::Publish(publish) => homes.publish(publish).await,
        Call::MovePeer(wish) => homes.move_peer(wish).await,
        Call::Drain { on, deadline_s, force } => match drainer.answer(on, deadline_s, force) {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Refused(Refusal::NotAllowed(error.to_string())),
        },
        Call::Lease(request) => leader.asked(from, request).await,
        Call::Scaling => json(Json::new(&leader.scaling())),
        Call::Rooms => json(Json::new(&homes.summaries())),
        Call::Room(room) => json(Json::new(&homes.detail(&room))),
        Call::UseToken(token_use) => enrol.use_token(token_use),
        Call::Renew(request) => enrol.renew(&from, &request),
    };
    if let Err(error) = stream.send(&reply).await {
        tracing::debug!(%error, "an answer was not wanted any more");
    }
}
