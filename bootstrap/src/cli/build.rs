//! Building the web page, the node, its calibration and the simulator.

use super::checkout::Checkout;
use super::process::{Failed, LastLine, Stream, Watch, cargo, command, output_of, run_logged};
use super::stop::Stop;
use anyhow::{Context, anyhow, ensure};
use nix::fcntl::{Flock, FlockArg};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;
use xxhash_rust::xxh3::Xxh3;

/// The program that is a node.
pub const NODE: &str = "skein-node";

/// Builds the web page where it is not fresh: `npm ci`, `npm run build`.
///
/// # Errors
/// When that fails.
pub async fn web(checkout: &Checkout, stop: &Stop) -> anyhow::Result<()> {
    let (folder, kept) = (checkout.web(), checkout.make_kept()?);
    ensure!(
        folder.join("package-lock.json").is_file(),
        "{} is missing: this checkout is not complete",
        checkout.shown(&folder.join("package-lock.json"))
    );
    // Two builds of one folder would write over each other.
    let _lock = lock(kept.join("web.lock"), stop).await?;
    let node = output_of("node", &["--version"]).await.unwrap_or_default();
    let log = kept.join("web.log");
    let (modules, page) = (folder.join("node_modules"), folder.join("dist"));

    let installed = Stamp { file: kept.join("web-modules.stamp"), value: modules_hash(&folder, &node)? };
    if !(modules.is_dir() && installed.is_fresh()) {
        File::create(&log).with_context(|| format!("cannot write the log {}", log.display()))?;
        let title = "installing the web page's parts (npm ci)";
        npm(checkout, &["ci", "--no-audit", "--no-fund"], &log, title, stop).await?;
        installed.set()?;
    }
    // After `npm ci`, which touches nothing of this.
    let built = Stamp { file: kept.join("web-page.stamp"), value: sources_hash(&folder, &node)? };
    if !(page.is_dir() && built.is_fresh()) {
        npm(checkout, &["run", "build"], &log, "building the web page (npm run build)", stop).await?;
        built.set()?;
    }
    Ok(())
}

async fn npm(
    checkout: &Checkout,
    words: &[&str],
    log: &Path,
    title: &str,
    stop: &Stop,
) -> anyhow::Result<()> {
    let command = command("npm", words, &checkout.web());
    run_logged(command, log, title, &mut LastLine::default(), stop).await.with_context(|| {
        format!(
            "the web page cannot be built; fix what is said above (all of it is in {}) and run it again",
            checkout.shown(log)
        )
    })
}

async fn lock(file: PathBuf, stop: &Stop) -> anyhow::Result<Flock<File>> {
    let context = format!("cannot lock {}", file.display());
    let mut open = File::create(&file).with_context(|| context.clone())?;
    let mut said = false;
    loop {
        match Flock::lock(open, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) => open = back,
            Err((_, error)) => return Err(error).context(context),
        }
        if !said {
            eprintln!("waiting for another `skein`, which builds the web page…");
            said = true;
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_millis(200)) => {}
            reason = stop.requested() => return Err(anyhow!("stopped by {reason} while another `skein` builds the web page")),
        }
    }
}

/// A file that says from what something was made.
struct Stamp {
    file: PathBuf,
    value: String,
}

impl Stamp {
    fn is_fresh(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|written| written == self.value)
    }

    fn set(&self) -> anyhow::Result<()> {
        fs::write(&self.file, &self.value).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// What decides what `npm ci` installs.
fn modules_hash(folder: &Path, node: &str) -> anyhow::Result<String> {
    hash(folder, node, [folder.join("package.json"), folder.join("package-lock.json")].into_iter())
}

/// What decides what `npm run build` makes: every file of the package that nothing makes.
fn sources_hash(folder: &Path, node: &str) -> anyhow::Result<String> {
    let made = ["node_modules", "dist", "target"].map(OsStr::new);
    let walk = WalkDir::new(folder).sort_by_file_name().into_iter();
    let entries = walk.filter_entry(|entry| !(entry.depth() == 1 && made.contains(&entry.file_name())));
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    hash(folder, node, files.into_iter())
}

fn hash(folder: &Path, node: &str, files: impl Iterator<Item = PathBuf>) -> anyhow::Result<String> {
    let mut hash = Xxh3::new();
    hash.update(node.as_bytes());
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // With lengths, so that no two sets of files run together into the same bytes.
        let name = file.strip_prefix(folder).unwrap_or(&file).as_os_str().as_encoded_bytes();
        for part in [name, &bytes] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Ok(format!("{:032x}", hash.digest128()))
}

/// Builds one of the node's programs and answers with where it is.
///
/// # Errors
/// When that fails.
pub async fn node(checkout: &Checkout, stop: &Stop) -> anyhow::Result<PathBuf> {
    let program = Program { package: "skein-node", name: NODE, shown: "the node" };
    program.build(checkout, "build.log", stop).await
}

/// Builds the program that measures what a machine carries, and answers with where it is.
///
/// # Errors
/// When that fails.
pub async fn calibrator(checkout: &Checkout, stop: &Stop) -> anyhow::Result<PathBuf> {
    let program = Program { package: "skein-node", name: "skein-calibrate", shown: "the calibration" };
    program.build(checkout, "calibrate-build.log", stop).await
}

/// Builds the simulator and answers with where it is.
///
/// # Errors
/// When that fails.
pub async fn simulator(checkout: &Checkout, stop: &Stop) -> anyhow::Result<PathBuf> {
    let program = Program { package: "skein-tests", name: "simulate", shown: "the simulator" };
    program.build(checkout, "simulator.log", stop).await
}

/// A program that cargo builds.
struct Program {
    package: &'static str,
    name: &'static str,
    /// What people call it.
    shown: &'static str,
}

impl Program {
    async fn build(&self, checkout: &Checkout, log: &str, stop: &Stop) -> anyhow::Result<PathBuf> {
        let log = checkout.make_kept()?.join(log);
        File::create(&log).with_context(|| format!("cannot write the log {}", log.display()))?;
        let words = ["build", "--release", "-p", self.package, "--bin", self.name, "--color", "never"];
        let command =
            cargo(&[&words[..], &["--message-format", "json-render-diagnostics"]].concat(), checkout);
        let mut watch = CargoWatch { program: self.name, ..CargoWatch::default() };
        let title = format!("building {}", self.shown);
        if let Err(error) = run_logged(command, &log, &title, &mut watch, stop).await {
            return Err(explain(error, self.shown, &checkout.shown(&log).to_string()));
        }
        watch.executable.with_context(|| format!("cargo built no program {}", self.name))
    }
}

/// The reason of a failed build where it is known, and what to do.
fn explain(error: anyhow::Error, what: &str, log: &str) -> anyhow::Error {
    let Some(failed) = error.downcast_ref::<Failed>() else { return error };
    // The scripts in bootstrap/worker end with one line that says everything.
    let worker = failed.tail.iter().find_map(|line| line.trim().strip_prefix("skein worker: ERROR: "));
    match worker {
        Some(reason) => anyhow!("{what} cannot be built: {reason}"),
        None => error.context(format!(
            "{what} cannot be built; fix what is said above (all of it is in {log}) and run it again"
        )),
    }
}

/// What cargo is at, out of what it prints: lines for people on stderr, and JSON on stdout.
#[derive(Debug, Default)]
struct CargoWatch {
    /// The program that is wanted.
    program: &'static str,
    done: u32,
    current: String,
    worker: bool,
    executable: Option<PathBuf>,
}

/// The crate whose build script compiles mediasoup's worker.
const WORKER_CRATE: &str = "mediasoup-sys";

impl CargoWatch {
    fn message(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { return };
        match message["reason"].as_str() {
            Some("compiler-artifact") => {
                self.done += 1;
                if message["target"]["name"] == self.program
                    && let Some(path) = message["executable"].as_str()
                {
                    self.executable = Some(path.into());
                }
            }
            Some("build-script-executed")
                if message["package_id"].as_str().is_some_and(|id| id.contains(WORKER_CRATE)) =>
            {
                self.worker = false;
            }
            _ => {}
        }
    }
}

impl Watch for CargoWatch {
    fn line(&mut self, stream: Stream, line: &str) -> bool {
        if stream == Stream::Out {
            self.message(line);
            return false;
        }
        let line = line.trim();
        if let Some(name) = line.strip_prefix("Compiling ") {
            name.split(" (").next().unwrap_or(name).clone_into(&mut self.current);
            self.worker |= name.starts_with(WORKER_CRATE);
        } else if line.starts_with("Downloading ") || line.starts_with("Blocking ") {
            line.clone_into(&mut self.current);
        }
        true
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        if self.worker {
            text.push_str("compiling mediasoup's worker, about 4 minutes; ");
        }
        if !self.current.is_empty() {
            text.push_str(&self.current);
        }
        if self.done > 0 {
            text.push_str(&format!(" ({} parts done)", self.done));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watch_follows_cargo() {
        let mut watch = CargoWatch { program: "skein-node", ..CargoWatch::default() };
        assert!(watch.line(Stream::Err, "   Compiling mediasoup-sys v0.24.0"));
        assert!(watch.line(Stream::Err, "   Compiling skein-proto v0.1.0 (/home/me/skein/proto)"));
        assert!(!watch.line(
            Stream::Out,
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#
        ));
        assert_eq!(
            watch.describe(),
            "compiling mediasoup's worker, about 4 minutes; skein-proto v0.1.0 (1 parts done)"
        );
        watch.line(
            Stream::Out,
            r#"{"reason":"build-script-executed","package_id":"registry+x#mediasoup-sys@0.24.0"}"#,
        );
        assert_eq!(watch.describe(), "skein-proto v0.1.0 (1 parts done)");
        watch.line(
            Stream::Out,
            r#"{"reason":"compiler-artifact","target":{"name":"skein-node","kind":["bin"]},"executable":"/t/skein-node"}"#,
        );
        assert_eq!(watch.executable.as_deref(), Some(Path::new("/t/skein-node")));
    }

    #[test]
    fn a_page_is_fresh_until_a_source_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let write = |name: &str, text: &str| {
            let file = path.join(name);
            fs::create_dir_all(file.parent().expect("has one")).expect("makes");
            fs::write(file, text).expect("writes");
        };
        write("package.json", "{}");
        write("package-lock.json", "{}");
        write("src/a.ts", "a");
        let (modules, sources) =
            (modules_hash(path, "v20").expect("reads"), sources_hash(path, "v20").expect("reads"));
        write("dist/index.html", "made");
        write("node_modules/x/index.js", "made");
        write("target/test/page.js", "made");
        assert_eq!(sources_hash(path, "v20").expect("reads"), sources);
        write("src/a.ts", "b");
        assert_ne!(sources_hash(path, "v20").expect("reads"), sources);
        assert_eq!(modules_hash(path, "v20").expect("reads"), modules);
        assert_ne!(modules_hash(path, "v22").expect("reads"), modules);
        write("package-lock.json", "{ }");
        assert_ne!(modules_hash(path, "v20").expect("reads"), modules);
    }

    #[test]
    fn a_stamp_is_stale_until_it_is_set() {
        let folder = tempfile::tempdir().expect("a folder");
        let stamp = Stamp { file: folder.path().join("x.stamp"), value: "1".to_owned() };
        assert!(!stamp.is_fresh());
        stamp.set().expect("writes");
        assert!(stamp.is_fresh());
    }
}
