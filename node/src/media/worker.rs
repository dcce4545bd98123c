//! Workers: one thread of mediasoup's a core, each with one WebRTC server, and what they carry.

use super::{Counts, MediaError, Router, bounded};
use mediasoup::prelude::*;
use mediasoup::worker::WorkerLogLevel;
use parking_lot::Mutex;
use skein_bootstrap::config;
use skein_proto::ids::SessionId;
use skein_proto::operator::WorkerDetail;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a reservation holds. The session it is for produces and consumes within this time, and is then counted
/// by what it does.
const RESERVATION_LIFE: Duration = Duration::from_secs(5);

/// All workers of the node.
pub struct Workers {
    workers: Vec<Arc<Worker>>,
    counts: Arc<Counts>,
}

/// One worker.
pub struct Worker {
    index: u16,
    port: u16,
    worker: mediasoup::worker::Worker,
    pub(super) server: WebRtcServer,
    pub(super) settings: Arc<config::Media>,
    pub(super) counts: Arc<Counts>,
    load: Arc<Load>,
}

/// What a worker carries.
#[derive(Debug)]
struct Load {
    total: u32,
    streams: AtomicU32,
    reservations: Mutex<HashMap<SessionId, (u32, Instant)>>,
}

/// One stream that a worker carries, until it is dropped.
#[derive(Debug)]
pub(super) struct Stream(Arc<Load>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts all workers. The receiver hears of a worker that died on its own, with its index.
    ///
    /// # Errors
    /// When a worker cannot be started or its port is taken.
    pub async fn start(settings: &config::Media) -> Result<(Self, mpsc::Receiver<u16>), MediaError> {
        let settings = Arc::new(settings.clone());
        let counts = Arc::new(Counts::default());
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(256) as u16);
        let number = if settings.workers == 0 { cores } else { settings.workers };
        let manager = WorkerManager::new();
        let (died, deaths) = mpsc::channel(usize::from(number).max(1));
        let mut workers = Vec::new();
        for index in 0..number {
            let worker = Worker::start(&manager, index, &settings, &counts, died.clone()).await?;
            workers.push(Arc::new(worker));
        }
        Ok((Self { workers, counts }, deaths))
    }

    /// A worker by its index.
    pub fn get(&self, index: u16) -> Option<&Arc<Worker>> {
        self.workers.get(usize::from(index))
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers.iter()
    }

    /// How many of each thing the node holds.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

fn listen_info(address: &config::MediaAddress, protocol: Protocol) -> ListenInfo {
    ListenInfo {
        protocol,
        ip: address.ip,
        announced_address: address.announced.clone(),
        expose_internal_ip: false,
        port: None,
        port_range: None,
        flags: None,
        send_buffer_size: None,
        recv_buffer_size: None,
    }
}

/// Where a pipe's end listens.
pub(super) fn pipe_listen_info(settings: &config::Media, ip: Option<std::net::IpAddr>) -> ListenInfo {
    let address = match ip {
        Some(ip) => config::MediaAddress { ip, announced: None },
        None => settings.pipe.clone(),
    };
    let (first, last) = settings.pipe_ports;
    ListenInfo { port_range: Some(first..=last), ..listen_info(&address, Protocol::Udp) }
}

impl Worker {
    async fn start(
        manager: &WorkerManager,
        index: u16,
        settings: &Arc<config::Media>,
        counts: &Arc<Counts>,
        died: mpsc::Sender<u16>,
    ) -> Result<Self, MediaError> {
        let start = |problem: String| MediaError::Start { index, problem };
        // The crate's default logs every packet's fate.
        let mut worker_settings = WorkerSettings::default();
        worker_settings.log_level = WorkerLogLevel::Error;
        worker_settings.log_tags = Vec::new();
        let worker =
            bounded(manager.create_worker(worker_settings)).await.map_err(|e| start(e.to_string()))?;
        worker
            .on_dead(move |_| {
                let _ = died.try_send(index);
            })
            .detach();
        let port = match settings.port {
            0 => None,
            first => {
                Some(first.checked_add(index).ok_or_else(|| start("its port is past 65535".to_owned()))?)
            }
        };
        let mut infos = Vec::new();
        for address in &settings.listen {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                infos.push(ListenInfo { port, ..listen_info(address, protocol) });
            }
        }
        let infos = WebRtcServerListenInfos::try_from(infos).map_err(|e| start(e.to_string()))?;
        let server = bounded(worker.create_webrtc_server(WebRtcServerOptions::new(infos)))
            .await
            .map_err(|e| start(format!("media.port {}, media.listen: {e}", port.unwrap_or(0))))?;
        let port = match port {
            Some(port) => port,
            None => {
                let dump = bounded(server.dump()).await?;
                dump.udp_sockets.first().map_or(0, |socket| socket.port)
            }
        };
        let load = Load {
            total: settings.streams_per_worker,
            streams: AtomicU32::new(0),
            reservations: Mutex::new(HashMap::new()),
        };
        Ok(Self {
            index,
            port,
            worker,
            server,
            settings: Arc::clone(settings),
            counts: Arc::clone(counts),
            load: Arc::new(load),
        })
    }

    /// From 0.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Makes a router, for one room.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn create_router(self: &Arc<Self>) -> Result<Router, MediaError> {
        let options = RouterOptions::new(super::codecs::codecs());
        let router = bounded(self.worker.create_router(options)).await?;
        Ok(Router::new(router, Arc::clone(self)))
    }

    /// One more stream.
    pub(super) fn carry(&self) -> Stream {
        self.load.streams.fetch_add(1, Ordering::Relaxed);
        Stream(Arc::clone(&self.load))
    }

    /// Keeps room for a session, from live counters, for [`RESERVATION_LIFE`]. Says whether there was room.
    pub fn reserve(&self, session: SessionId, streams: u32, now: Instant) -> bool {
        let mut reservations = self.load.reservations.lock();
        reservations.retain(|_, (_, until)| *until > now);
        let taken: u32 = reservations.values().map(|(streams, _)| streams).sum();
        let used = self.load.streams.load(Ordering::Relaxed);
        if used.saturating_add(taken).saturating_add(streams) > self.load.total {
            return false;
        }
        reservations.insert(session, (streams, now + RESERVATION_LIFE));
        true
    }

    /// Gives up what was kept for a session.
    pub fn release(&self, session: SessionId) {
        self.load.reservations.lock().remove(&session);
    }

    /// How it is doing.
    pub fn detail(&self, now: Instant) -> WorkerDetail {
        let reserved: u32 = {
            let mut reservations = self.load.reservations.lock();
            reservations.retain(|_, (_, until)| *until > now);
            reservations.values().map(|(streams, _)| streams).sum()
        };
        let streams = self.load.streams.load(Ordering::Relaxed);
        WorkerDetail {
            index: self.index,
            streams,
            reserved,
            free_streams: self.load.total.saturating_sub(streams).saturating_sub(reserved),
            total_streams: self.load.total,
            port: self.port,
        }
    }
}
