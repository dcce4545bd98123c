//! DigitalOcean's droplets.
//!
//! The API has no client token, so the fence is weaker than EC2's: a launch looks for a droplet of its name first,
//! makes one, and looks again. Of two with one number the one with the lower id stays and the other is deleted, by
//! whichever leader sees both, in a launch or a list. So two leaders at once may have two droplets of one number for
//! some seconds, and each of them, by the same rule, ends the same one. A number whose droplet is gone leaves no
//! trace either: launching it again makes a new one.
//!
//! A droplet that is switched off costs what a running one costs: a warm pool saves time here, not money.

mod api;
#[cfg(test)]
mod tests;

pub use api::Limits;

use super::{Cloud, CloudError, Launch, Machine, MachineId, MachineState};
use api::{Api, Droplet, NewDroplet};
use async_trait::async_trait;
use skein_bootstrap::config::DigitalOceanCloud;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Where the API is.
const ENDPOINT: &str = "https://api.digitalocean.com";
/// Longest user data, bytes (API reference, "Create a New Droplet").
const MAX_USER_DATA: usize = 64 * 1024;
/// Longest name of a mesh here: with a number behind it, it is a label of a host name.
const MAX_MESH: usize = 42;
/// Longest file that can be a token, bytes.
const MAX_TOKEN: usize = 1024;

/// The droplets of one mesh.
#[derive(Debug, Clone)]
pub struct DigitalOcean {
    api: Api,
    mesh: String,
    settings: DigitalOceanCloud,
}

impl DigitalOcean {
    /// For the mesh of this name. The token is read here, once.
    ///
    /// # Errors
    /// When the mesh's name can be no droplet's, the token cannot be read, or the endpoint is no address.
    pub async fn new(mesh: &str, settings: &DigitalOceanCloud) -> Result<Self, CloudError> {
        Self::with(mesh, settings, Limits::default()).await
    }

    /// As [`DigitalOcean::new`], with limits of the caller's choice.
    ///
    /// # Errors
    /// As [`DigitalOcean::new`].
    pub async fn with(mesh: &str, settings: &DigitalOceanCloud, limits: Limits) -> Result<Self, CloudError> {
        // Tags and names know no upper case.
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if mesh.is_empty() || mesh.len() > MAX_MESH || !mesh.bytes().all(fits) {
            return Err(CloudError::Refused(format!(
                "the mesh's name {mesh:?} is not of 1 to {MAX_MESH} lower case letters, digits and -, which \
                 droplets need"
            )));
        }
        let file = settings.token_file.display();
        let token = tokio::fs::read_to_string(&settings.token_file).await.map_err(|error| {
            CloudError::Refused(format!("scaling.digitalocean.token_file: {file}: {error}"))
        })?;
        let token = token.trim();
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(CloudError::Refused(format!("scaling.digitalocean.token_file: {file} has no token")));
        }
        let endpoint = settings.endpoint.as_deref().unwrap_or(ENDPOINT);
        let api = Api::new(endpoint, token, limits).map_err(CloudError::Refused)?;
        Ok(Self { api, mesh: mesh.to_owned(), settings: settings.clone() })
    }

    fn mesh_tag(&self) -> String {
        format!("skein-mesh-{}", self.mesh)
    }

    fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.mesh)
    }

    /// The number of a droplet of this mesh; none where it is not one.
    fn number(&self, droplet: &Droplet) -> Option<u64> {
        if !droplet.tags.contains(&self.mesh_tag()) {
            return None;
        }
        let number: u64 =
            droplet.tags.iter().find_map(|tag| tag.strip_prefix("skein-number-"))?.parse().ok()?;
        (droplet.name == self.name(number)).then_some(number)
    }

    fn machine(&self, droplet: &Droplet) -> Option<Machine> {
        let private = droplet.networks.v4.iter().find(|network| network.kind == "private");
        Some(Machine {
            id: MachineId(droplet.id.to_string()),
            number: self.number(droplet)?,
            kind: droplet.size_slug.clone(),
            state: state(droplet)?,
            launched: humantime::parse_rfc3339(&droplet.created_at).ok(),
            address: private.and_then(|network| network.ip_address.parse().ok()),
        })
    }

    /// The droplets of each number, the oldest of each; younger ones of the same number are deleted.
    async fn single(&self, droplets: Vec<Droplet>, deadline: Instant) -> Result<Vec<Machine>, CloudError> {
        let mut oldest: BTreeMap<u64, Droplet> = BTreeMap::new();
        let mut doubles = BTreeMap::new();
        for droplet in droplets {
            let Some(number) = self.number(&droplet) else { continue };
            let younger = match oldest.remove(&number) {
                Some(before) if before.id < droplet.id => {
                    let id = droplet.id;
                    oldest.insert(number, before);
                    Some(id)
                }
                Some(before) if before.id > droplet.id => {
                    oldest.insert(number, droplet);
                    Some(before.id)
                }
                _ => {
                    oldest.insert(number, droplet);
                    None
                }
            };
            doubles.extend(younger.map(|id| (id, number)));
        }
        for (id, number) in doubles {
            tracing::warn!(droplet = id, number, "two droplets of one number; the younger one is deleted");
            self.api.delete(id, deadline).await?;
        }
        Ok(oldest.values().filter_map(|droplet| self.machine(droplet)).collect())
    }

    /// The oldest droplet of a number.
    async fn of_number(
        &self,
        number: u64,
        made: Option<Droplet>,
        deadline: Instant,
    ) -> Result<Option<Machine>, CloudError> {
        let mut droplets = self.api.droplets(("name", &self.name(number)), deadline).await?;
        // What was just made need not be listed yet.
        droplets.extend(made);
        let machines = self.single(droplets, deadline).await?;
        Ok(machines.into_iter().find(|machine| machine.number == number))
    }

    async fn create(&self, launch: &Launch, deadline: Instant) -> Result<Droplet, CloudError> {
        let number_or_text = |text: &String| match text.parse::<u64>() {
            Ok(number) => serde_json::Value::from(number),
            Err(_) => serde_json::Value::from(text.as_str()),
        };
        let new = NewDroplet {
            name: self.name(launch.number),
            region: &self.settings.region,
            size: &launch.kind,
            image: number_or_text(&self.settings.image),
            ssh_keys: self.settings.ssh_keys.iter().map(number_or_text).collect(),
            vpc_uuid: self.settings.vpc.as_deref(),
            user_data: &launch.user_data,
            tags: vec!["skein-node".to_owned(), self.mesh_tag(), format!("skein-number-{}", launch.number)],
        };
        self.api.create(&new, deadline).await
    }

    /// A droplet's number and how it is, after a look at whether it is one of this mesh.
    async fn look(&self, id: &MachineId, deadline: Instant) -> Result<(u64, MachineState), CloudError> {
        let unknown = || CloudError::Unknown(id.clone());
        let number = id.0.parse().map_err(|_| unknown())?;
        let droplet = self.api.droplet(number, deadline).await?.ok_or_else(unknown)?;
        let machine = self.machine(&droplet).ok_or_else(|| CloudError::NotOurs(id.clone()))?;
        Ok((number, machine.state))
    }
}

#[async_trait]
impl Cloud for DigitalOcean {
    async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        let deadline = self.api.deadline();
        let droplets = self.api.droplets(("tag_name", &self.mesh_tag()), deadline).await?;
        self.single(droplets, deadline).await
    }

    async fn launch(&self, launch: &Launch) -> Result<Machine, CloudError> {
        if launch.user_data.len() > MAX_USER_DATA {
            return Err(CloudError::Refused(format!("the user data is longer than {MAX_USER_DATA} bytes")));
        }
        let deadline = self.api.deadline();
        let number = launch.number;
        let machine = match self.of_number(number, None, deadline).await? {
            Some(machine) => machine,
            None => {
                let made = self.create(launch, deadline).await?;
                self.of_number(number, Some(made), deadline).await?.ok_or_else(|| {
                    CloudError::Unreachable(format!(
                        "launch {number} was answered without a droplet of its tags"
                    ))
                })?
            }
        };
        if machine.kind == launch.kind { Ok(machine) } else { Err(CloudError::Taken(number)) }
    }

    async fn start(&self, machine: &MachineId) -> Result<(), CloudError> {
        let deadline = self.api.deadline();
        match self.look(machine, deadline).await? {
            (_, MachineState::Pending | MachineState::Running) => Ok(()),
            (id, _) => self.api.act(id, "power_on", deadline).await,
        }
    }

    async fn stop(&self, machine: &MachineId) -> Result<(), CloudError> {
        let deadline = self.api.deadline();
        match self.look(machine, deadline).await? {
            (_, MachineState::Stopping | MachineState::Stopped) => Ok(()),
            (id, _) => self.api.act(id, "power_off", deadline).await,
        }
    }

    async fn terminate(&self, machine: &MachineId) -> Result<(), CloudError> {
        let deadline = self.api.deadline();
        let (id, _) = self.look(machine, deadline).await?;
        self.api.delete(id, deadline).await
    }

    /// In US dollars, without taxes.
    async fn price(&self, kind: &str) -> Option<f64> {
        self.api.price(kind, self.api.deadline()).await
    }
}

fn state(droplet: &Droplet) -> Option<MachineState> {
    match droplet.status.as_str() {
        "new" => Some(MachineState::Pending),
        "active" => Some(MachineState::Running),
        "off" => Some(MachineState::Stopped),
        "archive" => Some(MachineState::Terminated),
        _ => None,
    }
}
