//! Client tokens: JWTs (RFC 7519) signed with HS256 or EdDSA that name room, peer, role and expiry.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use skein_proto::ids::{PeerId, RoomId};
use skein_proto::signaling::Role;

/// Shortest shared secret, bytes: the length of an HS256 signature (RFC 7518, section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// What a client token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The room it opens.
    pub room: RoomId,
    /// The peer it is for; any where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// What the peer may do.
    pub role: Role,
    /// When it ends, seconds since 1970.
    pub exp: u64,
}

/// Why a token or key is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The secret is too short.
    #[error("a secret needs at least {MIN_SECRET_BYTES} bytes, and this has {0}")]
    ShortSecret(usize),
    /// The PEM text is not an Ed25519 key of the right kind.
    #[error("is not an Ed25519 key in PEM: {0}")]
    Key(jsonwebtoken::errors::Error),
    /// The token is malformed, expired or signed by another key.
    #[error("{0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// The token is for another room or peer.
    #[error("the token is for another {0}")]
    Other(&'static str),
}

fn is_pem(key: &str) -> bool {
    key.trim_start().starts_with("-----BEGIN")
}

/// Makes tokens.
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
}

impl Signer {
    /// `key` is a shared secret, or an Ed25519 private key in PEM.
    ///
    /// # Errors
    /// When the secret is short or the PEM is something else.
    pub fn new(key: &str) -> Result<Self, TokenError> {
        if is_pem(key) {
            let key = EncodingKey::from_ed_pem(key.as_bytes()).map_err(TokenError::Key)?;
            return Ok(Self { key, algorithm: Algorithm::EdDSA });
        }
        if key.len() < MIN_SECRET_BYTES {
            return Err(TokenError::ShortSecret(key.len()));
        }
        Ok(Self { key: EncodingKey::from_secret(key.as_bytes()), algorithm: Algorithm::HS256 })
    }

    /// Signs a token.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        Ok(encode(&Header::new(self.algorithm), claims, &self.key)?)
    }
}

/// Checks tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    /// `key` is a shared secret, or an Ed25519 public key in PEM.
    ///
    /// # Errors
    /// When the secret is short or the PEM is something else.
    pub fn new(key: &str) -> Result<Self, TokenError> {
        let (key, algorithm) = if is_pem(key) {
            (DecodingKey::from_ed_pem(key.as_bytes()).map_err(TokenError::Key)?, Algorithm::EdDSA)
        } else if key.len() < MIN_SECRET_BYTES {
            return Err(TokenError::ShortSecret(key.len()));
        } else {
            (DecodingKey::from_secret(key.as_bytes()), Algorithm::HS256)
        };
        // One algorithm only, so that a token cannot choose how it is checked.
        let mut validation = Validation::new(algorithm);
        validation.leeway = 5;
        Ok(Self { key, validation })
    }

    /// Checks a token and that it opens this room for this peer.
    ///
    /// # Errors
    /// When it does not.
    pub fn verify(&self, token: &str, room: &RoomId, peer: &PeerId) -> Result<Claims, TokenError> {
        let claims = decode::<Claims>(token, &self.key, &self.validation)?.claims;
        if claims.room != *room {
            return Err(TokenError::Other("room"));
        }
        if claims.peer.as_ref().is_some_and(|named| named != peer) {
            return Err(TokenError::Other("peer"));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn claims(exp: u64) -> Claims {
        Claims { room: "r".parse().expect("a name"), peer: None, role: Role::Publish, exp }
    }

    fn check(verifier: &Verifier, token: &str, room: &str) -> Result<Claims, TokenError> {
        verifier.verify(token, &room.parse().expect("a name"), &"p".parse().expect("a name"))
    }

    #[test]
    fn a_token_opens_its_room_until_it_expires() {
        let signer = Signer::new(SECRET).expect("a key");
        let verifier = Verifier::new(SECRET).expect("a key");
        let token = signer.sign(&claims(u64::from(u32::MAX))).expect("signs");
        assert_eq!(check(&verifier, &token, "r").expect("opens").role, Role::Publish);
        assert!(check(&verifier, &token, "other").is_err());
        assert!(check(&verifier, &signer.sign(&claims(1)).expect("signs"), "r").is_err());
        let other = Verifier::new("another secret of enough bytes!!").expect("a key");
        assert!(check(&other, &token, "r").is_err());
    }

    #[test]
    fn ed25519_keys_work_and_do_not_mix() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let signer = Signer::new(&key.serialize_pem()).expect("a key");
        let public = key.public_key_pem();
        let verifier = Verifier::new(&public).expect("a key");
        let token = signer.sign(&claims(u64::from(u32::MAX))).expect("signs");
        assert!(check(&verifier, &token, "r").is_ok());
        // A token signed with the public key as if it were a shared secret.
        let forged = Signer::new(&public.replace("-----BEGIN", "x")).expect("a key");
        assert!(check(&verifier, &forged.sign(&claims(u64::from(u32::MAX))).expect("signs"), "r").is_err());
    }

    #[test]
    fn short_secrets_are_refused() {
        assert!(matches!(Verifier::new("short"), Err(TokenError::ShortSecret(5))));
    }
}
