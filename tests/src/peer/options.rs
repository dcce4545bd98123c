//! What a peer is like.

use super::Video;
use crate::protoo::ConnectOptions;
use str0m::media::MediaKind;

/// Audio or video, in mediasoup's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Kind {
    /// mediasoup's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    pub(super) fn media(self) -> MediaKind {
        match self {
            Self::Audio => MediaKind::Audio,
            Self::Video => MediaKind::Video,
        }
    }

    /// The mid of the one track of this kind.
    pub(super) fn mid(self) -> &'static str {
        match self {
            Self::Audio => "0",
            Self::Video => "1",
        }
    }
}

/// What a peer is like.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    pub(super) connect: ConnectOptions,
    pub(super) audio: bool,
    pub(super) video: Option<Video>,
    pub(super) receive: bool,
    pub(super) data: bool,
    pub(super) level: i8,
    pub(super) moves: bool,
}

impl PeerOptions {
    /// A peer that receives and sends nothing.
    pub fn new(room: &str, peer: &str) -> Self {
        Self {
            connect: ConnectOptions::new(room, peer),
            audio: false,
            video: None,
            receive: true,
            data: false,
            level: super::source::SPEAKS,
            moves: true,
        }
    }

    /// With a microphone.
    #[must_use]
    pub fn audio(mut self) -> Self {
        self.audio = true;
        self
    }

    /// With a microphone that nobody speaks into yet.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.audio = true;
        self.level = super::source::SILENT;
        self
    }

    /// With a camera.
    #[must_use]
    pub fn video(mut self, video: Video) -> Self {
        self.video = Some(video);
        self
    }

    /// Without a transport to receive on.
    #[must_use]
    pub fn send_only(mut self) -> Self {
        self.receive = false;
        self
    }

    /// With data channels.
    #[must_use]
    pub fn data(mut self) -> Self {
        self.data = true;
        self
    }

    /// With a token, in the header.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.connect.header_token = Some(token.to_owned());
        self
    }

    /// With `skein=1`.
    #[must_use]
    pub fn skein(mut self) -> Self {
        self.connect.skein = true;
        self
    }

    /// With something more in the query.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.connect = self.connect.query(key, value);
        self
    }

    /// Refuses to move when it is asked to.
    #[must_use]
    pub fn stays(mut self) -> Self {
        self.moves = false;
        self
    }
}
