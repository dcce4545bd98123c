//! The browser SDK's types (`node/web/src/protocol.ts`), made from the definitions of this crate.
//!
//! `cargo run -p skein-proto --example typescript` writes them; a test fails when they are stale.

use crate::{operator, signaling};
use std::fmt::Write;
use ts_rs::{Config, TS};

const HEADER: &str = "\
// Made from proto/ by `cargo run -p skein-proto --example typescript`. Do not edit.
import type { types as mediasoup } from 'mediasoup-client';
";

fn declare<T: TS>(config: &Config, out: &mut String) {
    if let Some(docs) = T::docs() {
        out.push_str(&docs);
    }
    let _ = writeln!(out, "export {}", T::decl(config));
    out.push('\n');
}

/// The text of the file.
pub fn module() -> String {
    let config = Config::default();
    let mut out = HEADER.to_owned();
    out.push('\n');
    macro_rules! all {
        ($($ty:path),* $(,)?) => { $(declare::<$ty>(&config, &mut out);)* };
    }
    all!(
        crate::ids::RoomId,
        crate::ids::PeerId,
        crate::ids::NodeId,
        crate::ids::TransportId,
        crate::ids::ProducerId,
        crate::ids::ConsumerId,
        crate::ids::DataProducerId,
        crate::ids::DataConsumerId,
        signaling::RtpCapabilities,
        signaling::RtpParameters,
        signaling::IceParameters,
        signaling::IceCandidates,
        signaling::DtlsParameters,
        signaling::SctpCapabilities,
        signaling::SctpParameters,
        signaling::SctpStreamParameters,
        signaling::AppData,
        signaling::Stats,
        signaling::Score,
        signaling::MediaKind,
        signaling::Device,
        signaling::Role,
        crate::room::RoomMode,
        crate::room::RoomOptions,
        signaling::Empty,
        signaling::TransportRef,
        signaling::ProducerRef,
        signaling::ConsumerRef,
        signaling::DataProducerRef,
        signaling::DataConsumerRef,
        signaling::PeerRef,
        signaling::CreateWebRtcTransport,
        signaling::WebRtcTransportInfo,
        signaling::ConnectWebRtcTransport,
        signaling::Join,
        signaling::Joined,
        signaling::PeerInfo,
        signaling::Produce,
        signaling::Produced,
        signaling::ConsumerLayers,
        signaling::ConsumerPriority,
        signaling::ProduceData,
        signaling::DataProduced,
        signaling::ChangeDisplayName,
        signaling::ConsumerType,
        signaling::NewConsumer,
        signaling::NewDataConsumer,
        signaling::Pin,
        signaling::Move,
        signaling::ServerRequest,
        signaling::Notification,
        operator::MoveRequest,
        operator::DrainRequest,
        operator::UndrainRequest,
        operator::MeshStatus,
        operator::Scaling,
        operator::ScalingStep,
        operator::ScalingMachine,
        operator::MachineState,
        operator::NodeState,
        operator::NodeStatus,
        operator::Rooms,
        operator::RoomSummary,
        operator::RoomDetail,
        operator::RoomPeer,
        operator::RoomProducer,
        operator::RoomDataProducer,
        operator::Pipe,
        operator::Place,
        operator::NodeDetail,
        operator::WorkerDetail,
        operator::Event,
        operator::Change,
        operator::ApiError,
    );
    out.push_str(
        "/** Every method a client may call: its body and its answer. */\nexport interface ClientMethods {\n",
    );
    for method in signaling::CLIENT_METHODS {
        let _ = writeln!(
            out,
            "  {}: {{ data: {}; answer: {} }};",
            method.name,
            (method.data)(&config),
            (method.answer)(&config)
        );
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sdks_types_are_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/web/src/protocol.ts");
        let on_disk = std::fs::read_to_string(path).expect("node/web/src/protocol.ts is there");
        assert!(
            on_disk == super::module(),
            "node/web/src/protocol.ts is stale: run `cargo run -p skein-proto --example typescript`"
        );
    }
}
