//! A client's requests, one by one.

use super::{Joined, Receiving, Sending, Session, Transport};
use crate::media::{Capabilities, MediaError, TransportOptions};
use serde::Serialize;
use serde_json::Value;
use skein_proto::ids::{ConsumerId, DataProducerId, PeerId, ProducerId, TransportId};
use skein_proto::rpc::{DataProducerEntry, HostMessage, Json, RosterChange};
use skein_proto::signaling::{self, ClientRequest, Device, Role};

/// Longest name for people, characters.
const MAX_DISPLAY_NAME: usize = 256;
/// How many transports a peer may have. mediasoup-demo's clients have two.
const MAX_TRANSPORTS: usize = 8;
/// How many producers and data producers a peer may have.
pub(super) const MAX_PRODUCERS: usize = 64;
/// How many bytes of application data a peer's producers may have, each and all together: every host of the room keeps
/// them, and says them again whenever one of the producers changes.
const MAX_APP_DATA: usize = 4096;
const MAX_APP_DATA_OF_PEER: usize = 16 * 1024;
/// How many bytes a data channel's label and protocol may have, each.
const MAX_LABEL: usize = 256;

/// A request that is refused: protoo's errorCode (HTTP's status that says the same) and errorReason.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u16,
    pub reason: String,
}

impl Failure {
    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self { code: 400, reason: reason.into() }
    }
    pub(super) fn missing(field: &str, id: &impl std::fmt::Display) -> Self {
        Self { code: 404, reason: format!("{field}: {id} does not exist") }
    }
    pub(super) fn forbidden(reason: &str) -> Self {
        Self { code: 403, reason: reason.to_owned() }
    }
    /// The mesh has no room for it.
    pub(super) fn full(reason: &str) -> Self {
        Self { code: 503, reason: reason.to_owned() }
    }
    pub(super) fn state(reason: &str) -> Self {
        Self { code: 409, reason: reason.to_owned() }
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let code = match error {
            MediaError::Deadline | MediaError::Start { .. } | MediaError::Config(_) => 500,
            MediaError::Parameter { .. } | MediaError::Refused(_) => 400,
        };
        Self { code, reason: error.to_string() }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self { code: 500, reason: error.to_string() }
    }
}

/// What a request is answered; nothing where it is answered later.
pub(super) type Answer = Result<Option<Value>, Failure>;

pub(super) fn answer(answer: impl Serialize) -> Answer {
    Ok(Some(serde_json::to_value(answer)?))
}

pub(super) fn done() -> Answer {
    answer(signaling::Empty {})
}

impl Session {
    pub(super) async fn answer(&mut self, id: u64, request: ClientRequest) -> Answer {
        // Transports may be made before join; all the rest needs it.
        let before_join = matches!(
            request,
            ClientRequest::GetRouterRtpCapabilities(_)
                | ClientRequest::CreateWebRtcTransport(_)
                | ClientRequest::ConnectWebRtcTransport(_)
                | ClientRequest::RestartIce(_)
                | ClientRequest::GetTransportStats(_)
                | ClientRequest::Join(_)
                | ClientRequest::ApplyNetworkThrottle(_)
                | ClientRequest::ResetNetworkThrottle(_)
        );
        if self.joined.is_none() && !before_join {
            return Err(Failure::state(&format!("{}: join first", request.method())));
        }
        match request {
            ClientRequest::GetRouterRtpCapabilities(_) => {
                answer(self.room.stage(self.own.worker).await?.router.rtp_capabilities()?)
            }
            ClientRequest::CreateWebRtcTransport(body) => self.create_transport(body).await,
            ClientRequest::ConnectWebRtcTransport(body) => {
                let transport = self.transport(&body.transport_id)?;
                if transport.connected {
                    return Err(Failure::state(&format!(
                        "transportId: {} is connected already",
                        body.transport_id
                    )));
                }
                transport.transport.connect(body.dtls_parameters).await?;
                self.transport(&body.transport_id)?.connected = true;
                done()
            }
            ClientRequest::RestartIce(body) => {
                answer(self.transport(&body.transport_id)?.transport.restart_ice().await?)
            }
            ClientRequest::Join(body) => self.join(body).await,
            ClientRequest::Produce(body) => self.produce(id, body).await,
            ClientRequest::CloseProducer(body) => {
                self.producer(&body.producer_id)?;
                // Others first: they close their consumers by it, not by an error.
                self.room.change(RosterChange::ProducerGone(body.producer_id.clone()));
                self.producers.remove(&body.producer_id);
                done()
            }
            ClientRequest::PauseProducer(body) => self.pause_producer(&body.producer_id, true).await,
            ClientRequest::ResumeProducer(body) => self.pause_producer(&body.producer_id, false).await,
            ClientRequest::PauseConsumer(body) => {
                self.consumer(&body.consumer_id)?.consumer.pause().await?;
                self.want(&body.consumer_id, false)?;
                done()
            }
            ClientRequest::ResumeConsumer(body) => {
                let receiving = self.want(&body.consumer_id, true)?;
                // Before the client has accepted it there is nobody to send to.
                if receiving.accepted && receiving.forwarded {
                    receiving.consumer.resume().await?;
                }
                self.watch_stalled(&body.consumer_id);
                done()
            }
            ClientRequest::SetConsumerPreferredLayers(body) => {
                let consumer = &self.consumer(&body.consumer_id)?.consumer;
                consumer.set_preferred_layers(body.spatial_layer, body.temporal_layer).await?;
                done()
            }
            ClientRequest::SetConsumerPriority(body) => {
                if body.priority == 0 {
                    return Err(Failure::bad("priority: is 0; 1 to 255 are allowed"));
                }
                self.consumer(&body.consumer_id)?.consumer.set_priority(body.priority).await?;
                done()
            }
            ClientRequest::RequestConsumerKeyFrame(body) => {
                self.consumer(&body.consumer_id)?.consumer.request_key_frame().await?;
                done()
            }
            ClientRequest::ProduceData(body) => self.produce_data(body).await,
            ClientRequest::ChangeDisplayName(body) => {
                check_display_name(&body.display_name)?;
                self.room.rename(self.open.session, body.display_name);
                done()
            }
            ClientRequest::GetTransportStats(body) => {
                answer(self.transport(&body.transport_id)?.transport.stats().await?)
            }
            ClientRequest::GetProducerStats(body) => {
                answer(self.producer(&body.producer_id)?.producer.stats().await?)
            }
            ClientRequest::GetConsumerStats(body) => {
                answer(self.consumer(&body.consumer_id)?.consumer.stats().await?)
            }
            ClientRequest::GetDataProducerStats(body) => {
                answer(self.data_producer(&body.data_producer_id)?.stats().await?)
            }
            ClientRequest::GetDataConsumerStats(body) => {
                let id = &body.data_consumer_id;
                let receiving =
                    self.data_consumers.get(id).ok_or_else(|| Failure::missing("dataConsumerId", id))?;
                answer(receiving.consumer.stats().await?)
            }
            ClientRequest::ApplyNetworkThrottle(_) | ClientRequest::ResetNetworkThrottle(_) => {
                Err(Failure::forbidden("a node does not throttle its network for a client"))
            }
            ClientRequest::Kick(body) => self.kick(body.peer_id),
            ClientRequest::Promote(body) => self.set_role(body.peer_id, Role::Publish),
            ClientRequest::Demote(body) => self.set_role(body.peer_id, Role::Listen),
            ClientRequest::Pin(body) => self.pin(body.peer_ids).await,
            ClientRequest::CloseRoom(_) => {
                self.moderates()?;
                self.room.tell_home(HostMessage::CloseRoom);
                done()
            }
        }
    }

    pub(super) fn transport(&mut self, id: &TransportId) -> Result<&mut Transport, Failure> {
        self.transports.get_mut(id).ok_or_else(|| Failure::missing("transportId", id))
    }

    pub(super) fn producer(&mut self, id: &ProducerId) -> Result<&mut Sending, Failure> {
        self.producers.get_mut(id).ok_or_else(|| Failure::missing("producerId", id))
    }

    fn consumer(&self, id: &ConsumerId) -> Result<&Receiving, Failure> {
        self.consumers.get(id).ok_or_else(|| Failure::missing("consumerId", id))
    }

    /// The client wants a consumer right now, or does not.
    fn want(&mut self, id: &ConsumerId, wanted: bool) -> Result<&Receiving, Failure> {
        if let Some(receiving) = self.consumers.get_mut(id) {
            receiving.paused_by_client = !wanted;
        }
        let receiving = self.consumer(id)?;
        self.flow(receiving);
        Ok(receiving)
    }

    fn data_producer(&self, id: &DataProducerId) -> Result<&crate::media::DataProducer, Failure> {
        let found = self.data_producers.get(id).map(|(producer, _)| producer);
        found.ok_or_else(|| Failure::missing("dataProducerId", id))
    }

    pub(super) fn moderates(&self) -> Result<(), Failure> {
        if self.open.role.may_moderate() {
            return Ok(());
        }
        Err(Failure::forbidden("the peer's role may not moderate"))
    }

    async fn create_transport(&mut self, body: signaling::CreateWebRtcTransport) -> Answer {
        if self.transports.len() >= MAX_TRANSPORTS {
            return Err(Failure::state(&format!("a peer may have {MAX_TRANSPORTS} transports at most")));
        }
        let sctp = body.sctp_capabilities.is_some();
        let options = TransportOptions { force_tcp: body.force_tcp, sctp };
        let stage = self.room.stage(self.own.worker).await?;
        let transport = stage.router.create_webrtc_transport(&options, self.media.clone()).await?;
        if body.consuming {
            transport.watch_bandwidth().await?;
        }
        let info = transport.info()?;
        let consuming = body.consuming;
        self.transports.insert(info.id.clone(), Transport { transport, consuming, sctp, connected: false });
        answer(info)
    }

    async fn join(&mut self, body: signaling::Join) -> Answer {
        if self.joined.is_some() {
            return Err(Failure::state("join: the peer has joined already"));
        }
        check_display_name(&body.display_name)?;
        check_device(&body.device)?;
        let capabilities = body.rtp_capabilities.map(Capabilities::read).transpose()?;
        let (peers, roster) = self
            .room
            .join(self.open.session, body.display_name, body.device)
            .ok_or_else(|| Failure::state("join: the peer connected again elsewhere"))?;
        self.joined = Some(Joined { capabilities });
        self.offered.extend(roster.producers.into_iter().map(|entry| (entry.id.clone(), entry)));
        self.data_offered.extend(roster.data_producers.into_iter().map(|entry| (entry.id.clone(), entry)));
        answer(signaling::Joined { peers })
    }

    async fn produce_data(&mut self, body: signaling::ProduceData) -> Answer {
        self.publishes()?;
        let app_data = self.app_data(&body.app_data)?;
        check_label("label", &body.label)?;
        check_label("protocol", &body.protocol)?;
        let transport = &self.transport(&body.transport_id)?.transport;
        let parameters = body.sctp_stream_parameters;
        let producer = transport.produce_data(parameters.clone(), &body.label, &body.protocol).await?;
        let id = producer.id();
        let entry = DataProducerEntry {
            id: id.clone(),
            peer: self.open.peer.clone(),
            session: self.open.session,
            host: self.own.clone(),
            label: body.label,
            protocol: body.protocol,
            parameters: Json::new(&parameters)?,
            app_data,
        };
        self.data_producers.insert(id.clone(), (producer, entry.clone()));
        self.room.change(RosterChange::DataProducer(entry));
        answer(signaling::DataProduced { id })
    }

    fn kick(&mut self, peer: PeerId) -> Answer {
        self.moderates()?;
        if !self.room.has_peer(&peer) {
            return Err(Failure::missing("peerId", &peer));
        }
        self.room.tell_home(HostMessage::Kick(peer));
        done()
    }

    /// What the application says of a producer that is to be.
    pub(super) fn app_data(&self, data: &signaling::AppData) -> Result<Json, Failure> {
        if !data.0.is_object() {
            return Err(Failure::bad("appData: is not an object"));
        }
        let data = Json::new(data)?;
        let of_media = self.producers.values().map(|sending| &sending.entry.app_data);
        let of_data = self.data_producers.values().map(|(_, entry)| &entry.app_data);
        let others: usize = of_media.chain(of_data).map(Json::len).sum();
        if data.len() > MAX_APP_DATA || data.len() + others > MAX_APP_DATA_OF_PEER {
            return Err(Failure::bad(format!(
                "appData: is longer than {MAX_APP_DATA} bytes as JSON, or that of all producers than {MAX_APP_DATA_OF_PEER}"
            )));
        }
        Ok(data)
    }
}

/// What the whole room keeps of a data channel.
fn check_label(field: &str, text: &str) -> Result<(), Failure> {
    if text.len() > MAX_LABEL {
        return Err(Failure::bad(format!("{field}: is longer than {MAX_LABEL} bytes")));
    }
    Ok(())
}

fn check_display_name(name: &str) -> Result<(), Failure> {
    if name.chars().count() > MAX_DISPLAY_NAME {
        return Err(Failure::bad(format!("displayName: is longer than {MAX_DISPLAY_NAME} characters")));
    }
    Ok(())
}

fn check_device(device: &Device) -> Result<(), Failure> {
    for (field, text) in [("flag", &device.flag), ("name", &device.name), ("version", &device.version)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > MAX_DISPLAY_NAME) {
            return Err(Failure::bad(format!(
                "device.{field}: is longer than {MAX_DISPLAY_NAME} characters"
            )));
        }
    }
    Ok(())
}
