//! Data channels beyond one router. They do not cross a mediasoup pipe (its SCTP is clear text there): a tap takes a
//! data producer's messages out of its router, and an inlet puts them into another.

use super::{Counted, MediaError, Router, bounded, id};
use mediasoup::prelude::*;
use skein_proto::ids::DataProducerId;
use std::borrow::Cow;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One message of a data channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataMessage {
    /// SCTP payload protocol identifier (RFC 8831, section 8).
    pub ppid: u32,
    /// The message.
    pub payload: Vec<u8>,
}

/// How many messages wait at most between a tap and what takes them; more are lost, as on a full data channel.
const QUEUE: usize = 1024;

/// Takes a data producer's messages out of its router, until it is dropped.
pub struct DataTap {
    messages: mpsc::Receiver<DataMessage>,
    // The queue outlives the data producer, because the callback that fills it does.
    closed: CancellationToken,
    _consumer: mediasoup::data_consumer::DataConsumer,
}

/// Puts messages into a router, as a data producer with an id of its own, until it is dropped.
pub struct DataInlet {
    producer: mediasoup::data_producer::DataProducer,
    _counted: Counted,
}

impl DataTap {
    /// Taps a data producer of the router.
    ///
    /// # Errors
    /// When there is no such data producer.
    pub async fn new(router: &Router, producer: &DataProducerId) -> Result<Self, MediaError> {
        let transport =
            bounded(router.router.create_direct_transport(DirectTransportOptions::default())).await?;
        let options = DataConsumerOptions::new_direct(id("dataProducerId", &producer.0)?, None);
        let consumer = bounded(transport.consume_data(options)).await?;
        let (sender, messages) = mpsc::channel(QUEUE);
        consumer
            .on_message(move |message| {
                let (ppid, payload) = parts(message);
                let _ = sender.try_send(DataMessage { ppid, payload });
            })
            .detach();
        let closed = CancellationToken::new();
        let close = closed.clone();
        consumer.on_data_producer_close(move || close.cancel()).detach();
        Ok(Self { messages, closed, _consumer: consumer })
    }

    /// The next message; none when the data producer closed.
    pub async fn next(&mut self) -> Option<DataMessage> {
        tokio::select! {
            biased;
            message = self.messages.recv() => message,
            () = self.closed.cancelled() => None,
        }
    }
}

fn parts(message: &WebRtcMessage<'_>) -> (u32, Vec<u8>) {
    // Numbers of RFC 8831, section 8. An empty message carries one byte that means nothing.
    match message {
        WebRtcMessage::String(payload) => (51, payload.to_vec()),
        WebRtcMessage::Binary(payload) => (53, payload.to_vec()),
        WebRtcMessage::EmptyString => (56, vec![0]),
        WebRtcMessage::EmptyBinary => (57, vec![0]),
    }
}

impl DataInlet {
    /// Makes a data producer on the router that carries what [`DataInlet::send`] gets.
    ///
    /// # Errors
    /// When the worker is gone.
    pub async fn new(router: &Router, label: &str, protocol: &str) -> Result<Self, MediaError> {
        let transport =
            bounded(router.router.create_direct_transport(DirectTransportOptions::default())).await?;
        let mut options = DataProducerOptions::new_direct();
        options.label = label.to_owned();
        options.protocol = protocol.to_owned();
        let producer = bounded(transport.produce_data(options)).await?;
        Ok(Self { producer, _counted: router.worker.counts.hold(|counts| &counts.data_pipes) })
    }

    /// The id that it has on this router.
    pub fn id(&self) -> DataProducerId {
        DataProducerId(self.producer.id().to_string())
    }

    /// Passes a message on.
    ///
    /// # Errors
    /// When the payload identifier is not one of WebRTC's, or the worker is gone.
    pub fn send(&self, message: DataMessage) -> Result<(), MediaError> {
        let DataMessage { ppid, payload } = message;
        let message = WebRtcMessage::new(ppid, Cow::Owned(payload))
            .map_err(|ppid| MediaError::Refused(format!("ppid: {ppid} is not one of WebRTC's")))?;
        match &self.producer {
            mediasoup::data_producer::DataProducer::Direct(producer) => {
                producer.send(message, None, None, None).map_err(|e| MediaError::Refused(e.to_string()))
            }
            _ => Err(MediaError::Refused("the data producer is not a direct one".to_owned())),
        }
    }
}
