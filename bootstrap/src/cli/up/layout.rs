//! What a development mesh is made of on disk: one folder with the authority, the nodes' certificates, configuration
//! files and logs.

use super::ports::{self, NodePorts};
use crate::cli::state::MACHINES;
use anyhow::{Context, bail, ensure};
use skein_bootstrap::config::Config;
use skein_bootstrap::identity::{Authority, CA, CA_KEY, carries, node_name, write_secret};
use skein_proto::capacity::Cost;
use skein_proto::ids::NodeId;
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How many nodes a node tries to join through.
const SEEDS: usize = 3;

/// What the mesh is to be like.
#[derive(Debug, Clone)]
pub struct Wish {
    /// How many nodes.
    pub nodes: u16,
    /// The first port.
    pub base_port: u16,
    /// Streams per worker, where they are given.
    pub streams_per_worker: Option<u32>,
    /// What `skein calibrate` measured on this machine, where it has.
    pub calibration: Option<PathBuf>,
    /// Settings for every node, `key=value`.
    pub settings: Vec<String>,
    /// How it grows, where it may.
    pub growth: Option<Growth>,
}

/// How the mesh grows.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// The most nodes.
    pub max_nodes: u16,
    /// Minutes for which a node must not have been needed before it is drained.
    pub idle_minutes: Option<f64>,
}

/// One node, as it is going to be started.
#[derive(Debug)]
pub struct Planned {
    /// Its configuration file.
    pub file: PathBuf,
    /// What it logs.
    pub log: PathBuf,
    /// Its configuration as it will see it: file, environment and settings.
    pub config: Config,
}

impl Planned {
    /// Its name.
    pub fn id(&self) -> &NodeId {
        &self.config.node.id
    }

    /// The address for people and clients.
    pub fn url(&self) -> String {
        self.config.public_url()
    }

    /// The address at which it answers on this machine, whatever clients call it.
    pub fn local_url(&self) -> String {
        let scheme = if self.config.http.tls_cert.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.config.http.listen)
    }

    /// The address of its WebSocket.
    pub fn ws(&self) -> String {
        // http becomes ws, and https wss.
        self.url().replacen("http", "ws", 1)
    }
}

/// Writes the nodes' configuration files and reads them back together with the environment and the settings.
///
/// # Errors
/// When a setting is wrong; the error names its key. When two nodes would get in each other's way.
pub fn configure(folder: &Path, wish: &Wish) -> anyhow::Result<Vec<Planned>> {
    let environment: Vec<_> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    configure_in(folder, wish, &environment)
}

fn configure_in(
    folder: &Path,
    wish: &Wish,
    environment: &[(String, String)],
) -> anyhow::Result<Vec<Planned>> {
    ports::plan(wish.base_port, wish.nodes, 0)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    // How wide a node's block of ports is follows from its workers, which only the whole configuration knows.
    let mut workers = 0;
    loop {
        let ports = ports::plan(wish.base_port, wish.nodes, workers)?;
        let planned = (0..ports.len())
            .map(|index| configure_one(folder, wish, &ports, index, environment))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let needed = planned.iter().map(|node| ports::workers_of(&node.config)).max().unwrap_or_default();
        if needed <= workers || needed <= 32 {
            check_apart(&planned)?;
            return match &wish.growth {
                Some(growth) => add_growth(folder, wish, growth, planned, environment),
                None => Ok(planned),
            };
        }
        workers = needed;
    }
}

/// Writes down how the mesh grows: what a launched node carries follows from what the first ones do.
fn add_growth(
    folder: &Path,
    wish: &Wish,
    growth: &Growth,
    planned: Vec<Planned>,
    environment: &[(String, String)],
) -> anyhow::Result<Vec<Planned>> {
    let max = growth.max_nodes;
    ensure!(max >= wish.nodes, "--max-nodes {max} is less than --nodes {}", wish.nodes);
    let Some(first) = planned.first() else { return Ok(planned) };
    let workers = ports::workers_of(&first.config);
    let budget = first.config.media.budget(None, workers.into())?;
    let node = Cost::new(budget.packets_per_worker * u64::from(workers), budget.node_bits);
    let (http, media) = ports::first_launched(wish.base_port, wish.nodes, workers)?;
    let idle = growth.idle_minutes.map(|minutes| format!("idle_minutes = {minutes:?}\n")).unwrap_or_default();
    let text = format!(
        r#"
[scaling]
cloud = "process"
min_nodes = {min}
max_nodes = {max}
{idle}interval_s = 1.0

[[scaling.types]]
name = "process"
streams = {streams}
workers = {workers}
boot_s = 3.0

[scaling.process]
folder = "{MACHINES}"
authority = "."
base_port = {http}
media_port = {media}
"#,
        min = wish.nodes,
        streams = node.streams().max(1),
    );
    planned
        .into_iter()
        .map(|node| {
            let file = node.file;
            let mut all = read(&file)?;
            all.push_str(&text);
            fs::write(&file, all).with_context(|| format!("cannot write {}", file.display()))?;
            let config = Config::load(Some(&file), environment.iter().cloned(), &wish.settings)?;
            Ok(Planned { log: folder.join(format!("{}.log", node.config.node.id)), file, config })
        })
        .collect()
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn configure_one(
    folder: &Path,
    wish: &Wish,
    ports: &[NodePorts],
    index: usize,
    environment: &[(String, String)],
) -> anyhow::Result<Planned> {
    let name = format!("node-{}", index + 1);
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, file_text(&name, ports, index, wish))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let config = Config::load(Some(&file), environment.iter().cloned(), &wish.settings)?;
    Ok(Planned { log: folder.join(format!("{name}.log")), file, config })
}

fn file_text(name: &str, ports: &[NodePorts], index: usize, wish: &Wish) -> String {
    let own = ports[index];
    let role = if index == 0 { "seed" } else { "node" };
    // The first nodes, without the own: one that has been started again finds the others too.
    let seeds = ports.iter().enumerate().filter(|(other, _)| *other != index).take(SEEDS);
    let seeds = seeds.map(|(_, node)| format!("\"127.0.0.1:{}\"", node.http)).collect::<Vec<_>>().join(", ");
    let voters = ports::voters(ports.len()).map(|n| format!("\"node-{n}\"")).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        r#"# Written by `skein up`, and written anew by the next one. To change something: skein up --set key=value

[node]
id = "{name}"
role = "{role}"

[mesh]
name = "dev"
listen = "127.0.0.1:{http}"
seeds = [{seeds}]
ca = "ca.pem"
cert = "{name}.pem"
key = "{name}.key"

[http]
listen = "127.0.0.1:{http}"

[election]
voters = [{voters}]

[media]
port = {media}
"#,
        http = own.http,
        media = own.media,
    );
    // Cannot fail: it is a String.
    if let Some(streams) = wish.streams_per_worker {
        let _ = writeln!(text, "streams_per_worker = {streams}");
    }
    // A path that is not text cannot be told in TOML; the node then goes by its defaults.
    if let Some(file) = wish.calibration.as_deref().and_then(Path::to_str) {
        let _ = writeln!(text, "calibration = {}", toml::Value::from(file));
    }
    text
}

/// `--set` and the environment reach all nodes, and what must differ between them must not be set there.
fn check_apart(planned: &[Planned]) -> anyhow::Result<()> {
    let mut taken: HashMap<(&str, String), &Path> = HashMap::new();
    for node in planned {
        let config = &node.config;
        let own = [
            ("node.id", config.node.id.to_string()),
            ("http.listen", config.http.listen.to_string()),
            ("http.url", node.url()),
            ("mesh.listen", config.mesh.listen.to_string()),
            ("mesh.advertise", config.mesh.advertised().to_string()),
            ("media.port", config.media.port.to_string()),
        ];
        for (key, value) in own {
            if key == "media.port" && config.media.port == 0 {
                continue;
            }
            if taken.insert((key, value.clone()), &node.file).is_some() {
                bail!(
                    "{key}: every node would get {value}; `skein up` gives each node its own, so set it for --nodes 1 only"
                );
            }
        }
    }
    Ok(())
}

/// Makes the authority and the certificates that are not there yet. What is there stays: a client that trusts the mesh
/// goes on to do so.
///
/// # Errors
/// When they cannot be written or what is there is damaged.
pub fn identify(folder: &Path, planned: &[Planned]) -> anyhow::Result<()> {
    let (ca, key) = (folder.join(CA), folder.join(CA_KEY));
    let damaged =
        || format!("{} or its key is damaged; remove the folder {}", ca.display(), folder.display());
    let Some(first) = planned.first() else { return Ok(()) };
    let authority = if ca.is_file() && key.is_file() {
        Authority::read(folder).with_context(damaged)?
    } else {
        let made = Authority::generate(&first.config.mesh.name)?;
        forget_certificates(folder)?;
        made.write(folder)?;
        made
    };
    for node in planned {
        let mesh = &node.config.mesh;
        let has_both = mesh.cert.is_file() && mesh.key.is_file();
        if !mesh.cert.starts_with(folder) || !mesh.key.starts_with(folder) {
            // Somebody else's, by --set: the node checks them.
            ensure!(
                has_both,
                "mesh.cert or mesh.key: {} or {} is not there",
                mesh.cert.display(),
                mesh.key.display()
            );
        } else if !has_both || !carries(&read(&mesh.cert)?, &node_name(&mesh.name, node.id())) {
            let identity = authority.issue(&mesh.name, node.id())?;
            write_secret(&mesh.key, &identity.key_pem)?;
            write_secret(&mesh.cert, &identity.certificate_pem)?;
        }
    }
    Ok(())
}

/// Removes the nodes' certificates: another authority signs new ones.
fn forget_certificates(folder: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for file in entries.flatten().map(|entry| entry.path()) {
        let ours = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("node-"));
        if ours && file.extension().is_some_and(|end| end == "pem" || end == "key") {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn wish(nodes: u16, settings: &[&str]) -> Wish {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Wish { nodes, base_port: 4440, streams_per_worker: None, calibration: None, settings, growth: None }
    }

    #[test]
    fn three_nodes_find_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let planned = configure_in(folder.path(), &wish(3, &[]), &[]).expect("is right");
        let roles: Vec<_> = planned.iter().map(|node| node.config.node.role.as_str()).collect();
        assert_eq!(roles, ["seed", "node", "node"]);
        assert_eq!(planned[1].url(), "http://127.0.0.1:4441");
        assert_eq!(planned[1].ws(), "ws://127.0.0.1:4441");
        assert_eq!(planned[1].config.media.port, 4572);
        let seeds: Vec<_> = planned[1].config.mesh.seeds.iter().map(ToString::to_string).collect();
        assert_eq!(seeds, ["127.0.0.1:4440", "127.0.0.1:4442"]);
    }

    #[test]
    fn settings_win_and_mistakes_name_their_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut with_streams = wish(1, &["placement.prefer=entry"]);
        with_streams.streams_per_worker = Some(7);
        let planned = configure_in(folder.path(), &with_streams, &[]).expect("is right");
        assert_eq!(planned[0].config.media.streams_per_worker, Some(7));
        let file = folder.path().join("it's \"measured\".toml");
        let measured = Wish { calibration: Some(file.clone()), ..wish(1, &[]) };
        let planned = configure_in(folder.path(), &measured, &[]).expect("is right");
        assert_eq!(planned[0].config.media.calibration, Some(file));
        let error = configure_in(folder.path(), &wish(1, &["media.workres=2"]), &[]).expect_err("a mistake");
        assert!(error.to_string().contains("workres"), "{error}");
    }

    #[test]
    fn what_nodes_must_not_share_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for (setting, key) in [
            ("http.listen=127.0.0.1:1", "http.listen"),
            ("node.id=x", "node.id"),
            ("media.port=5000", "media.port"),
        ] {
            let error =
                configure_in(folder.path(), &wish(2, &[setting]), &[]).expect_err("shared").to_string();
            assert!(error.starts_with(key), "{error}");
            assert!(configure_in(folder.path(), &wish(1, &[setting]), &[]).is_ok(), "{setting}");
        }
        let environment = [("SKEIN_MESH__LISTEN".to_owned(), "127.0.0.1:1".to_owned())];
        let error = configure_in(folder.path(), &wish(2, &[]), &environment).expect_err("shared").to_string();
        assert!(error.starts_with("mesh.listen"), "{error}");
    }

    #[test]
    fn a_mesh_that_may_grow_knows_how() {
        let folder = tempfile::tempdir().expect("a folder");
        let growth = Some(Growth { max_nodes: 4, idle_minutes: Some(0.5) });
        let wish = Wish { growth, streams_per_worker: Some(12), ..wish(1, &["media.workers=2"]) };
        let planned = configure_in(folder.path(), &wish, &[]).expect("is right");
        let config = &planned[0].config;
        assert_eq!(config.election.voters.len(), 1);
        assert_eq!((config.scaling.min_nodes, config.scaling.max_nodes), (1, 4));
        assert_eq!((config.scaling.types[0].streams, config.scaling.idle_minutes), (24, 0.5));
        assert_eq!(config.scaling.process.folder, folder.path().join(MACHINES));
        assert_eq!((config.scaling.process.base_port, config.scaling.process.media_port), (4441, 4572));
        let few = Wish { nodes: 5, ..wish };
        let error = configure_in(folder.path(), &few, &[]).expect_err("less than there are").to_string();
        assert!(error.contains("--max-nodes 4"), "{error}");
    }

    #[test]
    fn an_odd_number_votes() {
        let folder = tempfile::tempdir().expect("a folder");
        for (nodes, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (6, 5)] {
            let planned = configure_in(folder.path(), &wish(nodes, &[]), &[]).expect("is right");
            assert_eq!(planned[0].config.election.voters.len(), voters, "{nodes} nodes");
        }
    }

    #[test]
    fn many_workers_get_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let planned = configure_in(folder.path(), &wish(2, &["media.workers=40"]), &[]).expect("is right");
        assert_eq!(planned[1].config.media.port - planned[0].config.media.port, 40);
    }

    #[test]
    fn identities_are_kept_and_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("is there");
        let planned = configure_in(folder.path(), &wish(2, &[]), &[]).expect("is right");
        identify(folder.path(), &planned).expect("makes");
        let first = [read("ca.pem"), read("node-1.pem"), read("node-2.key")];
        // One node more: only its certificate is new.
        let planned = configure_in(folder.path(), &wish(3, &[]), &[]).expect("is right");
        identify(folder.path(), &planned).expect("makes");
        assert_eq!(first, [read("ca.pem"), read("node-1.pem"), read("node-2.key")]);
        for name in ["ca.key", "node-3.key"] {
            let mode = fs::metadata(folder.path().join(name)).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn certificates_are_for_the_name_that_the_node_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("is there");
        let mut last = String::new();
        for settings in [vec![], vec!["mesh.name=other"], vec!["node.id=other"]] {
            let planned = configure_in(folder.path(), &wish(1, &settings), &[]).expect("is right");
            identify(folder.path(), &planned).expect("makes");
            let certificate = read("node-1.pem");
            assert_ne!(certificate, last);
            let config = &planned[0].config;
            assert!(carries(&certificate, &node_name(&config.mesh.name, &config.node.id)));
            identify(folder.path(), &planned).expect("keeps");
            assert_eq!(read("node-1.pem"), certificate);
            last = certificate;
        }
    }

    #[test]
    fn a_new_authority_signs_all_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("is there");
        let planned = configure_in(folder.path(), &wish(2, &[]), &[]).expect("is right");
        identify(folder.path(), &planned).expect("makes");
        let old = [read("ca.pem"), read("node-1.pem"), read("node-2.pem")];
        fs::remove_file(folder.path().join("ca.key")).expect("removes");
        identify(folder.path(), &planned).expect("makes");
        for (old, name) in old.iter().zip(["ca.pem", "node-1.pem", "node-2.pem"]) {
            assert_ne!(*old, read(name), "{name}");
        }
    }
}
