//! What a client asks, and what it is answered.

use super::{
    AppData, Device, DtlsParameters, IceCandidates, IceParameters, MediaKind, RtpCapabilities, RtpParameters,
    SctpCapabilities, SctpParameters, SctpStreamParameters, Stats,
};
use crate::ids::{ConsumerId, DataConsumerId, DataProducerId, PeerId, ProducerId, TransportId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// Why a request is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such method.
    #[error("method: unknown method {0:?}")]
    UnknownMethod(String),
    /// The body does not fit; `field` is the path to what is wrong.
    #[error("{method}: {field}: {problem}")]
    Body {
        /// The method.
        method: &'static str,
        /// The path to the field, or `data` where the body as a whole is meant.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// One method's names, for the SDK's types.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// On the wire.
    pub name: &'static str,
    /// Name of the body's type.
    pub data: fn(&ts_rs::Config) -> String,
    /// Name of the answer's type.
    pub answer: fn(&ts_rs::Config) -> String,
}

macro_rules! client_requests {
    ($($(#[$doc:meta])* $method:literal => $variant:ident($data:ty) -> $answer:ty;)*) => {
        /// All that a client may ask.
        #[derive(Debug, Clone, PartialEq)]
        pub enum ClientRequest {
            $($(#[$doc])* $variant($data),)*
        }

        /// Every method of [`ClientRequest`] with its types.
        pub const CLIENT_METHODS: &[Method] = &[
            $(Method { name: $method, data: <$data as TS>::name, answer: <$answer as TS>::name },)*
        ];

        impl ClientRequest {
            /// Reads a request's body.
            ///
            /// # Errors
            /// When there is no such method or its body does not fit; the error names the field.
            pub fn parse(method: &str, data: Value) -> Result<Self, RequestError> {
                match method {
                    $($method => body($method, data).map(Self::$variant),)*
                    _ => Err(RequestError::UnknownMethod(method.chars().take(100).collect())),
                }
            }

            /// The method's name on the wire.
            pub fn method(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $method,)*
                }
            }
        }
    };
}

fn body<T: for<'de> Deserialize<'de>>(method: &'static str, data: Value) -> Result<T, RequestError> {
    serde_path_to_error::deserialize(data).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "data".to_owned() } else { path };
        RequestError::Body { method, field, problem: error.into_inner().to_string() }
    })
}

client_requests! {
    /// The codecs and header extensions that every router of the mesh has.
    "getRouterRtpCapabilities" => GetRouterRtpCapabilities(Empty) -> RtpCapabilities;
    /// Makes a WebRTC transport. Allowed before join.
    "createWebRtcTransport" => CreateWebRtcTransport(CreateWebRtcTransport) -> WebRtcTransportInfo;
    /// Gives a transport the client's DTLS fingerprints.
    "connectWebRtcTransport" => ConnectWebRtcTransport(ConnectWebRtcTransport) -> Empty;
    /// New ICE credentials for a transport.
    "restartIce" => RestartIce(TransportRef) -> IceParameters;
    /// Enters the roster; others are told, and consumers are made.
    "join" => Join(Join) -> Joined;
    /// Sends a track.
    "produce" => Produce(Produce) -> Produced;
    /// Ends a producer.
    "closeProducer" => CloseProducer(ProducerRef) -> Empty;
    /// Pauses a producer for everyone.
    "pauseProducer" => PauseProducer(ProducerRef) -> Empty;
    /// Resumes it.
    "resumeProducer" => ResumeProducer(ProducerRef) -> Empty;
    /// Pauses a consumer, for this peer alone.
    "pauseConsumer" => PauseConsumer(ConsumerRef) -> Empty;
    /// Resumes it.
    "resumeConsumer" => ResumeConsumer(ConsumerRef) -> Empty;
    /// The simulcast or SVC layers this peer would like at most.
    "setConsumerPreferredLayers" => SetConsumerPreferredLayers(ConsumerLayers) -> Empty;
    /// Which consumer gets bandwidth first; 1 (least) to 255.
    "setConsumerPriority" => SetConsumerPriority(ConsumerPriority) -> Empty;
    /// Asks the sender for a key frame.
    "requestConsumerKeyFrame" => RequestConsumerKeyFrame(ConsumerRef) -> Empty;
    /// Sends a data channel.
    "produceData" => ProduceData(ProduceData) -> DataProduced;
    /// A new name for others to show.
    "changeDisplayName" => ChangeDisplayName(ChangeDisplayName) -> Empty;
    /// mediasoup's statistics of a transport.
    "getTransportStats" => GetTransportStats(TransportRef) -> Stats;
    /// mediasoup's statistics of a producer.
    "getProducerStats" => GetProducerStats(ProducerRef) -> Stats;
    /// mediasoup's statistics of a consumer.
    "getConsumerStats" => GetConsumerStats(ConsumerRef) -> Stats;
    /// mediasoup's statistics of a data producer.
    "getDataProducerStats" => GetDataProducerStats(DataProducerRef) -> Stats;
    /// mediasoup's statistics of a data consumer.
    "getDataConsumerStats" => GetDataConsumerStats(DataConsumerRef) -> Stats;
    /// mediasoup-demo throttles its own machine's network with this; always refused.
    "applyNetworkThrottle" => ApplyNetworkThrottle(Empty) -> Empty;
    /// The counterpart; always refused.
    "resetNetworkThrottle" => ResetNetworkThrottle(Empty) -> Empty;
    /// Sends a peer away for good. For roles that moderate.
    "kick" => Kick(PeerRef) -> Empty;
    /// Sends everyone away for good. For roles that moderate.
    "closeRoom" => CloseRoom(Empty) -> Empty;
    /// Lets a listener send. For roles that moderate.
    "promote" => Promote(PeerRef) -> Empty;
    /// Lets a peer only listen; what it sends ends. For roles that moderate.
    "demote" => Demote(PeerRef) -> Empty;
    /// Whose video is to be forwarded whoever speaks, in a room that forwards that of few. Replaces what was said
    /// before.
    "pin" => Pin(Pin) -> Empty;
}

/// Body of `pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Who.
    pub peer_ids: Vec<PeerId>,
}

/// No body, or no answer. Fields that a client sends all the same are ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(type = "Record<string, never>")]
pub struct Empty {}

macro_rules! reference {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $id:ty };)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// Which one.
            pub $field: $id,
        }
    )*};
}

reference! {
    /// Names a transport of this peer.
    TransportRef { transport_id: TransportId };
    /// Names a producer of this peer.
    ProducerRef { producer_id: ProducerId };
    /// Names a consumer of this peer.
    ConsumerRef { consumer_id: ConsumerId };
    /// Names a data producer of this peer.
    DataProducerRef { data_producer_id: DataProducerId };
    /// Names a data consumer of this peer.
    DataConsumerRef { data_consumer_id: DataConsumerId };
    /// Names a peer of the room.
    PeerRef { peer_id: PeerId };
}

/// Body of `createWebRtcTransport`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
pub struct CreateWebRtcTransport {
    /// TCP candidates only.
    pub force_tcp: bool,
    /// The client will produce on it.
    pub producing: bool,
    /// The client will consume on it.
    pub consuming: bool,
    /// Given where the client wants data channels.
    #[ts(optional)]
    pub sctp_capabilities: Option<SctpCapabilities>,
}

/// Answer to `createWebRtcTransport`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct WebRtcTransportInfo {
    /// The transport's id.
    pub id: TransportId,
    /// For the client's ICE agent.
    pub ice_parameters: IceParameters,
    /// Where the worker listens, best first.
    pub ice_candidates: IceCandidates,
    /// Fingerprints and role.
    pub dtls_parameters: DtlsParameters,
    /// Present where the client gave SCTP capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub sctp_parameters: Option<SctpParameters>,
}

/// Body of `connectWebRtcTransport`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ConnectWebRtcTransport {
    /// Which transport.
    pub transport_id: TransportId,
    /// The client's fingerprints and role.
    pub dtls_parameters: DtlsParameters,
}

/// Body of `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Join {
    /// A name for others to show.
    pub display_name: String,
    /// What the client runs on.
    #[serde(default)]
    pub device: Device,
    /// What the client can receive; without them it gets no consumers.
    #[serde(default)]
    #[ts(optional)]
    pub rtp_capabilities: Option<RtpCapabilities>,
    /// Given where the client wants data consumers.
    #[serde(default)]
    #[ts(optional)]
    pub sctp_capabilities: Option<SctpCapabilities>,
}

/// Answer to `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Everyone else who has joined.
    pub peers: Vec<PeerInfo>,
}

/// A peer, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// The peer's id.
    pub id: PeerId,
    /// Its name for people.
    pub display_name: String,
    /// What it runs on.
    pub device: Device,
}

/// Body of `produce`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Produce {
    /// On which transport.
    pub transport_id: TransportId,
    /// Audio or video.
    pub kind: MediaKind,
    /// What will be sent.
    pub rtp_parameters: RtpParameters,
    /// Passed on to every consumer.
    #[serde(default)]
    pub app_data: AppData,
}

/// Answer to `produce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Produced {
    /// The producer's id.
    pub id: ProducerId,
}

/// Body of `setConsumerPreferredLayers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerLayers {
    /// Which consumer.
    pub consumer_id: ConsumerId,
    /// From 0, the smallest.
    pub spatial_layer: u8,
    /// From 0, the slowest; the highest where it is not given.
    #[serde(default)]
    #[ts(optional)]
    pub temporal_layer: Option<u8>,
}

/// Body of `setConsumerPriority`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerPriority {
    /// Which consumer.
    pub consumer_id: ConsumerId,
    /// 1 (the default) to 255.
    pub priority: u8,
}

/// Body of `produceData`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ProduceData {
    /// On which transport.
    pub transport_id: TransportId,
    /// The SCTP stream and its reliability.
    pub sctp_stream_parameters: SctpStreamParameters,
    /// The data channel's label.
    #[serde(default)]
    pub label: String,
    /// The data channel's sub-protocol.
    #[serde(default)]
    pub protocol: String,
    /// Passed on to every data consumer.
    #[serde(default)]
    pub app_data: AppData,
}

/// Answer to `produceData`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DataProduced {
    /// The data producer's id.
    pub id: DataProducerId,
}

/// Body of `changeDisplayName`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ChangeDisplayName {
    /// The new name.
    pub display_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_field() {
        let error = ClientRequest::parse("produce", json!({"transportId": "t", "kind": "smell"}))
            .expect_err("no such kind");
        let text = error.to_string();
        assert!(text.starts_with("produce: kind: ") && text.contains("smell"), "{text}");
        let error = ClientRequest::parse("closeProducer", json!({})).expect_err("no id").to_string();
        assert!(error.contains("producerId"), "{error}");
        let error = ClientRequest::parse("fly", json!({})).expect_err("no such method").to_string();
        assert!(error.contains("fly"), "{error}");
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let request = ClientRequest::parse("closeRoom", json!({"why": 1})).expect("parses");
        assert_eq!(request, ClientRequest::CloseRoom(Empty {}));
    }
}
