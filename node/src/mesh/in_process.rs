//! Meshes in one process, for tests of what works with one.

use super::{Incoming, Mesh, MeshSettings};
use skein_bootstrap::config;
use skein_bootstrap::identity::Authority;
use skein_proto::gossip::{Facts, Phase};
use std::net::SocketAddr;
use tempfile::TempDir;

/// An authority and the files that it made.
pub(crate) struct World {
    authority: Authority,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            authority: Authority::generate("dev").expect("an authority"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// A node's part in the mesh, on a port that the system chooses. It is ready.
    pub(crate) async fn mesh(&self, name: &str, seeds: &[SocketAddr]) -> (Mesh, Incoming) {
        let node = name.parse().expect("a name");
        let identity = self.authority.issue("dev", &node).expect("issues");
        let file = |kind: &str, text: &str| {
            let path = self.folder.path().join(format!("{name}.{kind}"));
            std::fs::write(&path, text).expect("writes");
            path
        };
        let config = config::Mesh {
            name: "dev".to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: None,
            seeds: seeds.iter().copied().map(Into::into).collect(),
            ca: file("ca", self.authority.certificate_pem()),
            cert: file("cert", &identity.certificate_pem),
            key: file("key", &identity.key_pem),
        };
        let facts = Facts {
            role: "node".to_owned(),
            region: "local".to_owned(),
            zone: String::new(),
            url: format!("http://{name}"),
            version: "1".to_owned(),
        };
        let settings =
            MeshSettings { config, node, facts, phase: Phase::Ready, enrols: false, sources: Vec::new() };
        Mesh::start(settings).await.expect("starts")
    }
}
