//! The commands, one module each, and what they share.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`up`] | builds and starts a development mesh |
//! | [`down`] | stops it |
//! | [`suite`] | `skein test` |
//! | [`simulate`] | `skein simulate` |
//! | [`doctor`] | what is installed; the checks themselves are in [`tools`] |
//! | [`status`] | what a node knows of its mesh |
//! | [`drain`] | empties a node, or has it take peers again |
//! | [`token`] | signs a client token |
//! | [`init`] | makes a mesh: authority, secrets, seeds |
//! | [`certify`] | signs a node's certificate by hand |
//! | [`invite`] | lets a machine become a node |
//! | [`enrol`] | gets a node's certificate from a seed |
//! | [`fleet`] | the files that `init` makes, and which the others read |
//! | [`calibrate`] | measures what a media worker carries |
//! | [`build`] | the web page and the node |
//! | [`checkout`] | where things are in the repository |
//! | [`state`] | which nodes run, across calls |
//! | [`process`], [`progress`], [`stop`] | running other programs, and showing it |

mod build;
mod calibrate;
mod certify;
mod checkout;
mod doctor;
mod down;
mod drain;
mod enrol;
mod fleet;
mod init;
mod invite;
mod process;
mod progress;
mod simulate;
mod state;
mod status;
mod stop;
mod suite;
mod token;
mod tools;
mod up;

use anyhow::Context;
use clap::{Parser, Subcommand};
use comfy_table::{ContentArrangement, LineStyle, Row, Table, TableStyle};
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "skein",
    version,
    about = "Builds, starts, tests and watches a Skein mesh: a peer-to-peer mesh of mediasoup nodes",
    after_help = "Examples:
  cargo skein up                      three nodes on this machine, until Ctrl-C
  cargo skein up --nodes 5 --detach   five, in the background
  cargo skein status                  what one node knows of the mesh
  cargo skein drain node-2 --wait     sends all peers of a node to others
  cargo skein down                    stops what --detach left running
  cargo skein test                    every test there is
  cargo skein simulate --help         placement policies over workloads, in virtual time
  cargo skein doctor                  what is installed and what is missing
  cargo skein calibrate               what a media worker of this machine carries
  skein init --mesh prod --seed seed-1=10.0.0.11:4440
                                      a mesh of its own: authority, secrets, and what its seed needs"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Test(suite::Test),
    Simulate(simulate::Simulate),
    Doctor(doctor::Doctor),
    Status(status::Status),
    Drain(drain::Drain),
    Undrain(drain::Undrain),
    Token(token::Token),
    Init(init::Init),
    Certify(certify::Certify),
    Invite(invite::Invite),
    Enrol(enrol::Enrol),
    Calibrate(calibrate::Calibrate),
}

/// Does what the command line says.
///
/// # Errors
/// When it cannot; the error says what to do about it.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Up(command) => block_on(command.run()),
        Command::Down(command) => block_on(command.run()),
        Command::Test(command) => block_on(command.run()),
        Command::Simulate(command) => block_on(command.run()),
        Command::Doctor(command) => block_on(command.run()),
        Command::Status(command) => block_on(command.run()),
        Command::Drain(command) => block_on(command.run()),
        Command::Undrain(command) => block_on(command.run()),
        Command::Token(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Certify(command) => command.run(),
        Command::Invite(command) => command.run(),
        Command::Enrol(command) => block_on(command.run()),
        Command::Calibrate(command) => block_on(command.run()),
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(command)
}

/// A client for nodes' HTTP servers. `patience` is for a whole request.
///
/// `any_certificate` is for nodes that this program started itself on this machine: their certificate is for the name
/// that clients use, not for the address that is asked here.
fn http_client(patience: Duration, any_certificate: bool) -> anyhow::Result<reqwest::Client> {
    // Fails when it was done before, and then there is nothing to do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        // A proxy knows nothing of this machine's loopback.
        .no_proxy()
        .timeout(patience)
        .tls_danger_accept_invalid_certs(any_certificate)
        .build()
        .context("cannot make an HTTP client")
}

/// A length of time, as it is typed: `90s`, `30m`, `1h`, `2days`.
fn parse_duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write 90s, 30m, 1h or 2days"))?;
    let bound = |time: Duration| humantime::format_duration(time);
    if time < least {
        return Err(format!("is less than {}", bound(least)));
    }
    if time > most {
        return Err(format!("is more than {}", bound(most)));
    }
    Ok(time)
}

/// An empty table in the one look that all tables here have.
fn table(header: impl Into<Row>) -> Table {
    const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

/// `1 node`, `3 nodes`.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// An error and its causes, on one line.
pub fn one_line(error: &anyhow::Error) -> String {
    // Some errors repeat their cause in their own text.
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_are_one_line_and_do_not_repeat_themselves() {
        let inner = anyhow::anyhow!("no such file\n  at line 3");
        let error = inner.context("a.toml: no such file\n  at line 3").context("cannot start");
        assert_eq!(one_line(&error), "cannot start: a.toml: no such file at line 3");
    }
}
