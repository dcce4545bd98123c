//! `skein invite`: lets a machine become a node.

use super::fleet;
use anyhow::Context;
use clap::Args;
use skein_bootstrap::enrolment::{Secret, Ticket};
use skein_bootstrap::identity::CA;
use skein_bootstrap::seeds::Seed;
use skein_proto::ids::NodeId;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Print what a machine needs to become a node, once: lines of KEY=value for `skein enrol --environment`
///
/// Run it where the mesh's enrolment secret is: with the folder that `skein init` made, or on a seed. The token in it is
/// for one machine, which keeps its own key; whoever uses it first has it.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  skein invite node-7 --folder prod > node-7.env
  skein enrol --environment node-7.env --out /etc/skein        on the machine")]
pub struct Invite {
    /// The node's name
    #[arg(value_parser = fleet::parse_node)]
    node: NodeId,
    /// How long it is good for, such as 15m or 2h
    #[arg(long, default_value = "15m", value_parser = parse_valid)]
    valid: Duration,
    /// A folder with ca.pem, enrol.secret and node.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The mesh's name [default: the one that the authority was made for]
    #[arg(long, value_parser = fleet::parse_mesh)]
    mesh: Option<String>,
    /// Where seeds are, such as 10.0.0.11:4440 or seeds.example.org:4440 [default: those of node.toml]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    seeds: Vec<Seed>,
}

fn parse_valid(text: &str) -> Result<Duration, String> {
    super::parse_duration(text, Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600))
}

impl Invite {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        print!("{}", self.ticket(SystemTime::now())?.environment());
        Ok(ExitCode::SUCCESS)
    }

    fn ticket(self, now: SystemTime) -> anyhow::Result<Ticket> {
        let mesh = match self.mesh {
            Some(mesh) => mesh,
            None => fleet::mesh_in(&self.folder)?,
        };
        let secret = Secret::read(&self.folder.join(fleet::SECRET))?;
        let ca = self.folder.join(CA);
        let authority_pem =
            std::fs::read_to_string(&ca).with_context(|| format!("cannot read {}", ca.display()))?;
        let seeds = if self.seeds.is_empty() { fleet::seeds_in(&self.folder)? } else { self.seeds };
        let token = secret.invitation(&mesh, &self.node, now + self.valid);
        Ok(Ticket { mesh, node: self.node, token, seeds, authority_pem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skein_bootstrap::enrolment::Entitlement;

    #[test]
    fn an_invitation_has_all_that_the_machine_needs() {
        let folder = tempfile::tempdir().expect("a folder");
        let seed = fleet::parse_seed("a=10.0.0.1:4440").expect("a seed");
        let seeds = fleet::make(folder.path(), "prod", &[seed]).expect("makes");
        let now = SystemTime::now();
        // On the mesh's folder and on a seed's.
        for folder in [folder.path(), &seeds[0]] {
            let invite = Invite {
                node: "n7".parse().expect("a name"),
                valid: Duration::from_secs(60),
                folder: folder.to_owned(),
                mesh: None,
                seeds: Vec::new(),
            };
            let text = invite.ticket(now).expect("invites").environment();
            let ticket = Ticket::from_environment(&text).expect("is one");
            assert_eq!(
                (ticket.mesh.as_str(), ticket.seeds[0].to_string().as_str()),
                ("prod", "10.0.0.1:4440")
            );
            let secret = Secret::read(&folder.join(fleet::SECRET)).expect("reads");
            let entitled = secret.check("prod", &ticket.node, &ticket.token, now);
            assert_eq!(entitled, Some(Entitlement::Invitation));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let invite = Invite {
            node: "n7".parse().expect("a name"),
            valid: Duration::from_secs(60),
            folder: folder.path().to_owned(),
            mesh: Some("prod".to_owned()),
            seeds: Vec::new(),
        };
        let error = invite.ticket(SystemTime::now()).expect_err("has no secret").to_string();
        assert!(error.contains(fleet::SECRET), "{error}");
    }
}
