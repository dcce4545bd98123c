//! Where the node's program is.

use std::path::PathBuf;

/// Names another program than the workspace's.
const VARIABLE: &str = "SKEIN_NODE_BIN";

/// The program `skein-node`: what the variable names, else what a release build of the workspace left.
///
/// # Panics
/// When it is not there, and says how to build it.
pub fn node_binary() -> PathBuf {
    if let Some(path) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{VARIABLE} names {}, and there is no such file", path.display());
        return path;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let targets =
        std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).into_iter().chain([root.join("target")]);
    let places: Vec<_> = targets.map(|target| target.join("release/skein-node")).collect();
    places.iter().find(|path| path.is_file()).cloned().unwrap_or_else(|| {
        panic!(
            "there is no skein-node in {places:?}: build it with `cargo build --release -p skein-node`, or name one with {VARIABLE}"
        )
    })
}
