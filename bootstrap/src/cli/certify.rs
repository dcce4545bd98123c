//! `skein certify`: signs a node's certificate by hand.

use super::fleet::{self, CERTIFICATE, KEY};
use anyhow::{Context, ensure};
use clap::Args;
use skein_bootstrap::identity::{Authority, CA, write_secret};
use skein_proto::ids::NodeId;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Make a key and a certificate for a node, with the authority of a folder that `skein init` made
///
/// For a seed that is added, or one that was off so long that its certificate ended. Other machines had better enrol:
/// their key is then never anywhere else.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  skein certify seed-4 --folder prod --out seed-4")]
pub struct Certify {
    /// The node's name
    #[arg(value_parser = fleet::parse_node)]
    node: NodeId,
    /// The mesh's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where node.pem, node.key and ca.pem go [default: a folder of the node's name in the mesh's folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The mesh's name [default: the one that the authority was made for]
    #[arg(long, value_parser = fleet::parse_mesh)]
    mesh: Option<String>,
    /// How long it is good for, such as 90days. While the mesh runs, seeds renew it before it ends
    #[arg(long, default_value = "90days", value_parser = parse_life)]
    valid: Duration,
    /// Replace a certificate and key that are there
    #[arg(long)]
    force: bool,
}

fn parse_life(text: &str) -> Result<Duration, String> {
    super::parse_duration(text, Duration::from_secs(60), Duration::from_secs(3660 * 24 * 3600))
}

impl Certify {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mesh = match self.mesh {
            Some(mesh) => mesh,
            None => fleet::mesh_in(&self.folder)?,
        };
        let authority = Authority::read(&self.folder)?;
        let out = self.out.unwrap_or_else(|| self.folder.join(self.node.as_str()));
        for name in [CERTIFICATE, KEY] {
            let file = out.join(name);
            ensure!(self.force || !file.exists(), "{} is there; --force replaces it", file.display());
        }
        fleet::create(&out)?;
        let identity = authority.issue_for(&mesh, &self.node, SystemTime::now(), self.valid)?;
        fleet::write_identity(&out, &identity)?;
        write_secret(&out.join(CA), authority.certificate_pem()).context("the authority's certificate")?;
        println!("{}: {CERTIFICATE}, {KEY} and {CA} of {} in the mesh {mesh}", out.display(), self.node);
        Ok(ExitCode::SUCCESS)
    }
}
