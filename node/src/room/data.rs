//! Data channels between routers: over the mesh's QUIC between nodes, once per node, and in process between the workers
//! of one.

use super::host::HostRoom;
use crate::media::{DataInlet, DataMessage, DataTap, MediaError};
use crate::mesh::{MeshError, MeshStream};
use parking_lot::Mutex;
use skein_proto::ids::DataProducerId;
use skein_proto::rpc::{DataEvent, DataOpen, DataProducerEntry, Open};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OnceCell};

/// How long the other end may take for its first word.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// Why a data channel does not come.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The worker failed.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The other node failed.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// There is no such data producer.
    #[error("the data producer is gone")]
    Gone,
    /// It takes too long.
    #[error("no answer in time")]
    Deadline,
}

/// All data producers of a room that come to this host from elsewhere.
#[derive(Default)]
pub struct DataPipes {
    arrivals: Mutex<HashMap<DataProducerId, Arc<Arrival>>>,
}

/// A data producer that comes to this host, with an inlet on each worker that wants it.
struct Arrival {
    entry: DataProducerEntry,
    inlets: Mutex<HashMap<u16, Arc<OnceCell<DataInlet>>>>,
    leases: AtomicUsize,
    unused: Notify,
}

/// Keeps a data producer on the host for as long as it is held.
pub struct DataLease(Arc<Arrival>);

impl DataLease {
    fn new(arrival: &Arc<Arrival>) -> Self {
        arrival.leases.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(arrival))
    }
}

impl Drop for DataLease {
    fn drop(&mut self) {
        if self.0.leases.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.unused.notify_one();
        }
    }
}

/// Makes sure that a data producer of the room can be consumed on a worker. Answers its id on that worker's router.
///
/// # Errors
/// When the worker is gone.
pub async fn ensure(
    room: &Arc<HostRoom>,
    entry: &DataProducerEntry,
    worker: u16,
) -> Result<(DataProducerId, Option<DataLease>), DataError> {
    if entry.host.node == *room.node() && entry.host.worker == worker {
        return Ok((entry.id.clone(), None));
    }
    let lease = {
        let mut arrivals = room.data.arrivals.lock();
        match arrivals.get(&entry.id) {
            Some(arrival) => DataLease::new(arrival),
            None => {
                let arrival = Arc::new(Arrival {
                    entry: entry.clone(),
                    inlets: Mutex::new(HashMap::new()),
                    leases: AtomicUsize::new(0),
                    unused: Notify::new(),
                });
                arrivals.insert(entry.id.clone(), Arc::clone(&arrival));
                let lease = DataLease::new(&arrival);
                room.context.tasks.spawn(receive(Arc::clone(room), arrival));
                lease
            }
        }
    };
    let cell = Arc::clone(lease.0.inlets.lock().entry(worker).or_default());
    let inlet = cell
        .get_or_try_init(|| async {
            let stage = room.stage(worker).await?;
            DataInlet::new(&stage.router, &entry.label, &entry.protocol).await
        })
        .await?;
    Ok((inlet.id(), Some(lease)))
}

/// Receives a data producer's messages until nobody wants them or there are no more.
async fn receive(room: Arc<HostRoom>, arrival: Arc<Arrival>) {
    let id = arrival.entry.id.clone();
    let outcome = tokio::select! {
        () = room.cancel.cancelled() => Ok(()),
        () = unused(&room, &arrival) => Ok(()),
        outcome = pass_on(&room, &arrival) => outcome,
    };
    if let Err(error) = outcome {
        tracing::debug!(room = %room.id, data_producer = %id, %error, "data channel from elsewhere ended");
    }
    {
        let mut arrivals = room.data.arrivals.lock();
        if arrivals.get(&id).is_some_and(|known| Arc::ptr_eq(known, &arrival)) {
            arrivals.remove(&id);
        }
    }
    // Closing the inlets tells their data consumers, although leases may still hold the arrival itself.
    arrival.inlets.lock().clear();
}

/// Comes back when nobody has wanted the data producer for a while, and nobody can want it any more.
async fn unused(room: &Arc<HostRoom>, arrival: &Arc<Arrival>) {
    loop {
        arrival.unused.notified().await;
        tokio::time::sleep(room.context.linger).await;
        let mut arrivals = room.data.arrivals.lock();
        if arrival.leases.load(Ordering::Acquire) == 0 {
            arrivals.remove(&arrival.entry.id);
            return;
        }
    }
}

async fn pass_on(room: &Arc<HostRoom>, arrival: &Arrival) -> Result<(), DataError> {
    let open = DataOpen { room: room.id.clone(), producer: arrival.entry.id.clone() };
    let mut stream = room.context.mesh.open(&arrival.entry.host.node, &Open::Data(open)).await?;
    let first = tokio::time::timeout(OPEN_DEADLINE, stream.recv::<DataEvent>());
    match first.await.map_err(|_| DataError::Deadline)?? {
        Some(DataEvent::Opened) => {}
        _ => return Err(DataError::Gone),
    }
    while let Some(event) = stream.recv::<DataEvent>().await? {
        let DataEvent::Message { ppid, payload } = event else { break };
        let inlets: Vec<_> = arrival.inlets.lock().values().cloned().collect();
        for inlet in inlets.iter().filter_map(|cell| cell.get()) {
            if let Err(error) = inlet.send(DataMessage { ppid, payload: payload.clone() }) {
                tracing::debug!(room = %room.id, %error, "a message was lost");
            }
        }
    }
    Err(DataError::Gone)
}

/// Serves the sending end for as long as its stream lasts.
pub async fn serve(room: Option<Arc<HostRoom>>, open: DataOpen, mut stream: MeshStream) {
    let outcome = match &room {
        Some(room) => {
            tokio::select! {
                () = room.cancel.cancelled() => Ok(()),
                outcome = send(room, &open, &mut stream) => outcome,
            }
        }
        None => Err(DataError::Gone),
    };
    if let Err(error) = outcome {
        tracing::debug!(room = %open.room, data_producer = %open.producer, %error, "data channel not sent on");
        let _ = stream.send(&DataEvent::Gone).await;
    }
}

async fn send(room: &Arc<HostRoom>, open: &DataOpen, stream: &mut MeshStream) -> Result<(), DataError> {
    let entry = room.own_data_producer(&open.producer).ok_or(DataError::Gone)?;
    let stage = room.stage(entry.host.worker).await?;
    let mut tap = DataTap::new(&stage.router, &entry.id).await?;
    stream.send(&DataEvent::Opened).await?;
    loop {
        tokio::select! {
            message = tap.next() => {
                let Some(DataMessage { ppid, payload }) = message else { return Err(DataError::Gone) };
                stream.send(&DataEvent::Message { ppid, payload }).await?;
            }
            // The other end says nothing; that its stream ended is the news.
            ended = stream.recv::<DataEvent>() => match ended? {
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
