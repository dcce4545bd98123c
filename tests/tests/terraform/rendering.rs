//! What the module's templates say for a mesh: it is what cloud-init and a node take.

use super::module::{Module, References, folder};
use anyhow::{Context as _, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hcl::Value;
use hcl::eval::{Context, Evaluate, FuncArgs, FuncDef, ParamType};
use hcl_edit::expr::{Expression, FuncCall, ObjectKey};
use hcl_edit::visit::{Visit, visit_func_call};
use skein_tests::mesh::run_node;
use skein_tests::run;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

/// What EC2 takes as user data, bytes.
pub const USER_DATA: usize = 16 * 1024;

/// Where the leader puts what a launch is about.
pub const PLACEHOLDER: &str = "${SKEIN_ENVIRONMENT}";

fn call(name: &str, arguments: &FuncArgs) -> Result<Value, String> {
    let text =
        |at: usize| arguments[at].as_str().map(str::to_owned).ok_or_else(|| format!("{name}: no text"));
    Ok(match name {
        "base64encode" => STANDARD.encode(text(0)?).into(),
        "jsonencode" => serde_json::to_string(&arguments[0]).map_err(|error| error.to_string())?.into(),
        "upper" => text(0)?.to_uppercase().into(),
        _ => text(0)?.replace(&text(1)?, &text(2)?).into(),
    })
}

/// A template's text for these values, as Terraform's `templatefile` makes it.
///
/// # Errors
/// When it uses something that is not given.
pub fn render(template: &str, values: serde_json::Value) -> anyhow::Result<String> {
    let path = folder().join("templates").join(template);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut context = Context::new();
    let one = [ParamType::Any];
    context.declare_func("base64encode", FuncDef::new(|a| call("base64encode", &a), one.clone()));
    context.declare_func("jsonencode", FuncDef::new(|a| call("jsonencode", &a), one.clone()));
    context.declare_func("upper", FuncDef::new(|a| call("upper", &a), one));
    let three = [ParamType::String, ParamType::String, ParamType::String];
    context.declare_func("replace", FuncDef::new(|a| call("replace", &a), three));
    for (name, value) in values.as_object().context("values have names")? {
        context.declare_var(name.as_str(), hcl::to_value(value)?);
    }
    let template: hcl::Template = text.parse().with_context(|| path.display().to_string())?;
    template.evaluate(&context).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

/// A node's configuration; of a launched one where no seed is named.
///
/// # Errors
/// See [`render`].
pub fn node_config(seed: &str) -> anyhow::Result<String> {
    let values = serde_json::json!({
        "mesh": "meet",
        "seed": seed,
        "voters": ["meet-seed-1", "meet-seed-2", "meet-seed-3"],
        "find_seeds_by_tags": true,
        "seed_sockets": ["10.80.0.10:4440", "10.80.16.11:4440", "10.80.32.12:4440"],
        "region": "eu-central-1",
        "http_port": 443,
        "tls": true,
        "media_port": 10000,
        "pipe_ports": [40000, 49999],
        "scaling": {
            "max_nodes": 8, "min_nodes": 3, "max_cost_per_hour": 2.5, "spare_streams": null, "idle_minutes": 10,
            "drain_minutes": 10, "join_deadline_s": 300, "warm": 0, "spot": false,
        },
        "machine_types": [
            { "name": "c7a.xlarge", "streams": 900, "workers": 4, "price": 0.21, "boot_s": 90 },
            { "name": "c7a.4xlarge", "streams": 3000, "workers": 16, "price": 0.83, "boot_s": 90 },
        ],
        "template": { "id": "lt-0123456789abcdef0", "version": 7 },
        "template_path": "/etc/skein/launch.yaml",
        "subnets": ["subnet-1", "subnet-2", "subnet-3"],
    });
    render("node.toml.tftpl", values)
}

/// Variables of a file of variables, as systemd and a shell read it.
///
/// # Errors
/// When a line is none.
pub fn variables(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').with_context(|| format!("{line:?} is no variable"))?;
        let value = match value.strip_prefix('\'') {
            None => value.to_owned(),
            // In single quotes everything is itself, the ends of lines too.
            Some(start) => {
                let from = text.len() - after.len() - 1 - start.len();
                let (value, after) = text[from..].split_once('\'').context("a quote without its end")?;
                rest = after.strip_prefix('\n').context("something behind a quote")?;
                value.to_owned()
            }
        };
        all.insert(name.to_owned(), value);
    }
    Ok(all)
}

/// Has `skein-node --check-config` look at a configuration with these variables over it.
///
/// # Errors
/// When it is not fine.
pub async fn check_config(toml: &str, environment: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("node.toml");
    fs::write(&file, toml)?;
    let mut arguments = vec!["--check-config".to_owned(), "--config".to_owned(), file.display().to_string()];
    for (name, value) in environment {
        if let Some(key) = name.strip_prefix("SKEIN_").filter(|name| name.contains("__")) {
            arguments
                .extend(["--set".to_owned(), format!("{}={value}", key.to_lowercase().replace("__", "."))]);
        }
    }
    let (exit, output) = run_node(&arguments, Duration::from_secs(10)).await?;
    ensure!(exit.code == Some(0), "{output}\n{toml}\n{environment:?}");
    Ok(())
}

/// What a machine knows of itself by the time that its node starts.
pub fn machine(node: &str) -> BTreeMap<String, String> {
    let all = [
        ("SKEIN_NODE__ID", node),
        ("SKEIN_NODE__ZONE", "eu-central-1a"),
        ("SKEIN_MESH__LISTEN", "10.80.0.10:4440"),
        ("SKEIN_MEDIA__LISTEN", "[{ ip = \"10.80.0.10\", announced = \"192.0.2.1\" }]"),
        ("SKEIN_MEDIA__PIPE", "{ ip = \"10.80.0.10\" }"),
        ("SKEIN_AUTH__CLIENT_KEY", "0123456789abcdef0123456789abcdef"),
        ("SKEIN_AUTH__OPERATOR_TOKEN", "0123456789abcdef"),
    ];
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The files of a cloud-init document: what it writes, by path, with what is in base64 as it is.
///
/// # Errors
/// When it does not look like one of the module's.
pub fn files(document: &str) -> anyhow::Result<BTreeMap<String, String>> {
    ensure!(document.starts_with("#cloud-config\n"), "cloud-init does not know it: {document}");
    ensure!(!document.contains('\t'), "YAML has no tabs");
    let mut all = BTreeMap::new();
    for part in document.split("  - path: ").skip(1) {
        let lines: Vec<_> = part.lines().collect();
        let [path, permissions, encoding, content, ..] = lines[..] else {
            anyhow::bail!("half a file: {part}")
        };
        ensure!(permissions.starts_with("    permissions: \"0"), "{permissions}");
        ensure!(encoding == "    encoding: b64", "{encoding}");
        let content = content.strip_prefix("    content: ").context("no content")?;
        ensure!(all.insert(path.to_owned(), content.to_owned()).is_none(), "{path} is there twice");
    }
    Ok(all)
}

/// The text that is in base64.
///
/// # Errors
/// When it is not.
pub fn decoded(content: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8(STANDARD.decode(content)?)?)
}

#[test]
fn nodes_take_the_configuration() {
    run(60, async {
        let (seed, launched) = (node_config("meet-seed-1")?, node_config("")?);
        check_config(&seed, &machine("meet-seed-1")).await?;
        check_config(&launched, &machine("meet-17")).await?;
        ensure!(seed.contains("[scaling]") && !launched.contains("[scaling]"), "who launches machines");
        for config in [&seed, &launched] {
            ensure!(config.contains("seeds_from_ec2 = \"seeds\""), "who looks for seeds: {config}");
            // A launched machine is the one that is taken away.
            ensure!(config.contains("spot = "), "who heeds a notice: {config}");
        }
        // It is really looked at.
        let wrong =
            check_config(&seed.replace("max_nodes = 8", "max_nodes = 0"), &machine("meet-seed-1")).await;
        ensure!(
            wrong.is_err_and(|error| error.to_string().contains("scaling.max_nodes")),
            "a mistake passes"
        );
        Ok(())
    });
}

#[test]
fn more_settings_come_as_variables() {
    run(60, async {
        let settings = serde_json::json!({ "settings": { "room.size": "200", "room.mode": "stage" } });
        let settings = variables(&render("settings.env.tftpl", settings)?)?;
        assert_eq!(settings.get("SKEIN_ROOM__SIZE").map(String::as_str), Some("200"));
        let all = settings.into_iter().chain(machine("meet-1")).collect();
        check_config(&node_config("")?, &all).await
    });
}

#[test]
fn user_data_holds_files_and_starts_the_node() -> anyhow::Result<()> {
    let toml = STANDARD.encode(node_config("")?);
    let values = serde_json::json!({
        "install": true,
        "files": [
            { "path": "/etc/skein/node.toml", "permissions": "0644", "content": toml },
            { "path": "/etc/skein/enrol.env", "permissions": "0600", "content": PLACEHOLDER },
        ],
    });
    let document = render("cloud-init.yaml.tftpl", values)?;
    let files = files(&document)?;
    assert_eq!(decoded(&files["/etc/skein/node.toml"])?, node_config("")?);
    assert_eq!(files["/etc/skein/enrol.env"], PLACEHOLDER);
    ensure!(document.contains("packages: ["), "{document}");
    ensure!(document.trim_end().ends_with("- [/usr/local/sbin/skein-install]"), "{document}");
    Ok(())
}

#[test]
fn the_package_is_checked_before_it_is_installed() -> anyhow::Result<()> {
    let sha256 = "0".repeat(64);
    let package = serde_json::json!({ "url": "https://example.org/skein.deb", "sha256": sha256 });
    for package in [package, serde_json::json!({ "url": "", "sha256": "" })] {
        let is_given = package["url"] != "";
        let script = render("install.sh.tftpl", serde_json::json!({ "package": package }))?;
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), &script)?;
        let check = std::process::Command::new("sh").arg("-n").arg(file.path()).status()?;
        ensure!(check.success() && script.starts_with("#!/bin/sh\n"), "{script}");
        let (sum, install) = (script.find("sha256sum --check"), script.find("apt-get install"));
        ensure!(sum.is_some() == is_given && sum <= install, "{script}");
        ensure!(script.contains("systemctl start"), "{script}");
    }
    Ok(())
}

/// Calls of `templatefile`: which template, with values of which names.
#[derive(Default)]
struct Calls(Vec<(String, BTreeSet<String>)>);

impl Visit for Calls {
    fn visit_func_call(&mut self, call: &FuncCall) {
        let arguments: Vec<_> = call.args.iter().collect();
        if let ("templatefile", [path, Expression::Object(values)]) =
            (call.name.name.as_str(), &arguments[..])
        {
            let path = path.to_string();
            let template = path.rsplit('/').next().unwrap_or_default().trim_end_matches('"').to_owned();
            let names = values.iter().filter_map(|(key, _)| match key {
                ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
                ObjectKey::Expression(_) => None,
            });
            self.0.push((template, names.collect()));
        }
        visit_func_call(self, call);
    }
}

#[test]
fn templates_are_given_what_they_use() -> anyhow::Result<()> {
    let module = Module::read(&folder())?;
    let mut calls = Calls::default();
    module.bodies.iter().for_each(|body| calls.visit_body(body));
    let mut called = BTreeSet::new();
    for (name, given) in calls.0 {
        let text = fs::read_to_string(folder().join("templates").join(&name)).context(name.clone())?;
        let template: hcl_edit::template::Template = text.parse().context(name.clone())?;
        let mut uses = References::default();
        uses.visit_template(&template);
        let roots = uses.found.iter().map(|path| path[0].clone()).filter(|root| !uses.bound.contains(root));
        let roots: BTreeSet<_> = roots.filter(|root| root != "null").collect();
        ensure!(roots == given, "{name} uses {roots:?} and is given {given:?}");
        called.insert(name);
    }
    for entry in fs::read_dir(folder().join("templates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(called.contains(&name), "{name} is not used");
    }
    Ok(())
}
