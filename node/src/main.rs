//! `skein-node`: one node of a Skein mesh.

use anyhow::Context;
use clap::Parser;
use skein_bootstrap::config::Config;
use skein_node::node::Node;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// One node of a Skein mesh.
#[derive(Debug, Parser)]
#[command(name = "skein-node", version)]
struct Arguments {
    /// TOML file with the configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting over the file and the environment, such as media.workers=2.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Check the configuration and stop.
    #[arg(long)]
    check_config: bool,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The HTTP server's TLS takes the process's provider; the mesh's is given its own. Cannot fail: nobody was before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // RUST_LOG says what is logged, as usual.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if arguments.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skein-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(arguments.config.as_deref(), std::env::vars(), &arguments.settings)
        .context("configuration")?;
    if arguments.check_config {
        println!("the configuration of {} is fine", config.node.id);
        return Ok(());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut node = Node::start(config).await?;
    let drainer = Arc::clone(node.drainer());
    let deadline = Duration::from_secs(config.node.drain_on_term_s.into());
    let mut drains = false;
    let outcome = loop {
        tokio::select! {
            error = node.failed() => break Err(error.into()),
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => {
                // Told so a second time it stops at once.
                if drains || !drainer.drain_to_stop(deadline) {
                    break Ok(());
                }
                drains = true;
            }
            () = drainer.can_stop(), if drains => break Ok(()),
        }
    };
    node.stop().await;
    outcome
}
