//! Runs placement policies over a workload in virtual time, and shows what came of each.

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use skein_proto::capacity::REFERENCE;
use skein_tests::simulate::compare::{self, Machines, Problem, Source};
use skein_tests::simulate::demand::Demand;
use skein_tests::simulate::engine::Setting;
use skein_tests::simulate::machines::{
    asked, demand as days, engine as machines, scaler, table as machines_table,
};
use skein_tests::simulate::plot::{self, grouped};
use skein_tests::simulate::policies;
use skein_tests::simulate::policy::MeshSpec;
use skein_tests::simulate::table;
use skein_tests::simulate::workload::named;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How the program ends when what it is asked for makes no sense, as with options that it does not know.
const BAD_INPUT: u8 = 2;

/// Run placement policies over a workload, in virtual time
#[derive(Debug, Parser)]
#[command(name = "simulate", bin_name = "cargo skein simulate", after_long_help = lists(), after_help = "--help lists workloads and policies.")]
struct Arguments {
    /// Have machines come and go: the policies are scalers, and the workloads days
    #[arg(long, conflicts_with_all = ["csv", "rooms", "workers_per_node"])]
    machines: bool,
    /// A workload, by its name
    #[arg(long, value_name = "NAME", required_unless_present = "csv", conflicts_with = "csv")]
    workload: Option<String>,
    /// A workload out of a file; its format is described in docs/simulator.md
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Policies by their names, or `all`
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',', default_value = "all")]
    policy: Vec<String>,
    /// What everything random is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many nodes there are [default: the workload's]; with --machines how many at most [default: 100]
    #[arg(long, value_name = "N")]
    nodes: Option<u32>,
    /// How many workers a node has; two where that makes workers of a usual size, or else one
    #[arg(long, value_name = "W")]
    workers_per_node: Option<u16>,
    /// How many reference streams a worker carries [default: so many that the workload's peak is 1.2 × the mesh's
    /// capacity, but at least 40]; with --machines how many a machine carries [default: 500]
    #[arg(long, value_name = "S")]
    streams_per_worker: Option<u64>,
    /// How many rooms a named workload has [default: the workload's]
    #[arg(long, value_name = "N")]
    rooms: Option<u32>,
    /// With --machines: how many seconds a machine takes to boot; half of them less, half more
    #[arg(long, value_name = "S", default_value_t = 60.0, requires = "machines")]
    boot_s: f64,
    /// With --machines: the share of launches that never become a node
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, requires = "machines")]
    launch_failures: f64,
    /// With --machines: what a machine costs an hour
    #[arg(long, value_name = "PRICE", default_value_t = 0.2, requires = "machines")]
    price: f64,
    /// Print JSON instead of a table: an object for one policy, an array for several
    #[arg(long)]
    json: bool,
    /// Write SVG plots into this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// What there is to choose from.
fn lists() -> String {
    let mut text = "Workloads:\n".to_owned();
    for known in named::ALL {
        text += &format!("  {:<16}{}; {} nodes\n", known.name, known.about, grouped(known.nodes.into()));
    }
    text += "\nPolicies:\n";
    for known in policies::ALL {
        text += &format!("  {:<16}{}\n", known.name, known.about);
    }
    text += "\nWorkloads with --machines:\n";
    for known in days::ALL {
        text += &format!("  {:<16}{}\n", known.name, known.about);
    }
    text += "\nPolicies with --machines:\n";
    for known in scaler::ALL {
        text += &format!("  {:<16}{}\n", known.name, known.about);
    }
    text + "\nExamples:
  cargo skein simulate --workload burst
  cargo skein simulate --workload mixed --policy fixed-room single-node --seed 7 --plots target/plots
  cargo skein simulate --csv calls.csv --nodes 4 --streams-per-worker 300 --json
  cargo skein simulate --machines --workload day --boot-s 120"
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.is::<Problem>() {
                eprintln!("skein simulate: {error}");
                return ExitCode::from(BAD_INPUT);
            }
            eprintln!("skein simulate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.machines {
        return run_machines(arguments);
    }
    let chosen = compare::choose(&arguments.policy)?;
    let machines = Machines {
        nodes: arguments.nodes,
        workers: arguments.workers_per_node,
        streams: arguments.streams_per_worker,
    };
    machines.check()?;
    let source = match (&arguments.csv, &arguments.workload) {
        (Some(_), _) if arguments.rooms.is_some() => return Err(Problem::RoomsOfFile.into()),
        (Some(file), _) => Source::file(file)?,
        (None, name) => Source::named(name.as_deref().unwrap_or_default(), arguments.rooms)?,
    };
    // Before what takes long, so that nothing is computed in vain.
    if let Some(folder) = &arguments.plots {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let done = AtomicU64::new(0);
    let demand = with_progress("counting what the workload asks for", None, &done, || {
        Demand::of(source.events(arguments.seed).inspect(|_| {
            done.fetch_add(1, Ordering::Relaxed);
        }))
    });
    let mesh = machines.mesh(&source, &demand);
    tell(&source, &mesh, &demand);
    let (workload, seed) = (source.name().to_owned(), arguments.seed);
    let setting = Setting { workload, seed, mesh, end: demand.end };
    let done = AtomicU64::new(0);
    let all = demand.events.saturating_mul(chosen.len() as u64);
    let runs = with_progress("running the policies", Some(all), &done, || {
        compare::run(&source, &setting, &chosen, &done)
    });
    let reports: Vec<_> = runs.iter().map(|run| run.report.clone()).collect();
    show(&reports, arguments.json, |reports| table::of(reports).to_string())?;
    if let Some(folder) = &arguments.plots {
        for file in plot::write(&runs, folder)? {
            eprintln!("{}", file.display());
        }
    }
    Ok(())
}

/// Runs scalers over a day.
fn run_machines(arguments: &Arguments) -> anyhow::Result<()> {
    let chosen = asked::choose(&arguments.policy)?;
    let asked = asked::Asked {
        nodes: arguments.nodes,
        streams: arguments.streams_per_worker,
        boot_s: arguments.boot_s,
        failures: arguments.launch_failures,
        price: arguments.price,
        seed: arguments.seed,
    };
    let setting = asked.setting(arguments.workload.as_deref().unwrap_or_default())?;
    if let Some(folder) = &arguments.plots {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let runs: Vec<_> = chosen.iter().map(|known| machines::run(&setting, known)).collect();
    let reports: Vec<_> = runs.iter().map(|run| run.report.clone()).collect();
    if let Some(report) = reports.first() {
        eprintln!(
            "{}: {} joins within {} h; the fewest machines that carry it are there for {:.1} h together",
            report.workload,
            grouped(report.joins),
            report.hours,
            report.fewest_node_hours
        );
    }
    show(&reports, arguments.json, |reports| machines_table::of(reports).to_string())?;
    if let Some(folder) = &arguments.plots {
        for file in plot::write_machines(&runs, folder)? {
            eprintln!("{}", file.display());
        }
    }
    Ok(())
}

/// Says what is simulated.
fn tell(source: &Source, mesh: &MeshSpec, demand: &Demand) {
    let reference = REFERENCE.packets;
    eprintln!(
        "{}: {} joins within {}; at its peak it asks for {} reference streams",
        source.name(),
        grouped(demand.joins),
        spoken(demand.end),
        grouped(demand.peak / reference)
    );
    eprintln!(
        "mesh: {} nodes of {} workers of {} reference streams each; {} in all",
        grouped(mesh.nodes.into()),
        mesh.workers,
        grouped(mesh.worker.packets / reference),
        grouped(mesh.streams())
    );
}

fn spoken(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..180.0 => format!("{seconds:.0} s"),
        180.0..10_800.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn show<R: Serialize>(reports: &[R], json: bool, table: impl Fn(&[R]) -> String) -> anyhow::Result<()> {
    let text = match reports {
        [one] if json => serde_json::to_string_pretty(one)?,
        several if json => serde_json::to_string_pretty(several)?,
        several => table(several),
    };
    // A reader who has seen enough is no failure.
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Does something and shows on a terminal how far it is.
fn with_progress<T>(title: &'static str, all: Option<u64>, done: &AtomicU64, work: impl FnOnce() -> T) -> T {
    const LOOK: Duration = Duration::from_millis(100);
    if !stderr().is_terminal() {
        return work();
    }
    let template = match all {
        Some(_) => "{spinner} {prefix} {bar:30} {percent:>3} % {elapsed}, {eta} to go",
        None => "{spinner} {prefix}: {human_pos} events {elapsed}",
    };
    let bar = all.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_prefix(title);
    // A template that does not parse would only cost its looks.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                thread::park_timeout(LOOK);
                bar.set_position(done.load(Ordering::Relaxed));
                bar.tick();
            }
            bar.finish_and_clear();
        });
        // Ends the other thread also when the work panics.
        let _end = End(&ended);
        work()
    })
}

/// Sets a flag when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
