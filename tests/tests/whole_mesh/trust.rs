//! Who is let in: nodes by certificate, clients and operators by token.

use anyhow::{Context, ensure};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;
use skein_bootstrap::identity::Authority;
use skein_bootstrap::token::{Claims, Signer};
use skein_proto::ids::NodeId;
use skein_proto::signaling::Role;
use skein_tests::mesh::{Mesh, NodeProcess, reserve};
use skein_tests::peer::Video;
use skein_tests::protoo::ConnectOptions;
use skein_tests::{MeshBuilder, Peer, PeerOptions, Protoo, SOON, run, wait};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OPERATOR: &str = "operators-have-this";

/// A node process that is no member: certificate from `authority`, trusting the authority in the file `ca`.
fn stranger(mesh: &Mesh, id: &str, authority: &Authority, ca: &str) -> anyhow::Result<NodeProcess> {
    let id: NodeId = id.parse()?;
    let [cert, key] = mesh.certificate(&id, authority)?;
    let ports = reserve()?;
    let settings = [
        ("node.id", id.to_string()),
        ("mesh.name", mesh.name().to_owned()),
        ("mesh.listen", ports.mesh.to_string()),
        ("mesh.seeds", format!("[\"{}\"]", mesh.node(0).mesh_addr())),
        ("mesh.ca", mesh.folder().join(ca).display().to_string()),
        ("mesh.cert", cert.display().to_string()),
        ("mesh.key", key.display().to_string()),
        ("http.listen", ports.http.to_string()),
        ("media.workers", "1".to_owned()),
    ];
    let settings = settings.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    NodeProcess::start(&id, mesh.folder(), ports, settings, None)
}

async fn refused(mesh: &Mesh) -> anyhow::Result<u64> {
    mesh.operator(0).counter("connections_refused").await
}

/// The stranger knocks several times, is refused and counted each time, and logged once; nothing else changes.
async fn is_kept_out(mesh: &Mesh, stranger: &mut NodeProcess) -> anyhow::Result<()> {
    let before = refused(mesh).await?;
    let log_before = mesh.node(0).log().len();
    stranger.answers().await?;
    wait::until("the stranger knocked three times", SOON, async || {
        let now = refused(mesh).await?;
        ensure!(now >= before + 3, "{} refusals more", now - before);
        Ok(())
    })
    .await?;
    mesh.agrees(Duration::from_secs(1)).await.context("the mesh changed")?;
    let status = stranger.operator().mesh().await?;
    ensure!(status.nodes.len() == 1, "the stranger sees {:?}", status.nodes);
    let log = mesh.node(0).log();
    let lines: Vec<_> =
        log[log_before..].lines().filter(|line| line.contains("WARN") && line.contains("refused")).collect();
    ensure!(lines.len() == 1, "logged {} times: {lines:#?}", lines.len());
    Ok(())
}

#[test]
fn a_node_of_another_authority_is_refused() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let other = Authority::generate(mesh.name())?;
        // It trusts the mesh, and the mesh does not trust it.
        let mut stranger = stranger(&mesh, "stranger", &other, "ca.pem")?;
        is_kept_out(&mesh, &mut stranger).await
    });
}

#[test]
fn a_node_of_another_mesh_is_refused() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).start().await?;
        let other = Authority::generate(mesh.name())?;
        std::fs::write(mesh.folder().join("other.pem"), other.certificate_pem())?;
        // Neither trusts the other.
        let mut stranger = stranger(&mesh, "stranger", &other, "other.pem")?;
        is_kept_out(&mesh, &mut stranger).await
    });
}

#[test]
fn a_node_whose_certificate_names_another_does_not_start() {
    run(60, async {
        let mut mesh = MeshBuilder::new().nodes(1).start().await?;
        let [cert, key] = mesh.certificate(&"somebody".parse()?, mesh.authority())?;
        let ports = reserve()?;
        let ca = mesh.folder().join("ca.pem");
        let settings = [
            ("node.id", "else".to_owned()),
            ("mesh.name", mesh.name().to_owned()),
            ("mesh.listen", ports.mesh.to_string()),
            ("mesh.ca", ca.display().to_string()),
            ("mesh.cert", cert.display().to_string()),
            ("mesh.key", key.display().to_string()),
            ("http.listen", ports.http.to_string()),
            ("media.workers", "1".to_owned()),
        ];
        let settings = settings.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut node = NodeProcess::start(&"else".parse()?, mesh.folder(), ports, settings, None)?;
        let exit = node.ended(SOON).await?;
        ensure!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
        ensure!(node.log().contains("somebody.cert.pem"), "{}", node.log());
        ensure!(mesh.node_mut(0).poll_exit()?.is_none(), "the other node ended");
        Ok(())
    });
}

fn claims(room: &str, peer: Option<&str>, role: Role, seconds: i64) -> anyhow::Result<Claims> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let peer = peer.map(str::parse).transpose()?;
    Ok(Claims { room: room.parse()?, peer, role, exp: u64::try_from(now + seconds)? })
}

pub(super) fn token(key: &str, room: &str, role: Role) -> anyhow::Result<String> {
    Ok(Signer::new(key)?.sign(&claims(room, None, role, 600)?)?)
}

#[test]
fn without_a_good_token_nobody_is_told_anything() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).set("auth.client_key", SECRET).start().await?;
        let ws = mesh.node(0).ws();
        let signer = Signer::new(SECRET)?;
        let good = token(SECRET, "room", Role::Publish)?;
        let _inside = Peer::join(&ws, PeerOptions::new("room", "inside").token(&good)).await?;
        let none_algorithm = {
            // {"alg":"none","typ":"JWT"} and the good token's claims, without a signature.
            let claims = good.split('.').nth(1).context("a JWT has three parts")?;
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
        };
        let bad = [
            ("none", None),
            ("empty", Some(String::new())),
            ("no JWT", Some("knock-knock".to_owned())),
            ("another key", Some(token("another-secret-of-more-than-32-bytes", "room", Role::Publish)?)),
            ("expired", Some(signer.sign(&claims("room", None, Role::Publish, -60)?)?)),
            ("another room", Some(token(SECRET, "other", Role::Publish)?)),
            ("another peer", Some(signer.sign(&claims("room", Some("bob"), Role::Publish, 600)?)?)),
            ("cut short", Some(good[..good.len() - 2].to_owned())),
            ("unsigned", Some(none_algorithm)),
        ];
        let before = mesh.operator(0).counter("sockets_unauthorized").await?;
        let mut bodies = std::collections::BTreeSet::new();
        let mut knocks = 0;
        for (what, token) in &bad {
            for room in ["room", "no-such-room"] {
                for header in [true, false] {
                    let mut options = ConnectOptions::new(room, "alice");
                    if header {
                        options.header_token.clone_from(token);
                    } else {
                        options.query_token.clone_from(token);
                    }
                    knocks += 1;
                    // The token for another room opens that one, which is not asked for here.
                    match Protoo::connect(&ws, &options).await {
                        Err(error) if error.status() == Some(401) => bodies.insert(error.to_string()),
                        Err(error) => anyhow::bail!("{what}: {error}"),
                        Ok(_) => anyhow::bail!("{what}: let in"),
                    };
                }
            }
        }
        ensure!(bodies.len() == 1, "answers differ: {bodies:?}");
        let after = mesh.operator(0).counter("sockets_unauthorized").await?;
        assert_eq!(after - before, knocks);
        Ok(())
    });
}

#[test]
fn good_tokens_open_their_room() {
    run(60, async {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mesh = MeshBuilder::new()
            .nodes(2)
            .set_node(0, "auth.client_key", SECRET)
            .set_node(1, "auth.client_key", &key.public_key_pem())
            .start()
            .await?;
        for (node, key) in [(0, SECRET.to_owned()), (1, key.serialize_pem())] {
            let token = token(&key, "room", Role::Publish)?;
            for header in [true, false] {
                let mut options = ConnectOptions::new("room", "alice");
                if header {
                    options.header_token = Some(token.clone());
                } else {
                    options.query_token = Some(token.clone());
                }
                let client = Protoo::connect(&mesh.node(node).ws(), &options).await?;
                client.request("getRouterRtpCapabilities", json!({})).await?;
            }
        }
        Ok(())
    });
}

#[test]
fn roles_say_what_a_peer_may_do() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).set("auth.client_key", SECRET).start().await?;
        let ws = mesh.node(0).ws();
        let publish = token(SECRET, "room", Role::Publish)?;
        let listen = token(SECRET, "room", Role::Listen)?;
        let moderate = token(SECRET, "room", Role::Moderate)?;
        let alice =
            Peer::join(&ws, PeerOptions::new("room", "alice").token(&publish).audio().video(Video::Single))
                .await?;
        let ear =
            Peer::join(&mesh.node(1).ws(), PeerOptions::new("room", "ear").token(&listen).data()).await?;
        ear.expect_packets("alice", skein_tests::peer::Kind::Audio, 5, SOON).await?;
        for refused in [ear.produce_audio().await, ear.produce_data(1, "chat").await] {
            let error = refused.err().context("a listener may not send")?;
            ensure!(format!("{error:#}").contains("403"), "{error:#}");
        }
        for (method, data) in [("kick", json!({ "peerId": "ear" })), ("closeRoom", json!({}))] {
            let (code, reason) = alice.protoo().refused(method, data).await?;
            ensure!(code == 403, "{method}: {code} {reason}");
        }
        let boss = Peer::join(&mesh.node(1).ws(), PeerOptions::new("room", "boss").token(&moderate)).await?;
        boss.protoo().request("kick", json!({ "peerId": "ear" })).await?;
        let closed = ear.protoo().expect_close(SOON).await?;
        assert_eq!(closed.code, 4000, "{closed:?}");
        boss.protoo().request("closeRoom", json!({})).await?;
        let closed = alice.protoo().expect_close(SOON).await?;
        assert_eq!(closed.code, 4000, "{closed:?}");
        mesh.is_empty(SOON).await
    });
}

#[test]
fn operators_need_their_token() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(1).set("auth.operator_token", OPERATOR).start().await?;
        let operator = mesh.operator(0);
        let paths = ["/v1/mesh", "/v1/rooms", "/v1/rooms/r", "/v1/node", "/v1/events", "/metrics"];
        for given in [None, Some(""), Some("operators-have-thiS"), Some("operators-have-this-")] {
            for path in paths {
                let answer = operator.with_token(given).get(path).await?;
                ensure!(answer.status == 401, "{path} with {given:?}: {answer:?}");
                ensure!(answer.error()? == "not authorized", "{answer:?}");
            }
        }
        for path in ["/v1/mesh", "/v1/rooms", "/v1/node", "/metrics"] {
            assert_eq!(operator.get(path).await?.status, 200, "{path}");
        }
        operator.events().await?;
        for path in ["/healthz", "/readyz"] {
            assert_eq!(operator.with_token(None).get(path).await?.status, 200, "{path}");
        }
        Ok(())
    });
}

#[test]
fn nobody_is_more_than_the_token_says() {
    run(60, async {
        let mesh = MeshBuilder::new().nodes(2).set("auth.client_key", SECRET).start().await?;
        let ws = mesh.node(1).ws();
        let tokens =
            [Role::Listen, Role::Publish, Role::Moderate].map(|role| (role, token(SECRET, "room", role)));
        for (most, token) in tokens {
            let token = token?;
            for asked in [Role::Listen, Role::Publish, Role::Moderate] {
                let options =
                    ConnectOptions::new("room", "p").token(&token).skein().query("role", &asked.to_string());
                match Protoo::connect(&ws, &options).await {
                    Ok(client) => {
                        ensure!(asked <= most, "{asked} is let in with a token for {most}");
                        let told = client.expect_notification("welcome", SOON, |_| true).await?;
                        ensure!(told["role"] == asked.to_string(), "{told}");
                        client.close().await;
                    }
                    Err(error) => {
                        ensure!(asked > most, "{asked} with a token for {most}: {error}");
                        ensure!(error.status() == Some(403) && error.to_string().contains("role"), "{error}");
                    }
                }
            }
            // What the room is like is for moderators to say.
            for (key, value) in [("mode", "stage"), ("size", "7"), ("guaranteed", "0"), ("lastN", "1")] {
                let options = ConnectOptions::new("other", "p").query(key, value);
                let token = self::token(SECRET, "other", most)?;
                let outcome = Protoo::connect(&ws, &options.token(&token)).await;
                let status = outcome.as_ref().err().and_then(skein_tests::protoo::ConnectError::status);
                ensure!(status == (most < Role::Moderate).then_some(403), "{key} with {most}: {status:?}");
                if let Ok(client) = outcome {
                    // Gone before its host knows of it, it would be waited for.
                    client.expect_notification("mediasoup-version", SOON, |_| true).await?;
                    client.close().await;
                    // As one may be that was gone as quickly above.
                    mesh.is_empty(2 * SOON).await?;
                }
            }
        }
        Ok(())
    });
}
