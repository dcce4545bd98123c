//! What `skein init` makes on disk. The folder of the mesh has what must not be lost and what only seeds may have; each
//! seed's folder in it is what that seed gets.
//!
//! | file | what is in it | mesh | seed | other nodes |
//! | --- | --- | --- | --- | --- |
//! | `ca.pem` | the authority's certificate | x | x | x |
//! | `ca.key` | the authority's key: signs nodes | x | x | |
//! | `enrol.secret` | makes and checks enrolment tokens | x | x | |
//! | `client.key` | makes and checks client tokens | x | in `node.toml` | in `node.toml` |
//! | `operator.token` | what operators show | x | in `node.toml` | in `node.toml` |
//! | `node.toml` | configuration; in the mesh's folder a template of a seed's | x | x | |
//! | `node.pem`, `node.key` | the node's certificate and key | | x | x |

use anyhow::{Context, bail, ensure};
use skein_bootstrap::config::{Election, is_label};
use skein_bootstrap::enrolment::{Secret, random_text};
use skein_bootstrap::identity::{Authority, CA, CA_KEY, Identity, mesh_of, write_secret};
use skein_bootstrap::seeds::Seed;
use skein_proto::ids::NodeId;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The enrolment secret.
pub const SECRET: &str = "enrol.secret";
const CLIENT_KEY: &str = "client.key";
const OPERATOR_TOKEN: &str = "operator.token";
/// A node's configuration.
pub const CONFIG: &str = "node.toml";
/// A node's certificate.
pub const CERTIFICATE: &str = "node.pem";
/// A node's private key.
pub const KEY: &str = "node.key";

/// How long a certificate is good that is made by hand. A seed renews its own; others ask one.
pub const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Longest name of a mesh: its launched nodes are named after it and a number, in 40 characters.
const MESH_NAME: usize = 32;

/// A seed to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSeed {
    /// Its name.
    pub node: NodeId,
    /// Where other nodes reach it.
    pub at: SocketAddr,
}

/// `NAME=ADDRESS`, as it is typed.
pub fn parse_seed(text: &str) -> Result<NewSeed, String> {
    let (name, at) = text.split_once('=').ok_or("is not NAME=ADDRESS, such as seed-1=10.0.0.11:4440")?;
    let at: SocketAddr =
        at.parse().map_err(|_| format!("{at:?} is no address and port, such as 10.0.0.11:4440"))?;
    if at.ip().is_unspecified() || at.port() == 0 {
        return Err(format!("other nodes cannot dial {at}"));
    }
    Ok(NewSeed { node: parse_node(name)?, at })
}

/// A node's name, as it is typed.
pub fn parse_node(text: &str) -> Result<NodeId, String> {
    if !is_label(text) {
        return Err(format!(
            "{text:?} is not a name of lower-case letters, digits and inner hyphens, at most 40"
        ));
    }
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// A mesh's name, as it is typed.
pub fn parse_mesh(text: &str) -> Result<String, String> {
    if !is_label(text) || text.len() > MESH_NAME {
        return Err(format!(
            "{text:?} is not a name of lower-case letters, digits and inner hyphens, at most {MESH_NAME}"
        ));
    }
    Ok(text.to_owned())
}

/// Makes a mesh in a folder that is not there yet, or is empty. Answers the seeds' folders.
///
/// # Errors
/// When there is something already, when the seeds cannot vote, or something cannot be written.
pub fn make(folder: &Path, mesh: &str, seeds: &[NewSeed]) -> anyhow::Result<Vec<PathBuf>> {
    let voters: Vec<_> = seeds.iter().map(|seed| seed.node.clone()).collect();
    for (index, seed) in seeds.iter().enumerate() {
        let before = &seeds[..index];
        ensure!(before.iter().all(|other| other.node != seed.node), "--seed names {} twice", seed.node);
        ensure!(before.iter().all(|other| other.at != seed.at), "--seed has {} twice", seed.at);
    }
    ensure!(seeds.len() <= 5, "--seed: {} seeds; one mesh needs 1, 3 or 5", seeds.len());
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} has something in it already; nothing was changed", folder.display());
    }
    create(folder)?;
    let authority = Authority::generate(mesh)?;
    let secret = Secret::generate()?;
    let (client_key, operator_token) = (random_text()?, random_text()?);
    authority.write(folder)?;
    secret.write(&folder.join(SECRET))?;
    write_secret(&folder.join(CLIENT_KEY), &format!("{client_key}\n"))?;
    write_secret(&folder.join(OPERATOR_TOKEN), &format!("{operator_token}\n"))?;
    // Two or four cannot vote better than one or three.
    let votes = if voters.len().is_multiple_of(2) { voters.len().saturating_sub(1) } else { voters.len() };
    let text =
        |seed: &NewSeed| config_text(mesh, seed, seeds, &voters[..votes], &client_key, &operator_token);
    let mut folders = Vec::new();
    for seed in seeds {
        let own = folder.join(seed.node.as_str());
        create(&own)?;
        authority.write(&own)?;
        secret.write(&own.join(SECRET))?;
        write_identity(&own, &authority.issue_for(mesh, &seed.node, SystemTime::now(), LIFE)?)?;
        write_secret(&own.join(CONFIG), &text(seed))?;
        folders.push(own);
    }
    let template = match seeds.first() {
        Some(first) => text(first),
        None => {
            let example = parse_seed("seed-1=127.0.0.1:4440").map_err(anyhow::Error::msg)?;
            let voters = [example.node.clone()];
            config_text(mesh, &example, std::slice::from_ref(&example), &voters, &client_key, &operator_token)
        }
    };
    write_secret(&folder.join(CONFIG), &template)?;
    Ok(folders)
}

/// Makes a folder that only its owner may read, where there is none.
///
/// # Errors
/// When it cannot be made.
pub fn create(folder: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes a node's key and certificate into a folder.
///
/// # Errors
/// When they cannot be written.
pub fn write_identity(folder: &Path, identity: &Identity) -> anyhow::Result<()> {
    write_secret(&folder.join(KEY), &identity.key_pem)?;
    write_secret(&folder.join(CERTIFICATE), &identity.certificate_pem)?;
    Ok(())
}

fn config_text(
    mesh: &str,
    seed: &NewSeed,
    seeds: &[NewSeed],
    voters: &[NodeId],
    client_key: &str,
    operator_token: &str,
) -> String {
    let list = |all: Vec<String>| all.join(", ");
    let seeds = list(seeds.iter().map(|seed| format!("\"{}\"", seed.at)).collect());
    let voters = list(voters.iter().map(|voter| format!("\"{voter}\"")).collect());
    let Election { lease_s, .. } = Election::default();
    format!(
        r#"# A seed of the mesh {mesh}. Paths are relative to this file. It has secrets: only the node may read it.

[node]
id = "{node}"
role = "seed"

[mesh]
name = "{mesh}"
listen = "{at}"
# Addresses, or name:port for all addresses of a DNS name. All seeds are here, this one too.
seeds = [{seeds}]
ca = "{CA}"
cert = "{CERTIFICATE}"
key = "{KEY}"

[enrol]
# With these the node lets new machines in and renews certificates. Nodes that are no seeds have neither.
secret_file = "{SECRET}"
authority_key = "{CA_KEY}"

[election]
# The same on all nodes. A majority of them decides which token was used, and who leads for {lease_s} s.
voters = [{voters}]

[http]
listen = "{at}"
# For browsers beyond this machine:
# url = "https://{node}.example.org"
# tls_cert = "web.pem"
# tls_key = "web.key"

[media]
# `announced` is the address that clients reach, where the machine itself has another one.
listen = [{{ ip = "{ip}" }}]
pipe = {{ ip = "{ip}" }}

[auth]
client_key = "{client_key}"
operator_token = "{operator_token}"
"#,
        node = seed.node,
        at = seed.at,
        ip = seed.at.ip(),
    )
}

/// The mesh that a folder's authority was made for.
///
/// # Errors
/// When it cannot be read or does not say.
pub fn mesh_in(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join(CA);
    let pem = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    mesh_of(&pem)
        .with_context(|| format!("{} does not say for which mesh it is; give --mesh", path.display()))
}

/// The seeds that a folder's configuration names.
///
/// # Errors
/// When there is none.
pub fn seeds_in(folder: &Path) -> anyhow::Result<Vec<Seed>> {
    let path = folder.join(CONFIG);
    let hint = || format!("{} names no seeds; give --seeds", path.display());
    let text = fs::read_to_string(&path).with_context(hint)?;
    let table: toml::Table = text.parse().with_context(hint)?;
    let seeds = table.get("mesh").and_then(|mesh| mesh.get("seeds")).with_context(hint)?;
    let seeds: Vec<Seed> = seeds.clone().try_into().with_context(hint)?;
    ensure!(!seeds.is_empty(), hint());
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skein_bootstrap::config::Config;
    use skein_bootstrap::identity::check;
    use std::os::unix::fs::PermissionsExt;

    fn seeds(all: &[&str]) -> Vec<NewSeed> {
        all.iter().map(|each| parse_seed(each).expect("a seed")).collect()
    }

    #[test]
    fn a_mesh_of_three_seeds_is_all_they_need_and_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let mesh = folder.path().join("prod");
        let three = seeds(&["a=10.0.0.1:4440", "b=10.0.0.2:4440", "c=[fd00::3]:4440"]);
        let folders = make(&mesh, "prod", &three).expect("makes");
        for (own, seed) in folders.iter().zip(&three) {
            let config = Config::load(Some(&own.join(CONFIG)), [], &[]).expect("is right");
            assert_eq!((&config.node.id, config.mesh.advertised()), (&seed.node, seed.at));
            assert_eq!(config.election.voters.len(), 3);
            assert_eq!(config.mesh.seeds.len(), 3);
            let read = |path: &Path| fs::read_to_string(path).expect("is there");
            let [cert, key, ca] = [&config.mesh.cert, &config.mesh.key, &config.mesh.ca].map(|p| read(p));
            check(&cert, &key, &ca, "prod", &seed.node, SystemTime::now()).expect("fits");
            let enrol = &config.enrol;
            Secret::read(enrol.secret_file.as_deref().expect("is set")).expect("is one");
            Authority::from_pem(ca, read(enrol.authority_key.as_deref().expect("is set"))).expect("is one");
        }
        for own in folders.iter().chain([&mesh]) {
            for entry in fs::read_dir(own).expect("is there").flatten() {
                let mode = entry.metadata().expect("is there").permissions().mode() & 0o777;
                let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
                assert_eq!(mode, expected, "{}", entry.path().display());
            }
        }
        assert_eq!(mesh_in(&mesh).expect("says"), "prod");
        assert_eq!(seeds_in(&mesh).expect("says").len(), 3);
        let error = make(&mesh, "prod", &three).expect_err("is there").to_string();
        assert!(error.contains("prod") && error.contains("nothing was changed"), "{error}");
    }

    #[test]
    fn without_seeds_there_is_a_template() {
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path(), "prod", &[]).expect("makes in an empty folder");
        let config = Config::load(Some(&folder.path().join(CONFIG)), [], &[]).expect("is right");
        assert_eq!(config.mesh.name, "prod");
    }

    #[test]
    fn two_seeds_have_one_voter() {
        let folder = tempfile::tempdir().expect("a folder");
        let folders = make(folder.path(), "dev", &seeds(&["a=10.0.0.1:1", "b=10.0.0.2:1"])).expect("makes");
        for own in folders {
            let config = Config::load(Some(&own.join(CONFIG)), [], &[]).expect("is right");
            assert_eq!(config.election.voters.iter().map(NodeId::as_str).collect::<Vec<_>>(), ["a"]);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for bad in ["a", "a=1", "A=10.0.0.1:1", "a=0.0.0.0:1", "a=10.0.0.1:0", "=10.0.0.1:1", "a=host:1"] {
            assert!(parse_seed(bad).is_err(), "{bad}");
        }
        assert!(parse_mesh(&"m".repeat(33)).is_err() && parse_mesh("a_b").is_err());
        let folder = tempfile::tempdir().expect("a folder");
        for twice in [["a=10.0.0.1:1", "a=10.0.0.2:1"], ["a=10.0.0.1:1", "b=10.0.0.1:1"]] {
            let error = make(&folder.path().join("x"), "dev", &seeds(&twice)).expect_err("twice").to_string();
            assert!(error.contains("twice"), "{error}");
        }
    }
}
