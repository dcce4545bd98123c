//! What Terraform itself says of the module, where it is installed: the variables' checks and the user data, evaluated with
//! the resources' answers put in their place, for which no provider is needed. With one, `terraform validate`.

use super::module::{Module, examples, folder};
use super::rendering::{PLACEHOLDER, USER_DATA, check_config, decoded, files, machine, variables};
use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use skein_tests::run;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What resources and data sources answer, and what is made of it.
const ANSWERS: &str = r#"
  region         = "eu-central-1"
  subnets        = [for n in range(3) : { cidr_block = cidrsubnet(var.vpc_cidr, 4, n) }]
  subnet_ids     = [for n in range(3) : "subnet-0123456789abcdef${n}"]
  parameter_arn  = "arn:aws:ssm:eu-central-1:000000000000:parameter${local.parameter_path}"
  template       = { id = "lt-0123456789abcdef0", latest_version = 7 }
"#;

/// Local values that ANSWERS has instead, or that only resources use.
const ANSWERED: [&str; 9] =
    ["region", "subnets", "subnet_ids", "parameter_arn", "arn", "ec2_arn", "image_id", "zones", "vpc_id"];

/// Terraform at work on a folder; nothing where it is not installed.
fn terraform(folder: &Path) -> Option<Command> {
    let installed = Command::new("terraform").arg("-version").env("CHECKPOINT_DISABLE", "1").output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("Terraform has not been asked: it is not installed");
        return None;
    }
    let mut command = Command::new("terraform");
    // It asks nobody whether there is a newer one, and says the same whatever the terminal is.
    command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env_remove("TF_CLI_CONFIG_FILE");
    command.arg(format!("-chdir={}", folder.display()));
    Some(command)
}

fn say(mut command: Command, words: &[&str]) -> anyhow::Result<String> {
    let output = command.args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "terraform {words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// The module's variables and local values, without its resources, in a folder of its own.
fn without_resources() -> anyhow::Result<tempfile::TempDir> {
    let place = tempfile::tempdir()?;
    fs::copy(folder().join("variables.tf"), place.path().join("variables.tf"))?;
    let module = Module::read(&folder())?;
    let mut text = format!("locals {{\n{ANSWERS}");
    for local in module.locals().filter(|local| !ANSWERED.contains(&local.key.as_str())) {
        text.push_str(&format!("  {} = {}\n", local.key.as_str(), local.value));
    }
    text.push_str("}\n");
    for name in ["launch_document", "seed_documents", "node_config"] {
        text.push_str(&format!("output \"{name}\" {{\n  value = local.{name}\n}}\n"));
    }
    let templates = folder().join("templates").canonicalize()?;
    let text = text
        .replace("aws_launch_template.node.", "local.template.")
        .replace("${path.module}/templates", &templates.display().to_string());
    fs::write(place.path().join("main.tf"), text)?;
    Ok(place)
}

fn minimal() -> Value {
    json!({
        "mesh": "meet",
        "seed_type": "c7a.large",
        "machine_types": [{ "name": "c7a.xlarge", "streams": 900, "workers": 4, "price": 0.21 }],
        "scaling": { "max_nodes": 8 },
        "package": { "url": "https://example.org/skein.deb", "sha256": "0".repeat(64) },
    })
}

/// These values over the smallest that do.
fn with(values: Value) -> Value {
    let mut all = minimal();
    for (key, value) in values.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    all
}

/// Evaluates the module for these variables; nothing without Terraform.
fn evaluate(place: &Path, variables: &Value) -> anyhow::Result<Option<Value>> {
    let Some(command) = terraform(place) else { return Ok(None) };
    fs::write(place.join("terraform.tfvars.json"), variables.to_string())?;
    if !place.join(".terraform").exists() && !place.join("terraform.tfstate").exists() {
        say(command, &["init", "-backend=false", "-input=false", "-no-color"])?;
    }
    let again = || terraform(place).context("Terraform is gone");
    say(again()?, &["apply", "-auto-approve", "-input=false", "-no-color"])?;
    Ok(Some(serde_json::from_str(&say(again()?, &["output", "-json"])?)?))
}

/// What a leader sends for a launch, with an authority's certificate of the usual size.
fn launch(document: &str) -> String {
    let certificate = STANDARD.encode("x".repeat(900));
    let lines = format!(
        "SKEIN_ENROL_MESH=meet\nSKEIN_ENROL_NODE=meet-1234567\nSKEIN_ENROL_TOKEN={}\nSKEIN_ENROL_SEEDS={}\nSKEIN_ENROL_AUTHORITY={certificate}\n",
        "x".repeat(200),
        ["10.80.111.111:4440"; 5].join(","),
    );
    document.replace(PLACEHOLDER, &STANDARD.encode(lines))
}

#[test]
fn user_data_is_whole_and_fits() {
    run(300, async {
        let place = without_resources()?;
        let many: Vec<_> = (0..10)
            .map(|n| json!({ "name": format!("c7a.{n}xlarge"), "streams": 900, "workers": 4, "price": 0.21 }))
            .collect();
        let dns = json!({ "zone_id": "Z0123456789ABC", "name": "meet.example.org" });
        for values in [
            minimal(),
            with(
                json!({ "seeds": 1, "tls": false, "http_port": 8080, "settings": { "room.size": "200" }, "find_seeds_by_tags": false }),
            ),
            with(
                json!({ "seeds": 5, "dns": dns, "machine_types": many, "scaling": { "max_nodes": 9, "max_cost_per_hour": 2.5, "spare_streams": 100, "spot": true } }),
            ),
        ] {
            let Some(outputs) = evaluate(place.path(), &values)? else { return Ok(()) };
            let document = outputs["launch_document"]["value"].as_str().context("no document")?;
            assert_eq!(document.matches(PLACEHOLDER).count(), 1);
            // EC2's limit is on what is sent before base64; whoever counts behind it is on the safe side.
            let size = STANDARD.encode(launch(document)).len();
            ensure!(size <= USER_DATA, "a launched node's user data is {size} bytes");
            let written = files(&launch(document))?;
            let more = variables(&decoded(&written["/etc/skein/enrol.env"])?)?;
            assert_eq!(more["SKEIN_ENROL_NODE"], "meet-1234567");
            check_node(&written, "meet-1234567").await?;
            let looks = decoded(&written["/etc/skein/node.toml"])?.contains("seeds_from_ec2 = \"seeds\"");
            assert_eq!(looks, values["find_seeds_by_tags"] != false);

            let seeds = outputs["seed_documents"]["value"].as_object().context("no seeds")?;
            assert_eq!(seeds.len() as u64, values["seeds"].as_u64().unwrap_or(3));
            for (name, seed) in seeds {
                let seed = seed.as_str().context("no document")?;
                ensure!(seed.len() <= USER_DATA, "{name}: its user data is {} bytes", seed.len());
                let written = files(seed)?;
                // The same on all seeds: two leaders must ask for the same.
                assert_eq!(decoded(&written["/etc/skein/launch.yaml"])?, document);
                let enrol = variables(&decoded(&written["/etc/skein/enrol.env"])?)?;
                assert_eq!(&enrol["SKEIN_ENROL_NODE"], name);
                check_node(&written, name).await?;
                let ec2 = variables(&decoded(&written["/etc/skein/ec2.env"])?)?;
                assert_eq!(ec2["SKEIN_EC2_ROLE"], "seed");
                let host = values["dns"]["name"].as_str().map(|zone| name.replace("meet-", "") + "." + zone);
                assert_eq!(ec2["SKEIN_EC2_HOST"], host.unwrap_or_default());
            }
        }
        Ok(())
    });
}

async fn check_node(written: &BTreeMap<String, String>, node: &str) -> anyhow::Result<()> {
    let settings = variables(&decoded(&written["/etc/skein/node.env"])?)?;
    let all = machine(node).into_iter().chain(settings).collect();
    check_config(&decoded(&written["/etc/skein/node.toml"])?, &all).await
}

#[test]
fn wrong_variables_are_refused_by_name() -> anyhow::Result<()> {
    let place = without_resources()?;
    for (wrong, says) in [
        (json!({ "mesh": "Meet" }), "mesh is not a name"),
        (json!({ "mesh": "-" }), "mesh is not a name"),
        (json!({ "seeds": 2 }), "seeds is not 1, 3 or 5"),
        (json!({ "tags": { "skein:mesh": "x" } }), "skein:"),
        (json!({ "vpc_cidr": "10.0.0.0/24" }), "vpc_cidr"),
        (json!({ "seed_addresses": ["10.80.0.10"] }), "seed_addresses"),
        (json!({ "seeds": 1, "seed_addresses": ["here"] }), "seed_addresses"),
        (json!({ "http_port": 0 }), "http_port"),
        (json!({ "media_ports": { "first": 10000, "last": 20000 } }), "media_ports"),
        (json!({ "media_ports": { "first": 40000, "last": 40010 } }), "overlap"),
        (json!({ "mesh_port": 40001 }), "pipe_ports holds mesh_port"),
        (json!({ "machine_types": [] }), "machine_types"),
        (
            json!({ "machine_types": [{ "name": "big", "streams": 1, "workers": 1, "price": 1 }] }),
            "machine_types",
        ),
        (
            json!({ "machine_types": [{ "name": "c7a.48xlarge", "streams": 1, "workers": 192, "price": 9 }] }),
            "media_ports",
        ),
        (json!({ "scaling": { "max_nodes": 2 } }), "scaling.max_nodes"),
        (json!({ "scaling": { "max_nodes": 8, "min_nodes": 2 } }), "scaling.min_nodes"),
        (json!({ "settings": { "auth.client_key": "x" } }), "auth."),
        (json!({ "settings": { "room.size": "a'b" } }), "settings"),
        (json!({ "package": { "url": "http://example.org/a.deb", "sha256": "0" } }), "package"),
        (json!({ "package": null }), "package is needed"),
        (json!({ "network": { "vpc_id": "vpc-1", "subnet_ids": [] } }), "network"),
        (json!({ "parameter_path": "skein" }), "parameter_path"),
        (json!({ "dns": { "zone_id": "z", "name": "example" } }), "dns"),
    ] {
        match evaluate(place.path(), &with(wrong.clone())) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => anyhow::bail!("{wrong} is taken"),
            Err(error) => ensure!(error.to_string().contains(says), "{wrong}: {error}"),
        }
    }
    Ok(())
}

/// The folder with AWS's provider, where Terraform keeps providers: it is never fetched by a test.
fn providers() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("TF_PLUGIN_CACHE_DIR")?);
    folder.join("registry.terraform.io/hashicorp/aws").is_dir().then_some(folder)
}

#[test]
fn the_examples_are_valid() -> anyhow::Result<()> {
    let Some(providers) = providers() else {
        eprintln!("terraform validate has not run: AWS's provider is not in TF_PLUGIN_CACHE_DIR");
        return Ok(());
    };
    // Terraform writes beside what it looks at.
    let copy = tempfile::tempdir()?;
    let copied = Command::new("cp").arg("-r").arg(folder()).arg(copy.path()).status()?;
    ensure!(copied.success(), "the module cannot be copied");
    for example in examples()? {
        let name = example.file_name().context("a folder has a name")?;
        let example = copy.path().join("terraform/examples").join(name);
        let (Some(init), Some(validate)) = (terraform(&example), terraform(&example)) else { return Ok(()) };
        let plugins = format!("-plugin-dir={}", providers.display());
        say(init, &["init", "-backend=false", "-input=false", "-no-color", &plugins])?;
        say(validate, &["validate", "-no-color"])?;
    }
    Ok(())
}
