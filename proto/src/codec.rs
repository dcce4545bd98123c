//! How a node-to-node frame becomes bytes. The only place that names bincode.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// Largest frame between nodes, in bytes, without its 4-byte length.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Why bytes are not a frame, or a value cannot become one.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value does not fit a frame.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The bytes are not what was expected.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// More bytes than the value takes.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// The frame is larger than [`MAX_FRAME_BYTES`].
    #[error("{0} bytes in one frame; at most {MAX_FRAME_BYTES} are allowed")]
    TooLarge(usize),
}

const fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_FRAME_BYTES>()
}

/// Encodes one frame.
///
/// # Errors
/// When the value takes more than [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, CodecError> {
    let bytes =
        bincode::serde::encode_to_vec(value, config()).map_err(|e| CodecError::Encode(e.to_string()))?;
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    Ok(bytes.into())
}

/// Decodes one frame, all of it.
///
/// # Errors
/// When the bytes are too many, are not a `T`, or are more than a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, config()).map_err(|e| CodecError::Decode(e.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_consumed() {
        let mut bytes = encode(&("a", 7u32)).expect("encodes").to_vec();
        assert_eq!(decode::<(String, u32)>(&bytes).expect("decodes"), ("a".to_owned(), 7));
        bytes.push(0);
        assert!(matches!(decode::<(String, u32)>(&bytes), Err(CodecError::Trailing(1))));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // A string that claims 2^60 bytes: refused by the limit instead of allocated.
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(decode::<String>(&bytes).is_err());
    }
}
