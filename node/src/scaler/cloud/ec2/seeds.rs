//! Seeds that are found by the tags of their machines.

use super::api::{Api, Limits};
use super::{MESH_TAG, ROLE_TAG, SEED_ROLE, tagged, value};
use crate::scaler::cloud::CloudError;
use async_trait::async_trait;
use aws_sdk_ec2::config::SharedCredentialsProvider;
use aws_sdk_ec2::types::Instance;
use skein_bootstrap::config::{Config, Ec2Seeds};
use skein_bootstrap::seeds::SeedSource;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// At most so many machines are taken for seeds: one that answers is enough.
const MAX_SEEDS: usize = 64;
/// A node that is not alone asks no more often than that. EC2 throttles by account, and a mesh of a thousand nodes
/// asks for less than two lists a second so, next to its leader, who needs an answer more.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// What EC2 puts behind this is another text each time, and of use to who may decode it alone.
const ENCODED: &str = "Encoded authorization failure message";

/// The machines of a mesh that run, as `mesh.seeds_from_ec2` says. They have the tag `skein:mesh` with the mesh's name,
/// and seeds among them `skein:role` with `seed`. Each one's address is its private IPv4 address, with the port that
/// other nodes dial this node at: all machines of a mesh share it.
#[derive(Debug)]
pub struct TaggedSeeds {
    api: Api,
    mesh: String,
    /// Seeds only.
    only_seeds: bool,
    port: u16,
}

impl TaggedSeeds {
    /// Those that the configuration says; none where it says so. Region and endpoint are those of `scaling.ec2`, whether
    /// or not the leader launches machines there; credentials come from the SDK's own chain.
    ///
    /// # Errors
    /// When no region is to be found.
    pub async fn new(config: &Config) -> Result<Option<Self>, CloudError> {
        let limits = Limits {
            call: Duration::from_secs(15),
            attempt: Duration::from_secs(5),
            attempts: 4,
            ..Limits::default()
        };
        Self::with(config, limits, None).await
    }

    /// As [`TaggedSeeds::new`], with limits and, where they are given, credentials of the caller's choice.
    ///
    /// # Errors
    /// As [`TaggedSeeds::new`].
    pub async fn with(
        config: &Config,
        limits: Limits,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Option<Self>, CloudError> {
        let only_seeds = match config.mesh.seeds_from_ec2 {
            Ec2Seeds::None => return Ok(None),
            Ec2Seeds::Seeds => true,
            Ec2Seeds::All => false,
        };
        Ok(Some(Self {
            api: Api::new(&config.scaling.ec2, limits, credentials).await?,
            mesh: config.mesh.name.clone(),
            only_seeds,
            port: config.mesh.advertised().port(),
        }))
    }

    async fn list(&self) -> Result<Vec<SocketAddr>, CloudError> {
        let mut filters =
            vec![(tagged(MESH_TAG), self.mesh.as_str()), ("instance-state-name".to_owned(), "running")];
        if self.only_seeds {
            filters.push((tagged(ROLE_TAG), SEED_ROLE));
        }
        let mut instances = self.api.within(self.api.instances(&filters)).await?;
        // Those who are the most likely to be in the mesh come first: seeds, then who runs the longest.
        instances.sort_by_cached_key(|instance| {
            let launched = instance.launch_time().map(|at| at.as_nanos());
            (value(instance, ROLE_TAG) != Some(SEED_ROLE), launched)
        });
        let addresses = instances.iter().filter_map(address).take(MAX_SEEDS);
        Ok(addresses.map(|address| SocketAddr::new(address, self.port)).collect())
    }
}

fn address(instance: &Instance) -> Option<IpAddr> {
    instance.private_ip_address()?.parse().ok()
}

#[async_trait]
impl SeedSource for TaggedSeeds {
    async fn find(&self) -> Result<Vec<SocketAddr>, String> {
        self.list().await.map_err(|error| {
            let said = error.to_string();
            let said = said.split(ENCODED).next().unwrap_or_default().trim_end();
            format!("mesh.seeds_from_ec2: {said}")
        })
    }

    fn good_for(&self) -> Duration {
        GOOD_FOR
    }
}
