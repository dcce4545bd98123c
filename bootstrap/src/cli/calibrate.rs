//! `skein calibrate`: measures what a media worker of this machine carries.

use super::build;
use super::checkout::Checkout;
use super::process::{command, run_live};
use super::stop::Stop;
use super::tools::{self, Purpose};
use anyhow::{Context, ensure};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The program that measures; only the node's crate knows mediasoup.
const PROGRAM: &str = "skein-calibrate";

/// How much longer than its packets it may take: six steps with their warm-up take about 10 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measure what a media worker of this machine carries
///
/// Sends packets of more and more streams through a real worker, over SRTP, and takes the CPU time of its thread: packets
/// for each second of it, times 80 %, is what a worker carries. The machine should do nothing else meanwhile. The file
/// has an entry for each kind of machine; nodes read it as `media.calibration`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein calibrate                                   into target/skein/calibration.toml, for `skein up`
  skein calibrate --out /etc/skein/calibration.toml
  skein calibrate --instance-type c7i.large --json")]
pub struct Calibrate {
    /// For how many seconds packets are sent, all steps together
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..=45))]
    seconds: u64,
    /// The file to write; entries of other machines in it are kept [default: target/skein/calibration.toml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The kind of machine to write it under [default: the EC2 instance type, `local` elsewhere]
    #[arg(long, value_name = "NAME")]
    instance_type: Option<String>,
    /// Run what was built before
    #[arg(long)]
    skip_build: bool,
}

impl Calibrate {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let checkout = Checkout::find()?;
        let stop = Stop::listen()?;
        // Relative to where it was typed, not to where the program will run.
        let out = match &self.out {
            Some(out) => std::path::absolute(out).context("--out")?,
            None => checkout.calibration(),
        };
        let program = if self.skip_build {
            let built = checkout.program(PROGRAM);
            ensure!(built.is_file(), "{} is not there; run it without --skip-build", checkout.shown(&built));
            built
        } else {
            tools::ensure(&checkout, Purpose::Up, &stop).await?;
            build::calibrator(&checkout, &stop).await?
        };
        let seconds = self.seconds.to_string();
        let mut command = command(program, &["--seconds", &seconds, "--out"], checkout.root());
        command.arg(out);
        if self.json {
            command.arg("--json");
        }
        if let Some(kind) = &self.instance_type {
            // In one word, so that a name that begins with a hyphen is refused as a name.
            command.arg(format!("--instance-type={kind}"));
        }
        run_live(command, Duration::from_secs(self.seconds) + PATIENCE, &stop).await?;
        Ok(ExitCode::SUCCESS)
    }
}
