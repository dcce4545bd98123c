//! All keys, with defaults and checks.

use super::scaling::text_or_number;
use super::{CloudKind, ConfigError, Election, Enrol, Scaling, wrong};
use crate::seeds::Seed;
use serde::{Deserialize, Serialize};
use skein_proto::ids::NodeId;
use skein_proto::room::{RoomMode, RoomOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything a node can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Start without keys although the node listens beyond loopback.
    #[serde(default)]
    pub insecure: bool,
    /// Who the node is.
    pub node: Node,
    /// The mesh it belongs to.
    pub mesh: Mesh,
    /// Its HTTP and WebSocket server.
    #[serde(default)]
    pub http: Http,
    /// Its workers.
    #[serde(default)]
    pub media: Media,
    /// How hosts are chosen.
    #[serde(default)]
    pub placement: Placement,
    /// What rooms are like.
    #[serde(default)]
    pub room: Room,
    /// Limits on clients.
    #[serde(default)]
    pub signaling: Signaling,
    /// Who may use it.
    #[serde(default)]
    pub auth: Auth,
    /// Who leads the mesh.
    #[serde(default)]
    pub election: Election,
    /// How the mesh grows and shrinks.
    #[serde(default)]
    pub scaling: Scaling,
    /// How nodes get their certificates.
    #[serde(default)]
    pub enrol: Enrol,
}

/// Who the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, the one in its certificate.
    pub id: NodeId,
    /// `seed` or `node`.
    #[serde(default)]
    pub role: NodeRole,
    /// Where it is, such as `eu-central-1`.
    #[serde(default = "local")]
    pub region: String,
    /// Where in the region.
    #[serde(default)]
    pub zone: String,
    /// Seconds for which it waits, told to stop by SIGTERM, until its peers have gone to other nodes; those who are still
    /// there then are told to dial again. 0 is not at all. SIGINT, or a second SIGTERM, stops it at once.
    #[serde(default = "two_minutes")]
    pub drain_on_term_s: u32,
}

fn two_minutes() -> u32 {
    120
}

fn local() -> String {
    "local".to_owned()
}

/// Whether others find the mesh through the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// New nodes dial it first.
    Seed,
    /// It comes and goes.
    #[default]
    Node,
}

impl NodeRole {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Node => "node",
        }
    }
}

/// The mesh the node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Its name, the one in all of its certificates: lower-case letters, digits and inner hyphens.
    #[serde(default = "dev")]
    pub name: String,
    /// UDP address for QUIC between nodes. Must be an address that other nodes can be dialled from.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The address that other nodes dial; `listen` where it is not given.
    #[serde(default)]
    pub advertise: Option<SocketAddr>,
    /// Nodes to join through: `address:port`, or `name:port` for all addresses of a DNS name, which is looked up again
    /// and again. One that answers is enough; the own is skipped.
    #[serde(default)]
    pub seeds: Vec<Seed>,
    /// Machines of Amazon EC2 to join through, besides `seeds`, found by their tags.
    #[serde(default)]
    pub seeds_from_ec2: Ec2Seeds,
    /// PEM file with the certificate of the mesh's authority.
    pub ca: PathBuf,
    /// PEM file with the node's certificate.
    pub cert: PathBuf,
    /// PEM file with the node's private key.
    pub key: PathBuf,
}

impl Mesh {
    /// The address that other nodes dial.
    pub fn advertised(&self) -> SocketAddr {
        self.advertise.unwrap_or(self.listen)
    }
}

/// Which machines of Amazon EC2 are taken for seeds, of those that run and have the mesh's name as tag `skein:mesh`.
/// They are dialled at their private IPv4 address, with the port that this node is dialled at. Region and endpoint are
/// those of [`Ec2Cloud`](super::Ec2Cloud).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ec2Seeds {
    /// None.
    #[default]
    None,
    /// Those with the tag `skein:role` = `seed`.
    Seeds,
    /// All.
    All,
}

fn dev() -> String {
    "dev".to_owned()
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 4440))
}

/// Whether a text can name a mesh or a node: at most 40 lower-case letters, digits and inner hyphens.
pub fn is_label(name: &str) -> bool {
    name.len() <= 40
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.is_empty()
}

/// The HTTP and WebSocket server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// TCP address.
    pub listen: SocketAddr,
    /// The address that clients and other nodes use, such as `https://n1.example.org`; made from `listen` where it is
    /// not given ([`Config::public_url`]).
    pub url: Option<String>,
    /// PEM file with a certificate that clients trust; with it the server speaks TLS.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with its private key.
    pub tls_key: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: default_listen(), url: None, tls_cert: None, tls_key: None }
    }
}

/// The workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// How many; 0 is one per core.
    pub workers: u16,
    /// How many streams (producers and consumers) one worker carries; 500 where nothing else says what it carries.
    /// Where it is given it comes before what was measured ([`Media::budget`]).
    pub streams_per_worker: Option<u32>,
    /// File of what machines carry, as `skein calibrate` writes it.
    pub calibration: Option<PathBuf>,
    /// Packets that one worker sends at most each second; comes before everything else that says so.
    pub packets_per_worker: Option<u64>,
    /// Bits that the node sends at most into the network each second; comes before everything else that says so.
    pub egress_bits: Option<u64>,
    /// Addresses for clients' media; IPv4, IPv6 or both.
    pub listen: Vec<MediaAddress>,
    /// Port, UDP and TCP, of the first worker's WebRTC server; the next worker has the next one. 0 lets the system
    /// choose.
    pub port: u16,
    /// Address for pipes from other nodes, and from which they are sent.
    pub pipe: MediaAddress,
    /// UDP ports for pipes, first and last.
    pub pipe_ports: (u16, u16),
    /// Seconds for which a pipe without consumers is kept.
    pub pipe_linger_s: f64,
    /// What a client's downlink is taken for before it is measured, bits per second.
    pub initial_outgoing_bitrate: u32,
    /// What a client may send at most on one transport, bits per second; 0 is no limit.
    pub max_incoming_bitrate: u32,
}

/// An address for media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaAddress {
    /// The interface to listen on.
    pub ip: IpAddr,
    /// What others are told instead, where the node is behind NAT: an address (for clients also a host name).
    #[serde(default)]
    pub announced: Option<String>,
}

impl MediaAddress {
    fn loopback() -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), announced: None }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            workers: 0,
            streams_per_worker: None,
            calibration: None,
            packets_per_worker: None,
            egress_bits: None,
            listen: vec![MediaAddress::loopback()],
            port: 0,
            pipe: MediaAddress::loopback(),
            pipe_ports: (40_000, 49_999),
            pipe_linger_s: 5.0,
            initial_outgoing_bitrate: 1_000_000,
            max_incoming_bitrate: 0,
        }
    }
}

/// How hosts are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// What comes first.
    pub prefer: Prefer,
    /// To how many other nodes one node sends a producer at most; more get it through relays.
    pub fan_out: u32,
    /// Whether peers are moved to bring a room together on fewer hosts, where those have room.
    pub together: bool,
    /// How many peers of a room are moved at once, at most.
    pub moves_at_once: u32,
    /// How many peers rooms have in the end, before any has ended. A new room is put where it can grow to that.
    pub typical_peers: u32,
    /// How long a join that finds no place waits for one where the mesh cannot grow, seconds. 0: it is refused at once.
    pub wait_s: f64,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            prefer: Prefer::default(),
            fan_out: 8,
            together: true,
            moves_at_once: 4,
            typical_peers: 4,
            wait_s: 5.0,
        }
    }
}

/// What comes first when a host is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// As few hosts as possible.
    #[default]
    Pack,
    /// The client's own entry whenever it fits, for nodes that are far apart.
    Entry,
}

/// What rooms are like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Room {
    /// Who may send, where a room's first peer does not say: `conference`, `stage` or `one-to-one`.
    pub mode: RoomMode,
    /// How many peers a room may have, where its first peer does not say.
    pub size: u32,
    /// How many it may have at most, whatever is said.
    pub max_size: u32,
    /// Whether capacity for all of a room's peers is reserved from its start, where its first peer does not say.
    pub guaranteed: bool,
    /// Of how many peers, those who spoke last, video is forwarded, where a room's first peer does not say; 0 is all.
    pub last_n: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self { mode: RoomMode::Conference, size: 500, max_size: 20_000, guaranteed: false, last_n: 0 }
    }
}

impl Room {
    /// What a room is like of which nobody says it.
    pub fn options(&self) -> RoomOptions {
        let size = if self.mode == RoomMode::OneToOne { 2 } else { self.size };
        RoomOptions { mode: self.mode, size, guaranteed: self.guaranteed, last_n: self.last_n }
    }
}

/// Limits on clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signaling {
    /// How many requests a client may send a second, with twice as many at once.
    pub requests_per_second: u32,
    /// Largest text frame from a client, bytes.
    pub max_frame_bytes: usize,
    /// Seconds between pings.
    pub ping_interval_s: f64,
    /// Seconds without a word from a client after which it is gone.
    pub ping_timeout_s: f64,
    /// How many WebSockets the node holds at most.
    pub max_sockets: u32,
}

impl Default for Signaling {
    fn default() -> Self {
        Self {
            requests_per_second: 100,
            max_frame_bytes: 1024 * 1024,
            ping_interval_s: 3.0,
            ping_timeout_s: 8.0,
            max_sockets: 10_000,
        }
    }
}

/// Who may use the node.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// What client tokens are signed with: a shared secret of at least 32 bytes (HS256), or an Ed25519 public key in
    /// PEM (EdDSA). With it every client needs a token.
    #[serde(deserialize_with = "secret")]
    pub client_key: Option<String>,
    /// What operators send as bearer token; at least 16 bytes. With it the operator API needs it.
    #[serde(deserialize_with = "secret")]
    pub operator_token: Option<String>,
}

/// A secret may be all digits.
fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text_or_number(deserializer).map(Some)
}

// By hand, so that no secret reaches a log.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |secret: &Option<String>| secret.as_ref().map(|_| "…");
        f.debug_struct("Auth")
            .field("client_key", &shown(&self.client_key))
            .field("operator_token", &shown(&self.operator_token))
            .finish()
    }
}

impl Config {
    /// The address that clients and other nodes use for HTTP and WebSocket, without a slash at the end: `http.url`, or
    /// made from `http.listen`, with the address that other nodes dial where that listens on all.
    pub fn public_url(&self) -> String {
        let http = &self.http;
        if let Some(url) = &http.url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if http.tls_cert.is_some() { "https" } else { "http" };
        let mut addr = http.listen;
        if addr.ip().is_unspecified() {
            addr.set_ip(self.mesh.advertised().ip());
        }
        format!("{scheme}://{addr}")
    }

    /// All paths that are given.
    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let paths = [&mut self.mesh.ca, &mut self.mesh.cert, &mut self.mesh.key].into_iter();
        let http = self.http.tls_cert.iter_mut().chain(self.http.tls_key.as_mut());
        let (process, digitalocean) = (&mut self.scaling.process, &mut self.scaling.digitalocean);
        let ec2 = self.scaling.ec2.user_data_template.iter_mut();
        let templates = ec2.chain(digitalocean.user_data_template.as_mut());
        let scaling = [&mut process.folder, &mut process.authority, &mut digitalocean.token_file];
        let given = scaling.into_iter().filter(|path| !path.as_os_str().is_empty());
        paths
            .chain(http)
            .chain(self.media.calibration.as_mut())
            .chain(self.enrol.paths())
            .chain(given)
            .chain(templates)
    }

    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        self.paths().for_each(|path| *path = folder.join(&*path));
    }

    /// Makes all paths absolute, so that the configuration can be written down anywhere.
    ///
    /// # Errors
    /// When there is no working folder.
    pub fn make_absolute(&mut self) -> std::io::Result<()> {
        self.paths().try_for_each(|path| {
            *path = std::path::absolute(&*path)?;
            Ok(())
        })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let label = "is not a name of lower-case letters, digits and inner hyphens, at most 40";
        if !is_label(self.node.id.as_str()) {
            return Err(wrong("node.id", label));
        }
        if !is_label(&self.mesh.name) {
            return Err(wrong("mesh.name", label));
        }
        let advertised = self.mesh.advertised();
        if advertised.ip().is_unspecified() || advertised.port() == 0 {
            return Err(wrong(
                "mesh.advertise",
                format!("nodes cannot dial {advertised}; set one that they can"),
            ));
        }
        self.check_seeds()?;
        if let Some(url) = &self.http.url
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(wrong("http.url", "does not start with http:// or https://"));
        }
        match (&self.http.tls_cert, &self.http.tls_key) {
            (Some(_), None) => return Err(wrong("http.tls_key", "is missing, and http.tls_cert is there")),
            (None, Some(_)) => return Err(wrong("http.tls_cert", "is missing, and http.tls_key is there")),
            _ => {}
        }
        self.check_media()?;
        self.check_limits()?;
        self.election.check()?;
        self.scaling.check(&self.election)?;
        self.enrol.check(&self.election)?;
        self.check_trust()
    }

    fn check_seeds(&self) -> Result<(), ConfigError> {
        let advertised = self.mesh.advertised();
        if self.mesh.seeds_from_ec2 != Ec2Seeds::None && advertised.is_ipv6() {
            return Err(wrong(
                "mesh.seeds_from_ec2",
                format!("finds IPv4 addresses, and this node is dialled at {advertised}"),
            ));
        }
        // What machines are told is to be the same whoever leads, and so are the seeds that they enrol at.
        let launches = !matches!(self.scaling.cloud, CloudKind::None | CloudKind::Process);
        if launches && self.election.voters.len() > 1 && self.mesh.seeds.is_empty() {
            return Err(wrong(
                "mesh.seeds",
                "is empty: machines that are launched enrol at one of all the voters",
            ));
        }
        Ok(())
    }

    fn check_media(&self) -> Result<(), ConfigError> {
        let media = &self.media;
        if media.workers > 256 {
            return Err(wrong("media.workers", "is more than 256"));
        }
        for (key, value) in [
            ("media.streams_per_worker", media.streams_per_worker.map(u64::from)),
            ("media.packets_per_worker", media.packets_per_worker),
            ("media.egress_bits", media.egress_bits),
        ] {
            if value == Some(0) {
                return Err(wrong(key, "is 0; a node must carry something"));
            }
        }
        if media.listen.is_empty() {
            return Err(wrong("media.listen", "is empty; clients need an address"));
        }
        for address in media.listen.iter() {
            if address.ip.is_unspecified() && address.announced.is_none() {
                return Err(wrong("media.listen", format!("{} needs `announced`", address.ip)));
            }
        }
        match &media.pipe.announced {
            None if media.pipe.ip.is_unspecified() => {
                return Err(wrong("media.pipe", format!("{} needs `announced`", media.pipe.ip)));
            }
            Some(announced) if announced.parse::<IpAddr>().is_err() => {
                return Err(wrong("media.pipe.announced", format!("{announced:?} is not an IP address")));
            }
            _ => {}
        }
        let (first, last) = media.pipe_ports;
        if first == 0 || first > last {
            return Err(wrong("media.pipe_ports", format!("{first} to {last} is no range of ports")));
        }
        if !(0.0..=3600.0).contains(&media.pipe_linger_s) {
            return Err(wrong("media.pipe_linger_s", "is not between 0 and 3600"));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        if self.room.size == 0 {
            return Err(wrong("room.size", "is 0; a room must hold someone"));
        }
        if self.room.size > self.room.max_size {
            return Err(wrong("room.size", format!("is more than room.max_size, {}", self.room.max_size)));
        }
        if self.room.mode == RoomMode::OneToOne && self.room.last_n > 0 {
            return Err(wrong("room.last_n", "is set, and room.mode one-to-one forwards both"));
        }
        if !(1..=64).contains(&self.placement.fan_out) {
            return Err(wrong("placement.fan_out", "is not between 1 and 64"));
        }
        if !(1..=1000).contains(&self.placement.moves_at_once) {
            return Err(wrong("placement.moves_at_once", "is not between 1 and 1000"));
        }
        if !(1..=10_000).contains(&self.placement.typical_peers) {
            return Err(wrong("placement.typical_peers", "is not between 1 and 10000"));
        }
        if !(0.0..=15.0).contains(&self.placement.wait_s) {
            return Err(wrong("placement.wait_s", "is not between 0 and 15"));
        }
        let signaling = &self.signaling;
        if signaling.requests_per_second == 0 {
            return Err(wrong("signaling.requests_per_second", "is 0"));
        }
        if !(1024..=1024 * 1024).contains(&signaling.max_frame_bytes) {
            return Err(wrong("signaling.max_frame_bytes", "is not between 1024 and 1048576"));
        }
        if !(0.1..=60.0).contains(&signaling.ping_interval_s) {
            return Err(wrong("signaling.ping_interval_s", "is not between 0.1 and 60"));
        }
        if !(signaling.ping_interval_s..=120.0).contains(&signaling.ping_timeout_s) {
            return Err(wrong(
                "signaling.ping_timeout_s",
                "is not between signaling.ping_interval_s and 120",
            ));
        }
        if signaling.max_sockets == 0 {
            return Err(wrong("signaling.max_sockets", "is 0"));
        }
        Ok(())
    }

    fn check_trust(&self) -> Result<(), ConfigError> {
        if let Some(key) = &self.auth.client_key {
            crate::token::Verifier::new(key).map_err(|e| wrong("auth.client_key", e.to_string()))?;
        }
        if self.auth.operator_token.as_ref().is_some_and(|token| token.len() < 16) {
            return Err(wrong("auth.operator_token", "is shorter than 16 bytes"));
        }
        if self.http.listen.ip().is_loopback() || self.insecure {
            return Ok(());
        }
        let missing = if self.auth.client_key.is_none() {
            "auth.client_key"
        } else if self.auth.operator_token.is_none() {
            "auth.operator_token"
        } else {
            return Ok(());
        };
        Err(wrong(
            missing,
            format!(
                "is missing, and http.listen = {} is beyond loopback; set it, or insecure = true",
                self.http.listen
            ),
        ))
    }
}
