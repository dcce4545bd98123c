//! What a node asks of a client and tells it.

use super::{AppData, Device, MediaKind, Role, RtpParameters, Score, SctpStreamParameters};
use crate::ids::{ConsumerId, DataConsumerId, DataProducerId, NodeId, PeerId, ProducerId};
use crate::room::RoomOptions;
use serde::Serialize;
use ts_rs::TS;

/// All that a node asks of a client. The client accepts or rejects; a rejected consumer is closed.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(tag = "method", content = "data", rename_all = "camelCase")]
pub enum ServerRequest {
    /// A consumer was made for the client, paused until it accepts.
    NewConsumer(NewConsumer),
    /// A data consumer was made for the client.
    NewDataConsumer(NewDataConsumer),
    /// For clients that said `skein=1`: another host is to hold the client's transports.
    Move(Move),
}

/// Body of `move`. A client that accepts connects once more, with `move=TOKEN` in its query, joins and sends there what it
/// sends here, and ends this connection when what it receives there flows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// To be shown by the new connection. Good once, for `seconds`.
    pub token: String,
    /// How long the other host keeps room for the client.
    pub seconds: u32,
    /// The other host.
    pub host: NodeId,
    /// For people: why.
    pub reason: String,
    /// WebSocket addresses to dial, the best first, where the client's entry goes; none where that will do.
    pub endpoints: Vec<String>,
}

/// How a consumer's streams are layered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerType {
    /// One stream.
    Simple,
    /// Several, one at a time.
    Simulcast,
    /// One stream with layers in it.
    Svc,
}

/// Body of `newConsumer`.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct NewConsumer {
    /// Who sends.
    pub peer_id: PeerId,
    /// What it sends.
    pub producer_id: ProducerId,
    /// The consumer's id.
    pub id: ConsumerId,
    /// Audio or video.
    pub kind: MediaKind,
    /// What the client will receive.
    pub rtp_parameters: RtpParameters,
    /// How it is layered.
    #[serde(rename = "type")]
    pub consumer_type: ConsumerType,
    /// What the producer attached.
    pub app_data: AppData,
    /// Whether the producer is paused right now.
    pub producer_paused: bool,
}

/// Body of `newDataConsumer`.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct NewDataConsumer {
    /// Who sends; null for the server's own.
    pub peer_id: Option<PeerId>,
    /// What it sends.
    pub data_producer_id: DataProducerId,
    /// The data consumer's id.
    pub id: DataConsumerId,
    /// The SCTP stream and its reliability.
    pub sctp_stream_parameters: SctpStreamParameters,
    /// The data channel's label.
    pub label: String,
    /// The data channel's sub-protocol.
    pub protocol: String,
    /// What the data producer attached.
    pub app_data: AppData,
}

/// All that a node tells a client.
#[derive(Debug, Clone, PartialEq, Serialize, TS)]
#[serde(tag = "method", content = "data", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Notification {
    /// The first of all: which mediasoup the mesh runs.
    #[serde(rename = "mediasoup-version")]
    MediasoupVersion {
        /// Of the Rust crate.
        version: String,
    },
    /// For clients that said `skein=1`: who holds what, and where else to dial.
    Welcome {
        /// Names this connection in logs.
        session: String,
        /// The entry: the node that holds the WebSocket.
        node: NodeId,
        /// The host: the node that holds the transports.
        host: NodeId,
        /// WebSocket addresses of all nodes of the mesh, the entry's first.
        endpoints: Vec<String>,
        /// What the client may do.
        role: Role,
        /// What the room is like.
        room: RoomOptions,
    },
    /// For clients that said `skein=1`, in place of `welcome` while there is no place for them: they are let in when a
    /// machine has one. Told again when the estimate changes.
    Waiting {
        /// For people: what is waited for.
        reason: String,
        /// In how many seconds a place is expected; null where that is not known.
        eta_seconds: Option<u32>,
    },
    /// For clients that said `skein=1`: someone, perhaps the client itself, may do something else now. Who may only
    /// listen sends nothing any more.
    RoleChanged {
        /// Who.
        peer_id: PeerId,
        /// What it may do.
        role: Role,
    },
    /// Someone joined.
    NewPeer {
        /// Who.
        id: PeerId,
        /// Its name for people.
        display_name: String,
        /// What it runs on.
        device: Device,
    },
    /// Someone left.
    PeerClosed {
        /// Who.
        peer_id: PeerId,
    },
    /// Someone has another name.
    PeerDisplayNameChanged {
        /// Who.
        peer_id: PeerId,
        /// The new name.
        display_name: String,
        /// The one before.
        old_display_name: String,
    },
    /// A consumer is gone, because its producer is.
    ConsumerClosed {
        /// Which.
        consumer_id: ConsumerId,
    },
    /// The producer was paused.
    ConsumerPaused {
        /// Which consumer.
        consumer_id: ConsumerId,
    },
    /// The producer was resumed.
    ConsumerResumed {
        /// Which consumer.
        consumer_id: ConsumerId,
    },
    /// Other layers are forwarded now; null where none is.
    ConsumerLayersChanged {
        /// Which consumer.
        consumer_id: ConsumerId,
        /// From 0, the smallest.
        spatial_layer: Option<u8>,
        /// From 0, the slowest.
        temporal_layer: Option<u8>,
    },
    /// How well a consumer's stream arrives, 0 to 10.
    ConsumerScore {
        /// Which consumer.
        consumer_id: ConsumerId,
        /// mediasoup's score.
        score: Score,
    },
    /// How well a producer's streams arrive, 0 to 10 each.
    ProducerScore {
        /// Which producer.
        producer_id: ProducerId,
        /// mediasoup's scores.
        score: Score,
    },
    /// A data consumer is gone, because its data producer is.
    DataConsumerClosed {
        /// Which.
        data_consumer_id: DataConsumerId,
    },
    /// What the bandwidth estimator thinks of the client's downlink, bits per second.
    DownlinkBwe {
        /// What the consumers would take.
        #[ts(type = "number")]
        desired_bitrate: u64,
        /// What they take of it with their priorities.
        #[ts(type = "number")]
        effective_desired_bitrate: u64,
        /// What there is.
        #[ts(type = "number")]
        available_bitrate: u64,
    },
    /// Who speaks; null when nobody does.
    ActiveSpeaker {
        /// Who.
        peer_id: Option<PeerId>,
        /// dBov, -127 (silent) to 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        volume: Option<i8>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_have_mediasoup_demos_names() {
        let text = crate::signaling::notification(&Notification::PeerClosed {
            peer_id: "p".parse().expect("a name"),
        });
        assert_eq!(text, r#"{"data":{"peerId":"p"},"method":"peerClosed","notification":true}"#);
        let text = crate::signaling::notification(&Notification::MediasoupVersion { version: "3".into() });
        assert!(text.contains(r#""method":"mediasoup-version""#), "{text}");
    }
}
