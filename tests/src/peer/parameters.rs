//! mediasoup's parameters, read and made.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::net::SocketAddr;
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Pt};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{IceCreds, RtcConfig};

/// The codecs of this client, out of a router's.
const CODECS: [&str; 2] = ["audio/opus", "video/vp8"];

/// mediasoup's bandwidth estimator sends padding on this SSRC and payload type, in a stream of its own.
pub(super) const PROBATION_SSRC: u32 = 1234;
const PROBATION_TYPE: u8 = 127;

/// Extensions that str0m reads and writes, by their URIs.
const EXTENSIONS: [Extension; 7] = [
    Extension::RtpMid,
    Extension::RtpStreamId,
    Extension::RepairedRtpStreamId,
    Extension::AbsoluteSendTime,
    Extension::TransportSequenceNumber,
    Extension::AudioLevel,
    Extension::VideoOrientation,
];

/// What a router can, as far as this client can it too.
#[derive(Debug, Clone)]
pub(super) struct Capabilities {
    /// The client's RtpCapabilities.
    pub json: Value,
    opus: Value,
    vp8: Value,
    vp8_rtx: Value,
}

fn payload_type(codec: &Value) -> anyhow::Result<u8> {
    let number = codec["preferredPayloadType"].as_u64().context("a codec without preferredPayloadType")?;
    Ok(u8::try_from(number)?)
}

impl Capabilities {
    /// Keeps what this client can of what a router can.
    pub fn from_router(router: &Value) -> anyhow::Result<Self> {
        let codecs = router["codecs"].as_array().context("capabilities without codecs")?;
        let named = |name: &str| {
            let is = |codec: &&Value| {
                codec["mimeType"].as_str().is_some_and(|mime| mime.eq_ignore_ascii_case(name))
            };
            codecs.iter().find(is).cloned().with_context(|| format!("the router has no {name}"))
        };
        let [mut opus, vp8] = [named(CODECS[0])?, named(CODECS[1])?];
        // str0m does not repeat audio.
        opus["rtcpFeedback"] = json!([{ "type": "transport-cc", "parameter": "" }]);
        let vp8_type = u64::from(payload_type(&vp8)?);
        let vp8_rtx = codecs
            .iter()
            .find(|codec| codec["parameters"]["apt"].as_u64() == Some(vp8_type))
            .cloned()
            .context("the router has no rtx for VP8")?;
        let json = json!({
            "codecs": [opus, vp8, vp8_rtx],
            "headerExtensions": router["headerExtensions"],
        });
        Ok(Self { json, opus, vp8, vp8_rtx })
    }

    fn extensions(&self) -> impl Iterator<Item = (&Value, u8, &str)> {
        self.json["headerExtensions"].as_array().into_iter().flatten().filter_map(|extension| {
            let id = u8::try_from(extension["preferredId"].as_u64()?).ok()?;
            Some((extension, id, extension["uri"].as_str()?))
        })
    }

    /// The same codecs and extensions for str0m.
    pub fn configure(&self, config: RtcConfig) -> anyhow::Result<RtcConfig> {
        let mut map = ExtensionMap::empty();
        for (_, id, uri) in self.extensions() {
            if let Some(extension) = EXTENSIONS.iter().find(|extension| extension.as_uri() == uri) {
                map.set(id, extension.clone());
            }
        }
        let mut config = config.clear_codecs().set_extension_map(map);
        let codecs = config.codec_config();
        let (opus, vp8) = (self.payload_type(MediaKind::Audio)?, self.payload_type(MediaKind::Video)?);
        let rtx = Pt::from(payload_type(&self.vp8_rtx)?);
        let plain = FormatParams::default;
        codecs.add_config(opus, None, Codec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), plain());
        codecs.add_config(vp8, Some(rtx), Codec::Vp8, Frequency::NINETY_KHZ, None, plain());
        codecs.add_config(PROBATION_TYPE.into(), None, Codec::Vp8, Frequency::NINETY_KHZ, None, plain());
        Ok(config)
    }

    /// The payload type for a kind; the router's, on both legs.
    pub fn payload_type(&self, kind: MediaKind) -> anyhow::Result<Pt> {
        let codec = if kind.is_audio() { &self.opus } else { &self.vp8 };
        Ok(Pt::from(payload_type(codec)?))
    }

    /// The RtpParameters of a producer.
    pub fn rtp_parameters(&self, kind: MediaKind, mid: &str, cname: &str, encodings: &[Value]) -> Value {
        let codec = |codec: &Value| {
            json!({
                "mimeType": codec["mimeType"],
                "payloadType": codec["preferredPayloadType"],
                "clockRate": codec["clockRate"],
                "channels": codec["channels"],
                "parameters": codec["parameters"],
                "rtcpFeedback": codec["rtcpFeedback"],
            })
        };
        let mut codecs = match kind {
            MediaKind::Audio => vec![codec(&self.opus)],
            MediaKind::Video => vec![codec(&self.vp8), codec(&self.vp8_rtx)],
        };
        for one in codecs.iter_mut().filter(|_| kind.is_video()) {
            if let Some(one) = one.as_object_mut() {
                one.remove("channels");
            }
        }
        let of_kind = |extension: &Value| {
            let name = if kind.is_audio() { "audio" } else { "video" };
            extension["kind"].is_null() || extension["kind"].as_str() == Some(name)
        };
        let extensions: Vec<_> = self
            .extensions()
            .filter(|(extension, _, uri)| {
                of_kind(extension) && EXTENSIONS.iter().any(|known| known.as_uri() == *uri)
            })
            .map(|(_, id, uri)| json!({ "uri": uri, "id": id, "encrypt": false, "parameters": {} }))
            .collect();
        json!({
            "mid": mid,
            "codecs": codecs,
            "headerExtensions": extensions,
            "encodings": encodings,
            "rtcp": { "cname": cname, "reducedSize": true },
        })
    }
}

/// The remote end of a transport.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub id: String,
    pub creds: IceCreds,
    pub candidates: Vec<SocketAddr>,
    pub fingerprint: String,
}

impl Remote {
    /// Reads the answer to createWebRtcTransport.
    pub fn parse(answer: &Value) -> anyhow::Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let ice = &answer["iceParameters"];
        let candidates: Vec<_> = answer["iceCandidates"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|candidate| candidate["protocol"].as_str() == Some("udp"))
            .filter_map(|candidate| {
                let address = candidate["address"].as_str().or_else(|| candidate["ip"].as_str())?;
                let port = u16::try_from(candidate["port"].as_u64()?).ok()?;
                Some(SocketAddr::new(address.parse().ok()?, port))
            })
            .collect();
        if candidates.is_empty() {
            bail!("no UDP candidates in {answer}");
        }
        let fingerprint = answer["dtlsParameters"]["fingerprints"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|print| print["algorithm"].as_str() == Some("sha-256"))
            .and_then(|print| text(&print["value"]))
            .with_context(|| format!("no sha-256 fingerprint in {answer}"))?;
        let creds = IceCreds {
            ufrag: text(&ice["usernameFragment"]).context("no usernameFragment")?,
            pass: text(&ice["password"]).context("no password")?,
        };
        Ok(Self { id: text(&answer["id"]).context("no id")?, creds, candidates, fingerprint })
    }
}

/// One stream that a consumer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsumedStream {
    pub mid: String,
    pub ssrc: u32,
    pub rtx: Option<u32>,
}

impl ConsumedStream {
    /// Reads a consumer's RtpParameters. A consumer of mediasoup's has one encoding.
    pub fn parse(parameters: &Value) -> anyhow::Result<Self> {
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let encoding = &parameters["encodings"][0];
        let ssrc = number(&encoding["ssrc"]).with_context(|| format!("no ssrc in {parameters}"))?;
        // Without a mid any name that is unique will do.
        let mid = parameters["mid"].as_str().map_or_else(|| format!("s{ssrc}"), str::to_owned);
        Ok(Self { mid, ssrc, rtx: number(&encoding["rtx"]["ssrc"]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumers_stream_is_found() {
        let parameters = json!({ "mid": "3", "encodings": [{ "ssrc": 7, "rtx": { "ssrc": 8 } }] });
        let stream = ConsumedStream::parse(&parameters).expect("parses");
        assert_eq!(stream, ConsumedStream { mid: "3".to_owned(), ssrc: 7, rtx: Some(8) });
        assert!(ConsumedStream::parse(&json!({ "encodings": [] })).is_err());
    }
}
