//! Machines of Amazon EC2.
//!
//! `RunInstances` is the fence: launch n carries the client token `MESH-n`, and each of its parameters is a function
//! of n and the configuration, so EC2 gives one machine to however many leaders ask for number n. A token counts per
//! zone where a zone is named, and the subnet is a function of n too. The launch template must not have network
//! interfaces: EC2 refuses a subnet beside them.

mod api;
mod errors;
mod metadata;
mod seeds;
#[cfg(test)]
mod tests;

pub use api::Limits;
pub use metadata::{Metadata, MetadataError};
pub use seeds::TaggedSeeds;

use super::{Cloud, CloudError, Launch, Machine, MachineId, MachineState};
use api::Api;
use async_trait::async_trait;
use aws_sdk_ec2::config::SharedCredentialsProvider;
use aws_sdk_ec2::types::{
    Instance, InstanceMarketOptionsRequest, InstanceStateName, InstanceType, LaunchTemplateSpecification,
    MarketType, ResourceType, Tag, TagSpecification,
};
use errors::cloud_error;
use skein_bootstrap::config::Ec2Cloud;
use std::time::SystemTime;

/// Tag with the mesh's name.
pub const MESH_TAG: &str = "skein:mesh";
/// Tag with the number of the launch.
pub const NUMBER_TAG: &str = "skein:number";
/// Tag that tells what a machine is for.
pub const ROLE_TAG: &str = "skein:role";
/// [`ROLE_TAG`] of machines that a leader launched.
pub const NODE_ROLE: &str = "node";
/// [`ROLE_TAG`] of seeds, which no leader launches.
pub const SEED_ROLE: &str = "seed";

/// Longest client token, characters (EC2 API reference, "Ensuring idempotency").
const MAX_TOKEN: usize = 64;
/// Longest user data before base64, bytes (EC2 user guide, "Run commands at launch using instance user data").
const MAX_USER_DATA: usize = 16 * 1024;

/// The machines of one mesh.
#[derive(Debug, Clone)]
pub struct Ec2 {
    api: Api,
    mesh: String,
    settings: Ec2Cloud,
    /// How many machine types are configured.
    types: u64,
}

impl Ec2 {
    /// For the mesh of this name, whose leader chooses among `types` machine types. Region and credentials come from
    /// the SDK's own chain: environment, profile, web identity, instance metadata.
    ///
    /// # Errors
    /// When no client token can be made of the mesh's name, or no region is to be found.
    pub async fn new(mesh: &str, settings: &Ec2Cloud, types: usize) -> Result<Self, CloudError> {
        Self::with(mesh, settings, types, Limits::default(), None).await
    }

    /// As [`Ec2::new`], with limits and, where they are given, credentials of the caller's choice.
    ///
    /// # Errors
    /// As [`Ec2::new`].
    pub async fn with(
        mesh: &str,
        settings: &Ec2Cloud,
        types: usize,
        limits: Limits,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, CloudError> {
        let longest = token(mesh, u64::MAX).len();
        if !mesh.is_ascii() || longest > MAX_TOKEN {
            let most = MAX_TOKEN + mesh.len() - longest;
            return Err(CloudError::Refused(format!(
                "the mesh's name {mesh:?} is not ASCII or longer than {most} characters, which EC2's client token needs"
            )));
        }
        if settings.subnets.is_empty() {
            return Err(CloudError::Refused("scaling.ec2.subnets is empty".to_owned()));
        }
        Ok(Self {
            api: Api::new(settings, limits, credentials).await?,
            mesh: mesh.to_owned(),
            settings: settings.clone(),
            types: types.max(1) as u64,
        })
    }

    /// The subnet of a launch. Types take turns within a zone before the next zone's turn comes.
    fn subnet(&self, number: u64) -> &str {
        let count = self.settings.subnets.len() as u64;
        // There is at least one, which `with` made sure of.
        &self.settings.subnets[(number / self.types % count) as usize]
    }

    fn tags(&self, number: u64) -> [Tag; 4] {
        [
            tag("Name", token(&self.mesh, number)),
            tag(MESH_TAG, self.mesh.clone()),
            tag(NUMBER_TAG, number.to_string()),
            tag(ROLE_TAG, NODE_ROLE.to_owned()),
        ]
    }

    async fn pages(&self) -> Result<Vec<Machine>, CloudError> {
        let filters = [(tagged(MESH_TAG), self.mesh.as_str()), (tagged(ROLE_TAG), NODE_ROLE)];
        let instances = self.api.instances(&filters).await?;
        Ok(instances.iter().filter_map(|instance| self.machine(instance)).collect())
    }

    /// What an instance is to the mesh; none where it has no proper tags of this mesh.
    fn machine(&self, instance: &Instance) -> Option<Machine> {
        if !self.is_ours(instance) {
            return None;
        }
        Some(Machine {
            id: MachineId(instance.instance_id()?.to_owned()),
            number: number(instance)?,
            kind: instance.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
            state: state(instance)?,
            launched: instance.launch_time().and_then(|at| SystemTime::try_from(*at).ok()),
            address: instance.private_ip_address().and_then(|address| address.parse().ok()),
        })
    }

    fn is_ours(&self, instance: &Instance) -> bool {
        value(instance, MESH_TAG) == Some(self.mesh.as_str())
            && value(instance, ROLE_TAG) == Some(NODE_ROLE)
            && number(instance).is_some()
    }

    /// How a machine is, after a look at whether it is one of this mesh.
    async fn look(&self, id: &MachineId) -> Result<MachineState, CloudError> {
        let answer = self.api.client.describe_instances().instance_ids(&id.0).send().await;
        let answer = answer.map_err(|error| cloud_error(&error, None, Some(id)))?;
        let mut instances = answer.reservations().iter().flat_map(|reservation| reservation.instances());
        let instance = instances
            .find(|instance| instance.instance_id() == Some(&id.0))
            .ok_or_else(|| CloudError::Unknown(id.clone()))?;
        if !self.is_ours(instance) {
            return Err(CloudError::NotOurs(id.clone()));
        }
        state(instance)
            .ok_or_else(|| CloudError::Unreachable(format!("{id} has a state that is not known here")))
    }

    async fn run(&self, launch: &Launch) -> Result<Machine, CloudError> {
        if launch.user_data.len() > MAX_USER_DATA {
            return Err(CloudError::Refused(format!("the user data is longer than {MAX_USER_DATA} bytes")));
        }
        let template = LaunchTemplateSpecification::builder()
            .launch_template_id(&self.settings.launch_template)
            .version(&self.settings.launch_template_version)
            .build();
        let tags = self.tags(launch.number);
        let specifications = [ResourceType::Instance, ResourceType::Volume]
            .map(|of| TagSpecification::builder().resource_type(of).set_tags(Some(tags.to_vec())).build());
        let market = self
            .settings
            .spot
            .then(|| InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).build());
        let answer = self
            .api
            .client
            .run_instances()
            .min_count(1)
            .max_count(1)
            .client_token(token(&self.mesh, launch.number))
            .launch_template(template)
            .instance_type(InstanceType::from(launch.kind.as_str()))
            .subnet_id(self.subnet(launch.number))
            .user_data(aws_smithy_types::base64::encode(&launch.user_data))
            .set_tag_specifications(Some(specifications.to_vec()))
            .set_instance_market_options(market)
            .send()
            .await
            .map_err(|error| cloud_error(&error, Some(launch.number), None))?;
        let instance = answer.instances().first();
        let machine = instance.and_then(|instance| self.machine(instance)).ok_or_else(|| {
            CloudError::Unreachable(format!(
                "launch {} was answered without a machine of its tags",
                launch.number
            ))
        })?;
        // A repeated launch is answered with the first one's machine, also when that is gone.
        match machine.state {
            MachineState::Terminating | MachineState::Terminated => Err(CloudError::UsedUp(launch.number)),
            _ => Ok(machine),
        }
    }
}

#[async_trait]
impl Cloud for Ec2 {
    async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        self.api.within(self.pages()).await
    }

    async fn launch(&self, launch: &Launch) -> Result<Machine, CloudError> {
        self.api.within(self.run(launch)).await
    }

    async fn start(&self, machine: &MachineId) -> Result<(), CloudError> {
        self.api
            .within(async {
                if matches!(self.look(machine).await?, MachineState::Pending | MachineState::Running) {
                    return Ok(());
                }
                let answer = self.api.client.start_instances().instance_ids(&machine.0).send().await;
                answer.map(drop).map_err(|error| cloud_error(&error, None, Some(machine)))
            })
            .await
    }

    async fn stop(&self, machine: &MachineId) -> Result<(), CloudError> {
        self.api
            .within(async {
                if matches!(self.look(machine).await?, MachineState::Stopping | MachineState::Stopped) {
                    return Ok(());
                }
                let answer = self.api.client.stop_instances().instance_ids(&machine.0).send().await;
                answer.map(drop).map_err(|error| cloud_error(&error, None, Some(machine)))
            })
            .await
    }

    async fn terminate(&self, machine: &MachineId) -> Result<(), CloudError> {
        self.api
            .within(async {
                if matches!(self.look(machine).await?, MachineState::Terminating | MachineState::Terminated) {
                    return Ok(());
                }
                let answer = self.api.client.terminate_instances().instance_ids(&machine.0).send().await;
                answer.map(drop).map_err(|error| cloud_error(&error, None, Some(machine)))
            })
            .await
    }

    /// None: EC2 tells no prices, and its price list has an API, an endpoint and permissions of its own.
    async fn price(&self, _kind: &str) -> Option<f64> {
        None
    }
}

/// What a launch is called: its client token, and the machine's name.
fn token(mesh: &str, number: u64) -> String {
    format!("{mesh}-{number}")
}

fn tag(key: &str, value: String) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// The filter for a tag.
fn tagged(key: &str) -> String {
    format!("tag:{key}")
}

fn value<'a>(instance: &'a Instance, key: &str) -> Option<&'a str> {
    instance.tags().iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

fn number(instance: &Instance) -> Option<u64> {
    let number = value(instance, NUMBER_TAG)?;
    // As it was written: no sign, no leading zeros.
    number.parse::<u64>().ok().filter(|parsed| parsed.to_string() == number)
}

fn state(instance: &Instance) -> Option<MachineState> {
    match instance.state()?.name()? {
        InstanceStateName::Pending => Some(MachineState::Pending),
        InstanceStateName::Running => Some(MachineState::Running),
        InstanceStateName::Stopping => Some(MachineState::Stopping),
        InstanceStateName::Stopped => Some(MachineState::Stopped),
        InstanceStateName::ShuttingDown => Some(MachineState::Terminating),
        InstanceStateName::Terminated => Some(MachineState::Terminated),
        _ => None,
    }
}
