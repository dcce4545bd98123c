//! One end of a pipe between two routers of one room, inside a node or across nodes.

use super::accounts::{ConsumerAccount, ProducerAccount};
use super::{Counted, MediaError, Router, bounded, id, json, parse};
use mediasoup::prelude::*;
use serde_json::Value;
use skein_proto::capacity::Sends;
use skein_proto::ids;
use skein_proto::rpc::{Json, PipeEnd};
use skein_proto::signaling::MediaKind;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How long a pipe's receiving end waits before it asks for another key frame, milliseconds: a request on a pipe asks
/// for all simulcast layers at once, and a burst of joins must not ask once each.
const KEY_FRAME_REQUEST_DELAY_MS: u32 = 500;

/// One end of a pipe.
pub struct PipeTransport {
    transport: mediasoup::pipe_transport::PipeTransport,
    router: Router,
    srtp: bool,
    _counted: Counted,
}

impl PipeTransport {
    pub(super) fn new(
        transport: mediasoup::pipe_transport::PipeTransport,
        router: Router,
        srtp: bool,
    ) -> Self {
        let _counted = router.worker.counts.hold(|counts| &counts.pipe_transports);
        Self { transport, router, srtp, _counted }
    }

    /// What the other end needs to know of this one.
    ///
    /// # Errors
    /// When mediasoup's address is not one.
    pub fn end(&self) -> Result<PipeEnd, MediaError> {
        let tuple = self.transport.tuple();
        let ip =
            tuple.local_address().parse().map_err(|e| MediaError::Refused(format!("pipe address: {e}")))?;
        let srtp = match self.transport.srtp_parameters() {
            Some(parameters) => Some(Json::new(&parameters).map_err(|e| MediaError::Refused(e.to_string()))?),
            None => None,
        };
        Ok(PipeEnd { ip, port: tuple.local_port(), srtp })
    }

    /// Connects it to the other end; once.
    ///
    /// # Errors
    /// When the other end's parameters are malformed, or one end has SRTP and the other has not.
    pub async fn connect(&self, end: PipeEnd) -> Result<(), MediaError> {
        let srtp_parameters = match end.srtp {
            Some(srtp) => {
                let value: Value = srtp.read().map_err(|e| MediaError::Refused(e.to_string()))?;
                Some(parse("srtp", value)?)
            }
            None => None,
        };
        if srtp_parameters.is_some() != self.srtp {
            return Err(MediaError::Refused("one end of the pipe has SRTP and the other has not".to_owned()));
        }
        let remote = PipeTransportRemoteParameters { ip: end.ip, port: end.port, srtp_parameters };
        bounded(self.transport.connect(remote)).await
    }

    /// Sends a producer of this end's router to the other end, paused at first. `changes` hears `Some(paused)` when its peer pauses or
    /// resumes it, and `None` when it closes.
    ///
    /// # Errors
    /// When there is no such producer.
    pub async fn consume(
        &self,
        producer: &ids::ProducerId,
        changes: mpsc::Sender<(ids::ProducerId, Option<bool>)>,
    ) -> Result<PipeConsumer, MediaError> {
        // The crate gives capabilities in a finished form and takes them in an open one; they are the same JSON.
        let capabilities = parse("rtpCapabilities", json(&self.router.router.rtp_capabilities())?)?;
        let mut options = ConsumerOptions::new(id("producerId", &producer.0)?, capabilities);
        options.paused = true;
        let consumer = bounded(self.transport.consume(options)).await?;
        let report = |change: Option<bool>| {
            let (changes, producer) = (changes.clone(), producer.clone());
            move || {
                let _ = changes.try_send((producer.clone(), change));
            }
        };
        consumer.on_producer_pause(report(Some(true))).detach();
        consumer.on_producer_resume(report(Some(false))).detach();
        consumer.on_producer_close(report(None)).detach();
        let worker = &self.router.worker;
        let leaves_node = self.srtp;
        let cost = |sends: Sends| if leaves_node { sends.all } else { sends.all.inside() };
        let account = worker.accounts.consumer(&self.router.room, worker.index(), producer, false, cost);
        let account = Arc::new(account);
        worker.meter.consumer(&consumer, &account, leaves_node);
        Ok(PipeConsumer { consumer, _account: account })
    }

    /// Receives a producer from the other end, with the id that it has there.
    ///
    /// # Errors
    /// When the parameters are malformed or the router has a producer of that id.
    pub async fn produce(
        &self,
        own: &ids::ProducerId,
        media: MediaKind,
        parameters: &Json,
        paused: bool,
        sends: Sends,
    ) -> Result<PipedProducer, MediaError> {
        let value: Value = parameters.read().map_err(|e| MediaError::Refused(e.to_string()))?;
        let mut options = ProducerOptions::new_pipe_transport(
            id("producerId", &own.0)?,
            super::transport::kind(media),
            parse("rtpParameters", value)?,
        );
        options.paused = paused;
        options.key_frame_request_delay = KEY_FRAME_REQUEST_DELAY_MS;
        let producer = bounded(self.transport.produce(options)).await?;
        let worker = &self.router.worker;
        let account = worker.accounts.producer(&self.router.room, worker.index(), own, sends);
        worker.meter.producer(&producer, &account, true);
        Ok(PipedProducer { producer, _account: account })
    }
}

/// A producer as it enters a pipe.
pub struct PipeConsumer {
    consumer: mediasoup::consumer::Consumer,
    _account: Arc<ConsumerAccount>,
}

impl PipeConsumer {
    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        match self.consumer.kind() {
            mediasoup::types::rtp_parameters::MediaKind::Audio => MediaKind::Audio,
            mediasoup::types::rtp_parameters::MediaKind::Video => MediaKind::Video,
        }
    }

    /// What goes through the pipe.
    ///
    /// # Errors
    /// Never, in practice: mediasoup's own structure is JSON.
    pub fn rtp_parameters(&self) -> Result<Json, MediaError> {
        Json::new(self.consumer.rtp_parameters()).map_err(|e| MediaError::Refused(e.to_string()))
    }

    /// Whether its peer has paused it.
    pub fn producer_paused(&self) -> bool {
        self.consumer.producer_paused()
    }

    /// Stops sending it.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn pause(&self) -> Result<(), MediaError> {
        bounded(self.consumer.pause()).await
    }

    /// Sends it again.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn resume(&self) -> Result<(), MediaError> {
        bounded(self.consumer.resume()).await
    }
}

/// A producer as it comes out of a pipe.
pub struct PipedProducer {
    producer: mediasoup::producer::Producer,
    _account: Arc<ProducerAccount>,
}

impl PipedProducer {
    /// Its peer paused it.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn pause(&self) -> Result<(), MediaError> {
        bounded(self.producer.pause()).await
    }

    /// Its peer resumed it.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn resume(&self) -> Result<(), MediaError> {
        bounded(self.producer.resume()).await
    }
}
