//! One WebRTC transport: str0m in RTP mode on a UDP socket of its own.

use super::parameters::{Capabilities, PROBATION_SSRC, Remote};
use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;

/// How many datagrams are taken from the socket before anything else has its turn.
const BATCH: usize = 64;
/// Largest datagram.
const DATAGRAM: usize = 2048;

/// What a transport is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Send,
    Receive,
}

/// One WebRTC transport.
pub(super) struct Link {
    pub rtc: Rtc,
    pub id: String,
    socket: UdpSocket,
    local: SocketAddr,
    timeout: Instant,
    written: bool,
}

impl Link {
    /// Makes the local end of a transport. Nothing is sent before [`Link::poll`].
    pub async fn new(
        capabilities: &Capabilities,
        remote: &Remote,
        direction: Direction,
        data: bool,
    ) -> anyhow::Result<Self> {
        let loopback: IpAddr = match remote.candidates.first() {
            Some(candidate) if candidate.is_ipv6() => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let socket = UdpSocket::bind((loopback, 0)).await.context("UDP socket")?;
        let local = socket.local_addr()?;
        let config = RtcConfig::new()
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
            .set_rtp_mode(true)
            .set_rtcp_report_interval_video(Duration::from_secs(1))
            .set_rtcp_report_interval_audio(Duration::from_secs(2));
        let mut rtc = capabilities.configure(config)?.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(local, "udp")?);
        for candidate in &remote.candidates {
            rtc.add_remote_candidate(Candidate::host(*candidate, "udp")?);
        }
        let mut direct = rtc.direct_api();
        direct.set_remote_ice_credentials(remote.creds.clone());
        let fingerprint = format!("sha-256 {}", remote.fingerprint);
        direct.set_remote_fingerprint(fingerprint.parse().map_err(|e: String| anyhow!(e))?);
        direct.set_ice_controlling(true);
        direct.start_dtls(true)?;
        if data {
            direct.start_sctp(true);
        }
        if direction == Direction::Receive {
            // Feedback about every packet, also the estimator's padding: it would count what is not reported as lost.
            direct.enable_twcc_feedback();
            let mid = "probator".into();
            direct.declare_media(mid, MediaKind::Video);
            direct.expect_stream_rx(PROBATION_SSRC.into(), None, mid, None).suppress_nack(true);
        }
        let timeout = Instant::now();
        Ok(Self { rtc, id: remote.id.clone(), socket, local, timeout, written: true })
    }

    /// The client's DtlsParameters: it is the one that begins.
    pub fn dtls_parameters(&mut self) -> Value {
        let fingerprint = self.rtc.direct_api().local_dtls_fingerprint().to_string();
        let value = fingerprint.split_once(' ').map_or("", |(_, value)| value);
        json!({ "role": "client", "fingerprints": [{ "algorithm": "sha-256", "value": value }] })
    }

    /// When [`Link::poll`] is due.
    pub fn due(&self) -> Instant {
        self.timeout
    }

    /// Something was handed to str0m that must leave now.
    pub fn touch(&mut self) {
        self.written = true;
    }

    /// Lets str0m do what is due: sends datagrams, hands out events.
    pub fn poll(&mut self, now: Instant, events: &mut Vec<Event>) -> anyhow::Result<()> {
        if !self.written && now < self.timeout {
            return Ok(());
        }
        self.written = false;
        self.rtc.handle_input(Input::Timeout(now))?;
        self.drain(events)
    }

    fn drain(&mut self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return Ok(());
                }
                Output::Transmit(datagram) => {
                    // A full socket buffer is loss, as on any network.
                    let _ = self.socket.try_send_to(&datagram.contents, datagram.destination);
                }
                Output::Event(event) => events.push(event),
            }
        }
    }

    /// Waits until the socket has something. Cancel-safe.
    pub async fn readable(&self) -> std::io::Result<()> {
        self.socket.readable().await
    }

    /// Takes what the socket has, a batch of it at most.
    pub fn receive(&mut self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let mut buffer = [0; DATAGRAM];
        for _ in 0..BATCH {
            // An error is an ICMP answer to something sent before, or that there is nothing more.
            let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) else { return Ok(()) };
            let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, &buffer[..length]) else {
                continue;
            };
            self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
            self.drain(events)?;
        }
        Ok(())
    }
}
