//! protoo between a client and a node, with mediasoup-demo's (v3) methods.
//!
//! What mediasoup itself defines (RTP parameters and the like) is carried as the JSON it is: the node's media layer
//! checks it. Everything else is typed, one enum a direction: [`ClientRequest`], [`ServerRequest`] and
//! [`Notification`].

mod frame;
mod request;
mod server;

pub use frame::{ClientFrame, FrameError, failure, notification, request, success};
pub use request::*;
pub use server::*;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// The WebSocket sub-protocol.
pub const SUBPROTOCOL: &str = "protoo";

/// The close code after which protoo-client does not dial again. Every other one makes it dial.
pub const CLOSE_FOR_GOOD: u16 = 4000;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident = $ts:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
        #[serde(transparent)]
        #[ts(type = $ts)]
        pub struct $name(pub serde_json::Value);
    )*};
}

opaque! {
    /// mediasoup's RtpCapabilities.
    RtpCapabilities = "mediasoup.RtpCapabilities";
    /// mediasoup's RtpParameters.
    RtpParameters = "mediasoup.RtpParameters";
    /// mediasoup's IceParameters.
    IceParameters = "mediasoup.IceParameters";
    /// mediasoup's IceCandidate, all of a transport.
    IceCandidates = "mediasoup.IceCandidate[]";
    /// mediasoup's DtlsParameters.
    DtlsParameters = "mediasoup.DtlsParameters";
    /// mediasoup's SctpCapabilities.
    SctpCapabilities = "{ numStreams: { OS: number; MIS: number } }";
    /// mediasoup's SctpParameters.
    SctpParameters = "mediasoup.SctpParameters";
    /// mediasoup's SctpStreamParameters.
    SctpStreamParameters = "mediasoup.SctpStreamParameters";
    /// Whatever the application attached; carried, never read.
    AppData = "mediasoup.AppData";
    /// mediasoup's stats of one entity, one object a stream or transport tuple.
    Stats = "Record<string, unknown>[]";
    /// mediasoup's score of a consumer or of each stream of a producer.
    Score = "unknown";
}

impl Default for AppData {
    fn default() -> Self {
        Self(serde_json::Value::Object(serde_json::Map::new()))
    }
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl std::fmt::Display for MediaKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
        })
    }
}

/// What a peer joins with, for others to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Device {
    /// A short name of the browser or program, such as `chrome`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub flag: Option<String>,
    /// A readable name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub name: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub version: Option<String>,
}

/// What a peer may do in its room, as its token says. Without tokens everyone moderates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Receives only.
    Listen,
    /// Sends and receives.
    Publish,
    /// Sends, receives, sends others away and closes the room.
    Moderate,
}

impl Role {
    /// Whether the role may produce media and data.
    pub fn may_publish(self) -> bool {
        self >= Self::Publish
    }
    /// Whether the role may kick others and close the room.
    pub fn may_moderate(self) -> bool {
        self >= Self::Moderate
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Listen => "listen",
            Self::Publish => "publish",
            Self::Moderate => "moderate",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "listen" => Ok(Self::Listen),
            "publish" => Ok(Self::Publish),
            "moderate" => Ok(Self::Moderate),
            _ => Err(format!("role: {text:?} is none of listen, publish and moderate")),
        }
    }
}

impl PartialOrd for Role {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Role {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self as u8).cmp(&(*other as u8))
    }
}
