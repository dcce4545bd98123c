//! Real nodes on loopback.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let mesh = skein_tests::MeshBuilder::new().nodes(3).set("placement.prefer", "entry").start().await?;
//! println!("{:?}", mesh.node(0).operator().mesh().await?);
//! # Ok(()) }
//! ```

mod binary;
mod machines;
mod ports;
mod process;
mod wire;

pub use binary::{node_binary, skein_binary};
pub use machines::Growth;
use machines::Machines;
pub use ports::{Ports, reserve};
pub use process::{Exit, NodeProcess, run_node, run_skein};

use crate::operator::{Operator, install_crypto};
use crate::wait;
use anyhow::{Context, ensure};
use skein_bootstrap::identity::Authority;
use skein_bootstrap::process::Record;
use skein_proto::ids::NodeId;
use skein_proto::operator::{NodeDetail, NodeState};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use wire::{Cuts, Wire};

/// How long a mesh may take until all nodes see each other.
const READY: Duration = Duration::from_secs(20);
/// How often a node is started again with other ports, when somebody took one in between.
const PORT_TRIES: u32 = 3;

/// What a mesh shall be like.
#[derive(Debug, Clone)]
pub struct MeshBuilder {
    nodes: usize,
    name: String,
    settings: BTreeMap<String, String>,
    node_settings: BTreeMap<usize, BTreeMap<String, String>>,
    growth: Option<Growth>,
    wired: bool,
}

impl Default for MeshBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl MeshBuilder {
    /// Three nodes with one worker each, and pipes that linger for half a second only.
    pub fn new() -> Self {
        let defaults = [("media.workers", "1"), ("media.pipe_linger_s", "0.5")];
        Self {
            nodes: 3,
            name: "test".to_owned(),
            settings: defaults.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            node_settings: BTreeMap::new(),
            growth: None,
            wired: false,
        }
    }

    /// How many nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// The mesh's name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// A setting of all nodes.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A setting of one node, over those of all.
    #[must_use]
    pub fn set_node(mut self, node: usize, key: &str, value: &str) -> Self {
        self.node_settings.entry(node).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// Has a leader, and lets it launch nodes as processes.
    #[must_use]
    pub fn grows(mut self, growth: &Growth) -> Self {
        self.growth = Some(growth.clone());
        self
    }

    /// Joins the nodes by wires that [`Mesh::cut_off`] cuts. Media takes other ways.
    #[must_use]
    pub fn wired(mut self) -> Self {
        self.wired = true;
        self
    }

    /// Starts the nodes and waits until every one is ready and sees all others.
    ///
    /// # Errors
    /// When a node does not start, or they do not find each other.
    ///
    /// # Panics
    /// When the node's program is not there.
    pub async fn start(mut self) -> anyhow::Result<Mesh> {
        install_crypto();
        let nodes = self.nodes;
        if let Some(growth) = self.growth.take() {
            // What a test sets itself comes before.
            let given = std::mem::take(&mut self.settings);
            self.settings = growth.settings(nodes);
            self.settings.extend(given);
        }
        let mut mesh = Mesh::empty(self)?;
        for _ in 0..nodes {
            mesh.spawn_node(None).await?;
        }
        mesh.ready().await?;
        Ok(mesh)
    }
}

/// A running mesh. Dropping it kills its nodes.
pub struct Mesh {
    builder: MeshBuilder,
    authority: Authority,
    // Before the folder, which has their logs: fields are dropped in this order.
    nodes: Vec<NodeProcess>,
    machines: Machines,
    folder: TempDir,
    made: usize,
    /// To each node, in the same order, where they are wired.
    wires: Vec<Wire>,
    cuts: Cuts,
}

impl Mesh {
    fn empty(builder: MeshBuilder) -> anyhow::Result<Self> {
        let authority = Authority::generate(&builder.name)?;
        let folder = tempfile::Builder::new().prefix("skein-test-").tempdir()?;
        std::fs::write(folder.path().join("ca.pem"), authority.certificate_pem())?;
        std::fs::write(folder.path().join("ca.key"), authority.key_pem())?;
        let machines = Machines::in_folder(&folder.path().join(machines::FOLDER));
        let (wires, cuts) = (Vec::new(), Cuts::default());
        Ok(Self { builder, authority, nodes: Vec::new(), machines, folder, made: 0, wires, cuts })
    }

    /// The mesh's name.
    pub fn name(&self) -> &str {
        &self.builder.name
    }

    /// The mesh's authority, to make certificates for guests.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where certificates and logs are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All nodes, running or not, in the order in which they were started.
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// One node.
    ///
    /// # Panics
    /// When there is none of this index.
    pub fn node(&self, index: usize) -> &NodeProcess {
        &self.nodes[index]
    }

    /// One node, to stop it.
    ///
    /// # Panics
    /// When there is none of this index.
    pub fn node_mut(&mut self, index: usize) -> &mut NodeProcess {
        &mut self.nodes[index]
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, id: &NodeId) -> anyhow::Result<&NodeProcess> {
        self.nodes.iter().find(|node| node.id() == id).with_context(|| format!("no node {id}"))
    }

    /// The index of the node of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn index_of(&self, id: &NodeId) -> anyhow::Result<usize> {
        self.nodes.iter().position(|node| node.id() == id).with_context(|| format!("no node {id}"))
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &NodeProcess> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// What the leader has launched, of which nothing is forgotten.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn launched(&self) -> anyhow::Result<Vec<Record>> {
        self.machines.all()
    }

    /// Starts one more node, which joins through the given seeds or, without, through the first node that runs; waits
    /// until everyone sees it. Answers its index.
    ///
    /// # Errors
    /// When it does not start or is not seen.
    pub async fn add_node(&mut self, seeds: Option<Vec<SocketAddr>>) -> anyhow::Result<usize> {
        let index = self.spawn_node(seeds).await?;
        self.ready().await?;
        Ok(index)
    }

    /// Starts one more node and waits only until it answers. Answers its index.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn spawn_node(&mut self, seeds: Option<Vec<SocketAddr>>) -> anyhow::Result<usize> {
        let index = self.nodes.len();
        self.made += 1;
        let id: NodeId = format!("n{}", self.made).parse()?;
        let first = || self.nodes.iter().position(NodeProcess::is_running);
        let seeds = seeds.unwrap_or_else(|| first().map(|index| self.dialled(index)).into_iter().collect());
        let mut tries = 0;
        let node = loop {
            tries += 1;
            let ports = reserve()?;
            let mut settings = self.settings(index, &id, &seeds, &ports)?;
            if self.builder.wired {
                let wire = Wire::to(ports.mesh, self.cuts.clone()).await?;
                settings.push(format!("mesh.advertise={}", wire.addr()));
                self.wires.truncate(index);
                self.wires.push(wire);
            }
            let mut node =
                NodeProcess::start(&id, self.folder.path(), ports, settings, self.operator_token(index))?;
            match node.answers().await {
                Ok(()) => break node,
                Err(error) if tries < PORT_TRIES && node.log().contains("in use") => {
                    eprintln!("{id}: {error:#}; trying other ports");
                }
                Err(error) => return Err(error),
            }
        };
        self.nodes.push(node);
        Ok(index)
    }

    /// The address by which others reach a node.
    fn dialled(&self, index: usize) -> SocketAddr {
        self.wires.get(index).map_or_else(|| self.nodes[index].mesh_addr(), Wire::addr)
    }

    /// From now on a node of a mesh that is wired and the others do not hear of each other. Clients reach it.
    ///
    /// # Panics
    /// When the mesh is not wired or there is none of this index.
    pub fn cut_off(&self, index: usize) {
        assert!(index < self.wires.len(), "node {index} is not wired");
        self.cuts.cut(self.nodes[index].mesh_addr());
    }

    /// All nodes hear of each other again.
    pub fn mend(&self) {
        self.cuts.mend();
    }

    fn operator_token(&self, index: usize) -> Option<String> {
        let of_node = self.builder.node_settings.get(&index).and_then(|all| all.get("auth.operator_token"));
        of_node.or_else(|| self.builder.settings.get("auth.operator_token")).cloned()
    }

    fn settings(
        &self,
        index: usize,
        id: &NodeId,
        seeds: &[SocketAddr],
        ports: &Ports,
    ) -> anyhow::Result<Vec<String>> {
        let [cert, key] = self.certificate(id, &self.authority)?;
        let seeds: Vec<_> = seeds.iter().map(|seed| format!("{:?}", seed.to_string())).collect();
        let role = if index == 0 { "seed" } else { "node" };
        let mut all: BTreeMap<String, String> = [
            ("node.id", id.to_string()),
            ("node.role", role.to_owned()),
            ("mesh.name", self.builder.name.clone()),
            ("mesh.listen", ports.mesh.to_string()),
            ("mesh.seeds", format!("[{}]", seeds.join(","))),
            ("mesh.ca", self.folder.path().join("ca.pem").display().to_string()),
            ("mesh.cert", cert.display().to_string()),
            ("mesh.key", key.display().to_string()),
            ("http.listen", ports.http.to_string()),
            ("media.port", "0".to_owned()),
            ("scaling.process.folder", self.folder.path().join(machines::FOLDER).display().to_string()),
            ("scaling.process.authority", self.folder.path().display().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        all.extend(self.builder.settings.clone());
        all.extend(self.builder.node_settings.get(&index).cloned().unwrap_or_default());
        Ok(all.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
    }

    /// Writes a certificate and key for a node of this mesh's name, signed by any authority. Answers their paths.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn certificate(&self, id: &NodeId, authority: &Authority) -> anyhow::Result<[PathBuf; 2]> {
        let identity = authority.issue(&self.builder.name, id)?;
        let paths = ["cert", "key"].map(|kind| self.folder.path().join(format!("{id}.{kind}.pem")));
        std::fs::write(&paths[0], identity.certificate_pem)?;
        std::fs::write(&paths[1], identity.key_pem)?;
        Ok(paths)
    }

    /// Waits until every running node is ready and sees exactly the running ones, all alive.
    ///
    /// # Errors
    /// When that takes more than 20 s.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.agrees(READY).await
    }

    /// Waits until every running node is ready and sees exactly the running ones, all alive.
    ///
    /// # Errors
    /// When that takes longer.
    pub async fn agrees(&self, deadline: Duration) -> anyhow::Result<()> {
        let mut expected: Vec<_> = self.running().map(|node| node.id().clone()).collect();
        expected.sort();
        wait::until("all nodes see each other", deadline, async || {
            for node in self.running() {
                let status = node.operator().mesh().await?;
                let seen: Vec<_> = status.nodes.iter().map(|node| node.id.clone()).collect();
                ensure!(seen == expected, "{} sees {seen:?} and not {expected:?}", node.id());
                let odd = status
                    .nodes
                    .iter()
                    .find(|node| node.state != NodeState::Alive || node.total_streams == 0);
                ensure!(odd.is_none(), "{} sees {odd:?}", node.id());
                let ready = node.operator().get("/readyz").await?;
                ensure!(ready.status == 200, "{}: {ready:?}", node.id());
            }
            Ok(())
        })
        .await
    }

    /// Waits until nothing is left anywhere: no rooms, sessions, routers, transports, producers, consumers or pipes.
    ///
    /// # Errors
    /// Names what is left, and where.
    pub async fn is_empty(&self, deadline: Duration) -> anyhow::Result<()> {
        wait::until("nothing is left", deadline, async || {
            for node in self.running() {
                let left = leftovers(&node.operator().node().await?);
                ensure!(left.is_empty(), "{} still has {left:?}", node.id());
                let rooms = node.operator().rooms().await?;
                ensure!(rooms.rooms.is_empty() && rooms.missing.is_empty(), "{} lists {rooms:?}", node.id());
                let status = node.operator().mesh().await?;
                let busy = status.nodes.iter().find(|node| node.free_streams != node.total_streams);
                ensure!(busy.is_none(), "{} still sees streams: {busy:?}", node.id());
            }
            Ok(())
        })
        .await
    }

    /// The operator API of a node.
    ///
    /// # Panics
    /// When there is none of this index.
    pub fn operator(&self, index: usize) -> &Operator {
        self.node(index).operator()
    }
}

/// What a node holds, by name; nothing where it holds nothing.
pub fn leftovers(node: &NodeDetail) -> BTreeMap<&'static str, u32> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let held = [
        ("rooms", count(node.rooms.len())),
        ("sessions", node.sessions),
        ("sockets", node.sockets),
        ("routers", node.routers),
        ("transports", node.transports),
        ("producers", node.producers),
        ("consumers", node.consumers),
        ("data_producers", node.data_producers),
        ("data_consumers", node.data_consumers),
        ("pipe_transports", node.pipe_transports),
        ("pipes", count(node.pipes.len())),
        ("data_pipes", node.data_pipes),
        ("worker streams", node.workers.iter().map(|worker| worker.streams).sum()),
        ("reserved streams", node.workers.iter().map(|worker| worker.reserved).sum()),
    ];
    held.into_iter().filter(|(_, number)| *number > 0).collect()
}
