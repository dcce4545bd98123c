//! Why one side of a connection does not want the other, in codes and in words.

use quinn::{ConnectionError, VarInt};
use std::fmt;

/// Application close codes; the reason that goes with them is for people.
pub(super) mod code {
    use super::VarInt;

    /// The node leaves the mesh, now.
    pub(in super::super) const LEAVING: VarInt = VarInt::from_u32(1);
    /// Another connection to the same node took over.
    pub(in super::super) const REPLACED: VarInt = VarInt::from_u32(2);
    /// Something arrived that is no frame, or not one that belongs there.
    pub(in super::super) const PROTOCOL: VarInt = VarInt::from_u32(3);
    /// A machine that wants to enrol shall come back later.
    pub(in super::super) const BUSY: VarInt = VarInt::from_u32(4);
    /// A machine has the answer to what it asked.
    pub(in super::super) const ANSWERED: VarInt = VarInt::from_u32(5);
}

/// TLS alerts (RFC 8446, section 6) in QUIC close codes (RFC 9001, section 4.8).
const CRYPTO: u64 = 0x100;
const BAD_CERTIFICATE: u64 = CRYPTO + 42;
const CERTIFICATE_EXPIRED: u64 = CRYPTO + 45;
const UNKNOWN_CA: u64 = CRYPTO + 48;
/// The signature is wrong: what an authority of the same name and with another key makes.
const DECRYPT_ERROR: u64 = CRYPTO + 51;
const CERTIFICATE_REQUIRED: u64 = CRYPTO + 116;
const NO_APPLICATION_PROTOCOL: u64 = CRYPTO + 120;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// The certificate is from another authority.
    Authority,
    /// The certificate is out of date.
    Expired,
    /// There is no certificate, or TLS failed in some other way.
    Tls,
    /// The certificate does not carry the name of the node that it is shown for.
    Name,
    /// Another mesh.
    Mesh,
    /// Another version of the protocol.
    Version,
    /// The first frame is no hello.
    NoHello,
    /// No hello in time.
    Late,
    /// A later process of the same node is connected, or this one said that it leaves.
    Older,
    /// A node of this name is the very node that was dialled: this process.
    Own,
    /// Another process has the name of the node that was dialled.
    Taken,
    /// A reason that this version does not know.
    Other,
}

/// First application code of a refusal; they follow in the order of [`Refusal::ALL`].
const FIRST_CODE: u32 = 16;

impl Refusal {
    const ALL: [Self; 12] = [
        Self::Authority,
        Self::Expired,
        Self::Tls,
        Self::Name,
        Self::Mesh,
        Self::Version,
        Self::NoHello,
        Self::Late,
        Self::Older,
        Self::Own,
        Self::Taken,
        Self::Other,
    ];

    /// What the connection is closed with.
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(FIRST_CODE + Self::ALL.iter().position(|each| *each == self).unwrap_or(0) as u32)
    }

    fn from_code(code: VarInt) -> Option<Self> {
        let index = code.into_inner().checked_sub(FIRST_CODE.into())?;
        Some(Self::ALL.get(usize::try_from(index).ok()?).copied().unwrap_or(Self::Other))
    }

    fn from_alert(code: u64) -> Option<Self> {
        Some(match code {
            UNKNOWN_CA | DECRYPT_ERROR => Self::Authority,
            CERTIFICATE_EXPIRED => Self::Expired,
            BAD_CERTIFICATE => Self::Mesh,
            CERTIFICATE_REQUIRED => Self::Tls,
            NO_APPLICATION_PROTOCOL => Self::Version,
            code if (CRYPTO..CRYPTO + 256).contains(&code) => Self::Tls,
            _ => return None,
        })
    }

    /// Why, in words, about the one who is refused.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Authority => "its certificate is not from the mesh's authority",
            Self::Expired => "its certificate is out of date, or the clocks differ",
            Self::Tls => "its certificate is missing or broken, or TLS failed",
            Self::Name => "its certificate does not carry the node name that it says it has",
            Self::Mesh => "it belongs to another mesh",
            Self::Version => "it speaks another version of the protocol",
            Self::NoHello => "its first frame is no hello",
            Self::Late => "it said no hello in time",
            Self::Older => "a later process of the same node is in the mesh, or it said that it leaves",
            Self::Own => "it is the same process",
            Self::Taken => "another process uses the same node name",
            Self::Other => "for a reason that this version does not know",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Who refused whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Refused {
    /// Why.
    pub why: Refusal,
    /// Whether the other side refused this node; else this node refused the other side.
    pub by_peer: bool,
}

impl Refused {
    /// This node refuses the other.
    pub(super) fn by_us(why: Refusal) -> Self {
        Self { why, by_peer: false }
    }

    /// What a connection that never came up says about why; none when nobody answered.
    pub(super) fn from_error(error: &ConnectionError) -> Option<Self> {
        match error {
            ConnectionError::TransportError(error) => Refusal::from_alert(error.code.into()).map(Self::by_us),
            // Not among them: CONNECTION_REFUSED, with which a node that is crowded or stops sends newcomers away.
            ConnectionError::ConnectionClosed(close) => {
                Refusal::from_alert(close.error_code.into()).map(|why| Self { why, by_peer: true })
            }
            ConnectionError::ApplicationClosed(close) => {
                Refusal::from_code(close.error_code).map(|why| Self { why, by_peer: true })
            }
            ConnectionError::VersionMismatch => Some(Self { why: Refusal::Version, by_peer: true }),
            _ => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_peer {
            write!(f, "the other side refused this node, saying of it: {}", self.why)
        } else {
            write!(f, "refused: {}", self.why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_back() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        }
        assert_eq!(Refusal::from_code(code::LEAVING), None);
        assert_eq!(Refusal::from_code(VarInt::from_u32(4000)), Some(Refusal::Other));
    }
}
