//! What the others in the room send, brought to the peer's worker and offered to its client.

use super::{Asked, CLOSE_INTERNAL, End, Receiving, ReceivingData, Session, close};
use crate::room::data::{self, DataError, DataLease};
use crate::room::pipes::{self, Lease, PipeError};
use skein_proto::ids::{ConsumerId, DataConsumerId, DataProducerId, ProducerId};
use skein_proto::rpc::{DataProducerEntry, ProducerEntry};
use skein_proto::signaling::{
    NewConsumer, NewDataConsumer, Notification, SctpStreamParameters, ServerRequest,
};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait before a producer that could not be brought is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How often a producer is offered to a client whose capabilities do not fit it, or that does not answer.
const TRIES: u8 = 3;

/// How often a consumer that does not get to the layers that it is meant to is looked at.
const GOES_UP: u32 = 4;

/// A producer or data producer that was brought to the peer's worker, or was not.
pub(super) enum Arrived {
    Producer(ProducerEntry, Result<Option<Lease>, PipeError>),
    DataProducer(DataProducerEntry, Result<(DataProducerId, Option<DataLease>), DataError>),
}

impl Session {
    /// Begins to bring what is offered and not taken yet, where the client can receive it.
    pub(super) fn consume_offered(&mut self) {
        let Some(joined) = &self.joined else { return };
        if !self.transports.values().any(|transport| transport.consuming) {
            return;
        }
        let worker = self.own.worker;
        if joined.capabilities.is_some() {
            for (id, entry) in &self.offered {
                if !self.taken.insert(id.clone()) {
                    continue;
                }
                let (room, entry) = (Arc::clone(&self.room), entry.clone());
                let flows = self.passes(entry.kind, &entry.peer);
                self.arrivals.push(async move {
                    let outcome = pipes::ensure(&room, &entry, worker, flows).await;
                    if outcome.is_err() {
                        tokio::time::sleep(RETRY).await;
                    }
                    Arrived::Producer(entry, outcome)
                });
            }
        }
        if self.transports.values().any(|transport| transport.consuming && transport.sctp) {
            for (id, entry) in &self.data_offered {
                if !self.data_taken.insert(id.clone()) {
                    continue;
                }
                let (room, entry) = (Arc::clone(&self.room), entry.clone());
                self.arrivals.push(async move {
                    let outcome = data::ensure(&room, &entry, worker).await;
                    if outcome.is_err() {
                        tokio::time::sleep(RETRY).await;
                    }
                    Arrived::DataProducer(entry, outcome)
                });
            }
        }
    }

    /// Something was brought: the client gets a consumer of it.
    pub(super) async fn take(&mut self, arrived: Arrived) -> Result<(), End> {
        match arrived {
            Arrived::Producer(entry, Ok(lease)) => self.offer(entry, lease).await,
            Arrived::DataProducer(entry, Ok((id, lease))) => self.offer_data(entry, &id, lease).await,
            Arrived::Producer(entry, Err(error)) => {
                tracing::debug!(session = %self.open.session, producer = %entry.id, %error, "cannot be consumed yet");
                self.taken.remove(&entry.id);
                self.consume_offered();
                Ok(())
            }
            Arrived::DataProducer(entry, Err(error)) => {
                tracing::debug!(session = %self.open.session, data_producer = %entry.id, %error, "cannot be consumed yet");
                self.data_taken.remove(&entry.id);
                self.consume_offered();
                Ok(())
            }
        }
    }

    async fn offer(&mut self, entry: ProducerEntry, lease: Option<Lease>) -> Result<(), End> {
        if !self.offered.contains_key(&entry.id) {
            self.taken.remove(&entry.id);
            return Ok(());
        }
        let capabilities = self.joined.as_ref().and_then(|joined| joined.capabilities.as_ref());
        let transport = self.transports.values().find(|transport| transport.consuming);
        let (Some(capabilities), Some(transport)) = (capabilities, transport) else {
            self.taken.remove(&entry.id);
            return Ok(());
        };
        if !transport.transport.can_consume(&entry.id, capabilities) {
            tracing::debug!(session = %self.open.session, producer = %entry.id, "the client cannot receive it");
            // Either the client lacks the codec, for good, or the producer's pipe broke a moment ago: after a few tries
            // it must be the former, and the producer stays taken.
            try_again(&mut self.unreceived, &mut self.taken, &entry.id);
            return Ok(());
        }
        let quiet = entry.quiet.then_some(entry.session);
        let waits = !self.is_forwarded(entry.kind, &entry.peer, quiet);
        let consumer = match transport.transport.consume(&entry.id, capabilities, waits).await {
            Ok(consumer) => consumer,
            Err(error) => {
                tracing::debug!(session = %self.open.session, producer = %entry.id, %error, "cannot consume");
                // Looked at again when the next second has passed.
                self.taken.remove(&entry.id);
                return Ok(());
            }
        };
        let id = consumer.id();
        let internal = |error: &dyn std::fmt::Display| close(CLOSE_INTERNAL, &error.to_string());
        let request = NewConsumer {
            peer_id: entry.peer.clone(),
            producer_id: entry.id.clone(),
            id: id.clone(),
            kind: entry.kind,
            rtp_parameters: consumer.rtp_parameters().map_err(|e| internal(&e))?,
            consumer_type: consumer.consumer_type(),
            app_data: entry.app_data.read().map_err(|e| internal(&e))?,
            producer_paused: consumer.producer_paused(),
        };
        let forwarded = self.is_forwarded(entry.kind, &entry.peer, quiet);
        let receiving = Receiving {
            consumer,
            producer: entry.id,
            peer: entry.peer,
            quiet,
            kind: entry.kind,
            forwarded,
            paused_by_client: false,
            accepted: false,
            lease,
        };
        self.flow(&receiving);
        self.consumers.insert(id.clone(), receiving);
        self.ask(ServerRequest::NewConsumer(request), Asked::Consumer(id)).await
    }

    async fn offer_data(
        &mut self,
        entry: DataProducerEntry,
        local: &DataProducerId,
        lease: Option<DataLease>,
    ) -> Result<(), End> {
        let transport = self.transports.values().find(|transport| transport.consuming && transport.sctp);
        let (Some(transport), true) = (transport, self.data_offered.contains_key(&entry.id)) else {
            self.data_taken.remove(&entry.id);
            return Ok(());
        };
        let internal = |error: &dyn std::fmt::Display| close(CLOSE_INTERNAL, &error.to_string());
        let parameters: SctpStreamParameters = entry.parameters.read().map_err(|e| internal(&e))?;
        let consumer = match transport.transport.consume_data(local, &parameters).await {
            Ok(consumer) => consumer,
            Err(error) => {
                tracing::debug!(session = %self.open.session, data_producer = %entry.id, %error, "cannot consume");
                self.data_taken.remove(&entry.id);
                return Ok(());
            }
        };
        let id = consumer.id();
        let request = NewDataConsumer {
            peer_id: Some(entry.peer.clone()),
            data_producer_id: entry.id.clone(),
            id: id.clone(),
            sctp_stream_parameters: consumer.parameters().clone(),
            label: entry.label.clone(),
            protocol: entry.protocol.clone(),
            app_data: entry.app_data.read().map_err(|e| internal(&e))?,
        };
        self.data_consumers.insert(id.clone(), ReceivingData { consumer, producer: entry.id, _lease: lease });
        self.ask(ServerRequest::NewDataConsumer(request), Asked::DataConsumer(id)).await
    }

    /// The client accepted what it was asked: media begins to flow.
    pub(super) async fn accepted(&mut self, request: u64) -> Result<(), End> {
        let Some((Asked::Consumer(id), _)) = self.asked.remove(&request) else { return Ok(()) };
        let Some(receiving) = self.consumers.get_mut(&id) else { return Ok(()) };
        receiving.accepted = true;
        let forwarded = receiving.forwarded;
        if !receiving.paused_by_client
            && forwarded
            && let Err(error) = receiving.consumer.resume().await
        {
            tracing::debug!(session = %self.open.session, consumer = %id, %error, "cannot resume");
        }
        let score = receiving.consumer.score();
        self.watch_stalled(&id);
        if !forwarded {
            self.notify(Notification::ConsumerPaused { consumer_id: id.clone() }).await?;
        }
        match score {
            Ok(score) => self.notify(Notification::ConsumerScore { consumer_id: id, score }).await,
            Err(_) => Ok(()),
        }
    }

    /// Looks at a consumer in a moment where it should send and does not.
    pub(super) fn watch_stalled(&mut self, id: &ConsumerId) {
        let stalls = |receiving: &Receiving| receiving.is_wanted() && receiving.consumer.is_stalled();
        if self.consumers.get(id).is_some_and(stalls) {
            self.stalled.watch(id.clone(), Instant::now());
        }
    }

    /// Has the worker decide anew what it sends of the consumers that still send nothing.
    pub(super) async fn wake_stalled(&mut self) {
        for id in self.stalled.due(Instant::now()) {
            let Some(receiving) = self.consumers.get(&id).filter(|receiving| receiving.is_wanted()) else {
                self.stalled.forget(&id);
                continue;
            };
            let consumer = &receiving.consumer;
            let done = if !consumer.is_stalled() {
                if self.stalled.looks(&id) > GOES_UP || !consumer.is_below_target().await {
                    self.stalled.forget(&id);
                    continue;
                }
                consumer.request_key_frame().await
            } else if consumer.producer_flows() {
                tracing::debug!(session = %self.open.session, consumer = %id, producer = %receiving.producer, "sends nothing");
                consumer.reconsider().await
            } else {
                Ok(())
            };
            if let Err(error) = done {
                tracing::debug!(session = %self.open.session, consumer = %id, %error, "cannot be made to send");
            }
        }
    }

    /// The worker sends other layers of a consumer than before, or none.
    pub(super) async fn follow_layers(&mut self, id: &ConsumerId, sends: bool) {
        let Some(Receiving { consumer, .. }) = self.consumers.get(id) else { return };
        let done = if sends { consumer.go_up().await } else { consumer.start_low().await.map(|()| false) };
        match done {
            Ok(true) => self.stalled.watch(id.clone(), Instant::now()),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(session = %self.open.session, consumer = %id, %error, "cannot choose layers");
            }
        }
    }

    /// The client did not answer what it was asked in time. It may yet, and have a consumer then that is none: it is told
    /// that this is over.
    pub(super) async fn unanswered(&mut self, request: u64) -> Result<(), End> {
        let over = match self.asked.get(&request) {
            Some((Asked::Consumer(id), _)) => Some(Notification::ConsumerClosed { consumer_id: id.clone() }),
            Some((Asked::DataConsumer(id), _)) => {
                Some(Notification::DataConsumerClosed { data_consumer_id: id.clone() })
            }
            Some((Asked::Move, _)) | None => None,
        };
        self.rejected(request, "no answer in time", false);
        match over {
            Some(over) => self.notify(over).await,
            None => Ok(()),
        }
    }

    /// The client does not do what it was asked. What it does not want, by its own word, it is not asked again; what it
    /// failed at it is, up to some number of times.
    pub(super) fn rejected(&mut self, request: u64, reason: &str, unwanted: bool) {
        let Some((asked, _)) = self.asked.remove(&request) else { return };
        tracing::debug!(session = %self.open.session, ?asked, reason, "the client rejected a request");
        match asked {
            Asked::Consumer(id) => {
                if let Some(receiving) = self.consumers.remove(&id).filter(|_| !unwanted) {
                    try_again(&mut self.unreceived, &mut self.taken, &receiving.producer);
                }
            }
            Asked::DataConsumer(id) => {
                if let Some(receiving) = self.data_consumers.remove(&id).filter(|_| !unwanted) {
                    try_again(&mut self.data_unreceived, &mut self.data_taken, &receiving.producer);
                }
            }
            Asked::Move => self.room.stay(self.open.session),
        }
    }

    pub(super) async fn producer_gone(&mut self, producer: &ProducerId) -> Result<(), End> {
        self.offered.remove(producer);
        self.taken.remove(producer);
        self.unreceived.remove(producer);
        let of_it = |(id, receiving): (&ConsumerId, &Receiving)| {
            (receiving.producer == *producer).then(|| id.clone())
        };
        if let Some(id) = self.consumers.iter().find_map(of_it) {
            self.consumers.remove(&id);
            self.notify(Notification::ConsumerClosed { consumer_id: id }).await?;
        }
        Ok(())
    }

    pub(super) async fn data_producer_gone(&mut self, producer: &DataProducerId) -> Result<(), End> {
        self.data_offered.remove(producer);
        self.data_taken.remove(producer);
        self.data_unreceived.remove(producer);
        let of_it = |(id, receiving): (&DataConsumerId, &ReceivingData)| {
            (receiving.producer == *producer).then(|| id.clone())
        };
        if let Some(id) = self.data_consumers.iter().find_map(of_it) {
            self.data_consumers.remove(&id);
            self.notify(Notification::DataConsumerClosed { data_consumer_id: id }).await?;
        }
        Ok(())
    }

    /// mediasoup closed a consumer because its producer on this worker closed. Where the room still has the producer,
    /// it was its pipe that broke, and the client gets another consumer.
    pub(super) async fn consumer_closed(&mut self, id: ConsumerId) -> Result<(), End> {
        let Some(receiving) = self.consumers.remove(&id) else { return Ok(()) };
        self.taken.remove(&receiving.producer);
        drop(receiving);
        self.notify(Notification::ConsumerClosed { consumer_id: id }).await?;
        self.consume_offered();
        Ok(())
    }

    /// The same for a data consumer.
    pub(super) async fn data_consumer_closed(&mut self, id: DataConsumerId) -> Result<(), End> {
        let Some(receiving) = self.data_consumers.remove(&id) else { return Ok(()) };
        self.data_taken.remove(&receiving.producer);
        drop(receiving);
        self.notify(Notification::DataConsumerClosed { data_consumer_id: id }).await?;
        self.consume_offered();
        Ok(())
    }
}

/// The client did not get a producer or data producer: it is offered that again, up to some number of times.
fn try_again<Id: Clone + Eq + Hash>(unreceived: &mut HashMap<Id, u8>, taken: &mut HashSet<Id>, id: &Id) {
    let tries = unreceived.entry(id.clone()).or_insert(0);
    *tries += 1;
    if *tries < TRIES {
        taken.remove(id);
    }
}
