//! What has to be on the machine, what of it is there, and bringing the rest with apt.

use super::checkout::Checkout;
use super::process::{LastLine, output_of, run_logged};
use super::stop::Stop;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use tokio::process::Command;

/// The oldest Node.js that builds the web page.
const MIN_NODE: u32 = 20;
/// How a fix by apt begins; what follows is the packages. `bootstrap/worker/prepare --check` writes it the same way.
const APT_INSTALL: &str = "apt-get install -y ";

/// What a part is needed for. Later ones need what earlier ones need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// For `skein up`.
    Up,
    /// For `skein test`.
    Test,
    /// For nothing that cannot do without it.
    Optional,
    /// The build brings it by itself.
    Built,
}

/// One thing that has to be there.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// What it is needed for.
    pub needed_for: Purpose,
    /// Which one is there.
    pub version: Option<String>,
    /// Why it matters, and what is wrong with it where something is.
    pub why: String,
    /// The line that brings it.
    pub fix: String,
}

/// What `bootstrap/worker/prepare --check` says of one thing.
#[derive(Debug, Deserialize)]
struct WorkerPart {
    name: String,
    ok: bool,
    why: String,
    fix: String,
}

impl From<WorkerPart> for Part {
    fn from(part: WorkerPart) -> Self {
        // What apt does not bring, `prepare` brings, and the build calls that.
        let needed_for = if part.fix.starts_with(APT_INSTALL) { Purpose::Up } else { Purpose::Built };
        Self { name: part.name, ok: part.ok, needed_for, version: None, why: part.why, fix: part.fix }
    }
}

impl Part {
    fn new(
        name: &str,
        needed_for: Purpose,
        version: Option<String>,
        why: &str,
        fix: impl Into<String>,
    ) -> Self {
        let why = why.to_owned();
        Self { name: name.to_owned(), ok: version.is_some(), needed_for, version, why, fix: fix.into() }
    }

    /// The packages that bring it, where apt does.
    fn packages(&self) -> Option<&str> {
        self.fix.strip_prefix(APT_INSTALL)
    }
}

/// Looks at everything.
///
/// # Errors
/// When the worker's own check cannot be run although Python is there.
pub async fn check(checkout: &Checkout) -> anyhow::Result<Vec<Part>> {
    let (worker, (python, node, npm), rust, (chromium, deny)) = tokio::join!(
        worker_parts(checkout),
        async { tokio::join!(python(), node(), npm()) },
        rust_parts(),
        async { tokio::join!(chromium(), cargo_deny()) },
    );
    let mut parts = rust;
    parts.extend([python, node, npm]);
    parts.extend(worker?);
    parts.extend([chromium, deny]);
    Ok(parts)
}

/// What the worker's build needs. Without Python nobody can say.
async fn worker_parts(checkout: &Checkout) -> anyhow::Result<Vec<Part>> {
    if which::which("python3").is_err() {
        return Ok(Vec::new());
    }
    let script = checkout.prepare();
    let output = Command::new(&script)
        .arg("--check")
        .output()
        .await
        .with_context(|| format!("cannot start {}", checkout.shown(&script)))?;
    if !output.status.success() {
        let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        bail!("{} --check failed: {last}", checkout.shown(&script));
    }
    let parts: Vec<WorkerPart> = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{} --check printed something else than it should", checkout.shown(&script))
    })?;
    let mut parts: Vec<Part> = parts.into_iter().map(Part::from).collect();
    let versions = package_versions(parts.iter().filter_map(Part::packages)).await;
    for part in &mut parts {
        part.version = part.packages().and_then(|package| versions.get(package).cloned()).filter(|_| part.ok);
    }
    Ok(parts)
}

/// The installed versions of packages. A thing may be there without its package.
async fn package_versions(packages: impl Iterator<Item = &str>) -> HashMap<String, String> {
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${Package} ${Version}\\n"]).args(packages);
    // It fails when one package is missing, and prints the others all the same.
    let Ok(output) = command.output().await else { return HashMap::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, version)| !version.is_empty())
        .map(|(package, version)| (package.to_owned(), version.to_owned()))
        .collect()
}

async fn python() -> Part {
    let version = output_of("python3", &["--version"]).await.map(|text| text.replace("Python ", ""));
    Part::new(
        "python3",
        Purpose::Up,
        version,
        "builds mediasoup's worker",
        "apt-get install -y python3 python3-venv",
    )
}

async fn node() -> Part {
    let version = output_of("node", &["--version"]).await;
    let fresh = version.as_deref().and_then(major).is_some_and(|major| major >= MIN_NODE);
    let why = match &version {
        Some(version) if !fresh => {
            format!("builds the web page: this is {version}, and it has to be {MIN_NODE} or later")
        }
        _ => "builds the web page".to_owned(),
    };
    let fix = if fresh { String::new() } else { node_fix().await };
    Part { ok: fresh, ..Part::new("Node.js", Purpose::Up, version, &why, fix) }
}

/// Debian 12 and Ubuntu 24.04 have a Node.js that is too old; then it has to come from its makers.
async fn node_fix() -> String {
    let policy = output_of("apt-cache", &["policy", "nodejs"]).await.unwrap_or_default();
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    if candidate.and_then(major).is_some_and(|major| major >= MIN_NODE) {
        return format!("{APT_INSTALL}nodejs npm");
    }
    "curl -fsSL https://deb.nodesource.com/setup_22.x | sudo -E bash - && sudo apt-get install -y nodejs"
        .to_owned()
}

/// The first number of a version such as `v20.1.0` or `1:20.1-2`.
fn major(version: &str) -> Option<u32> {
    let version = version.rsplit(':').next().unwrap_or(version).trim_start_matches('v');
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

async fn npm() -> Part {
    let version = output_of("npm", &["--version"]).await;
    Part::new("npm", Purpose::Up, version, "brings what the web page is made of", "apt-get install -y npm")
}

async fn rust_parts() -> Vec<Part> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let (rust, clippy, format) = tokio::join!(
        output_of(&cargo, &["--version"]),
        output_of(&cargo, &["clippy", "--version"]),
        output_of(&cargo, &["fmt", "--version"]),
    );
    let version = |text: Option<String>| text.and_then(|text| text.split(' ').nth(1).map(str::to_owned));
    let rustup = "rustup component add clippy rustfmt";
    vec![
        Part::new(
            "cargo",
            Purpose::Up,
            version(rust),
            "builds the node",
            "install Rust from https://rustup.rs",
        ),
        Part::new("clippy", Purpose::Test, version(clippy), "checks the code", rustup),
        Part::new("rustfmt", Purpose::Test, version(format), "checks how the code is laid out", rustup),
    ]
}

/// The browser, under one of the names that distributions give it.
pub fn chromium_path() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| which::which(name).ok())
}

async fn chromium() -> Part {
    let version = match chromium_path() {
        Some(path) => output_of(path, &["--version"]).await,
        None => None,
    };
    // `Chromium 156.0.1.2 built on Debian`
    let number = |text: String| {
        let mut words = text.split(' ');
        words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(&text).to_owned()
    };
    let why = "runs the browser tests";
    Part::new("chromium", Purpose::Test, version.map(number), why, "apt-get install -y chromium")
}

async fn cargo_deny() -> Part {
    let version = output_of("cargo-deny", &["--version"]).await.map(|text| text.replace("cargo-deny ", ""));
    let why = "checks licences and known holes of what is used; without it that check is left out";
    Part::new("cargo-deny", Purpose::Optional, version, why, "cargo install --locked cargo-deny")
}

/// Makes sure that everything is there that is needed: looks, brings the rest with apt where that is allowed, and looks
/// again.
///
/// # Errors
/// When something is missing that cannot be brought; the error holds the one line to run.
pub async fn ensure(checkout: &Checkout, purpose: Purpose, stop: &Stop) -> anyhow::Result<Vec<Part>> {
    let mut tried: Vec<String> = Vec::new();
    loop {
        let parts = check(checkout).await?;
        let missing: Vec<&Part> =
            parts.iter().filter(|part| !part.ok && part.needed_for <= purpose).collect();
        if missing.is_empty() {
            return Ok(parts);
        }
        let packages = packages_of(&missing);
        let fresh = packages.iter().any(|package| !tried.contains(package));
        let apt = apt_get().await;
        if !fresh || apt.is_none() {
            let still = if tried.is_empty() { "missing" } else { "still missing after apt has run" };
            bail!("{still}: {}; run: {}", reasons(&missing), one_fix(&missing));
        }
        if let Some(apt) = apt {
            install(checkout, &apt, &packages, stop).await.with_context(|| {
                format!("cannot install {}; to try by hand, run: {}", packages.join(" "), one_fix(&missing))
            })?;
        }
        tried.extend(packages);
    }
}

/// The packages that bring what is missing, each once.
fn packages_of(missing: &[&Part]) -> Vec<String> {
    let mut packages: Vec<String> = Vec::new();
    for package in missing.iter().filter_map(|part| part.packages()).flat_map(str::split_whitespace) {
        if !packages.iter().any(|known| known == package) {
            packages.push(package.to_owned());
        }
    }
    packages
}

fn reasons(missing: &[&Part]) -> String {
    missing.iter().map(|part| format!("{} ({})", part.name, part.why)).collect::<Vec<_>>().join(", ")
}

/// The one line that brings everything that is missing.
pub fn one_fix(missing: &[&Part]) -> String {
    let packages = packages_of(missing);
    let mut lines = Vec::new();
    if !packages.is_empty() {
        lines.push(format!("sudo apt-get update && sudo apt-get install -y {}", packages.join(" ")));
    }
    for part in missing.iter().filter(|part| part.packages().is_none()) {
        if !lines.contains(&part.fix) {
            lines.push(part.fix.clone());
        }
    }
    lines.join(" && ")
}

/// How apt may be called without asking anybody: as root, or by a sudo that wants no password.
async fn apt_get() -> Option<Vec<&'static str>> {
    which::which("apt-get").ok()?;
    if nix::unistd::geteuid().is_root() {
        return Some(vec!["apt-get"]);
    }
    output_of("sudo", &["-n", "true"]).await?;
    // sudo drops the environment; `env` inside it does not.
    Some(vec!["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
}

async fn install(checkout: &Checkout, apt: &[&str], packages: &[String], stop: &Stop) -> anyhow::Result<()> {
    let log = checkout.make_kept()?.join("apt.log");
    let command = |arguments: &[&str]| {
        // Another apt may be at work, such as the machine's own nightly one.
        let words = [&apt[1..], &["-o", "DPkg::Lock::Timeout=300"], arguments].concat();
        let mut command = super::process::command(apt[0], &words, checkout.root());
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let mut last = LastLine::default();
    let update = run_logged(command(&["update"]), &log, "asking apt for its lists", &mut last, stop).await;
    if let Err(error) = update {
        // One list of several may be out of reach, and what is wanted in another.
        eprintln!("  going on all the same: {error}");
    }
    let words: Vec<&str> = ["install", "-y", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().map(String::as_str))
        .collect();
    let title = format!("installing {}", packages.join(" "));
    run_logged(command(&words), &log, &title, &mut LastLine::default(), stop).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, fix: &str) -> Part {
        Part::new(name, Purpose::Up, None, "a reason", fix)
    }

    #[test]
    fn the_first_number_of_a_version() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("18.19.0+dfsg-6~deb12u2"), Some(18));
        assert_eq!(major("1:22.1-3"), Some(22));
        assert_eq!(major("(none)"), None);
    }

    #[test]
    fn everything_that_is_missing_is_one_line() {
        let (uv, again) =
            (part("uv", "apt-get install -y libuv1-dev"), part("u", "apt-get install -y libuv1-dev"));
        let (node, python) =
            (part("Node.js", "curl x | bash -"), part("p", "apt-get install -y python3 python3-venv"));
        assert_eq!(
            one_fix(&[&node, &uv, &again, &python]),
            "sudo apt-get update && sudo apt-get install -y libuv1-dev python3 python3-venv && curl x | bash -"
        );
        assert_eq!(one_fix(&[&node]), "curl x | bash -");
    }

    #[test]
    fn what_apt_does_not_bring_the_build_brings() {
        let worker = |fix: &str| WorkerPart { name: "x".into(), ok: false, why: "y".into(), fix: fix.into() };
        assert_eq!(Part::from(worker("apt-get install -y libuv1-dev")).needed_for, Purpose::Up);
        assert_eq!(Part::from(worker("/x/bootstrap/worker/prepare")).needed_for, Purpose::Built);
    }

    #[tokio::test]
    async fn the_check_names_what_the_issue_names() {
        let checkout = Checkout::find().expect("the tests run in the checkout");
        let parts = check(&checkout).await.expect("looks");
        for name in ["cargo", "python3", "Node.js", "npm", "libuv1-dev", "chromium", "meson venv"] {
            assert!(parts.iter().any(|part| part.name == name), "{name} is missing in {parts:?}");
        }
        assert!(parts.iter().all(|part| part.ok || !part.fix.is_empty()), "{parts:?}");
    }
}
