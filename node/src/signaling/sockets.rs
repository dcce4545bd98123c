//! Which clients the node holds the WebSockets of, so that a node that drains can send them elsewhere.

use super::Client;
use parking_lot::Mutex;
use skein_proto::ids::{NodeId, PeerId, RoomId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A client that was asked to go elsewhere and has not is asked again after so long, and then after twice as long.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// So often that is doubled.
const LATER: u32 = 4;
/// How long what a client was asked counts as under way.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// The node's WebSockets.
#[derive(Debug, Default)]
pub struct Sockets {
    held: Mutex<Held>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    all: BTreeMap<u64, Socket>,
    last: u64,
}

#[derive(Debug)]
struct Socket {
    room: RoomId,
    peer: PeerId,
    skein: bool,
    host: Option<NodeId>,
    since: Instant,
    asked: u32,
    asked_at: Option<Instant>,
    go: CancellationToken,
}

impl Socket {
    fn is_due(&self, now: Instant) -> bool {
        let rest = ASK_AGAIN * (1 << self.asked.saturating_sub(1).min(LATER));
        self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= rest)
    }

    fn is_under_way(&self, now: Instant) -> bool {
        self.asked_at.is_some_and(|at| now.saturating_duration_since(at) < UNDER_WAY)
    }
}

/// One of the WebSockets, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Seat {
    sockets: Arc<Sockets>,
    number: u64,
    go: CancellationToken,
}

impl Seat {
    /// Which node holds the client's transports.
    pub(super) fn hosted(&self, host: &NodeId) {
        if let Some(socket) = self.sockets.held.lock().all.get_mut(&self.number) {
            socket.host = Some(host.clone());
        }
    }

    /// Waits until the client is to dial another node.
    pub(super) async fn told_to_go(&self) {
        self.go.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sockets.held.lock().all.remove(&self.number);
    }
}

impl Sockets {
    /// A client's WebSocket stands.
    pub(super) fn hold(self: &Arc<Self>, client: &Client) -> Seat {
        let go = CancellationToken::new();
        let socket = Socket {
            room: client.room.clone(),
            peer: client.peer.clone(),
            skein: client.skein,
            host: None,
            since: Instant::now(),
            asked: 0,
            asked_at: None,
            go: go.clone(),
        };
        let mut held = self.held.lock();
        held.last += 1;
        let number = held.last;
        held.all.insert(number, socket);
        Seat { sockets: Arc::clone(self), number, go }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.lock().all.is_empty()
    }

    /// Takes no more of them, or again.
    pub fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Release);
    }

    /// Whether no more are taken.
    pub fn are_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Clients that can move and whose host stays, by `stays`: whoever is to be asked to connect to that by another node
    /// now, so that at most `most` are asked at once. They count as asked.
    pub fn to_ask(
        &self,
        stays: impl Fn(&NodeId) -> bool,
        most: usize,
        now: Instant,
    ) -> Vec<(RoomId, PeerId)> {
        let mut held = self.held.lock();
        let under_way = held.all.values().filter(|socket| socket.is_under_way(now)).count();
        let is_to_be_asked = |socket: &&mut Socket| {
            socket.skein && socket.host.as_ref().is_some_and(&stays) && socket.is_due(now)
        };
        let asked = held.all.values_mut().filter(is_to_be_asked).take(most.saturating_sub(under_way));
        asked
            .map(|socket| {
                (socket.asked, socket.asked_at) = (socket.asked + 1, Some(now));
                (socket.room.clone(), socket.peer.clone())
            })
            .collect()
    }

    /// Whether clients are there that can move and may yet do it when they are asked.
    pub fn may_move(&self, now: Instant) -> bool {
        let held = self.held.lock();
        held.all.values().any(|socket| socket.skein && (socket.asked < 2 || socket.is_under_way(now)))
    }

    /// Tells clients to dial another node, at most `most`, of those who came before `before`. Answers how many.
    pub fn send_away(&self, most: usize, before: Instant) -> usize {
        let held = self.held.lock();
        let stays = |socket: &&Socket| socket.since < before && !socket.go.is_cancelled();
        held.all.values().filter(stays).take(most).map(|socket| socket.go.cancel()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skein_proto::room::RoomWish;
    use skein_proto::signaling::Role;

    fn client(peer: &str, skein: bool) -> Client {
        Client {
            room: "r".parse().expect("a name"),
            peer: peer.parse().expect("a name"),
            role: Role::Publish,
            asked: None,
            wish: RoomWish::default(),
            moving: None,
            skein,
        }
    }

    #[test]
    fn who_can_move_is_asked_a_few_at_once_and_again_later() {
        let sockets = Arc::new(Sockets::default());
        let (here, there): (NodeId, NodeId) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        let seats: Vec<_> =
            [("p", true, &there), ("q", true, &there), ("own", true, &here), ("plain", false, &there)]
                .into_iter()
                .map(|(peer, skein, host)| {
                    let seat = sockets.hold(&client(peer, skein));
                    seat.hosted(host);
                    seat
                })
                .collect();
        let now = Instant::now();
        let ask = |after| {
            let asked = sockets.to_ask(|host| *host == there, 1, now + after);
            asked.into_iter().map(|(_, peer)| peer.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ask(Duration::ZERO), ["p"]);
        assert!(ask(UNDER_WAY / 2).is_empty(), "one at a time");
        assert_eq!(ask(UNDER_WAY), ["q"]);
        assert_eq!(ask(ASK_AGAIN), ["p"]);
        assert!(ask(ASK_AGAIN * 3 / 2).len() == 1, "and q after it");
        assert!(ask(ASK_AGAIN * 5 / 2).is_empty(), "then each waits twice as long");
        drop(seats);
        assert!(sockets.is_empty());
    }

    #[test]
    fn who_came_since_is_not_sent_away_again() {
        let sockets = Arc::new(Sockets::default());
        let first = sockets.hold(&client("p", false));
        let begun = sockets.held.lock().all[&first.number].since + Duration::from_nanos(1);
        assert_eq!(sockets.send_away(9, begun), 1);
        assert_eq!(sockets.send_away(9, begun), 0, "once is enough");
        assert!(first.go.is_cancelled());
        let second = sockets.hold(&client("p", false));
        assert_eq!(sockets.send_away(9, begun), 0);
        assert_eq!(sockets.send_away(9, Instant::now() + Duration::from_millis(1)), 1);
        assert!(second.go.is_cancelled());
    }
}
