//! A mesh is made by hand, and a machine without a certificate joins it: the programs as people run them.

use anyhow::{Context, ensure};
use skein_proto::ids::NodeId;
use skein_proto::operator::NodeState;
use skein_tests::mesh::{NodeProcess, Ports, reserve, run_skein};
use skein_tests::{SOON, run, wait};
use std::path::Path;
use std::time::Duration;

/// A command that does its work.
const COMMAND: Duration = Duration::from_secs(20);

/// Runs `skein` and answers what it wrote; `good` says how it must end.
async fn skein(good: bool, arguments: &[&str]) -> anyhow::Result<String> {
    let (exit, text) = run_skein(arguments, COMMAND).await?;
    ensure!((exit.code == Some(0)) == good, "skein {arguments:?}: {exit:?}: {text}");
    Ok(text)
}

/// Waits until each sees all.
async fn agree(nodes: &[&NodeProcess]) -> anyhow::Result<()> {
    let mut names: Vec<_> = nodes.iter().map(|node| node.id().clone()).collect();
    names.sort();
    wait::until("all nodes see each other", SOON, async || {
        for node in nodes {
            let status = node.operator().mesh().await?;
            let alive = status.nodes.iter().filter(|node| node.state == NodeState::Alive);
            let seen: Vec<_> = alive.map(|node| node.id.clone()).collect();
            ensure!(seen == names, "{} sees {seen:?} and not {names:?}", node.id());
        }
        Ok(())
    })
    .await
}

fn start(folder: &Path, name: &str, ports: Ports, config: &Path, token: &str) -> anyhow::Result<NodeProcess> {
    let id: NodeId = name.parse()?;
    let config = config.display().to_string();
    let mut arguments = vec!["--config".to_owned(), config];
    for setting in ["media.workers=1", "enrol.certificate_hours=1"] {
        arguments.extend(["--set".to_owned(), setting.to_owned()]);
    }
    NodeProcess::start_with(&id, folder, ports, &arguments, Some(token.to_owned()))
}

#[test]
fn a_mesh_is_made_and_a_machine_enrols() {
    run(120, async {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let text = |name: &str| path(name).display().to_string();
        let [one, two, three] = [reserve()?, reserve()?, reserve()?];
        let seeds = [format!("s1={}", one.mesh), format!("s2={}", two.mesh)];
        let prod = text("prod");
        let init = ["init", "--mesh", "prod", "--out", &prod, "--seed", &seeds[0], "--seed", &seeds[1]];
        skein(true, &init).await?;
        let again = skein(false, &init).await?;
        ensure!(again.contains("nothing was changed"), "{again}");

        let token = std::fs::read_to_string(path("prod/operator.token"))?;
        let token = token.trim();
        let mut s1 = start(folder.path(), "s1", one, &path("prod/s1/node.toml"), token)?;
        let mut s2 = start(folder.path(), "s2", two, &path("prod/s2/node.toml"), token)?;
        s1.answers().await?;
        s2.answers().await?;
        agree(&[&s1, &s2]).await?;

        std::fs::write(path("n3.env"), skein(true, &["invite", "n3", "--folder", &prod]).await?)?;
        let (environment, out) = (text("n3.env"), text("n3"));
        let enrol = ["enrol", "--environment", &environment, "--out", &out];
        skein(true, &enrol).await?;
        let again = skein(true, &enrol).await?;
        ensure!(again.contains("nothing to do"), "{again}");
        // Who has seen the invitation has another key.
        let thief = skein(false, &["enrol", "--environment", &environment, "--out", &text("thief")]).await?;
        ensure!(thief.contains("used for another key"), "{thief}");
        // An invitation of another mesh's secret.
        let other = text("other");
        skein(true, &["init", "--mesh", "prod", "--out", &other]).await?;
        std::fs::copy(path("prod/ca.pem"), path("other/ca.pem"))?;
        let seed = s1.mesh_addr().to_string();
        let forged = skein(true, &["invite", "n4", "--folder", &other, "--seeds", &seed]).await?;
        std::fs::write(path("n4.env"), forged)?;
        let enrol = ["enrol", "--environment", &text("n4.env"), "--out", &text("n4")];
        let forged = skein(false, &enrol).await?;
        ensure!(forged.contains("the token is not for this node"), "{forged}");

        let config = format!(
            r#"
            node = {{ id = "n3" }}
            auth = {{ operator_token = "{token}" }}
            mesh = {{ name = "prod", listen = "{at}", seeds = ["{seed}"], ca = "ca.pem", cert = "node.pem", key = "node.key" }}
            http = {{ listen = "{at}" }}
            "#,
            at = three.mesh,
        );
        std::fs::write(path("n3/node.toml"), config)?;
        let mut n3 = start(folder.path(), "n3", three, &path("n3/node.toml"), token)?;
        n3.answers().await?;
        agree(&[&s1, &s2, &n3]).await?;
        let metrics = n3.operator().get("/metrics").await?.body;
        let left = metrics.lines().find_map(|line| line.strip_prefix("skein_certificate_expires_seconds "));
        let left: f64 = left.with_context(|| metrics.clone())?.parse()?;
        ensure!((1.0..=3600.0).contains(&left), "{left} seconds");
        Ok(())
    });
}
