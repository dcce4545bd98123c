//! Where a mesh is found: addresses, names that are looked up again and again, and other sources.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// For one look-up of a name.
const LOOKUP: Duration = Duration::from_secs(5);
/// Of one name at most so many addresses are used.
const ADDRESSES: usize = 64;

/// A place to find nodes at: `address:port`, or `name:port` for all addresses of a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Seed {
    /// One address.
    Address(SocketAddr),
    /// All addresses of a name.
    Name {
        /// The name.
        host: String,
        /// The port at each of them.
        port: u16,
    },
}

/// The text is neither `address:port` nor `name:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither address:port nor name:port")]
pub struct SeedError(String);

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Address(addr));
        }
        let error = || SeedError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        // The last label of a name has a letter in it; without one it is an address with a mistake.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_name = name.len() <= 253
            && name.split('.').all(is_label)
            && last.bytes().any(|b| b.is_ascii_alphabetic());
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(error)?;
        if is_name { Ok(Self::Name { host: host.to_owned(), port }) } else { Err(error()) }
    }
}

impl TryFrom<String> for Seed {
    type Error = SeedError;

    fn try_from(text: String) -> Result<Self, SeedError> {
        text.parse()
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> Self {
        seed.to_string()
    }
}

impl From<SocketAddr> for Seed {
    fn from(addr: SocketAddr) -> Self {
        Self::Address(addr)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Seed {
    /// Its addresses now, at most 64. Ends within 5 s.
    ///
    /// # Errors
    /// Why a name has none.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let (host, port) = match self {
            Self::Address(addr) => return Ok(vec![*addr]),
            Self::Name { host, port } => (host.as_str(), *port),
        };
        match tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => Ok(found.take(ADDRESSES).collect()),
            Ok(Err(error)) => Err(format!("{host}: {error}")),
            Err(_) => Err(format!("{host}: no answer within {LOOKUP:?}")),
        }
    }
}

/// Finds nodes to join through. Asked again and again: whenever the node is alone, and now and then.
#[async_trait]
pub trait SeedSource: std::fmt::Debug + Send + Sync {
    /// Where nodes are now, as far as the source knows. Must end by itself, within some seconds.
    ///
    /// # Errors
    /// Why it does not know, in words.
    async fn find(&self) -> Result<Vec<SocketAddr>, String>;

    /// For how long a node that is not alone does without another answer. Zero, unless asking has a price.
    fn good_for(&self) -> Duration {
        Duration::ZERO
    }
}

/// The names of a list of seeds, looked up in DNS.
#[derive(Debug)]
pub struct Names(Vec<Seed>);

impl Names {
    /// None where the list has only addresses.
    pub fn of(seeds: &[Seed]) -> Option<Self> {
        let names: Vec<_> = seeds.iter().filter(|seed| matches!(seed, Seed::Name { .. })).cloned().collect();
        (!names.is_empty()).then_some(Self(names))
    }
}

#[async_trait]
impl SeedSource for Names {
    async fn find(&self) -> Result<Vec<SocketAddr>, String> {
        let found = futures::future::join_all(self.0.iter().map(Seed::resolve)).await;
        let problem = found.iter().find_map(|each| each.as_ref().err()).cloned();
        let all: Vec<_> = found.into_iter().flatten().flatten().collect();
        match problem {
            // One name of several is enough.
            Some(problem) if all.is_empty() => Err(problem),
            _ => Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_addresses_or_names_with_a_port() {
        for good in
            ["127.0.0.1:1", "[::1]:4440", "localhost:1", "seeds.example.org:4440", "a.b.:9", "n_1-x:80"]
        {
            let seed: Seed = good.parse().expect(good);
            assert_eq!(seed.to_string(), good);
        }
        for bad in [
            "localhost",
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a b:1",
            "::1:4440",
            "10.0.0.256:1",
            "a..b:1",
            "-:x",
        ] {
            let error = bad.parse::<Seed>().expect_err(bad).to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let seeds: Vec<Seed> =
            ["127.0.0.2:7", "localhost:9"].map(|each| each.parse().expect("a seed")).into();
        let found = Names::of(&seeds).expect("has a name").find().await.expect("is known everywhere");
        assert!(!found.is_empty() && found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 9));
        assert!(Names::of(&seeds[..1]).is_none());
        // Reserved to be unknown (RFC 2606).
        let nobody = Names::of(&["nobody.invalid:1".parse().expect("a seed")]).expect("has a name");
        assert!(nobody.find().await.expect_err("is unknown").contains("nobody.invalid"));
    }
}
