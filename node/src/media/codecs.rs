//! The codecs that every router of every node has, so that a producer can be piped anywhere.

use mediasoup::prelude::*;
use mediasoup::types::rtp_parameters::RtpCodecParametersParametersValue;
use std::num::{NonZeroU8, NonZeroU32};

const AUDIO_CLOCK: NonZeroU32 = NonZeroU32::new(48_000).expect("not zero");
const VIDEO_CLOCK: NonZeroU32 = NonZeroU32::new(90_000).expect("not zero");
const STEREO: NonZeroU8 = NonZeroU8::new(2).expect("not zero");

/// mediasoup's start for Chromium's bandwidth estimator, kbit/s, as mediasoup-demo has it.
const START_BITRATE: u32 = 1_000;

fn video<const N: usize>(
    mime_type: MimeTypeVideo,
    parameters: [(&'static str, RtpCodecParametersParametersValue); N],
) -> RtpCodecCapability {
    let mut all = RtpCodecParametersParameters::default();
    all.insert("x-google-start-bitrate", START_BITRATE);
    for (name, value) in parameters {
        all.insert(name, value);
    }
    RtpCodecCapability::Video {
        mime_type,
        preferred_payload_type: None,
        clock_rate: VIDEO_CLOCK,
        parameters: all,
        rtcp_feedback: vec![
            RtcpFeedback::Nack,
            RtcpFeedback::NackPli,
            RtcpFeedback::CcmFir,
            RtcpFeedback::GoogRemb,
            RtcpFeedback::TransportCc,
        ],
    }
}

fn h264(profile_level_id: &'static str) -> RtpCodecCapability {
    video(
        MimeTypeVideo::H264,
        [
            ("packetization-mode", 1_u32.into()),
            ("profile-level-id", profile_level_id.into()),
            ("level-asymmetry-allowed", 1_u32.into()),
        ],
    )
}

/// Opus, VP8, VP9 (profiles 0 and 2), H.264 (main 4d0032, constrained baseline 42e01f, baseline 42001f) and AV1.
pub fn codecs() -> Vec<RtpCodecCapability> {
    vec![
        RtpCodecCapability::Audio {
            mime_type: MimeTypeAudio::Opus,
            preferred_payload_type: None,
            clock_rate: AUDIO_CLOCK,
            channels: STEREO,
            parameters: RtpCodecParametersParameters::default(),
            rtcp_feedback: vec![RtcpFeedback::Nack, RtcpFeedback::TransportCc],
        },
        video(MimeTypeVideo::Vp8, []),
        video(MimeTypeVideo::Vp9, [("profile-id", 0_u32.into())]),
        video(MimeTypeVideo::Vp9, [("profile-id", 2_u32.into())]),
        h264("4d0032"),
        h264("42e01f"),
        h264("42001f"),
        video(MimeTypeVideo::AV1, []),
    ]
}
