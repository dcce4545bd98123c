//! Workers: one thread of mediasoup's a core, each with one WebRTC server, and what they carry.

use super::thread::{Introduced, Thread};
use super::{Accounts, Counts, MediaError, Meter, Router, bounded};
use crate::placement::ledger::{Budget, Ledger};
use mediasoup::prelude::*;
use mediasoup::worker::WorkerLogLevel;
use skein_bootstrap::config;
use skein_proto::capacity::REFERENCE;
use skein_proto::ids::RoomId;
use skein_proto::operator::WorkerDetail;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// All workers of the node.
pub struct Workers {
    workers: Vec<Arc<Worker>>,
    counts: Arc<Counts>,
    accounts: Arc<Accounts>,
    meter: Arc<Meter>,
}

/// One worker.
pub struct Worker {
    index: u16,
    port: u16,
    worker: mediasoup::worker::Worker,
    pub(super) server: WebRtcServer,
    pub(super) settings: Arc<config::Media>,
    pub(super) counts: Arc<Counts>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) meter: Arc<Meter>,
    introduced: Introduced,
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
        let kind = match &settings.calibration {
            Some(_) => skein_bootstrap::machine::instance_type().await,
            None => None,
        };
        let known = settings.budget(kind.as_deref(), usize::from(number))?;
        let budget = Budget { worker_packets: known.packets_per_worker, node_bits: known.node_bits };
        tracing::info!(
            workers = number,
            packets = budget.worker_packets,
            bits = budget.node_bits,
            "capacity"
        );
        let accounts = Accounts::new(Ledger::new(budget, usize::from(number)));
        let meter = Arc::new(Meter::default());
        let manager = WorkerManager::new();
        let (died, deaths) = mpsc::channel(usize::from(number).max(1));
        let mut workers = Vec::new();
        for index in 0..number {
            let (accounts, meter) = (Arc::clone(&accounts), Arc::clone(&meter));
            let worker =
                Worker::start(&manager, index, &settings, &counts, (accounts, meter), died.clone()).await?;
            workers.push(Arc::new(worker));
        }
        Ok((Self { workers, counts, accounts, meter }, deaths))
    }

    /// A worker by its index.
    pub fn get(&self, index: u16) -> Option<&Arc<Worker>> {
        self.workers.get(usize::from(index))
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers.iter()
    }

    /// The node's books.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Measures its streams.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
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
        (accounts, meter): (Arc<Accounts>, Arc<Meter>),
        died: mpsc::Sender<u16>,
    ) -> Result<Self, MediaError> {
        let start = |problem: String| MediaError::Start { index, problem };
        // The crate's default logs every packet's fate.
        let mut worker_settings = WorkerSettings::default();
        worker_settings.log_level = WorkerLogLevel::Error;
        worker_settings.log_tags = Vec::new();
        let introduced = Introduced::default();
        worker_settings.thread_initializer = Some(introduced.initializer());
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
        Ok(Self {
            index,
            port,
            worker,
            server,
            settings: Arc::clone(settings),
            counts: Arc::clone(counts),
            accounts,
            meter,
            introduced,
        })
    }

    /// From 0.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Its thread, for [`super::health::spawn`].
    pub fn thread(&self) -> Option<Thread> {
        self.introduced.thread()
    }

    /// Makes a router, for one room.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn create_router(self: &Arc<Self>, room: &RoomId) -> Result<Router, MediaError> {
        let options = RouterOptions::new(super::codecs::codecs());
        let router = bounded(self.worker.create_router(options)).await?;
        Ok(Router::new(router, Arc::clone(self), room.clone()))
    }

    /// How it is doing.
    pub fn detail(&self, now: Instant) -> WorkerDetail {
        let figures = self.accounts.figures(self.index, now);
        let streams = |packets: u64| u32::try_from(packets / REFERENCE.packets).unwrap_or(u32::MAX);
        WorkerDetail {
            index: self.index,
            streams: streams(figures.used),
            reserved: streams(figures.held),
            free_streams: streams(figures.free),
            total_streams: streams(figures.total),
            packets: figures.used,
            free_packets: figures.free,
            total_packets: figures.total,
            cpu_percent: 0,
            closed: false,
            port: self.port,
        }
    }
}
