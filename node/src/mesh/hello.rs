//! The first words on a connection. Until both hellos are said and checked, nothing else is heard.

use super::refusal::{Refusal, Refused};
use super::{Shared, limits, link::Link, tls};
use futures::{SinkExt, StreamExt};
use quinn::{ConnectionError, RecvStream, SendStream, VarInt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skein_proto::codec;
use skein_proto::rpc::{Hello, Open, VERSION};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// A hello is small; nobody who has not said one may send more.
const MAX_HELLO_BYTES: usize = 1024;

/// Why there is no connection.
pub(super) enum NoLink {
    /// One side does not want the other.
    Refused(Refused),
    /// Nobody answered, or the connection broke.
    Lost(String),
}

impl From<ConnectionError> for NoLink {
    fn from(error: ConnectionError) -> Self {
        match Refused::from_error(&error) {
            Some(refused) => {
                tracing::trace!(%error, "connection refused");
                Self::Refused(refused)
            }
            None => Self::Lost(error.to_string()),
        }
    }
}

impl From<Refusal> for NoLink {
    fn from(why: Refusal) -> Self {
        Self::Refused(Refused::by_us(why))
    }
}

impl Shared {
    /// What this node says.
    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            mesh: self.mesh.clone(),
            node: self.id.clone(),
            generation: self.generation,
        }
    }

    /// Says hello first.
    pub(super) async fn greet(self: &Arc<Self>, connecting: quinn::Connecting) -> Result<Arc<Link>, NoLink> {
        let deadline = Instant::now() + limits::HELLO_DEADLINE;
        let connection = timeout_at(deadline, connecting)
            .await
            .map_err(|_| NoLink::Lost("no answer in time".to_owned()))??;
        let talk = async {
            let (writer, reader) = connection.open_bi().await?;
            self.say(&connection, writer, &Open::Hello(self.hello())).await?;
            self.hear::<Hello>(&connection, reader).await
        };
        let hello = self.settle(&connection, deadline, talk).await?;
        self.come_up(connection, hello, true)
    }

    /// Waits for a hello and answers it, or for what a machine without a certificate asks.
    pub(super) async fn welcome(self: &Arc<Self>, connecting: quinn::Connecting) -> Result<(), NoLink> {
        let deadline = Instant::now() + limits::HELLO_DEADLINE;
        let connection = timeout_at(deadline, connecting).await.map_err(|_| Refusal::Late)??;
        if tls::wants_to_enrol(&connection) {
            self.enrol(&connection, deadline).await;
            return Ok(());
        }
        // Where machines may enrol, TLS lets those in who show nothing.
        if tls::peer_certificate(&connection).is_none() {
            connection.close(Refusal::Tls.code(), Refusal::Tls.words().as_bytes());
            return Err(Refusal::Tls.into());
        }
        let talk = async {
            let (writer, reader) = connection.accept_bi().await?;
            let Open::Hello(hello) = self.hear::<Open>(&connection, reader).await? else {
                return Err(Refusal::NoHello.into());
            };
            // Checked before the answer, so that who is refused hears of nothing but that.
            self.check(&connection, &hello)?;
            if self.peers.is_outdated(&hello.node, hello.generation) {
                return Err(Refusal::Older.into());
            }
            self.say(&connection, writer, &self.hello()).await?;
            Ok(hello)
        };
        let hello = self.settle(&connection, deadline, talk).await?;
        self.come_up(connection, hello, false).map(drop)
    }

    /// Gives the talk its deadline and closes the connection with the reason when it fails.
    async fn settle(
        &self,
        connection: &quinn::Connection,
        deadline: Instant,
        talk: impl Future<Output = Result<Hello, NoLink>>,
    ) -> Result<Hello, NoLink> {
        let hello = match timeout_at(deadline, talk).await {
            Ok(Ok(hello)) => self.check(connection, &hello).map(|()| hello).map_err(NoLink::from),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Refusal::Late.into()),
        };
        if let Err(NoLink::Refused(Refused { why, by_peer: false })) = &hello {
            connection.close(why.code(), why.words().as_bytes());
        }
        hello
    }

    fn check(&self, connection: &quinn::Connection, hello: &Hello) -> Result<(), Refusal> {
        let certificate = tls::peer_certificate(connection).ok_or(Refusal::Tls)?;
        check(hello, &self.hello(), |node| tls::is_for(&certificate, &self.mesh, node))
    }

    fn come_up(
        self: &Arc<Self>,
        connection: quinn::Connection,
        hello: Hello,
        dialled: bool,
    ) -> Result<Arc<Link>, NoLink> {
        let remote = canonical(connection.remote_address());
        connection.set_receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW));
        let link = Link::new(hello.node, hello.generation, dialled, remote, connection);
        match self.link_up(link.clone()) {
            Ok(()) => Ok(link),
            Err(_) => {
                link.connection.close(Refusal::Older.code(), Refusal::Older.words().as_bytes());
                Err(Refusal::Older.into())
            }
        }
    }

    async fn say<T: Serialize>(
        &self,
        connection: &quinn::Connection,
        writer: SendStream,
        value: &T,
    ) -> Result<(), NoLink> {
        let frame = codec::encode(value).map_err(|e| NoLink::Lost(e.to_string()))?;
        let mut frames = FramedWrite::new(writer, LengthDelimitedCodec::new());
        frames.send(frame).await.map_err(|e| broken(connection, &e))
    }

    async fn hear<T: DeserializeOwned>(
        &self,
        connection: &quinn::Connection,
        reader: RecvStream,
    ) -> Result<T, NoLink> {
        let framing = LengthDelimitedCodec::builder().max_frame_length(MAX_HELLO_BYTES).new_codec();
        match FramedRead::with_capacity(reader, framing, limits::FRAME_BUFFER).next().await {
            Some(Ok(frame)) => codec::decode(&frame).map_err(|_| Refusal::NoHello.into()),
            Some(Err(error)) if connection.close_reason().is_some() => Err(broken(connection, &error)),
            _ => Err(Refusal::NoHello.into()),
        }
    }

    /// Counts that two sides do not want each other, and says why once in a while for each address.
    pub(super) fn refused(&self, remote: SocketAddr, refused: Refused) {
        if refused.why == Refusal::Own {
            // An address that leads back here, such as the own one in the list of seeds, is no mistake.
            return;
        }
        super::counters::count(&self.counters.connections_refused);
        if self.refusals.first((remote.ip(), refused), std::time::Instant::now()) {
            tracing::warn!(%remote, "{refused}");
        }
    }
}

/// Whether the one who says `hello` may be connected with the one who would say `own`.
fn check(
    hello: &Hello,
    own: &Hello,
    certified: impl Fn(&skein_proto::ids::NodeId) -> bool,
) -> Result<(), Refusal> {
    if hello.version != own.version {
        return Err(Refusal::Version);
    }
    if hello.mesh != own.mesh {
        return Err(Refusal::Mesh);
    }
    if !certified(&hello.node) {
        return Err(Refusal::Name);
    }
    if hello.node == own.node {
        return Err(if hello.generation == own.generation { Refusal::Own } else { Refusal::Taken });
    }
    Ok(())
}

/// A stream broke: the connection knows why.
fn broken(connection: &quinn::Connection, error: &std::io::Error) -> NoLink {
    match connection.close_reason() {
        Some(reason) => reason.into(),
        None => NoLink::Lost(error.to_string()),
    }
}

/// An IPv4 address that came in on an IPv6 socket, as IPv4.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_checked() {
        let own = Hello {
            version: VERSION,
            mesh: "m".to_owned(),
            node: "a".parse().expect("a name"),
            generation: 1,
        };
        let other = Hello { node: "b".parse().expect("a name"), ..own.clone() };
        assert_eq!(check(&other, &own, |_| true), Ok(()));
        assert_eq!(check(&other, &own, |_| false), Err(Refusal::Name));
        let version = Hello { version: VERSION + 1, ..other.clone() };
        assert_eq!(check(&version, &own, |_| true), Err(Refusal::Version));
        assert_eq!(check(&Hello { mesh: "x".to_owned(), ..other }, &own, |_| true), Err(Refusal::Mesh));
        assert_eq!(check(&own, &own, |_| true), Err(Refusal::Own));
        assert_eq!(check(&Hello { generation: 2, ..own.clone() }, &own, |_| true), Err(Refusal::Taken));
    }
}
