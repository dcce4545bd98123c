//! The receiving end of pipes: a producer is brought to a worker when a consumer there asks, once, however many ask.
//! Across the network once per node; from there worker to worker.
//!
//! One [`PipeLink`] stands for one pipe between two routers and carries any number of producers. Whoever needs a
//! producer holds a [`Lease`]; while nobody who holds one wants it to flow, it is paused in the pipe, and a linger after
//! the last lease is dropped it is taken out. A link without producers ends.

use super::host::HostRoom;
use crate::media::{MediaError, PipeTransport, PipedProducer};
use crate::mesh::{MeshError, MeshStream};
use parking_lot::Mutex;
use skein_proto::ids::{ProducerId, WorkerAddress};
use skein_proto::rpc::{HostMessage, Open, PipeEntry, PipeEvent, PipeOpen, PipeRequest, ProducerEntry};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};

/// How long a producer may take to come through a pipe.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(8);
/// How many producers may wait for one pipe to open.
const WANTED: usize = 1024;
/// How often a link looks for producers that nobody needs any more.
const SWEEP: Duration = Duration::from_millis(250);

/// Why a producer does not come through a pipe.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PipeError {
    /// The pipe could not be made or broke.
    #[error("pipe from {from}: {problem}")]
    Broken {
        /// The sending worker.
        from: WorkerAddress,
        /// What happened.
        problem: String,
    },
    /// The sending end has no such producer.
    #[error("the producer is gone")]
    Gone,
    /// It takes too long.
    #[error("pipe from {0}: no answer in time")]
    Deadline(WorkerAddress),
}

/// All pipes of a room that end at this host.
#[derive(Default)]
pub struct Pipes {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrivals: HashMap<(ProducerId, u16), Arc<Arrival>>,
    /// The worker at which a producer of another node enters this one.
    gateways: HashMap<ProducerId, u16>,
    links: HashMap<(WorkerAddress, u16), Arc<PipeLink>>,
}

#[derive(Debug, Clone)]
enum Progress {
    Pending,
    Ready,
    Ended(PipeError),
}

/// A producer that comes, or is about to come, to a worker.
struct Arrival {
    producer: ProducerId,
    leases: AtomicUsize,
    /// How many of these want it to flow.
    flowing: AtomicUsize,
    progress: watch::Sender<Progress>,
    link: Arc<PipeLink>,
}

struct PipeLink {
    from: WorkerAddress,
    to: WorkerAddress,
    wanted: mpsc::Sender<Arc<Arrival>>,
    flow_changed: Notify,
}

/// Keeps a producer on a worker for as long as it is held.
pub struct Lease {
    arrival: Arc<Arrival>,
    flows: AtomicBool,
}

impl Lease {
    fn new(arrival: &Arc<Arrival>, flows: bool) -> Self {
        arrival.leases.fetch_add(1, Ordering::AcqRel);
        let lease = Self { arrival: Arc::clone(arrival), flows: AtomicBool::new(false) };
        lease.flow(flows);
        lease
    }

    /// Says whether the holder wants the producer's media now. What nobody on a worker wants does not cross the pipe.
    pub fn flow(&self, flows: bool) {
        if self.flows.swap(flows, Ordering::AcqRel) == flows {
            return;
        }
        let changed = if flows {
            self.arrival.flowing.fetch_add(1, Ordering::AcqRel) == 0
        } else {
            self.arrival.flowing.fetch_sub(1, Ordering::AcqRel) == 1
        };
        if changed {
            self.arrival.link.flow_changed.notify_one();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.arrival.leases.fetch_sub(1, Ordering::AcqRel);
        self.flow(false);
    }
}

impl Pipes {
    /// The producers that come through pipes now.
    pub fn list(&self) -> Vec<PipeEntry> {
        self.state.lock().arrivals.values().filter(|a| a.is_ready()).map(|a| a.entry()).collect()
    }
}

impl Arrival {
    fn is_ready(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Ready)
    }

    fn entry(&self) -> PipeEntry {
        PipeEntry { producer: self.producer.clone(), from: self.link.from.clone(), to: self.link.to.clone() }
    }
}

/// Makes sure that a producer of the room is on a worker of this node, and that it flows there, if it is to. `None` when it
/// is there by nature.
///
/// # Errors
/// When it does not come in time, or the other end is gone.
pub async fn ensure(
    room: &Arc<HostRoom>,
    entry: &ProducerEntry,
    worker: u16,
    flows: bool,
) -> Result<Option<Lease>, PipeError> {
    let relay = room.relay(&entry.host.node);
    let lease = {
        let mut state = room.pipes.state.lock();
        let state = &mut *state;
        let here = entry.host.node == *room.node();
        if here && entry.host.worker == worker {
            return Ok(None);
        }
        match state.arrivals.get(&(entry.id.clone(), worker)) {
            Some(arrival) => Lease::new(arrival, flows),
            None => {
                let from = match state.gateways.get(&entry.id) {
                    _ if here => entry.host.clone(),
                    Some(gateway) if *gateway != worker => {
                        WorkerAddress { node: room.node().clone(), worker: *gateway }
                    }
                    _ => {
                        state.gateways.insert(entry.id.clone(), worker);
                        relay.unwrap_or_else(|| entry.host.clone())
                    }
                };
                let link = state
                    .links
                    .entry((from.clone(), worker))
                    .or_insert_with(|| PipeLink::start(room, from.clone(), worker));
                let arrival = Arc::new(Arrival {
                    producer: entry.id.clone(),
                    leases: AtomicUsize::new(0),
                    flowing: AtomicUsize::new(0),
                    progress: watch::Sender::new(Progress::Pending),
                    link: Arc::clone(link),
                });
                if link.wanted.try_send(Arc::clone(&arrival)).is_err() {
                    return Err(PipeError::Broken {
                        from,
                        problem: "too many producers wait for it".to_owned(),
                    });
                }
                state.arrivals.insert((entry.id.clone(), worker), Arc::clone(&arrival));
                Lease::new(&arrival, flows)
            }
        }
    };
    let mut progress = lease.arrival.progress.subscribe();
    let outcome = tokio::time::timeout(
        ARRIVAL_DEADLINE,
        progress.wait_for(|progress| !matches!(progress, Progress::Pending)),
    )
    .await;
    match outcome {
        Ok(Ok(progress)) => match &*progress {
            Progress::Ended(error) => Err(error.clone()),
            _ => {
                drop(progress);
                Ok(Some(lease))
            }
        },
        Ok(Err(_)) => Err(PipeError::Gone),
        Err(_) => Err(PipeError::Deadline(lease.arrival.link.from.clone())),
    }
}

impl PipeLink {
    fn start(room: &Arc<HostRoom>, from: WorkerAddress, to: u16) -> Arc<Self> {
        let (wanted, queue) = mpsc::channel(WANTED);
        let to = WorkerAddress { node: room.node().clone(), worker: to };
        let link = Arc::new(Self { from, to, wanted, flow_changed: Notify::new() });
        let worker =
            Worker { room: Arc::clone(room), link: Arc::clone(&link), wanted: queue, held: HashMap::new() };
        room.context.tasks.spawn(worker.run());
        link
    }
}

/// What a link knows of one producer.
struct Held {
    arrival: Arc<Arrival>,
    piped: Option<PipedProducer>,
    /// Whether the other end was told to send it; it does not before that.
    flows: bool,
    /// Since when nobody holds a lease.
    idle_since: Option<Instant>,
}

impl Held {
    fn new(arrival: Arc<Arrival>) -> Self {
        Self { arrival, piped: None, flows: false, idle_since: None }
    }

    fn is_wanted(&self) -> bool {
        self.arrival.flowing.load(Ordering::Acquire) > 0
    }

    fn is_leased(&self) -> bool {
        self.arrival.leases.load(Ordering::Acquire) > 0
    }
}

/// The task behind a link.
struct Worker {
    room: Arc<HostRoom>,
    link: Arc<PipeLink>,
    wanted: mpsc::Receiver<Arc<Arrival>>,
    held: HashMap<ProducerId, Held>,
}

impl Worker {
    async fn run(mut self) {
        let cancel = self.room.cancel.clone();
        let problem = tokio::select! {
            () = cancel.cancelled() => "the room ended here".to_owned(),
            outcome = self.work() => match outcome {
                Ok(()) => return,
                Err(problem) => problem,
            },
        };
        tracing::debug!(room = %self.room.id, from = %self.link.from, problem, "pipe ended");
        self.abandon(&problem);
    }

    /// Ends well only when nobody needs the link any more, and then it is out of the list.
    async fn work(&mut self) -> Result<(), String> {
        let (transport, mut stream) = self.open().await?;
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                Some(arrival) = self.wanted.recv() => {
                    send(&mut stream, PipeRequest::Consume(arrival.producer.clone())).await?;
                    self.held.insert(arrival.producer.clone(), Held::new(arrival));
                }
                event = stream.recv::<PipeEvent>() => match event {
                    Ok(Some(event)) => self.hear(&transport, &mut stream, event).await?,
                    Ok(None) => return Err("the other end closed it".to_owned()),
                    Err(error) => return Err(error.to_string()),
                },
                () = self.link.flow_changed.notified() => self.sweep(&mut stream).await?,
                _ = sweep.tick() => self.sweep(&mut stream).await?,
            }
            if self.held.is_empty() && self.close_if_unused() {
                return Ok(());
            }
        }
    }

    async fn open(&self) -> Result<(PipeTransport, MeshStream), String> {
        let text = |error: MediaError| error.to_string();
        let between_nodes = self.link.from.node != *self.room.node();
        let stage = self.room.stage(self.link.to.worker).await.map_err(text)?;
        let transport = stage.router.create_pipe_transport(between_nodes).await.map_err(text)?;
        let open = PipeOpen {
            room: self.room.id.clone(),
            from: self.link.from.worker,
            to: self.link.to.clone(),
            end: transport.end().map_err(text)?,
        };
        let mesh_error = |error: MeshError| error.to_string();
        let mut stream =
            self.room.context.mesh.open(&self.link.from.node, &Open::Pipe(open)).await.map_err(mesh_error)?;
        let first = tokio::time::timeout(ARRIVAL_DEADLINE, stream.recv::<PipeEvent>())
            .await
            .map_err(|_| "no answer in time".to_owned())?;
        match first.map_err(mesh_error)? {
            Some(PipeEvent::Opened(end)) => transport.connect(end).await.map_err(text)?,
            Some(PipeEvent::Refused(reason)) => return Err(reason),
            _ => return Err("the other end closed it".to_owned()),
        }
        Ok((transport, stream))
    }

    async fn hear(
        &mut self,
        transport: &PipeTransport,
        stream: &mut MeshStream,
        event: PipeEvent,
    ) -> Result<(), String> {
        let text = |error: MediaError| error.to_string();
        match event {
            PipeEvent::Consumed { producer, kind, rtp_parameters, paused, sends } => {
                let Some(held) = self.held.get_mut(&producer).filter(|held| held.piped.is_none()) else {
                    return Ok(());
                };
                match transport.produce(&producer, kind, &rtp_parameters, paused, sends).await {
                    Ok(piped) => {
                        held.piped = Some(piped);
                        // Only now: what comes before there is a producer for it is lost, and with it the key frame.
                        held.flows = held.is_wanted();
                        if held.flows {
                            send(stream, PipeRequest::Resume(producer.clone())).await?;
                        }
                        held.arrival.progress.send_replace(Progress::Ready);
                        self.room.tell_home(HostMessage::PipeUp(held.arrival.entry()));
                    }
                    Err(error) => {
                        let from = self.link.from.clone();
                        let problem = error.to_string();
                        tracing::warn!(room = %self.room.id, %producer, %from, problem, "cannot take a producer from a pipe");
                        self.end(&producer, PipeError::Broken { from, problem });
                    }
                }
            }
            PipeEvent::Paused(producer) => {
                if let Some(piped) = self.held.get(&producer).and_then(|held| held.piped.as_ref()) {
                    piped.pause().await.map_err(text)?;
                }
            }
            PipeEvent::Resumed(producer) => {
                if let Some(piped) = self.held.get(&producer).and_then(|held| held.piped.as_ref()) {
                    piped.resume().await.map_err(text)?;
                }
            }
            PipeEvent::Gone(producer) => self.end(&producer, PipeError::Gone),
            PipeEvent::Opened(_) | PipeEvent::Refused(_) => {}
        }
        Ok(())
    }

    /// Pauses what nobody wants, resumes what is wanted again, and takes out what nobody has needed for the linger.
    async fn sweep(&mut self, stream: &mut MeshStream) -> Result<(), String> {
        let now = Instant::now();
        let linger = self.room.context.linger;
        let mut done = Vec::new();
        for (producer, held) in &mut self.held {
            let flows = held.is_wanted();
            if held.piped.is_some() && flows != held.flows {
                held.flows = flows;
                let producer = producer.clone();
                let request =
                    if flows { PipeRequest::Resume(producer) } else { PipeRequest::Pause(producer) };
                send(stream, request).await?;
            }
            if held.is_leased() {
                held.idle_since = None;
            } else if now.duration_since(*held.idle_since.get_or_insert(now)) >= linger {
                done.push(producer.clone());
            }
        }
        for producer in done {
            // Under the lock under which leases are given: from here on nobody can get one.
            let unused = {
                let mut state = self.room.pipes.state.lock();
                let unused = self.held.get(&producer).is_some_and(|held| !held.is_leased());
                if unused {
                    state.forget(&producer, &self.link);
                }
                unused
            };
            if unused {
                send(stream, PipeRequest::Stop(producer.clone())).await?;
                self.end(&producer, PipeError::Gone);
            }
        }
        Ok(())
    }

    /// A producer no longer comes.
    fn end(&mut self, producer: &ProducerId, why: PipeError) {
        let Some(held) = self.held.remove(producer) else { return };
        self.room.pipes.state.lock().forget(producer, &self.link);
        if held.arrival.is_ready() {
            self.room.tell_home(HostMessage::PipeDown(held.arrival.entry()));
        }
        held.arrival.progress.send_replace(Progress::Ended(why));
    }

    /// Takes the link out of the list unless somebody wants something of it.
    fn close_if_unused(&mut self) -> bool {
        let mut state = self.room.pipes.state.lock();
        if !self.wanted.is_empty() {
            return false;
        }
        state.links.remove(&(self.link.from.clone(), self.link.to.worker));
        true
    }

    /// The link broke: nothing comes any more, and the next one who asks gets a new link.
    fn abandon(&mut self, problem: &str) {
        let why = PipeError::Broken { from: self.link.from.clone(), problem: problem.to_owned() };
        {
            let mut state = self.room.pipes.state.lock();
            state.links.remove(&(self.link.from.clone(), self.link.to.worker));
        }
        while let Ok(arrival) = self.wanted.try_recv() {
            self.held.insert(arrival.producer.clone(), Held::new(arrival));
        }
        for producer in self.held.keys().cloned().collect::<Vec<_>>() {
            self.end(&producer, why.clone());
        }
    }
}

impl State {
    fn forget(&mut self, producer: &ProducerId, link: &Arc<PipeLink>) {
        let key = (producer.clone(), link.to.worker);
        if self.arrivals.get(&key).is_some_and(|arrival| Arc::ptr_eq(&arrival.link, link)) {
            self.arrivals.remove(&key);
            if self.gateways.get(producer) == Some(&link.to.worker) {
                self.gateways.remove(producer);
            }
        }
    }
}

async fn send(stream: &mut MeshStream, request: PipeRequest) -> Result<(), String> {
    stream.send(&request).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival() -> Arc<Arrival> {
        let at = |node: &str| WorkerAddress { node: node.parse().expect("a name"), worker: 0 };
        let (wanted, _) = mpsc::channel(1);
        let link = PipeLink { from: at("a"), to: at("b"), wanted, flow_changed: Notify::new() };
        Arc::new(Arrival {
            producer: ProducerId("camera".to_owned()),
            leases: AtomicUsize::new(0),
            flowing: AtomicUsize::new(0),
            progress: watch::Sender::new(Progress::Pending),
            link: Arc::new(link),
        })
    }

    #[test]
    fn it_flows_while_anybody_who_holds_it_wants_it() {
        let arrival = arrival();
        let held = Held::new(Arc::clone(&arrival));
        let seen = |held: &Held| (held.is_leased(), held.is_wanted());
        let rests = Lease::new(&arrival, false);
        assert_eq!(seen(&held), (true, false));
        let flows = Lease::new(&arrival, true);
        assert_eq!(seen(&held), (true, true));
        flows.flow(true);
        flows.flow(false);
        assert_eq!(seen(&held), (true, false), "said twice it counts once");
        rests.flow(true);
        drop(flows);
        assert_eq!(seen(&held), (true, true));
        drop(rests);
        assert_eq!(seen(&held), (false, false));
    }
}
