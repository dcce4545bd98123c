//! Where the programs are.

use std::path::PathBuf;

/// The program `skein-node`: what `SKEIN_NODE_BIN` names, else what a release build of the workspace left.
///
/// # Panics
/// When it is not there, and says how to build it.
pub fn node_binary() -> PathBuf {
    binary("skein-node", "skein-node", "SKEIN_NODE_BIN")
}

/// The program `skein`: what `SKEIN_BIN` names, else what a release build of the workspace left.
///
/// # Panics
/// When it is not there, and says how to build it.
pub fn skein_binary() -> PathBuf {
    binary("skein", "skein-bootstrap", "SKEIN_BIN")
}

fn binary(name: &str, package: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{variable} names {}, and there is no such file", path.display());
        return path;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let targets =
        std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).into_iter().chain([root.join("target")]);
    let places: Vec<_> = targets.map(|target| target.join("release").join(name)).collect();
    places.iter().find(|path| path.is_file()).cloned().unwrap_or_else(|| {
        panic!(
            "there is no {name} in {places:?}: build it with `cargo build --release -p {package}`, or name one with {variable}"
        )
    })
}
