//! The steps of `skein test`, in order. Nothing is left out because its folder is missing: then it fails.

use super::Part;
use crate::cli::checkout::Checkout;
use crate::cli::process::{cargo, command, run_live};
use crate::cli::stop::Stop;
use crate::cli::tools::Purpose;
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// Folder of the Python environment with moto, below what is kept.
pub const MOTO: &str = "moto";

/// One step.
pub struct Step {
    /// What it is called.
    pub title: &'static str,
    /// What is done.
    pub action: Action,
}

/// Makes a command. Commands cannot be copied, and a step may be looked at before it is done.
pub type Make = Box<dyn Fn() -> Command>;

/// What a step does.
pub enum Action {
    /// Installs what is missing.
    Tools(Purpose),
    /// Builds the web page where it is not fresh: the node carries it.
    WebPage,
    /// Runs commands, one after the other.
    Commands {
        /// What has to be there.
        needs: Vec<PathBuf>,
        /// The commands.
        commands: Vec<Make>,
    },
    /// Makes a Python environment.
    Venv {
        /// Where.
        folder: PathBuf,
        /// What goes into it.
        requirements: PathBuf,
    },
}

/// The steps of these parts, or of all where none is named.
pub fn all(checkout: &Checkout, only: &[Part], filter: Option<&str>) -> Vec<Step> {
    let chosen = |part: Part| only.is_empty() || only.contains(&part);
    let on_mesh = [Part::Mesh, Part::Browser, Part::Python].into_iter().any(chosen);
    let mut steps = vec![
        Step { title: "what has to be installed", action: Action::Tools(Purpose::Test) },
        Step { title: "web page: npm ci, npm run build", action: Action::WebPage },
    ];
    if chosen(Part::Lint) {
        steps.extend(lint(checkout));
    }
    if chosen(Part::Web) {
        steps.extend(web(checkout));
    }
    if on_mesh {
        let build = || vec!["build", "--release", "-p", "skein-node", "-p", "skein-bootstrap"];
        steps.push(with_cargo(checkout, "programs: skein-node and skein", vec![build()]));
    }
    if chosen(Part::Rust) {
        steps.push(Step {
            title: "EC2's API for tests: moto",
            action: Action::Venv {
                folder: checkout.kept().join(MOTO),
                requirements: checkout.root().join("tests/moto/requirements.txt"),
            },
        });
        let words = ["test", "--release", "--workspace", "--exclude", "skein-tests"];
        steps.push(with_cargo(checkout, "Rust tests", vec![[&words[..], filter.as_slice()].concat()]));
    }
    if chosen(Part::Mesh) {
        let words =
            [&["test", "--release", "-p", "skein-tests"], filter.as_slice(), &["--", "--test-threads=1"]];
        steps.push(with_cargo(checkout, "whole-mesh tests", vec![words.concat()]));
    }
    if chosen(Part::Browser) {
        steps.push(browser(checkout, filter));
    }
    if chosen(Part::Python) {
        steps.extend(python(checkout, filter));
    }
    steps
}

/// What is not run, and why.
pub fn left_out(only: &[Part]) -> Vec<String> {
    let mut notes = Vec::new();
    if !only.is_empty() {
        notes.push("only the parts that were asked for have run".to_owned());
        return notes;
    }
    if which::which("cargo-deny").is_err() {
        notes.push(
            "cargo deny has not run: cargo-deny is not installed (cargo install --locked cargo-deny)"
                .to_owned(),
        );
    }
    if which::which("terraform").is_err() {
        notes.push(
            "terraform fmt has not run, nor has Terraform evaluated its module: terraform is not installed"
                .to_owned(),
        );
    } else if std::env::var_os("TF_PLUGIN_CACHE_DIR").is_none() {
        notes.push(
            "terraform validate has not run: TF_PLUGIN_CACHE_DIR, with AWS's provider, is not set".to_owned(),
        );
    }
    notes
}

fn with_cargo(checkout: &Checkout, title: &'static str, lines: Vec<Vec<&str>>) -> Step {
    let commands = lines.into_iter().map(|words| make_cargo(checkout, &words)).collect();
    Step { title, action: Action::Commands { needs: Vec::new(), commands } }
}

fn make_cargo(checkout: &Checkout, words: &[&str]) -> Make {
    let (words, checkout) = (owned(words), checkout.clone());
    Box::new(move || cargo(&borrowed(&words), &checkout))
}

fn make(program: impl Into<PathBuf>, words: &[&str], folder: &Path) -> Make {
    let (program, words, folder) = (program.into(), owned(words), folder.to_owned());
    Box::new(move || command(&program, &borrowed(&words), &folder))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn lint(checkout: &Checkout) -> Vec<Step> {
    let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let mut steps = vec![
        with_cargo(checkout, "layout: cargo fmt", vec![vec!["fmt", "--all", "--check"]]),
        with_cargo(checkout, "cargo clippy", vec![clippy.to_vec()]),
    ];
    if which::which("cargo-deny").is_ok() {
        steps.push(with_cargo(checkout, "cargo deny", vec![vec!["deny", "check"]]));
    }
    if which::which("terraform").is_ok() {
        let folder = checkout.root().join("terraform");
        let commands = vec![make("terraform", &["fmt", "-check", "-recursive", "-diff"], &folder)];
        let action = Action::Commands { needs: vec![folder.join("main.tf")], commands };
        steps.push(Step { title: "layout: terraform fmt", action });
    }
    steps
}

fn web(checkout: &Checkout) -> Vec<Step> {
    let folder = checkout.web();
    let npm = |words: &[&str]| Action::Commands {
        needs: vec![folder.join("package.json")],
        commands: vec![make("npm", words, &folder)],
    };
    vec![
        Step { title: "web: npm run check", action: npm(&["run", "check"]) },
        Step { title: "web: npm test", action: npm(&["test"]) },
    ]
}

fn browser(checkout: &Checkout, filter: Option<&str>) -> Step {
    let folder = checkout.root().join("tests/browser");
    let pattern = filter.map(|filter| format!("--test-name-pattern={filter}"));
    let words: Vec<&str> = ["--test"].into_iter().chain(pattern.as_deref()).collect();
    let commands =
        vec![make("npm", &["ci", "--no-audit", "--no-fund"], &folder), make("node", &words, &folder)];
    let needs = vec![folder.join("package-lock.json")];
    Step { title: "browser tests", action: Action::Commands { needs, commands } }
}

fn python(checkout: &Checkout, filter: Option<&str>) -> Vec<Step> {
    let folder = checkout.root().join("tests/pyclient");
    let venv = checkout.kept().join("pyclient");
    let requirements = folder.join("requirements.txt");
    let names: Vec<&str> = filter.into_iter().flat_map(|filter| ["-k", filter]).collect();
    let words = [&["-m", "pytest", "-v"], names.as_slice()].concat();
    let commands = vec![make(venv.join("bin/python"), &words, &folder)];
    let make_venv = Action::Venv { folder: venv, requirements: requirements.clone() };
    vec![
        Step { title: "second client: Python environment", action: make_venv },
        Step {
            title: "second client: pymediasoup and aiortc",
            action: Action::Commands { needs: vec![requirements], commands },
        },
    ]
}

/// Makes a Python environment where it is not there as its requirements say.
///
/// # Errors
/// When a requirement cannot be had.
pub async fn make_venv(folder: &Path, requirements: &Path, stop: &Stop) -> anyhow::Result<()> {
    const LIMIT: Duration = Duration::from_secs(10 * 60);
    let wanted = fs::read_to_string(requirements)
        .with_context(|| format!("{} cannot be read", requirements.display()))?;
    // An environment holds its own path: one that was moved is stale.
    let wanted = format!("{}\n{wanted}", folder.display());
    let stamp = folder.join("skein.stamp");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        eprintln!("  is there, in {}", folder.display());
        return Ok(());
    }
    let root = Path::new("/");
    let (target, list) = (folder.to_string_lossy(), requirements.to_string_lossy());
    run_live(command("python3", &["-m", "venv", "--clear", &target], root), LIMIT, stop).await?;
    let pip = ["-m", "pip", "--disable-pip-version-check", "install", "-q", "-r", &list];
    run_live(command(folder.join("bin/python"), &pip, root), LIMIT, stop).await?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::process::typed;

    fn lines(only: &[Part], filter: Option<&str>) -> Vec<String> {
        let checkout = Checkout::find().expect("the tests run in the checkout");
        let mut lines = Vec::new();
        for step in all(&checkout, only, filter) {
            if let Action::Commands { commands, .. } = step.action {
                lines.extend(commands.iter().map(|make| typed(&make())));
            } else {
                lines.push(step.title.to_owned());
            }
        }
        lines
    }

    #[test]
    fn everything_is_run_in_order() {
        let lines = lines(&[], None);
        let expected = [
            "what has to be installed",
            "web page: npm ci, npm run build",
            "cargo fmt --all --check",
            "cargo clippy --release --workspace --all-targets -- -D warnings",
            "npm run check",
            "npm test",
            "cargo build --release -p skein-node -p skein-bootstrap",
            "EC2's API for tests: moto",
            "cargo test --release --workspace --exclude skein-tests",
            "cargo test --release -p skein-tests -- --test-threads=1",
            "npm ci --no-audit --no-fund",
            "node --test",
            "second client: Python environment",
            "python -m pytest -v",
        ];
        let may_be_missing = ["cargo deny check", "terraform fmt -check -recursive -diff"];
        let others: Vec<_> = lines.iter().filter(|line| !may_be_missing.contains(&line.as_str())).collect();
        assert_eq!(others, expected);
    }

    #[test]
    fn a_part_brings_what_it_needs() {
        assert_eq!(
            lines(&[Part::Mesh], Some("home")),
            [
                "what has to be installed",
                "web page: npm ci, npm run build",
                "cargo build --release -p skein-node -p skein-bootstrap",
                "cargo test --release -p skein-tests home -- --test-threads=1",
            ]
        );
        let browser = lines(&[Part::Browser], Some("two hosts"));
        assert_eq!(browser.last().map(String::as_str), Some("node --test --test-name-pattern=two hosts"));
        assert!(lines(&[Part::Rust], None).iter().all(|line| !line.starts_with("cargo build")));
    }
}
