//! `skein simulate`: the simulator, built and run with the arguments that it was given.

use super::build;
use super::checkout::Checkout;
use super::stop::Stop;
use anyhow::Context;
use clap::Args;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use tokio::process::Command;

/// Run placement policies over a workload, in virtual time
///
/// `skein simulate --help` lists the workloads, the policies and all options. Ends with 2 when what it is asked for
/// makes no sense.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Simulate {
    /// What the simulator is told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    arguments: Vec<OsString>,
}

impl Simulate {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let checkout = Checkout::find()?;
        let stop = Stop::listen()?;
        let program = build::simulator(&checkout, &stop).await?;
        let shown = checkout.shown(&program).to_string();
        // In the folder of the one who types, whose files the arguments may name, and in this process group, so that
        // Ctrl-C reaches both.
        let mut child = Command::new(&program)
            .args(self.arguments)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let status = tokio::select! {
            status = child.wait() => status,
            _ = stop.requested() => {
                // Fails when it has ended, as it does by itself at Ctrl-C.
                let _ = child.start_kill();
                child.wait().await
            }
        };
        Ok(code(status.with_context(|| format!("lost sight of {shown}"))?))
    }
}

/// The code with which a shell would say how a program ended.
fn code(status: ExitStatus) -> ExitCode {
    let signal = || status.signal().map_or(1, |signal| 128 + signal);
    ExitCode::from(u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        simulate: Simulate,
    }

    #[test]
    fn everything_is_passed_on() {
        let words = ["--workload", "burst", "--json", "--help", "-x", "--", "more"];
        let line = Line::try_parse_from([&["skein"], &words[..]].concat()).expect("parses");
        assert_eq!(line.simulate.arguments, words);
    }

    #[test]
    fn the_code_is_the_programs() {
        assert_eq!(code(ExitStatus::from_raw(2 << 8)), ExitCode::from(2));
        assert_eq!(code(ExitStatus::from_raw(9)), ExitCode::from(137));
    }
}
