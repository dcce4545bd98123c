//! Who leads the mesh, and how it grows and shrinks.

use super::{ConfigError, wrong};
use serde::{Deserialize, Serialize};
use skein_proto::ids::NodeId;
use std::path::PathBuf;

/// Who leads the mesh: a lease among voters. Without voters nobody leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Election {
    /// The nodes that vote, and of which one leads: 1, 3 or 5. The same list on all of them.
    pub voters: Vec<NodeId>,
    /// Seconds for which the lease holds unless it is renewed.
    pub lease_s: f64,
    /// Seconds between renewals.
    pub renew_s: f64,
}

impl Default for Election {
    fn default() -> Self {
        Self { voters: Vec::new(), lease_s: 10.0, renew_s: 3.0 }
    }
}

/// How the mesh grows and shrinks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scaling {
    /// Where machines come from.
    pub cloud: CloudKind,
    /// The fewest nodes, with those that the leader did not launch.
    pub min_nodes: u32,
    /// The most nodes, with those that the leader did not launch.
    pub max_nodes: u32,
    /// What all machines that the leader launched may cost an hour together, in the currency of the prices of `types`.
    pub max_cost_per_hour: Option<f64>,
    /// How many reference streams are kept free for those who come next; one room of `room.size`, but at most half a
    /// machine, where it is not given.
    pub spare_streams: Option<u32>,
    /// Minutes for which a node must not have been needed before it is drained.
    pub idle_minutes: f64,
    /// Minutes after which those who are still on a draining node are told to dial another.
    pub drain_minutes: f64,
    /// Seconds within which a launched machine has to join the mesh.
    pub join_deadline_s: f64,
    /// Minutes for which gossip must not have heard of a machine that was a node before it is replaced.
    pub lost_minutes: f64,
    /// Seconds between two looks at what exists and what is wanted.
    pub interval_s: f64,
    /// How many stopped machines are kept, which start faster than new ones.
    pub warm: u32,
    /// Seconds for which a join waits for a machine, where its client knows Skein's additions. Others wait 20 at most.
    pub patience_s: f64,
    /// How many joins wait at most at the homes on one node; more are refused.
    pub max_waiting: usize,
    /// How many of a node's own clients wait at most, wherever their rooms' homes are; more are refused.
    pub max_waiting_clients: usize,
    /// The machine types to choose from.
    pub types: Vec<MachineType>,
    /// Nodes as processes on this machine.
    pub process: ProcessCloud,
    /// Amazon EC2.
    pub ec2: Ec2Cloud,
    /// DigitalOcean.
    pub digitalocean: DigitalOceanCloud,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            cloud: CloudKind::None,
            min_nodes: 1,
            max_nodes: 1,
            max_cost_per_hour: None,
            spare_streams: None,
            idle_minutes: 10.0,
            drain_minutes: 10.0,
            join_deadline_s: 300.0,
            lost_minutes: 5.0,
            interval_s: 3.0,
            warm: 0,
            patience_s: 300.0,
            max_waiting: 2000,
            max_waiting_clients: 2000,
            types: Vec::new(),
            process: ProcessCloud::default(),
            ec2: Ec2Cloud::default(),
            digitalocean: DigitalOceanCloud::default(),
        }
    }
}

/// Where machines come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloudKind {
    /// Nowhere: the mesh stays as it is.
    #[default]
    None,
    /// Node processes on the leader's machine.
    Process,
    /// Amazon EC2.
    Ec2,
    /// DigitalOcean's droplets.
    DigitalOcean,
}

/// A type of machine that can be launched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineType {
    /// The cloud's name for it, such as `c7a.xlarge`.
    pub name: String,
    /// How many reference streams it carries, on all of its workers.
    pub streams: u32,
    /// How many workers it has.
    #[serde(default = "one")]
    pub workers: u16,
    /// What it costs an hour.
    #[serde(default)]
    pub price: f64,
    /// Seconds from launch until it takes peers, before any launch has shown it.
    #[serde(default = "minute")]
    pub boot_s: f64,
}

fn one() -> u16 {
    1
}

fn minute() -> f64 {
    60.0
}

/// Nodes as processes on the leader's machine. Each gets the leader's configuration, with a name, ports and a certificate
/// of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessCloud {
    /// Folder for what the processes need and write; all leaders of the mesh share it.
    pub folder: PathBuf,
    /// Folder with `ca.pem` and `ca.key`, the authority that signs the processes' certificates.
    pub authority: PathBuf,
    /// HTTP, WebSocket (TCP) and QUIC (UDP) port of the first; the next has the next one.
    pub base_port: u16,
    /// Port for media of the first; the next one's is 32 higher.
    pub media_port: u16,
}

/// Amazon EC2. Credentials come from the SDK's own chain. Region and endpoint are also where seeds are looked for
/// (`mesh.seeds_from_ec2`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ec2Cloud {
    /// The region; the SDK's own chain decides where it is not given.
    pub region: Option<String>,
    /// Another address of the API, for tests and private endpoints.
    pub endpoint: Option<String>,
    /// Id of the launch template (`lt-…`).
    pub launch_template: String,
    /// Its version, a number: never `$Latest`, since every parameter of a launch is fixed.
    #[serde(deserialize_with = "text_or_number")]
    pub launch_template_version: String,
    /// The subnets to launch in, in turn.
    pub subnets: Vec<String>,
    /// Launch spot instances.
    pub spot: bool,
    /// File with the user data of what is launched, in which `${SKEIN_ENVIRONMENT}` stands for the base64 of what a machine
    /// has to know to enrol, lines of `KEY=value`; those lines alone where it is not given.
    pub user_data_template: Option<PathBuf>,
    /// Another address of the instance metadata service, for tests.
    pub metadata: Option<String>,
}

/// DigitalOcean's droplets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DigitalOceanCloud {
    /// Another address of the API, for tests.
    pub endpoint: Option<String>,
    /// File with the API token.
    pub token_file: PathBuf,
    /// The region, such as `fra1`.
    pub region: String,
    /// The image, by slug or number.
    pub image: String,
    /// Ids or fingerprints of the SSH keys to put on it.
    pub ssh_keys: Vec<String>,
    /// The VPC's id.
    pub vpc: Option<String>,
    /// As `scaling.ec2.user_data_template`.
    pub user_data_template: Option<PathBuf>,
}

/// Text that looks like a number when it is given by `--set` or in the environment.
pub(super) fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Number(u64),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::Text(text) => text,
        Given::Number(number) => number.to_string(),
    })
}

impl Election {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !matches!(self.voters.len(), 0 | 1 | 3 | 5) {
            return Err(wrong(
                "election.voters",
                format!("has {} names; 1, 3 or 5 can vote", self.voters.len()),
            ));
        }
        if let Some(twice) = self.voters.iter().enumerate().find(|(n, name)| self.voters[..*n].contains(name))
        {
            return Err(wrong("election.voters", format!("names {} twice", twice.1)));
        }
        if !(0.5..=600.0).contains(&self.lease_s) {
            return Err(wrong("election.lease_s", "is not between 0.5 and 600"));
        }
        if !(0.05..=self.lease_s / 2.0).contains(&self.renew_s) {
            return Err(wrong("election.renew_s", "is not between 0.05 and half of election.lease_s"));
        }
        Ok(())
    }
}

impl Scaling {
    pub(super) fn check(&self, election: &Election) -> Result<(), ConfigError> {
        if self.min_nodes == 0 {
            return Err(wrong("scaling.min_nodes", "is 0; a mesh is at least one node"));
        }
        if self.max_nodes < self.min_nodes {
            return Err(wrong("scaling.max_nodes", "is less than scaling.min_nodes"));
        }
        if self.max_nodes > 1000 {
            return Err(wrong("scaling.max_nodes", "is more than 1000, where one mesh ends"));
        }
        if self.max_cost_per_hour.is_some_and(|cost| cost.is_nan() || cost < 0.0) {
            return Err(wrong("scaling.max_cost_per_hour", "is less than 0"));
        }
        for (key, value, most) in [
            ("scaling.idle_minutes", self.idle_minutes, 10_000.0),
            ("scaling.drain_minutes", self.drain_minutes, 10_000.0),
            ("scaling.lost_minutes", self.lost_minutes, 10_000.0),
            ("scaling.join_deadline_s", self.join_deadline_s, 86_400.0),
            ("scaling.patience_s", self.patience_s, 86_400.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return Err(wrong(key, format!("is not between 0 and {most}")));
            }
        }
        if !(0.1..=600.0).contains(&self.interval_s) {
            return Err(wrong("scaling.interval_s", "is not between 0.1 and 600"));
        }
        for kind in &self.types {
            if kind.streams == 0 || kind.workers == 0 {
                return Err(wrong("scaling.types", format!("{} carries nothing", kind.name)));
            }
            if kind.price.is_nan() || kind.price < 0.0 || !(0.0..=86_400.0).contains(&kind.boot_s) {
                return Err(wrong(
                    "scaling.types",
                    format!("{}: price or boot_s is out of range", kind.name),
                ));
            }
        }
        // The cloud may be none: seeds are looked for there too.
        if let Some(endpoint) = &self.ec2.endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            return Err(wrong("scaling.ec2.endpoint", "does not start with http:// or https://"));
        }
        if self.cloud == CloudKind::None {
            return Ok(());
        }
        if election.voters.is_empty() {
            return Err(wrong("election.voters", "is empty, and scaling.cloud needs a leader"));
        }
        if self.types.is_empty() {
            return Err(wrong("scaling.types", "is empty, and scaling.cloud has to know what to launch"));
        }
        self.check_cloud()
    }

    fn check_cloud(&self) -> Result<(), ConfigError> {
        let missing = |key: &str| Err(wrong(key, "is missing"));
        match self.cloud {
            CloudKind::None => {}
            CloudKind::Process => {
                if self.process.folder.as_os_str().is_empty() {
                    return missing("scaling.process.folder");
                }
                if self.process.authority.as_os_str().is_empty() {
                    return missing("scaling.process.authority");
                }
                if self.process.base_port == 0 {
                    return missing("scaling.process.base_port");
                }
                if self.process.media_port == 0 {
                    return missing("scaling.process.media_port");
                }
            }
            CloudKind::Ec2 => {
                if !self.ec2.launch_template.starts_with("lt-") {
                    return Err(wrong("scaling.ec2.launch_template", "is not an id that starts with lt-"));
                }
                if self.ec2.launch_template_version.parse::<u32>().is_err() {
                    return Err(wrong(
                        "scaling.ec2.launch_template_version",
                        "is not a number; a version that can change breaks the fence",
                    ));
                }
                if self.ec2.subnets.is_empty() {
                    return missing("scaling.ec2.subnets");
                }
            }
            CloudKind::DigitalOcean => {
                if self.digitalocean.token_file.as_os_str().is_empty() {
                    return missing("scaling.digitalocean.token_file");
                }
                if self.digitalocean.region.is_empty() {
                    return missing("scaling.digitalocean.region");
                }
                if self.digitalocean.image.is_empty() {
                    return missing("scaling.digitalocean.image");
                }
            }
        }
        Ok(())
    }
}
