//! `skein down`: stops what `skein up --detach` left running.

use super::checkout::Checkout;
use super::state::MeshState;
use clap::Args;
use std::process::ExitCode;

/// Stop the meshes that `skein up` started on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein down                    stops all of them
  skein down --base-port 4440   stops the one that starts at this port")]
pub struct Down {
    /// Stop only the mesh that starts at this port
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
}

impl Down {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let checkout = Checkout::find()?;
        let mut stopped = false;
        for (folder, state) in MeshState::all(&checkout.kept())? {
            if self.base_port.is_some_and(|port| port != state.base_port) {
                continue;
            }
            let running = state.running(&folder)?;
            if !running.is_empty() {
                stopped = true;
                let nodes = super::count(running.len() as u64, "node");
                for node in state.stop(&folder).await? {
                    eprintln!("{node} did not stop by itself and was killed");
                }
                eprintln!("stopped the mesh {} at port {}: {nodes}", state.mesh, state.base_port);
            }
            MeshState::remove(&folder);
        }
        if !stopped {
            match self.base_port {
                Some(port) => eprintln!("no mesh of `skein up` runs at port {port}"),
                None => eprintln!("no mesh of `skein up` runs"),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
