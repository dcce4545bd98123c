//! Brings the built web pages to where the node embeds them from.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("web");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let dist = Path::new("web/dist");
    if dist.join("index.html").exists() {
        return copy(dist, &out);
    }
    println!(
        "cargo::warning=node/web is not built: the node serves no pages (run `npm ci && npm run build` in node/web)"
    );
    let page = "<!doctype html><title>Skein</title><p>This node was built without its pages: \
                run <code>npm ci && npm run build</code> in node/web and build it again.";
    fs::write(out.join("index.html"), page)?;
    fs::write(out.join("console.html"), page)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
