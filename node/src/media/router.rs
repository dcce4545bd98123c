//! A router: what one room has on one worker.

use super::transport::{TransportOptions, WebRtcTransport};
use super::{Counted, MediaError, PipeTransport, Worker, bounded, json};
use mediasoup::prelude::*;
use skein_proto::ids::RoomId;
use skein_proto::signaling;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A router. Clones are the same router; it closes when the last one and everything on it is gone.
#[derive(Clone)]
pub struct Router {
    pub(super) router: mediasoup::router::Router,
    pub(super) worker: Arc<Worker>,
    pub(super) room: RoomId,
    _counted: Arc<Counted>,
}

impl Router {
    pub(super) fn new(router: mediasoup::router::Router, worker: Arc<Worker>, room: RoomId) -> Self {
        let counted = Arc::new(worker.counts.hold(|counts| &counts.routers));
        Self { router, worker, room, _counted: counted }
    }

    /// The worker it is on.
    pub fn worker(&self) -> u16 {
        self.worker.index()
    }

    /// What it can carry.
    ///
    /// # Errors
    /// Never, in practice: mediasoup's own structure is JSON.
    pub fn rtp_capabilities(&self) -> Result<signaling::RtpCapabilities, MediaError> {
        json(&self.router.rtp_capabilities()).map(signaling::RtpCapabilities)
    }

    /// Makes a client's transport.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn create_webrtc_transport(
        &self,
        options: &TransportOptions,
        events: super::entity::Events,
    ) -> Result<WebRtcTransport, MediaError> {
        WebRtcTransport::create(self, options, events).await
    }

    /// Makes one end of a pipe: inside the node on loopback in the clear, between nodes with SRTP and RTX.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn create_pipe_transport(&self, between_nodes: bool) -> Result<PipeTransport, MediaError> {
        let ip = (!between_nodes).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let listen = super::worker::pipe_listen_info(&self.worker.settings, ip);
        let mut options = PipeTransportOptions::new(listen);
        options.enable_rtx = between_nodes;
        options.enable_srtp = between_nodes;
        let transport = bounded(self.router.create_pipe_transport(options)).await?;
        Ok(PipeTransport::new(transport, self.clone(), between_nodes))
    }

    /// Makes the observer of who speaks among the router's own producers.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn create_speaker_observer(
        &self,
        heard: tokio::sync::mpsc::Sender<super::observer::Heard>,
    ) -> Result<super::observer::SpeakerObserver, MediaError> {
        super::observer::SpeakerObserver::create(self, heard).await
    }
}
