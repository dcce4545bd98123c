//! `skein enrol`: gets a node's certificate from a seed.

use super::fleet::{self, CERTIFICATE, KEY};
use anyhow::{Context, bail};
use clap::Args;
use skein_bootstrap::enrolment::{Ticket, enrol, fold, variable, variables};
use skein_bootstrap::identity::{CA, NodeKey, check, write_secret};
use skein_bootstrap::seeds::Seed;
use skein_proto::ids::NodeId;
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Get this machine's certificate from a seed, with a token
///
/// The machine makes its own key, which never leaves it. Does nothing where a certificate is that is still good, so it
/// may run before every start of the node. What is not given as an option comes from the environment (SKEIN_ENROL_…),
/// then from the file of --environment, which is what `skein invite` prints.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein enrol --environment /etc/skein/enrol.env --out /etc/skein
  skein enrol --seeds 10.0.0.11:4440 --ca ca.pem --token invite.… --node node-7 --out /etc/skein")]
pub struct Enrol {
    /// Where seeds are, such as 10.0.0.11:4440 or seeds.example.org:4440
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', env = variable::SEEDS)]
    seeds: Vec<Seed>,
    /// A file with the certificate of the mesh's authority [env: SKEIN_ENROL_AUTHORITY has the certificate itself]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What lets the machine in. Others on it can read it in the list of processes: better use a file or the variable
    #[arg(long, env = variable::TOKEN, hide_env_values = true)]
    token: Option<String>,
    /// The node that the machine is to be
    #[arg(long, env = variable::NODE, value_parser = fleet::parse_node)]
    node: Option<NodeId>,
    /// The mesh's name [default: the one that the authority was made for]
    #[arg(long, env = variable::MESH, value_parser = fleet::parse_mesh)]
    mesh: Option<String>,
    /// A file of KEY=value with all of these
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
    /// The folder that node.pem, node.key and ca.pem go to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// How long to try
    #[arg(long, default_value = "5m", value_parser = parse_patience)]
    patience: Duration,
}

fn parse_patience(text: &str) -> Result<Duration, String> {
    super::parse_duration(text, Duration::from_secs(1), Duration::from_secs(24 * 3600))
}

impl Enrol {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let (out, patience) = (self.out.clone(), self.patience);
        let ticket = self.ticket(|name| std::env::var(name).ok())?;
        if let Some(left) = is_enrolled(&out, &ticket, SystemTime::now()) {
            println!("{} has a certificate for {left} more; nothing to do", ticket.node);
            return Ok(ExitCode::SUCCESS);
        }
        fleet::create(&out)?;
        // Before anything is asked: a token is good for one key, also when the answer gets lost.
        let key = key_in(&out)?;
        let request = key.request(&ticket.mesh, &ticket.node)?;
        let certificate = enrol(&ticket, &request, patience).await?;
        check(&certificate, &key.pem(), &ticket.authority_pem, &ticket.mesh, &ticket.node, SystemTime::now())
            .context("the seed's answer is not a certificate that this machine can use")?;
        write_secret(&out.join(CA), &ticket.authority_pem)?;
        write_secret(&out.join(CERTIFICATE), &certificate)?;
        println!("{} is enrolled in the mesh {}: {}", ticket.node, ticket.mesh, out.display());
        Ok(ExitCode::SUCCESS)
    }

    /// From options, then the environment (which clap reads, all but the authority's certificate), then the file.
    fn ticket(self, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Ticket> {
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let file = match &self.environment {
            Some(path) => variables(&read(path)?).with_context(|| path.display().to_string())?,
            None => HashMap::new(),
        };
        let ca = self.ca.as_deref().map(read).transpose().context("--ca")?;
        let seeds = self.seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let given = |name: &str| match name {
            variable::SEEDS => (!seeds.is_empty()).then(|| seeds.clone()),
            variable::TOKEN => self.token.clone(),
            variable::NODE => self.node.as_ref().map(ToString::to_string),
            variable::MESH => self.mesh.clone(),
            variable::AUTHORITY => ca.as_deref().map(fold).or_else(|| environment(name)),
            _ => None,
        };
        Ticket::from_variables(|name| given(name).or_else(|| file.get(name).cloned()))
            .context("what a machine needs is an option, in the environment, or in the file of --environment")
    }
}

/// For how long a folder has what a node needs; none where something is missing, wrong or has ended.
fn is_enrolled(folder: &Path, ticket: &Ticket, now: SystemTime) -> Option<humantime::FormattedDuration> {
    let [certificate, key, ca] =
        [CERTIFICATE, KEY, CA].map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default());
    let validity = check(&certificate, &key, &ca, &ticket.mesh, &ticket.node, now).ok()?;
    Some(humantime::format_duration(Duration::from_secs(validity.left(now).as_secs())))
}

/// The folder's key; a new one where there is none.
fn key_in(folder: &Path) -> anyhow::Result<NodeKey> {
    let path = folder.join(KEY);
    match fs::read_to_string(&path) {
        Ok(pem) => {
            NodeKey::from_pem(&pem).with_context(|| format!("{} is damaged; remove it", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = NodeKey::generate()?;
            write_secret(&path, &key.pem())?;
            Ok(key)
        }
        Err(error) => bail!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::one_line;
    use skein_bootstrap::identity::Authority;

    fn command() -> Enrol {
        Enrol {
            seeds: Vec::new(),
            ca: None,
            token: None,
            node: None,
            mesh: None,
            environment: None,
            out: ".".into(),
            patience: Duration::from_secs(1),
        }
    }

    #[test]
    fn options_come_before_the_file_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::generate("prod").expect("makes");
        authority.write(folder.path()).expect("writes");
        let file = folder.path().join("n7.env");
        let text = format!("{}=n7\n{}=invite.1.00\n", variable::NODE, variable::TOKEN);
        fs::write(&file, text).expect("writes");
        let from_file = || Enrol { environment: Some(file.clone()), ..command() };
        let problem = |command: Enrol| one_line(&command.ticket(|_| None).expect_err("something is missing"));
        assert!(problem(from_file()).contains(variable::AUTHORITY), "{}", problem(from_file()));
        let with_ca = || Enrol { ca: Some(folder.path().join(CA)), ..from_file() };
        assert!(problem(with_ca()).contains(variable::SEEDS), "{}", problem(with_ca()));
        let all = Enrol {
            seeds: vec!["10.0.0.1:1".parse().expect("a seed")],
            token: Some("other".to_owned()),
            ..with_ca()
        };
        let ticket = all.ticket(|_| None).expect("has all");
        assert_eq!(
            (ticket.mesh.as_str(), ticket.node.as_str(), ticket.token.as_str()),
            ("prod", "n7", "other")
        );
        let missing = Enrol { environment: Some("/nowhere/env".into()), ..command() };
        assert!(problem(missing).contains("/nowhere/env"));
    }

    #[test]
    fn a_good_certificate_is_left_alone_and_a_key_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::generate("prod").expect("makes");
        let node: NodeId = "n7".parse().expect("a name");
        let ticket = Ticket {
            mesh: "prod".to_owned(),
            node: node.clone(),
            token: String::new(),
            seeds: Vec::new(),
            authority_pem: authority.certificate_pem().to_owned(),
        };
        let now = SystemTime::now();
        assert!(is_enrolled(folder.path(), &ticket, now).is_none());
        let key = key_in(folder.path()).expect("makes");
        assert_eq!(key_in(folder.path()).expect("reads").pem(), key.pem());
        let hour = Duration::from_secs(3600);
        let request = key.request("prod", &node).expect("requests");
        let certificate = authority.sign("prod", &node, &request, now, hour).expect("signs");
        write_secret(&folder.path().join(CERTIFICATE), &certificate).expect("writes");
        assert!(is_enrolled(folder.path(), &ticket, now).is_none(), "the authority is missing");
        write_secret(&folder.path().join(CA), authority.certificate_pem()).expect("writes");
        assert!(is_enrolled(folder.path(), &ticket, now).is_some());
        assert!(is_enrolled(folder.path(), &ticket, now + 2 * hour).is_none(), "it has ended");
        let other = Ticket { node: "n8".parse().expect("a name"), ..ticket };
        assert!(is_enrolled(folder.path(), &other, now).is_none());
        fs::write(folder.path().join(KEY), "x").expect("writes");
        assert!(key_in(folder.path()).is_err());
    }
}
