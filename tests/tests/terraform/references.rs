//! Whatever is referred to exists, and whatever exists is described, typed and used.

use super::module::{Module, References, examples, folder, labels, written};
use anyhow::{Context, ensure};
use hcl_edit::visit::Visit;
use std::collections::BTreeSet;
use std::fs;

/// Roots that Terraform itself brings.
const GIVEN: [&str; 6] = ["path", "each", "count", "self", "terraform", "null"];

/// What types are made of is no reference.
const TYPES: [&str; 6] = ["string", "number", "bool", "any", "ephemeral", "sensitive"];

fn references(module: &Module) -> References {
    let mut references = References::default();
    for body in &module.bodies {
        references.visit_body(body);
    }
    references
}

/// Everything that is there to be referred to, written as a reference.
fn declared(module: &Module) -> BTreeSet<Vec<String>> {
    let mut all = BTreeSet::new();
    let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    for block in module.blocks("variable") {
        all.insert(path(&[&["var"], &labels(block)[..]].concat()));
    }
    for block in module.blocks("resource") {
        all.insert(path(&labels(block)));
    }
    for block in module.blocks("data") {
        all.insert(path(&[&["data"], &labels(block)[..]].concat()));
    }
    for block in module.blocks("module") {
        all.insert(path(&[&["module"], &labels(block)[..]].concat()));
    }
    for local in module.locals() {
        all.insert(path(&["local", local.key.as_str()]));
    }
    all
}

/// What is referred to and is not there.
fn dangling(module: &Module) -> Vec<String> {
    let (references, declared) = (references(module), declared(module));
    let is_given = |root: &str| GIVEN.contains(&root) || references.bound.contains(root);
    let missing = references.found.iter().filter(|path| {
        let depth = if path[0] == "data" { 3 } else { 2 };
        let is_type = path.len() == 1 && TYPES.contains(&path[0].as_str());
        !is_type && !is_given(&path[0]) && !declared.contains(&path[..path.len().min(depth)])
    });
    missing.map(|path| path.join(".")).collect()
}

#[test]
fn a_wrong_reference_is_found() -> anyhow::Result<()> {
    let right =
        "variable \"a\" {}\nlocals { b = [for c in var.a : \"x${c}\"] }\noutput \"d\" { value = local.b }";
    assert_eq!(dangling(&Module::parse(right)?), [""; 0]);
    for (wrong, name) in [
        ("locals { b = var.a }", "var.a"),
        ("locals { b = \"x ${upper(var.a)}\" }", "var.a"),
        ("resource \"t_x\" \"y\" { a = [t_x.z[0].id] }", "t_x.z.id"),
        ("locals { b = t_x.z[0].id }", "t_x.z"),
        ("locals { b = data.t_x.z.id }", "data.t_x.z.id"),
        ("locals { b = local.c[local.d] }", "local.d"),
        ("output \"o\" { value = module.m.x }", "module.m.x"),
        (
            "data \"p\" \"q\" {\n dynamic \"s\" {\n for_each = local.x\n content {\n a = s.value\n}\n}\n}",
            "local.x",
        ),
    ] {
        let found = dangling(&Module::parse(wrong)?);
        ensure!(found.iter().any(|path| name.starts_with(path.as_str())), "{wrong}: {found:?}");
    }
    Ok(())
}

#[test]
fn whatever_is_referred_to_exists() -> anyhow::Result<()> {
    for folder in examples()?.into_iter().chain([folder()]) {
        let found = dangling(&Module::read(&folder)?);
        ensure!(found.is_empty(), "{}: {found:?} is not there", folder.display());
    }
    Ok(())
}

#[test]
fn whatever_exists_is_described_typed_and_used() -> anyhow::Result<()> {
    for folder in examples()?.into_iter().chain([folder()]) {
        let module = Module::read(&folder)?;
        let place = folder.display();
        let used: BTreeSet<_> = references(&module).found;
        let is_used = |path: &[String]| used.iter().any(|reference| reference.starts_with(path));
        for path in declared(&module) {
            // A resource may be there for its own sake, and a module too.
            let counts = ["var", "local", "data"].contains(&path[0].as_str());
            ensure!(!counts || is_used(&path), "{place}: {} is not used", path.join("."));
        }
        for kind in ["variable", "output"] {
            for block in module.blocks(kind) {
                let name = labels(block).concat();
                let description = written(&block.body, "description").unwrap_or_default();
                ensure!(description.len() > 10, "{place}: {kind} {name} has no description");
                let is_typed = kind == "output" || block.body.has_attribute("type");
                ensure!(is_typed, "{place}: {kind} {name} has no type");
            }
        }
    }
    Ok(())
}

#[test]
fn examples_use_the_module_as_it_is() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let needed = module.blocks("variable").filter(|block| !block.body.has_attribute("default"));
    let needed: Vec<_> = needed.flat_map(labels).collect();
    let known: Vec<_> = module.blocks("variable").flat_map(labels).collect();
    let outputs: BTreeSet<_> = module.blocks("output").flat_map(labels).collect();
    for folder in examples()? {
        let example = Module::read(&folder)?;
        let place = folder.display();
        let call = example.block("module", &["skein"])?;
        ensure!(written(&call.body, "source").as_deref() == Some("\"../..\""), "{place}: another source");
        let given: Vec<_> = call.body.attributes().map(|attribute| attribute.key.as_str()).collect();
        for name in &needed {
            ensure!(given.contains(name), "{place}: {name} is not given");
        }
        for name in given {
            ensure!(name == "source" || known.contains(&name), "{place}: {name} is not a variable");
        }
        for path in references(&example).found {
            let is_output = path[0] != "module" || outputs.contains(path.last().map_or("", String::as_str));
            ensure!(is_output, "{place}: {} is not an output", path.join("."));
        }
    }
    Ok(())
}

#[test]
fn the_readme_names_all_inputs_and_outputs() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let readme = fs::read_to_string(folder().join("README.md")).context("terraform/README.md")?;
    let (_, tables) = readme.split_once("\n## Inputs\n").context("no inputs")?;
    let rows: BTreeSet<_> =
        tables.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let all: BTreeSet<_> =
        module.blocks("variable").chain(module.blocks("output")).flat_map(labels).collect();
    let (missing, old): (Vec<_>, Vec<_>) = (all.difference(&rows).collect(), rows.difference(&all).collect());
    ensure!(missing.is_empty() && old.is_empty(), "missing: {missing:?}, not there any more: {old:?}");
    Ok(())
}

/// What `terraform fmt` does, as far as it can be told without it: two blanks a level, nothing at the ends of lines.
#[test]
fn files_are_laid_out() -> anyhow::Result<()> {
    for folder in examples()?.into_iter().chain([folder()]) {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "tf") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let place = path.display();
            ensure!(text.ends_with('\n') && !text.ends_with("\n\n"), "{place}: the end");
            for (number, line) in text.lines().enumerate() {
                let indent = line.len() - line.trim_start_matches(' ').len();
                let is_good = !line.contains('\t') && !line.ends_with(' ') && indent.is_multiple_of(2);
                ensure!(is_good, "{place}:{}: blanks", number + 1);
            }
        }
    }
    Ok(())
}
