//! A node's configuration: one TOML file, then `SKEIN_…` environment variables, then `key=value` settings, each over
//! the one before. Every mistake names its key.

mod budget;
mod enrol;
mod scaling;
mod schema;

pub use budget::{Budget, BudgetFrom, DEFAULT_STREAMS_PER_WORKER};
pub use enrol::Enrol;
pub use scaling::*;
pub use schema::*;

use serde::de::IntoDeserializer;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Prefix of the environment variables; `SKEIN_HTTP__LISTEN` is `http.listen`.
pub const ENV_PREFIX: &str = "SKEIN_";

/// Why a configuration is not one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A setting has no `=`, or its key runs through something that is not a table.
    #[error("setting {setting:?}: {problem}")]
    Setting {
        /// As it was given.
        setting: String,
        /// What is wrong.
        problem: String,
    },
    /// A key is unknown, missing, of the wrong type or out of range.
    #[error("{key}: {problem}")]
    Key {
        /// The key, with dots.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// Shorthand for a mistake in one key.
pub(crate) fn wrong(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Key { key: key.to_owned(), problem: problem.into() }
}

impl Config {
    /// Reads a configuration and checks it.
    ///
    /// `environment` is usually [`std::env::vars`]; variables without [`ENV_PREFIX`] and a `__` are left alone.
    /// Relative paths in the file are relative to the file.
    ///
    /// # Errors
    /// The first mistake that is found.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        settings: &[String],
    ) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => Table::new(),
        };
        let mut variables: Vec<_> = environment.into_iter().collect();
        variables.sort();
        for (name, value) in variables {
            if let Some(name) = name.strip_prefix(ENV_PREFIX).filter(|name| name.contains("__")) {
                let key = name.to_lowercase().replace("__", ".");
                set(&mut table, &key, &value, &format!("{ENV_PREFIX}{name}"))?;
            }
        }
        for setting in settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| ConfigError::Setting {
                setting: setting.clone(),
                problem: "is not key=value".to_owned(),
            })?;
            set(&mut table, key.trim(), value.trim(), setting)?;
        }
        let mut config = Self::from_table(table)?;
        if let Some(folder) = file.and_then(Path::parent) {
            config.resolve_paths(folder);
        }
        config.check()?;
        Ok(config)
    }

    fn from_table(table: Table) -> Result<Self, ConfigError> {
        serde_path_to_error::deserialize(Value::Table(table).into_deserializer()).map_err(|error| {
            let key = error.path().to_string();
            let problem = error.into_inner().to_string();
            wrong(if key == "." { "configuration" } else { &key }, problem.trim())
        })
    }
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) })
}

/// Sets a dotted key. The value is TOML where it parses as a TOML value, else text.
fn set(table: &mut Table, key: &str, text: &str, given: &str) -> Result<(), ConfigError> {
    let error = |problem: String| ConfigError::Setting { setting: given.to_owned(), problem };
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err(error("the key is empty".to_owned()));
    }
    let value = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .filter(|parsed| parsed.len() == 1)
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let (parents, last) = match key.rsplit_once('.') {
        Some((parents, last)) => (Some(parents), last),
        None => (None, key),
    };
    let mut at = table;
    for parent in parents.into_iter().flat_map(|parents| parents.split('.')) {
        at = at
            .entry(parent)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| error(format!("{parent} is not a table")))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &[&str]) -> Result<Config, ConfigError> {
        let mut all = vec!["node.id=n1", "mesh.ca=ca.pem", "mesh.cert=c.pem", "mesh.key=k.pem"];
        all.extend(settings);
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        Config::load(None, [], &all)
    }

    #[track_caller]
    fn names(settings: &[&str], key: &str) {
        let error = load(settings).expect_err("a mistake").to_string();
        assert!(error.contains(key), "{error:?} does not name {key}");
    }

    #[test]
    fn defaults_are_a_loopback_node() {
        let config = load(&[]).expect("defaults");
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:4440");
        assert_eq!(config.placement.prefer, Prefer::Pack);
    }

    #[test]
    fn mistakes_name_their_key() {
        names(&["media.workres=2"], "workres");
        names(&["media.workers=many"], "media.workers");
        names(&["http.listen=nowhere"], "http.listen");
        names(&["placement.prefer=both"], "placement.prefer");
        names(&["media.streams_per_worker=0"], "media.streams_per_worker");
        names(&["media.packets_per_worker=0"], "media.packets_per_worker");
        names(&["media.packets_per_worker=-1"], "media.packets_per_worker");
        names(&["media.egress_bits=0"], "media.egress_bits");
        names(&["mesh.name=a b"], "mesh.name");
        names(&["mesh.seeds=[\"localhost\"]"], "mesh.seeds");
        names(&["nokey"], "nokey");
        names(&["election.voters=[\"a\", \"b\"]"], "election.voters");
        names(&["election.voters=[\"a\", \"a\", \"b\"]"], "election.voters");
        names(&["election.renew_s=6"], "election.renew_s");
        names(&["mesh.seeds=[\"10.0.0.256:1\"]"], "mesh.seeds");
        names(&["enrol.window_minutes=0"], "enrol.window_minutes");
        names(&["enrol.certificate_hours=0"], "enrol.certificate_hours");
        names(&["enrol.secret_file=s"], "enrol.authority_key");
        names(&["enrol.secret_file=s", "enrol.authority_key=k"], "election.voters");
        names(&["scaling.cloud=moon"], "scaling.cloud");
        names(&["scaling.cloud=process"], "election.voters");
        names(&["scaling.max_nodes=0"], "scaling.max_nodes");
        names(&["scaling.interval_s=0"], "scaling.interval_s");
    }

    #[test]
    fn seeds_may_have_names() {
        let config = load(&["mesh.seeds=[\"seeds.example.org:4440\", \"10.0.0.1:4440\"]"]).expect("loads");
        let seeds: Vec<_> = config.mesh.seeds.iter().map(ToString::to_string).collect();
        assert_eq!(seeds, ["seeds.example.org:4440", "10.0.0.1:4440"]);
    }

    #[test]
    fn seeds_may_come_from_ec2_without_a_cloud_that_scales() {
        assert_eq!(load(&[]).expect("loads").mesh.seeds_from_ec2, Ec2Seeds::None);
        let seeds = ["mesh.seeds_from_ec2=seeds", "scaling.ec2.region=eu-central-1"];
        let config = load(&seeds).expect("loads");
        assert_eq!((config.mesh.seeds_from_ec2, config.scaling.cloud), (Ec2Seeds::Seeds, CloudKind::None));
        names(&["mesh.seeds_from_ec2=yes"], "mesh.seeds_from_ec2");
        names(&["mesh.seeds_from_ec2=all", "mesh.listen=[::1]:4440"], "mesh.seeds_from_ec2");
        names(&["mesh.seeds_from_ec2=all", "scaling.ec2.endpoint=ec2.example"], "scaling.ec2.endpoint");
        let launches = [
            "mesh.seeds_from_ec2=all",
            "election.voters=[\"a\", \"b\", \"c\"]",
            "scaling.cloud=ec2",
            "scaling.types=[{ name = \"m\", streams = 1 }]",
            "scaling.ec2.launch_template=lt-1",
            "scaling.ec2.launch_template_version=1",
            "scaling.ec2.subnets=[\"subnet-1\"]",
        ];
        names(&launches, "mesh.seeds: is empty");
        names(&launches[1..], "mesh.seeds: is empty");
    }

    #[test]
    fn beyond_loopback_a_node_wants_keys() {
        names(&["http.listen=0.0.0.0:4440"], "auth.client_key");
        names(
            &["http.listen=0.0.0.0:4440", "auth.client_key=0123456789abcdef0123456789abcdef"],
            "auth.operator_token",
        );
        assert!(
            load(&["http.listen=0.0.0.0:4440", "insecure=true", "mesh.advertise=127.0.0.1:4440"]).is_ok()
        );
    }

    #[test]
    fn the_public_address_is_one_that_can_be_dialled() {
        assert_eq!(load(&[]).expect("loads").public_url(), "http://127.0.0.1:4440");
        let all = ["http.listen=[::]:80", "insecure=true", "mesh.advertise=192.0.2.1:4440"];
        assert_eq!(load(&all).expect("loads").public_url(), "http://192.0.2.1:80");
        assert_eq!(
            load(&["http.url=https://n1.example/"]).expect("loads").public_url(),
            "https://n1.example"
        );
    }

    #[test]
    fn the_environment_comes_before_settings() {
        let environment = [("SKEIN_HTTP__LISTEN".to_owned(), "127.0.0.1:1".to_owned())];
        let settings: Vec<String> =
            ["node.id=n1", "mesh.ca=a", "mesh.cert=b", "mesh.key=c"].map(str::to_owned).into();
        let config = Config::load(None, environment.clone(), &settings).expect("loads");
        assert_eq!(config.http.listen.port(), 1);
        let more: Vec<String> = settings.into_iter().chain(["http.listen=127.0.0.1:2".to_owned()]).collect();
        assert_eq!(Config::load(None, environment, &more).expect("loads").http.listen.port(), 2);
    }
}
