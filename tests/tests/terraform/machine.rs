//! What a machine on EC2 does before its node starts: it asks the metadata service and the Parameter Store, here two that
//! the test has, and what it writes makes the module's configuration one that a node takes.

use super::rendering::{check_config, node_config, render, variables};
use anyhow::{Context, ensure};
use skein_tests::run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const TOKEN: &str = "a-token";

/// Answers like EC2's metadata service, version 2: nothing without a token.
async fn metadata(mut stream: TcpStream) -> anyhow::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    let request = lines.next_line().await?.context("no request")?;
    let mut has_token = false;
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        has_token |= line.eq_ignore_ascii_case(&format!("X-aws-ec2-metadata-token: {TOKEN}"));
    }
    let answer = match request.trim_end_matches(" HTTP/1.1") {
        "PUT /latest/api/token" => TOKEN,
        _ if !has_token => "",
        "GET /latest/meta-data/placement/region" => "eu-central-1",
        "GET /latest/meta-data/placement/availability-zone" => "eu-central-1b",
        "GET /latest/meta-data/local-ipv4" => "10.80.16.11",
        "GET /latest/meta-data/public-ipv4" => "192.0.2.7",
        _ => "",
    };
    let status = if answer.is_empty() { "401 Unauthorized" } else { "200 OK" };
    let text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
    write.write_all(text.as_bytes()).await?;
    Ok(())
}

/// A machine in a folder.
struct Machine {
    folder: tempfile::TempDir,
    metadata: String,
    _serving: JoinSet<()>,
}

/// In place of AWS's command line client: parameters are files.
const CLIENT: &str = r#"#!/bin/sh
for word in "$@"; do name="$word"; done
[ "$1 $2 $3 $4" = "ssm get-parameter --region eu-central-1" ] || exit 2
exec cat "$PARAMETERS$name"
"#;

impl Machine {
    async fn new(role: &str, host: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let metadata_url = format!("http://{}", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // What goes wrong with one request is the asker's to notice.
                let _ = metadata(stream).await;
            }
        });
        let machine = Self { folder: tempfile::tempdir()?, metadata: metadata_url, _serving: serving };
        let settings = serde_json::json!({
            "role": role, "parameter_path": "/skein/meet", "mesh_port": 4440, "http_port": 443, "tls": true, "host": host,
        });
        fs::write(machine.path("ec2.env"), render("ec2.env.tftpl", settings)?)?;
        let name = if role == "seed" { "meet-seed-2" } else { "meet-17" };
        let ticket = render("seed.env.tftpl", serde_json::json!({ "mesh": "meet", "node": name }))?;
        fs::write(machine.path("enrol.env"), ticket)?;
        fs::create_dir(machine.path("bin"))?;
        fs::write(machine.path("bin/aws"), CLIENT)?;
        fs::set_permissions(machine.path("bin/aws"), fs::Permissions::from_mode(0o755))?;
        for (name, value) in [
            ("node/tls-certificate", "certificate"),
            ("node/tls-key", "key"),
            ("node/client-key", "0123456789abcdef0123456789abcdef"),
            ("node/operator-token", "0123456789abcdef"),
        ] {
            machine.parameter(name, value)?;
        }
        Ok(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn parameter(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let path = self.path("parameters/skein/meet").join(name);
        fs::create_dir_all(path.parent().context("a parameter has a folder")?)?;
        Ok(fs::write(path, value)?)
    }

    async fn start(&self) -> anyhow::Result<Output> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bootstrap/packaging/ec2-environment");
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH")?);
        let mut command = tokio::process::Command::new(script);
        command.kill_on_drop(true).env("PATH", path).env("PARAMETERS", self.path("parameters"));
        command
            .env("SKEIN_EC2_SETTINGS", self.path("ec2.env"))
            .env("SKEIN_EC2_TICKET", self.path("enrol.env"));
        command.env("SKEIN_EC2_STATE", self.path("state")).env("SKEIN_EC2_OUT", self.path("machine.env"));
        command.env("SKEIN_EC2_METADATA", &self.metadata).env("SKEIN_EC2_TRIES", "2");
        command.env("SKEIN_EC2_OWNER", nix::unistd::getuid().to_string());
        Ok(command.output().await?)
    }

    async fn start_well(&self) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
        let output = self.start().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for secret in ["0123456789abcdef", "certificate"] {
            let said = [&output.stdout[..], &output.stderr[..]].concat();
            ensure!(!String::from_utf8_lossy(&said).contains(secret), "a secret is in the log");
        }
        variables(&fs::read_to_string(self.path("machine.env"))?)
    }

    fn mode(&self, name: &str) -> anyhow::Result<u32> {
        Ok(fs::metadata(self.path(name)).with_context(|| name.to_owned())?.permissions().mode() & 0o777)
    }
}

#[test]
fn a_launched_machine_knows_what_its_node_needs() {
    run(180, async {
        let machine = Machine::new("node", "").await?;
        let all = machine.start_well().await?;
        assert_eq!(all["SKEIN_NODE__ID"], "meet-17");
        assert_eq!(all["SKEIN_MESH__LISTEN"], "10.80.16.11:4440");
        assert_eq!(all["SKEIN_HTTP__URL"], "https://192.0.2.7");
        check_config(&node_config("")?, &all).await?;
        assert_eq!(fs::read_to_string(machine.path("state/tls.key"))?, "key\n");
        for (file, mode) in [("machine.env", 0o600), ("state/tls.key", 0o400)] {
            assert_eq!(machine.mode(file)?, mode, "{file}");
        }
        // What only seeds have it has not asked for.
        ensure!(!machine.path("state/authority").exists(), "a launched node has the authority");
        Ok(())
    });
}

#[test]
fn a_seed_has_the_authority() {
    run(180, async {
        let machine = Machine::new("seed", "seed-2.meet.example.org").await?;
        machine.parameter("node/ca-certificate", "the certificate\nof the authority")?;
        machine.parameter("seed/ca-key", "its key")?;
        machine.parameter("seed/enrolment-secret", "a secret")?;
        // A public key in PEM has several lines.
        let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
        machine.parameter("node/client-key", key)?;
        let all = machine.start_well().await?;
        assert_eq!(all["SKEIN_HTTP__URL"], "https://seed-2.meet.example.org");
        assert_eq!(all["SKEIN_AUTH__CLIENT_KEY"], key);
        check_config(&node_config("meet-seed-2")?, &all).await?;
        for (file, text) in [
            ("ca.pem", "the certificate\nof the authority\n"),
            ("ca.key", "its key\n"),
            ("enrolment-secret", "a secret\n"),
        ] {
            let file = format!("state/authority/{file}");
            assert_eq!(fs::read_to_string(machine.path(&file))?, text);
            assert_eq!(machine.mode(&file)?, 0o400, "{file}");
        }
        // After a restart of the machine: what was changed counts.
        machine.parameter("node/operator-token", "fedcba9876543210")?;
        assert_eq!(machine.start_well().await?["SKEIN_AUTH__OPERATOR_TOKEN"], "fedcba9876543210");
        Ok(())
    });
}

#[test]
fn what_is_missing_is_named_and_nothing_is_half_written() {
    run(180, async {
        for (break_it, says) in [
            (("parameters/skein/meet/node/client-key", None), "/skein/meet/node/client-key"),
            (("parameters/skein/meet/node/operator-token", Some("a'b")), "SKEIN_AUTH__OPERATOR_TOKEN"),
            (("enrol.env", Some("")), "SKEIN_ENROL_NODE"),
            (("ec2.env", Some("SKEIN_EC2_ROLE=node\n")), "SKEIN_EC2_PARAMETERS"),
        ] {
            let machine = Machine::new("node", "").await?;
            match break_it {
                (file, None) => fs::remove_file(machine.path(file))?,
                (file, Some(text)) => fs::write(machine.path(file), text)?,
            }
            let output = machine.start().await?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(!output.status.success() && said.contains(says), "{break_it:?}: {said}");
            ensure!(!machine.path("machine.env").exists(), "{break_it:?}: half is written");
        }
        Ok(())
    });
}
