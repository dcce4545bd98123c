//! Machines enrol and certificates rotate, over real QUIC on loopback.

mod policy;
mod rotation;
mod wire;

use super::*;
use crate::mesh::tests::{LONG, World, eventually, id};
use crate::mesh::{Incoming, MeshSettings};
use crate::scaler::cloud::{CloudError, Launch, Machine, MachineId, MachineState};
use async_trait::async_trait;
use skein_bootstrap::enrolment::{Secret, Ticket, enrolment_environment};
use skein_bootstrap::identity::NodeKey;
use skein_proto::rpc::Open;
use std::net::Ipv4Addr;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A cloud that lists what it is told.
struct Listed(Mutex<Result<Vec<Machine>, CloudError>>);

impl Listed {
    fn new(machines: Vec<Machine>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Ok(machines))))
    }
}

fn machine(number: u64) -> Machine {
    Machine {
        id: MachineId(format!("i-{number}")),
        number,
        kind: "small".to_owned(),
        state: MachineState::Running,
        launched: Some(SystemTime::now()),
        address: Some(HERE),
    }
}

fn refused<T>() -> Result<T, CloudError> {
    Err(CloudError::Refused("not in this test".to_owned()))
}

#[async_trait]
impl Cloud for Listed {
    async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        self.0.lock().clone()
    }
    async fn launch(&self, _: &Launch) -> Result<Machine, CloudError> {
        refused()
    }
    async fn start(&self, _: &MachineId) -> Result<(), CloudError> {
        refused()
    }
    async fn stop(&self, _: &MachineId) -> Result<(), CloudError> {
        refused()
    }
    async fn terminate(&self, _: &MachineId) -> Result<(), CloudError> {
        refused()
    }
    async fn price(&self, _: &str) -> Option<f64> {
        None
    }
}

/// A mesh whose seeds let machines in.
struct Fleet {
    world: World,
    secret: Secret,
    voters: Vec<&'static str>,
    /// For how long the certificates are good that its seeds sign.
    life: Duration,
}

struct Seed {
    mesh: Mesh,
    enrol: Arc<Enrol>,
    cancel: CancellationToken,
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Fleet {
    fn new(voters: &[&'static str]) -> Self {
        let fleet = Self {
            world: World::new(),
            secret: Secret::generate().expect("makes"),
            voters: voters.to_vec(),
            life: Duration::from_secs(3600),
        };
        let folder = fleet.world.folder.path();
        fleet.secret.write(&folder.join("enrol.secret")).expect("writes");
        fleet.world.authority.write(folder).expect("writes");
        fleet
    }

    /// What a node is started with; a seed has the authority's key and the secret.
    fn config(&self, settings: &MeshSettings, is_seed: bool) -> Config {
        let mesh = &settings.config;
        let file = |name: &str| self.world.folder.path().join(name).display().to_string();
        let mut all = vec![
            format!("node.id={}", settings.node),
            "mesh.name=dev".to_owned(),
            format!("mesh.ca={}", mesh.ca.display()),
            format!("mesh.cert={}", mesh.cert.display()),
            format!("mesh.key={}", mesh.key.display()),
            format!("election.voters={:?}", self.voters),
            format!("enrol.certificate_hours={:?}", self.life.as_secs_f64() / 3600.0),
        ];
        if is_seed {
            all.push(format!("enrol.authority_key={}", file("ca.key")));
            all.push(format!("enrol.secret_file={}", file("enrol.secret")));
        }
        Config::load(None, [], &all).expect("is right")
    }

    async fn start(&self, mut settings: MeshSettings, is_seed: bool, cloud: Option<Arc<dyn Cloud>>) -> Seed {
        let config = self.config(&settings, is_seed);
        let signer = Signer::read(&config).expect("reads");
        settings.enrols = is_seed;
        settings.facts.role = if is_seed { "seed" } else { "node" }.to_owned();
        let (mesh, incoming) = Mesh::start(settings).await.expect("starts");
        let enrol = Enrol::new(mesh.clone(), &config, signer, cloud);
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        tokio::spawn(Arc::clone(&enrol).run(tasks, cancel.clone()));
        tokio::spawn(serve(Arc::clone(&enrol), incoming));
        Seed { mesh, enrol, cancel }
    }

    async fn seed(&self, name: &str, to: &[&Seed], cloud: Option<Arc<dyn Cloud>>) -> Seed {
        let seeds: Vec<_> = to.iter().map(|seed| seed.mesh.addr()).collect();
        self.start(self.world.settings(name, &seeds), true, cloud).await
    }

    /// What the machine of a launch is told.
    fn ticket(&self, number: u64, seeds: &[&Seed]) -> Ticket {
        let mut seeds: Vec<_> = seeds.iter().map(|seed| seed.mesh.addr().into()).collect();
        if seeds.is_empty() {
            // Nobody is asked over the wire.
            seeds.push(std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 9)).into());
        }
        let ca = self.world.authority.certificate_pem();
        let text = enrolment_environment("dev", &self.secret, number, &seeds, ca);
        Ticket::from_environment(&text).expect("is one")
    }

    /// What that machine asks, with a new key.
    fn request(&self, number: u64) -> EnrolRequest {
        asking(&self.ticket(number, &[]), &NodeKey::generate().expect("makes"))
    }
}

fn asking(ticket: &Ticket, key: &NodeKey) -> EnrolRequest {
    EnrolRequest {
        mesh: ticket.mesh.clone(),
        node: ticket.node.clone(),
        token: ticket.token.clone(),
        request: key.request(&ticket.mesh, &ticket.node).expect("requests"),
    }
}

impl Seed {
    async fn sees(&self, names: &[&str]) {
        eventually(&format!("{} sees {names:?}", self.mesh.id()), async || {
            let view = self.mesh.view();
            let view = view.borrow();
            view.nodes.keys().map(NodeId::as_str).eq(names.iter().copied())
        })
        .await;
    }

    fn count(&self, name: &str) -> u64 {
        let all = self.mesh.counters().read();
        all.iter().find(|(each, _)| *each == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }
}

/// Answers as a node does.
async fn serve(enrol: Arc<Enrol>, mut incoming: Incoming) {
    while let Some((from, open, mut stream)) = incoming.accept().await {
        let enrol = Arc::clone(&enrol);
        tokio::spawn(async move {
            let reply = match open {
                Open::Call(Call::UseToken(token_use)) => enrol.use_token(token_use),
                Open::Call(Call::Renew(request)) => enrol.renew(&from, &request),
                Open::Session(_) => {
                    while let Ok(Some(frame)) = stream.recv::<skein_proto::rpc::SessionFrame>().await {
                        if stream.send(&frame).await.is_err() {
                            return;
                        }
                    }
                    return;
                }
                _ => Reply::Done,
            };
            // Who asked may be gone.
            let _ = stream.send(&reply).await;
        });
    }
}
