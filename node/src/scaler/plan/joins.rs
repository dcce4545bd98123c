//! How fast people come, and what one of them costs.

use super::seen::NodeSeen;
use skein_proto::gossip::Phase;
use skein_proto::ids::NodeId;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// For how long it is remembered how many came. Longer than a machine boots, as a rule.
pub const OVER: Duration = Duration::from_secs(300);
/// Of this, only the last so many times as long as it is asked about count: where machines boot in seconds, a crowd
/// that has gone keeps none for minutes.
const TIMES: u32 = 5;
/// It is remembered in pieces of this length.
const PIECE: Duration = Duration::from_secs(1);
/// What one peer costs before any has shown it, in reference streams: three others who send video, and some sound.
const TYPICAL: f64 = 4.0;
/// As many peers of typical cost are counted among those who are there, so that the first few do not decide.
const TYPICAL_PEERS: f64 = 5.0;

/// How many came lately, from what each node says of how many came to it since it started.
#[derive(Debug, Clone, Default)]
pub struct Joins {
    /// How many, by when they were seen.
    came: VecDeque<(Instant, f64)>,
    nodes: HashMap<NodeId, (u64, u32)>,
    moved: f64,
}

impl Joins {
    /// Takes in what the nodes say now.
    pub fn see(&mut self, now: Instant, nodes: &[NodeSeen]) {
        let (mut came, mut draining) = (0, false);
        let mut moved = 0;
        for node in nodes {
            let before = self.nodes.insert(node.id.clone(), (node.joined, node.peers));
            // Of a node that is new to this leader nobody knows when those came who are there.
            let Some((joined, peers)) = before else { continue };
            // A node that counts less than it did has started again, from nothing.
            came += node.joined.checked_sub(joined).unwrap_or(node.joined);
            if node.phase == Phase::Draining {
                draining = true;
                moved += peers.saturating_sub(node.peers);
            }
        }
        self.nodes.retain(|id, _| nodes.iter().any(|node| node.id == *id));
        // Who moves from a draining node to another comes to that one, and nobody has come to the mesh.
        self.moved = if draining { self.moved + f64::from(moved) } else { 0.0 };
        let came = came as f64;
        let back = came.min(self.moved);
        self.moved -= back;
        let came = came - back;
        match self.came.back_mut() {
            Some((at, before)) if now.saturating_duration_since(*at) < PIECE => *before += came,
            _ => self.came.push_back((now, came)),
        }
        while self.came.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > OVER) {
            self.came.pop_front();
        }
    }

    /// The most that came within such a time, of the last five such times and within the last five minutes. For a longer
    /// time than these, as many more as it is longer.
    ///
    /// People come in crowds, and a mean over the minutes before sees a crowd only when it is there.
    pub fn most_within(&self, time: Duration) -> f64 {
        let span = time.min(OVER);
        let Some((last, _)) = self.came.back() else { return 0.0 };
        let recent =
            |(at, _): &&(Instant, f64)| last.saturating_duration_since(*at) <= span.saturating_mul(TIMES);
        let (mut first, mut sum, mut most) = (self.came.iter().filter(recent).peekable(), 0.0, 0.0_f64);
        for (at, came) in self.came.iter().filter(recent) {
            sum += came;
            while let Some((_, gone)) = first.next_if(|(first, _)| *first + span <= *at) {
                sum -= gone;
            }
            most = most.max(sum);
        }
        most * time.as_secs_f64() / span.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// What one peer costs on average, in reference streams.
pub fn cost_per_peer(nodes: &[NodeSeen]) -> f64 {
    let known = nodes.iter().filter(|node| node.trusted());
    let (used, peers) = known.fold((0.0, 0.0), |(used, peers), node| {
        (used + f64::from(node.used()), peers + f64::from(node.peers))
    });
    (used + TYPICAL * TYPICAL_PEERS) / (peers + TYPICAL_PEERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(joined: u64) -> NodeSeen {
        NodeSeen {
            id: "mesh-1".parse().expect("a name"),
            number: Some(1),
            kind: None,
            phase: Phase::Ready,
            free: 100,
            total: 100,
            peers: 0,
            rooms: 0,
            joined,
            figures_age: Duration::ZERO,
            suspect: false,
        }
    }

    #[test]
    fn a_crowd_counts_for_what_it_was_until_it_is_forgotten() {
        let (mut joins, begun, mut joined) = (Joins::default(), Instant::now(), 1_000);
        for second in 0..=600_u32 {
            // One each second of the second minute, and nobody else.
            joined += u64::from((60..120).contains(&second));
            joins.see(begun + SECOND * second, &[node(joined)]);
            let most = |seconds| joins.most_within(SECOND * seconds);
            match second {
                0..60 => assert_eq!(most(60), 0.0, "nobody knows when those came who were there"),
                89 => assert_eq!((most(60), most(10)), (30.0, 10.0)),
                120..=150 => {
                    assert_eq!((most(60), most(10), most(120), most(600)), (60.0, 10.0, 60.0, 120.0));
                }
                180..=359 => {
                    assert_eq!((most(60), most(10), most(120), most(600)), (60.0, 0.0, 60.0, 120.0));
                }
                420..=600 => assert_eq!(most(60), 0.0),
                _ => assert!(most(60) <= 60.0),
            }
        }
        assert!(joins.came.len() <= 301, "{}", joins.came.len());
    }

    #[test]
    fn looking_more_often_changes_nothing() {
        let (mut joins, begun) = (Joins::default(), Instant::now());
        for look in 0..=5_000_u32 {
            joins.see(begun + SECOND / 100 * look, &[node(u64::from(look / 10))]);
        }
        assert_eq!(joins.most_within(SECOND * 60), 500.0);
        assert!(joins.came.len() <= 51, "{}", joins.came.len());
        assert!((90.0..=120.0).contains(&joins.most_within(SECOND * 10)));
    }
}
