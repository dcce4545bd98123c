//! The repository that this program was built from. `skein` is a tool of a checkout: it builds what lies beside it.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// Where cargo is told to put what it builds.
const TARGET_VARIABLE: &str = "CARGO_TARGET_DIR";

/// Where things are in the repository.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout that this program was built in.
    ///
    /// # Errors
    /// When it has been moved or removed since.
    pub fn find() -> anyhow::Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate has no parent folder")?;
        let checkout = Self { root: root.to_owned() };
        ensure!(
            checkout.root.join("Cargo.toml").is_file() && checkout.prepare().is_file(),
            "the checkout that this program was built in, {}, is no longer there; run `cargo skein` in the one that is",
            root.display()
        );
        Ok(checkout)
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The script that brings what the worker's build needs.
    pub fn prepare(&self) -> PathBuf {
        self.root.join("bootstrap/worker/prepare")
    }

    /// The npm package with the SDK, the room page and the console.
    pub fn web(&self) -> PathBuf {
        self.root.join("node/web")
    }

    /// What `skein` itself keeps: meshes, logs and stamps. Always in the repository, whatever CARGO_TARGET_DIR says, so
    /// that every call sees the same meshes.
    pub fn kept(&self) -> PathBuf {
        self.root.join("target/skein")
    }

    /// What belongs to the mesh with this base port.
    pub fn mesh(&self, base_port: u16) -> PathBuf {
        self.kept().join(format!("mesh-{base_port}"))
    }

    /// Where cargo puts what it builds: here, or where the variable CARGO_TARGET_DIR says.
    pub fn target(&self) -> PathBuf {
        let given = std::env::var_os(TARGET_VARIABLE).map(PathBuf::from);
        // A relative one starts at the folder in which cargo was called. Without such a folder nothing else works.
        let given = given.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
        given.unwrap_or_else(|| self.root.join("target"))
    }

    /// A program, where cargo builds it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.target().join("release").join(name)
    }

    /// What `skein calibrate` measured, for the meshes of `skein up`.
    pub fn calibration(&self) -> PathBuf {
        self.kept().join("calibration.toml")
    }

    /// A path as a person in the root would type it.
    pub fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// Makes the folder for what is kept.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn make_kept(&self) -> anyhow::Result<PathBuf> {
        let kept = self.kept();
        std::fs::create_dir_all(&kept)
            .with_context(|| format!("cannot make the folder {}", kept.display()))?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_has_the_alias_cargo_skein() {
        let checkout = Checkout::find().expect("the tests run in the checkout");
        let text = std::fs::read_to_string(checkout.root().join(".cargo/config.toml")).expect("is there");
        let config: toml::Table = text.parse().expect("is TOML");
        let alias = config["alias"]["skein"].as_str().expect("is text");
        assert!(alias.starts_with("run ") && alias.ends_with(" --"), "{alias}");
        assert!(alias.contains("-p skein-bootstrap") && alias.contains("--bin skein"), "{alias}");
    }

    #[test]
    fn paths_are_shown_from_the_root() {
        let checkout = Checkout { root: "/a/b".into() };
        assert_eq!(checkout.shown(&checkout.mesh(4440)).to_string(), "target/skein/mesh-4440");
        assert_eq!(checkout.shown(Path::new("/c")).to_string(), "/c");
    }
}
