//! `skein init`: makes a mesh.

use super::fleet::{self, NewSeed};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a mesh: its authority, its secrets, and what its seeds need
///
/// Everything is in one folder, for its owner only, with a folder in it for each seed: copy that to the seed, and start
/// `skein-node --config node.toml` there. Keep the mesh's folder where seeds are not; nothing reads it while the mesh
/// runs. What is there already is never overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein init --mesh prod --seed seed-1=10.0.0.11:4440
  skein init --mesh prod --seed a=10.0.0.11:4440 --seed b=10.0.1.11:4440 --seed c=10.0.2.11:4440")]
pub struct Init {
    /// Its name; nodes that are launched are named after it
    #[arg(long, default_value = "skein", value_parser = fleet::parse_mesh)]
    mesh: String,
    /// The folder [default: the mesh's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A seed's name, and the address and port at which other nodes reach it: 1, 3 or 5 of them. The first also vote
    #[arg(long = "seed", value_name = "NAME=ADDRESS", value_parser = fleet::parse_seed)]
    seeds: Vec<NewSeed>,
}

impl Init {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.out.unwrap_or_else(|| self.mesh.clone().into());
        let seeds = fleet::make(&folder, &self.mesh, &self.seeds)?;
        let at = folder.display();
        println!(
            "The mesh {} is in {at}: authority, enrolment secret, client key, operator token.",
            self.mesh
        );
        println!("Keep that folder safe: with it anyone can join the mesh.\n\nNext:");
        if seeds.is_empty() {
            println!("  {at}/{} is a template of a seed's configuration.", fleet::CONFIG);
            println!("  skein certify NODE --folder {at}          a seed's certificate");
        }
        for seed in &seeds {
            println!(
                "  copy {0} to its machine and run: skein-node --config {1}",
                seed.display(),
                fleet::CONFIG
            );
        }
        println!("  skein invite NODE --folder {at}           let another machine become a node");
        println!("  skein token --room ROOM --key-file {at}/client.key");
        println!("\nSeeds renew their certificates and those of the other nodes while the mesh runs.");
        if self.seeds.len().is_multiple_of(2) && !self.seeds.is_empty() {
            println!("With {} seeds not all vote; 1, 3 or 5 are better.", self.seeds.len());
        }
        Ok(ExitCode::SUCCESS)
    }
}
