//! Mistakes in the configuration: the node does not start, and names the key.

use anyhow::ensure;
use skein_tests::mesh::{reserve, run_node};
use skein_tests::{MeshBuilder, run};
use std::time::Duration;

/// A check takes milliseconds; a start that fails, a little more.
const ENDS: Duration = Duration::from_secs(10);

/// Settings of a node that would start: an authority and a certificate of its own.
async fn good() -> anyhow::Result<(tempfile::TempDir, Vec<(String, String)>)> {
    let folder = tempfile::tempdir()?;
    let authority = skein_bootstrap::identity::Authority::generate("test")?;
    let identity = authority.issue("test", &"n1".parse()?)?;
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), authority.certificate_pem())?;
    std::fs::write(path("cert.pem"), identity.certificate_pem)?;
    std::fs::write(path("key.pem"), identity.key_pem)?;
    let ports = reserve()?;
    let settings = [
        ("node.id", "n1".to_owned()),
        ("mesh.name", "test".to_owned()),
        ("mesh.listen", ports.mesh.to_string()),
        ("mesh.ca", path("ca.pem").display().to_string()),
        ("mesh.cert", path("cert.pem").display().to_string()),
        ("mesh.key", path("key.pem").display().to_string()),
        ("http.listen", ports.http.to_string()),
        ("media.workers", "1".to_owned()),
    ];
    Ok((folder, settings.map(|(key, value)| (key.to_owned(), value)).into()))
}

fn arguments(settings: &[(String, String)], more: &[&str], check: bool) -> Vec<String> {
    let own = settings.iter().map(|(key, value)| format!("{key}={value}"));
    let all = own.chain(more.iter().map(|setting| (*setting).to_owned()));
    let mut arguments: Vec<_> = all.flat_map(|setting| ["--set".to_owned(), setting]).collect();
    if check {
        arguments.push("--check-config".to_owned());
    }
    arguments
}

async fn stops_with(
    settings: &[(String, String)],
    more: &[&str],
    key: &str,
    checks: &[bool],
) -> anyhow::Result<()> {
    for check in checks {
        let (exit, output) = run_node(&arguments(settings, more, *check), ENDS).await?;
        ensure!(exit.code.is_some_and(|code| code != 0), "{more:?}: {exit:?}: {output}");
        ensure!(output.contains(key), "{more:?}, check: {check}: does not name {key}: {output}");
        ensure!(!output.contains("panicked"), "{more:?}: {output}");
    }
    Ok(())
}

#[test]
fn a_good_configuration_is_fine() {
    run(30, async {
        let (_folder, settings) = good().await?;
        let (exit, output) = run_node(&arguments(&settings, &[], true), ENDS).await?;
        ensure!(exit.code == Some(0), "{exit:?}: {output}");
        Ok(())
    });
}

#[test]
fn every_mistake_names_its_key() {
    run(60, async {
        let (_folder, settings) = good().await?;
        let mistakes = [
            ("media.workres=2", "workres"),
            ("medai.workers=2", "medai"),
            ("media.workers=many", "media.workers"),
            ("media.workers=-1", "media.workers"),
            ("media.workers=1000", "media.workers"),
            ("media.streams_per_worker=0", "media.streams_per_worker"),
            ("media.packets_per_worker=0", "media.packets_per_worker"),
            ("media.egress_bits=0", "media.egress_bits"),
            ("media.listen=[]", "media.listen"),
            ("media.listen=[{ ip = \"0.0.0.0\" }]", "media.listen"),
            ("media.pipe_ports=[5, 4]", "media.pipe_ports"),
            ("media.pipe_linger_s=-1", "media.pipe_linger_s"),
            ("placement.prefer=both", "placement.prefer"),
            ("room.size=0", "room.size"),
            ("signaling.max_frame_bytes=5", "signaling.max_frame_bytes"),
            ("signaling.requests_per_second=0", "signaling.requests_per_second"),
            ("signaling.ping_timeout_s=1", "signaling.ping_timeout_s"),
            ("auth.client_key=short", "auth.client_key"),
            ("auth.operator_token=short", "auth.operator_token"),
            ("http.listen=nowhere", "http.listen"),
            ("http.tls_cert=/nowhere.pem", "http.tls_key"),
            ("http.url=example.org", "http.url"),
            ("mesh.name=a b", "mesh.name"),
            ("mesh.seeds=[\"localhost\"]", "mesh.seeds"),
            ("mesh.listen=0.0.0.0:4440", "mesh.advertise"),
            ("node.id=a/b", "node.id"),
            ("node.role=king", "node.role"),
            ("nokey", "nokey"),
        ];
        for (setting, key) in mistakes {
            stops_with(&settings, &[setting], key, &[true]).await?;
        }
        // A start reads the same.
        stops_with(&settings, &["media.workers=many"], "media.workers", &[false]).await?;
        for budget in ["media.streams_per_worker", "media.packets_per_worker", "media.egress_bits"] {
            stops_with(&settings, &[&format!("{budget}=0")], budget, &[false]).await?;
        }
        let without_key: Vec<_> = settings.iter().filter(|(key, _)| key != "mesh.key").cloned().collect();
        stops_with(&without_key, &[], "key", &[true, false]).await
    });
}

#[test]
fn beyond_loopback_a_node_needs_keys() {
    run(60, async {
        let (_folder, settings) = good().await?;
        // Nothing listens here: every one of these stops before.
        let beyond = "http.listen=0.0.0.0:4440";
        let key = "auth.client_key=0123456789abcdef0123456789abcdef";
        stops_with(&settings, &[beyond], "auth.client_key", &[true, false]).await?;
        stops_with(&settings, &[beyond, key], "auth.operator_token", &[true, false]).await?;
        for more in [vec![beyond, key, "auth.operator_token=0123456789abcdef"], vec![beyond, "insecure=true"]]
        {
            let (exit, output) = run_node(&arguments(&settings, &more, true), ENDS).await?;
            ensure!(exit.code == Some(0), "{more:?}: {exit:?}: {output}");
        }
        Ok(())
    });
}

#[test]
fn what_only_a_start_can_see_names_its_key_too() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).start().await?;
        let (_folder, settings) = good().await?;
        let taken = mesh.node(0).url().replace("http://", "http.listen=");
        stops_with(&settings, &[&taken], "http.listen", &[false]).await?;
        let taken = format!("mesh.listen={}", mesh.node(0).mesh_addr());
        stops_with(&settings, &[&taken], "mesh.listen", &[false]).await?;
        let port = mesh.operator(0).node().await?.workers[0].port;
        stops_with(&settings, &[&format!("media.port={port}")], "media.port", &[false]).await?;
        stops_with(&settings, &["mesh.cert=/nowhere/cert.pem"], "/nowhere/cert.pem", &[false]).await?;
        stops_with(&settings, &["mesh.ca=/nowhere/ca.pem"], "/nowhere/ca.pem", &[false]).await?;
        let tls = ["http.tls_cert=/nowhere/tls.pem", "http.tls_key=/nowhere/tls.key"];
        stops_with(&settings, &tls, "http.tls_cert", &[false]).await
    });
}
