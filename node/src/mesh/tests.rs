//! Whole meshes in one process, over real QUIC on loopback.

mod death;
mod join;
mod proxy;
mod refusals;
mod seeds;
mod streams;

use super::refusal::Refusal;
use super::*;
use proxy::Proxy;
use skein_bootstrap::identity::Authority;
use skein_proto::codec;
use skein_proto::operator::NodeState;
use skein_proto::rpc::{Hello, Json, SessionFrame, VERSION};
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tempfile::TempDir;

/// Nothing in these tests takes longer, however slow the machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// An authority and the files that it made.
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
}

/// A node that answers what it is asked.
struct Node {
    mesh: Mesh,
    /// Streams that it was given.
    streams: Arc<AtomicU64>,
}

pub(crate) fn id(name: &str) -> NodeId {
    name.parse().expect("a name")
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            authority: Authority::generate("dev").expect("an authority"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Settings of a node with an identity of its own.
    pub(crate) fn settings(&self, name: &str, seeds: &[SocketAddr]) -> MeshSettings {
        self.settings_in("dev", name, seeds)
    }

    fn settings_in(&self, mesh: &str, name: &str, seeds: &[SocketAddr]) -> MeshSettings {
        let identity = self.authority.issue(mesh, &id(name)).expect("issues");
        let file = |kind: &str, text: &str| {
            let path = self.folder.path().join(format!("{mesh}-{name}.{kind}"));
            std::fs::write(&path, text).expect("writes");
            path
        };
        MeshSettings {
            config: config::Mesh {
                name: mesh.to_owned(),
                listen: ([127, 0, 0, 1], 0).into(),
                advertise: None,
                seeds: seeds.iter().copied().map(Into::into).collect(),
                seeds_from_ec2: config::Ec2Seeds::None,
                ca: file("ca", self.authority.certificate_pem()),
                cert: file("cert", &identity.certificate_pem),
                key: file("key", &identity.key_pem),
            },
            node: id(name),
            facts: Facts {
                role: "node".to_owned(),
                region: "local".to_owned(),
                zone: String::new(),
                url: format!("http://{name}"),
                version: "1".to_owned(),
            },
            phase: Phase::Ready,
            enrols: false,
            sources: Vec::new(),
        }
    }

    /// A node's part in the mesh, on a port that the system chooses. It is ready.
    pub(crate) async fn mesh(&self, name: &str, seeds: &[SocketAddr]) -> (Mesh, Incoming) {
        Mesh::start(self.settings(name, seeds)).await.expect("starts")
    }

    async fn node(&self, name: &str, seeds: &[SocketAddr]) -> Node {
        Node::start(self.settings(name, seeds)).await
    }

    /// The first node and others that know only the first.
    async fn nodes<const N: usize>(&self, names: [&str; N]) -> [Node; N] {
        let mut nodes = Vec::new();
        for name in names {
            let seeds: Vec<_> = nodes.first().map(|first: &Node| first.mesh.addr()).into_iter().collect();
            nodes.push(self.node(name, &seeds).await);
        }
        for node in &nodes {
            node.sees(&names).await;
        }
        nodes.try_into().ok().expect("as many as names")
    }

    /// Somebody with a certificate for `certified` who speaks QUIC by hand.
    fn raw(&self, certified: &str) -> Raw {
        let MeshSettings { config, node, .. } = self.settings(certified, &[]);
        let texts = tls::Texts::read(&config).expect("reads");
        let identity = tls::Identity::new(&config, &node, texts, false).expect("fits");
        let endpoint = quinn::Endpoint::server(identity.server.clone(), config.listen).expect("binds");
        Raw { endpoint, identity }
    }
}

struct Raw {
    endpoint: quinn::Endpoint,
    identity: tls::Identity,
}

impl Raw {
    async fn connect(&self, to: &Node) -> quinn::Connection {
        self.endpoint
            .connect_with(self.identity.client.clone(), to.mesh.addr(), "dev.mesh.skein.internal")
            .expect("can be tried")
            .await
            .expect("connects")
    }

    /// Connects and says a hello; the streams, or with what the connection was closed.
    async fn greet(
        &self,
        to: &Node,
        hello: Hello,
    ) -> (quinn::Connection, Result<(), quinn::ConnectionError>) {
        let connection = self.connect(to).await;
        let (mut writer, mut reader) = connection.open_bi().await.expect("opens");
        let frame = codec::encode(&Open::Hello(hello)).expect("encodes");
        writer.write_all(&framed(&frame)).await.expect("writes");
        let mut answer = [0; 4];
        let outcome = match reader.read_exact(&mut answer).await {
            Ok(()) => Ok(()),
            Err(_) => Err(connection.closed().await),
        };
        (connection, outcome)
    }
}

fn hello(name: &str, generation: u64) -> Hello {
    Hello { version: VERSION, mesh: "dev".to_owned(), node: id(name), generation }
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

fn closed_with(error: quinn::ConnectionError) -> u64 {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed by something else: {other}"),
    }
}

impl Node {
    async fn start(settings: MeshSettings) -> Self {
        let (mesh, incoming) = Mesh::start(settings).await.expect("starts");
        let streams = Arc::new(AtomicU64::new(0));
        tokio::spawn(serve(mesh.id().clone(), incoming, streams.clone()));
        Self { mesh, streams }
    }

    /// Waits for a view.
    async fn until(&self, what: &str, holds: impl FnMut(&Arc<View>) -> bool) -> Arc<View> {
        let mut view = self.mesh.view();
        match timeout(LONG, view.wait_for(holds)).await {
            Ok(Ok(view)) => view.clone(),
            _ => {
                panic!("{} never saw {what}; it sees {:#?}", self.mesh.id(), self.mesh.view().borrow().nodes)
            }
        }
    }

    /// Waits until exactly these nodes are alive.
    async fn sees(&self, names: &[&str]) -> Arc<View> {
        let expected: BTreeMap<NodeId, NodeState> =
            names.iter().map(|name| (id(name), NodeState::Alive)).collect();
        self.until(&format!("{names:?}"), |view| {
            view.nodes.iter().map(|(id, node)| (id.clone(), node.state)).collect::<BTreeMap<_, _>>()
                == expected
        })
        .await
    }

    /// Asks a node who it is.
    async fn ask(&self, node: &str) -> Result<Reply, MeshError> {
        self.mesh.call(&id(node), Call::Room("r".parse().expect("a name")), Duration::from_secs(5)).await
    }

    /// Asks until there is an answer: a connection that broke is dialled again.
    async fn reaches(&self, node: &str) {
        eventually(&format!("{} reaches {node}", self.mesh.id()), async || self.ask(node).await.is_ok())
            .await;
    }

    fn count(&self, name: &str) -> u64 {
        let all = self.mesh.counters().read();
        all.iter().find(|(each, _)| *each == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }

    async fn counted(&self, name: &str, at_least: u64) {
        eventually(&format!("{name} of {at_least}"), async || self.count(name) >= at_least).await;
    }
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < LONG, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Answers calls with the own name and who asks, and echoes sessions.
async fn serve(own: NodeId, mut incoming: Incoming, streams: Arc<AtomicU64>) {
    while let Some((from, open, mut stream)) = incoming.accept().await {
        streams.fetch_add(1, Relaxed);
        let own = own.clone();
        tokio::spawn(async move {
            match open {
                Open::Call(Call::Rooms) => std::future::pending().await,
                Open::Call(_) => {
                    let answer = Json::new(&(own, from)).expect("JSON");
                    stream.send(&Reply::Json(answer)).await.expect("sends");
                }
                Open::Session(_) => {
                    while let Ok(Some(frame)) = stream.recv::<SessionFrame>().await {
                        if stream.send(&frame).await.is_err() {
                            return;
                        }
                    }
                }
                _ => {}
            }
        });
    }
}

/// What was logged by this thread, while it is kept.
struct Log {
    text: Arc<parking_lot::Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    /// Only with a current-thread runtime: other threads do not log here.
    fn new() -> Self {
        #[derive(Clone)]
        struct Writer(Arc<parking_lot::Mutex<Vec<u8>>>);
        impl Write for Writer {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        // While there is only one subscriber, tracing lets the thread that comes to a line first decide for all threads
        // whether the line is logged; a test without a log then silences it in one that has.
        static SECOND: LazyLock<tracing::Dispatch> =
            LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&SECOND);
        let text = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let writer = Writer(text.clone());
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Lines that contain the text.
    fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8_lossy(&self.text.lock()).into_owned();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

/// Writes a file of a node anew.
pub(crate) fn overwrite(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writes");
}
