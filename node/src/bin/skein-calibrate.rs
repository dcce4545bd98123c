//! `skein-calibrate`: measures what a worker of this machine carries, and writes it down for nodes. `skein calibrate`
//! builds and runs it in a checkout; on other machines it is run as it is.

use anyhow::{Context, ensure};
use clap::Parser;
use skein_bootstrap::calibration::{BitsFrom, Calibration, LOCAL, Machine, bits_of_packets};
use skein_bootstrap::machine;
use skein_node::media::MEDIASOUP_VERSION;
use skein_node::media::calibrate::{self, Links, Report, Step};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// The share of an interface's speed that media may take.
const INTERFACE_SHARE: f64 = 0.8;

/// Measures what a worker of this machine carries, and writes it down for nodes.
#[derive(Debug, Parser)]
#[command(name = "skein-calibrate", version)]
struct Arguments {
    /// For how many seconds packets are sent, all steps together; setting up takes about 10 s more.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..=45))]
    seconds: u64,
    /// The file to write; entries of other machines in it are kept.
    #[arg(long, value_name = "FILE", default_value = "calibration.toml")]
    out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The kind of machine to write it under. [default: the EC2 instance type, `local` elsewhere]
    #[arg(long, value_name = "NAME")]
    instance_type: Option<String>,
    /// For checks of the method, nothing is written: how often each packet is sent.
    #[arg(long, default_value_t = 1, hide = true, value_parser = clap::value_parser!(u16).range(1..=8))]
    consumers: u16,
    /// For checks of the method, nothing is written: without SRTP.
    #[arg(long, hide = true)]
    clear: bool,
    /// For checks of the method, nothing is written: without estimating bandwidth.
    #[arg(long, hide = true)]
    no_estimator: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skein-calibrate: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, but for those that it names itself.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        known if known.contains(&cause) => text,
        known => format!("{known}: {cause}"),
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(calibrate(arguments))
}

async fn calibrate(arguments: &Arguments) -> anyhow::Result<()> {
    let kind = match &arguments.instance_type {
        Some(name) => name.clone(),
        None => machine::instance_type().await.unwrap_or_else(|| LOCAL.to_owned()),
    };
    ensure!(
        machine::is_kind(&kind),
        "--instance-type {kind:?} is not a name of letters, digits, dots, hyphens and underscores, at most 64"
    );
    let check_only = arguments.consumers != 1 || arguments.clear || arguments.no_estimator;
    // A file that cannot be used comes to light before the measurement, not after it.
    Calibration::read_or_new(&arguments.out)?;
    let links = Links {
        encrypted: !arguments.clear,
        estimator: !arguments.no_estimator,
        consumers: usize::from(arguments.consumers),
    };
    let time = Duration::from_secs(arguments.seconds);
    let report = calibrate::measure(links, time, progress).await?;

    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256) as u16);
    let interface = machine::interface_speed();
    let (node_bits, bits_from) = match &interface {
        Some((_, speed)) => ((*speed as f64 * INTERFACE_SHARE) as u64, BitsFrom::Interface),
        None => (bits_of_packets(report.packets_per_worker, workers.into()), BitsFrom::Packets),
    };
    let machine = Machine {
        packets_per_worker: report.packets_per_worker,
        node_bits,
        bits_from,
        workers,
        measured: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        mediasoup: MEDIASOUP_VERSION.to_owned(),
    };
    if !check_only {
        // Anew, since another machine's run may have written to the file meanwhile.
        let mut file = Calibration::read_or_new(&arguments.out)?;
        file.set(&kind, &machine)?;
        file.write()?;
    }
    if report.other_programs() > calibrate::BUSY {
        eprintln!(
            "skein-calibrate: other programs used {:.0} % of this machine meanwhile, so it carries more than this says; measure again when it is idle",
            report.other_programs() * 100.0
        );
    }
    if arguments.json {
        let json = serde_json::json!({
            "instance_type": kind,
            "machine": machine,
            "interface": interface.as_ref().map(|(name, speed)| serde_json::json!({ "name": name, "bits": speed })),
            "report": report,
            "file": (!check_only).then_some(&arguments.out),
        });
        println!("{json:#}");
    } else {
        print(&kind, &machine, &report, interface.as_ref());
        if check_only {
            println!("a check of the method: nothing is written");
        } else {
            println!("written to {}", arguments.out.display());
        }
    }
    Ok(())
}

fn progress(streams: usize, step: Option<&Step>) {
    match step {
        None => eprintln!("{streams} streams…"),
        Some(step) => eprintln!(
            "  {:.0} packets/s, {:.2} % lost; the worker used {:.1} % of a core (source {:.0} %, sink {:.0} %): {:.0} packets for each second of it",
            step.delivered as f64 / step.seconds,
            step.loss() * 100.0,
            step.cpu * 100.0,
            step.others_cpu[0] * 100.0,
            step.others_cpu[1] * 100.0,
            step.packets_per_cpu_second
        ),
    }
}

fn print(kind: &str, machine: &Machine, report: &Report, interface: Option<&(String, u64)>) {
    let streams = machine.packets_per_worker / skein_proto::capacity::REFERENCE.packets;
    println!(
        "{kind}: a worker carries {} packets/s, {:.0} % of {:.0} for each second of CPU; that is {streams} reference streams",
        machine.packets_per_worker,
        calibrate::UTILISATION * 100.0,
        report.packets_per_cpu_second
    );
    let gigabits = machine.node_bits as f64 / 1e9;
    match interface {
        Some((name, speed)) => println!(
            "{kind}: {gigabits:.2} Gbit/s into the network, {:.0} % of the {:.0} Mbit/s that {name} has",
            INTERFACE_SHARE * 100.0,
            *speed as f64 / 1e6
        ),
        None => println!(
            "{kind}: {gigabits:.2} Gbit/s into the network, what {} workers send: the speed of the interface is not known, so this is no wall; set media.egress_bits to what the machine's network is sold with",
            machine.workers
        ),
    }
}
