//! `skein test`: everything that must hold, in one go.

mod steps;

use super::checkout::Checkout;
use super::process::run_live;
use super::progress::brief;
use super::stop::Stop;
use super::tools::{self, Purpose};
use super::{build, one_line};
use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, Color, Table};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use steps::{Action, Step};
use tokio::process::Command;

/// How long one command may take. All together have 60 minutes; one that hangs must not eat them unseen.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Build everything and run every test
///
/// Installs what is missing, among it Chromium. Runs all steps even when one fails, and ends with 1 when one did.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  skein test                              everything, as CI does it
  skein test --only mesh                  the whole-mesh tests in Rust
  skein test --only rust,web              several parts
  skein test --only browser -- two_hosts  only tests of this name")]
pub struct Test {
    /// Only these parts, with what they need built before
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// Only tests whose name contains this, in the parts rust, mesh, browser and python
    #[arg(last = true)]
    filter: Option<String>,
}

/// A part of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Layout, clippy, and cargo-deny where it is installed
    Lint,
    /// The SDK, the room page and the console: types and unit tests
    Web,
    /// Unit tests of all crates
    Rust,
    /// Meshes of real node processes
    Mesh,
    /// Real browsers on a real mesh
    Browser,
    /// A second, independent client in Python
    Python,
}

/// How a step ended.
#[derive(Debug)]
struct Outcome {
    title: String,
    took: Duration,
    /// Nothing where it passed.
    failure: Option<String>,
}

impl Test {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let checkout = Checkout::find()?;
        let stop = Stop::listen()?;
        let steps = steps::all(&checkout, &self.only, self.filter.as_deref());
        let mut outcomes = Vec::new();
        let started = Instant::now();
        for (index, step) in steps.iter().enumerate() {
            eprintln!("\n── {} of {}: {} ──", index + 1, steps.len(), step.title);
            let begun = Instant::now();
            let result = tokio::select! {
                result = perform(&checkout, step, &stop) => result,
                // The commands themselves end first; this is for what is no command.
                reason = async { let reason = stop.requested().await; tokio::time::sleep(Duration::from_secs(8)).await; reason } => {
                    Err(anyhow::anyhow!("stopped by {reason}"))
                }
            };
            let failure = result.err().map(|error| one_line(&error));
            let took = begun.elapsed();
            match &failure {
                None => eprintln!("✓ {} ({})", step.title, brief(took)),
                Some(why) => eprintln!("✗ {} ({}): {why}", step.title, brief(took)),
            }
            let failed = failure.is_some();
            outcomes.push(Outcome { title: step.title.to_owned(), took, failure });
            if failed && let Some(reason) = stop.reason() {
                eprintln!("skein: stopped by {reason}; the other steps have not run");
                break;
            }
        }
        // On stderr like all that came before, so that a log has them in order.
        eprintln!("\n{}", table(&outcomes));
        eprintln!("in {}", brief(started.elapsed()));
        for outcome in &outcomes {
            if let Some(why) = &outcome.failure {
                eprintln!("✗ {}: {why}", outcome.title);
            }
        }
        for note in steps::left_out(&self.only) {
            eprintln!("{note}");
        }
        let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
        println!("{}", tally(&outcomes));
        // One that was stopped before its end has not passed.
        Ok(if failed == 0 && outcomes.len() == steps.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Does one step.
async fn perform(checkout: &Checkout, step: &Step, stop: &Stop) -> anyhow::Result<()> {
    match &step.action {
        Action::Tools(purpose) => ready_tools(checkout, *purpose, stop).await,
        Action::WebPage => build::web(checkout, stop).await,
        Action::Commands { needs, commands } => {
            for folder in needs {
                anyhow::ensure!(folder.exists(), "{} is missing", checkout.shown(folder));
            }
            for make in commands {
                run_live(with_programs(checkout, make()), LIMIT, stop).await?;
            }
            Ok(())
        }
        Action::Venv { folder, requirements } => steps::make_venv(folder, requirements, stop).await,
    }
}

async fn ready_tools(checkout: &Checkout, purpose: Purpose, stop: &Stop) -> anyhow::Result<()> {
    let parts = tools::ensure(checkout, purpose, stop).await?;
    for part in parts.iter().filter(|part| part.ok && part.needed_for <= Purpose::Optional) {
        eprintln!("  {} {}", part.name, part.version.as_deref().unwrap_or("is there"));
    }
    Ok(())
}

/// Tells a command where the programs are that tests start.
fn with_programs(checkout: &Checkout, mut command: Command) -> Command {
    command.env("SKEIN_NODE_BIN", checkout.program(crate::cli::build::NODE));
    command.env("SKEIN_BIN", checkout.target().join("release/skein"));
    command.env("SKEIN_MOTO", checkout.kept().join(steps::MOTO).join("bin/moto_server"));
    if let Some(chromium) = tools::chromium_path() {
        command.env("SKEIN_CHROMIUM", chromium);
    }
    command
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = super::table(["", "step", "took"]);
    table.use_stderr();
    for outcome in outcomes {
        let (mark, color) =
            if outcome.failure.is_some() { ("✗", Color::Red) } else { ("✓", Color::Green) };
        table.add_row([
            Cell::new(mark).fg(color),
            Cell::new(&outcome.title),
            Cell::new(brief(outcome.took)).set_alignment(CellAlignment::Right),
        ]);
    }
    table
}

fn tally(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    format!("steps: {} passed, {failed} failed", outcomes.len() - failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_counts_steps() {
        let outcome = |failure: Option<&str>| Outcome {
            title: "a step".to_owned(),
            took: Duration::from_secs(61),
            failure: failure.map(str::to_owned),
        };
        let outcomes = [outcome(None), outcome(Some("it broke")), outcome(None)];
        assert_eq!(tally(&outcomes), "steps: 2 passed, 1 failed");
        let shown = table(&outcomes).to_string();
        assert!(shown.contains("✗") && shown.contains("1 min 01 s"), "{shown}");
    }
}
