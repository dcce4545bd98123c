//! How a machine without a certificate becomes a node: with a token, from any seed.
//!
//! The mesh has one secret, which never leaves the seeds. A token is a message authentication code (HMAC-SHA256) with it,
//! over the mesh and the number of a launch, or over the mesh, a node's name and a time. Who has a token can become that
//! one node, once; nobody can make a token for another.
//!
//! | token | made by | good while |
//! | --- | --- | --- |
//! | `launch.MAC` | the leader, from the number of the launch alone, so that two leaders make the same | the cloud lists the machine, launched less than `enrol.window_minutes` ago |
//! | `invite.SECONDS.MAC` | `skein invite`, for a machine that somebody starts by hand | that time has not come |

mod client;
mod ticket;

pub use client::{EnrolError, enrol};
pub use ticket::{Ticket, TicketError, enrolment_environment, fold, variable, variables};

use crate::identity::{IdentityError, write_secret};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use skein_proto::ids::NodeId;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a mesh's secret, and of a token's code.
const BYTES: usize = 32;
/// Longest token that is looked at, bytes.
const MAX_TOKEN_BYTES: usize = 128;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is none.
    #[error("{0}: is not a secret of 64 hexadecimal digits, as `skein init` makes it")]
    Text(String),
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Randomness,
}

/// The mesh's enrolment secret.
pub struct Secret(hmac::Key, String);

/// What a token entitles to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entitlement {
    /// To be the machine of this launch.
    Launch(u64),
    /// To be the node.
    Invitation,
}

impl Secret {
    /// Makes one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = [0; BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError::Randomness)?;
        Ok(Self::new(&bytes))
    }

    fn new(bytes: &[u8; BYTES]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes), hex(bytes))
    }

    /// Reads the file of one.
    ///
    /// # Errors
    /// When it cannot be read, or has something else.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let path_text = || path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::Read { path: path_text(), source })?;
        let bytes = unhex(text.trim()).ok_or_else(|| SecretError::Text(path_text()))?;
        Ok(Self::new(&bytes))
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), IdentityError> {
        write_secret(path, &format!("{}\n", self.1))
    }

    /// The token of a launch: a function of the secret, the mesh and the number alone.
    pub fn launch_token(&self, mesh: &str, number: u64) -> String {
        format!("launch.{}", hex(hmac::sign(&self.0, &launch(mesh, number)).as_ref()))
    }

    /// A token for a node, until a time, to the second.
    pub fn invitation(&self, mesh: &str, node: &NodeId, until: SystemTime) -> String {
        let until = seconds(until);
        format!("invite.{until}.{}", hex(hmac::sign(&self.0, &invitation(mesh, node, until)).as_ref()))
    }

    /// What a token entitles a machine to that wants to be a node; none where it does not, for whatever reason. Takes
    /// the same time whichever part of the code is wrong.
    pub fn check(&self, mesh: &str, node: &NodeId, token: &str, now: SystemTime) -> Option<Entitlement> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (kind, rest) = token.split_once('.')?;
        let (message, code, entitlement) = match kind {
            "launch" => {
                let number = node.as_str().strip_prefix(mesh)?.strip_prefix('-')?.parse::<u64>().ok()?;
                // One name for each number: no +1 and no 01.
                if format!("{mesh}-{number}") != node.as_str() {
                    return None;
                }
                (launch(mesh, number), rest, Entitlement::Launch(number))
            }
            "invite" => {
                let (until, code) = rest.split_once('.')?;
                let until: u64 = until.parse().ok()?;
                if until < seconds(now) {
                    return None;
                }
                (invitation(mesh, node, until), code, Entitlement::Invitation)
            }
            _ => return None,
        };
        let code: [u8; BYTES] = unhex(code)?;
        hmac::verify(&self.0, &message, &code).ok().map(|()| entitlement)
    }
}

// By hand, so that no secret reaches a log.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&SHA256, bytes).as_ref());
    hash
}

/// 32 random bytes in hexadecimal, for keys and tokens that people copy.
///
/// # Errors
/// When the system has no randomness.
pub fn random_text() -> Result<String, SecretError> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretError::Randomness)?;
    Ok(hex(&bytes))
}

// Names have no zero byte, so no two of these are the same.
fn launch(mesh: &str, number: u64) -> Vec<u8> {
    format!("skein launch\0{mesh}\0{number}").into_bytes()
}

fn invitation(mesh: &str, node: &NodeId, until: u64) -> Vec<u8> {
    format!("skein invitation\0{mesh}\0{node}\0{until}").into_bytes()
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Cannot fail: it is a String.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != 2 * BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    #[test]
    fn two_leaders_make_the_same_token_and_nobody_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("enrol.secret");
        let secret = Secret::generate().expect("makes");
        secret.write(&path).expect("writes");
        let same = Secret::read(&path).expect("reads");
        assert_eq!(secret.launch_token("dev", 7), same.launch_token("dev", 7));
        assert_ne!(secret.launch_token("dev", 7), Secret::generate().expect("makes").launch_token("dev", 7));
        assert_ne!(secret.launch_token("dev", 7), secret.launch_token("dev", 8));
        assert_ne!(secret.launch_token("dev", 7), secret.launch_token("dev-7", 7));
        assert!(!format!("{secret:?}").contains(&secret.1));
    }

    #[test]
    fn the_codes_are_those_that_other_versions_make() {
        let secret = Secret::new(&[7; 32]);
        // From Python's hmac and hashlib.
        assert_eq!(secret.launch_token("dev", 1), EXPECTED);
    }

    const EXPECTED: &str = "launch.f3d2492c4b411b6f4bcd5b840650f1cef06707d1c57b75dd4f58825c21508d23";

    #[test]
    fn a_launch_token_is_for_one_node() {
        let secret = Secret::generate().expect("makes");
        let token = secret.launch_token("dev", 7);
        let now = SystemTime::now();
        let check = |mesh: &str, name: &str, token: &str| secret.check(mesh, &node(name), token, now);
        assert_eq!(check("dev", "dev-7", &token), Some(Entitlement::Launch(7)));
        for other in ["dev-8", "dev-07", "dev-+7", "dev7", "dev", "other-7"] {
            assert_eq!(check("dev", other, &token), None, "{other}");
        }
        assert_eq!(check("other", "other-7", &token), None);
        for bad in
            ["", "launch", "launch.", "launch.00", "invite.9999999999.00", "other.x", &"x".repeat(1000)]
        {
            assert_eq!(check("dev", "dev-7", bad), None, "{bad}");
        }
        let (rest, last) = token.split_at(token.len() - 1);
        let changed = format!("{rest}{}", if last == "0" { '1' } else { '0' });
        assert_eq!(check("dev", "dev-7", &changed), None);
    }

    #[test]
    fn an_invitation_is_for_one_node_until_its_time() {
        let secret = Secret::generate().expect("makes");
        let now = SystemTime::now();
        let until = now + Duration::from_secs(60);
        let token = secret.invitation("dev", &node("anna"), until);
        let check = |name: &str, token: &str, at| secret.check("dev", &node(name), token, at);
        assert_eq!(check("anna", &token, now), Some(Entitlement::Invitation));
        assert_eq!(check("anna", &token, until + Duration::from_secs(1)), None);
        assert_eq!(check("ben", &token, now), None);
        let longer = token.replacen(&seconds(until).to_string(), &(seconds(until) + 60).to_string(), 1);
        assert_eq!(check("anna", &longer, now), None);
        // The same code under the other kind of token.
        let code = token.rsplit('.').next().expect("a code");
        assert_eq!(check("dev-1", &format!("launch.{code}"), now), None);
    }

    #[test]
    fn a_file_with_something_else_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("enrol.secret");
        assert!(Secret::read(&path).expect_err("is not there").to_string().contains("enrol.secret"));
        for bad in ["", "secret", &"g".repeat(64), &"0".repeat(63)] {
            std::fs::write(&path, bad).expect("writes");
            assert!(Secret::read(&path).expect_err("is none").to_string().contains("enrol.secret"));
        }
    }
}
