//! Asking hosts to keep room: all that a change needs, or nothing.

use super::Homes;
use futures::future::join_all;
use skein_proto::capacity::Cost;
use skein_proto::ids::{NodeId, RoomId, SessionId, WorkerAddress};
use skein_proto::rpc::{Call, Claim, Guarantee, Outlook, Reply, Reserve, Ticket};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a host may take to say whether it keeps room.
const RESERVE_DEADLINE: Duration = Duration::from_secs(2);

/// What is needed of each node's workers.
type ByNode = BTreeMap<NodeId, Vec<(u16, Cost)>>;

fn by_node(demands: &[(WorkerAddress, Cost)]) -> ByNode {
    let mut nodes = ByNode::new();
    for (at, cost) in demands {
        nodes.entry(at.node.clone()).or_default().push((at.worker, *cost));
    }
    nodes
}

/// What is kept, and where, so that it can be given up.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    ticket: Ticket,
    nodes: Vec<NodeId>,
}

impl Homes {
    /// Has all of `demands` kept for a session, in place of what `replaces` names, which is given up either way.
    ///
    /// # Errors
    /// Names a worker that has no room or does not answer; then nothing is kept anywhere.
    pub(super) async fn reserve(
        &self,
        room: &RoomId,
        session: SessionId,
        demands: &[(WorkerAddress, Cost)],
        place: Option<(WorkerAddress, Outlook)>,
        claim: Claim,
        replaces: Option<Kept>,
    ) -> Result<Kept, WorkerAddress> {
        let ticket = Ticket(rand::random());
        let old = replaces.as_ref().map(|kept| kept.ticket);
        let nodes = by_node(demands);
        let asks = nodes.iter().map(|(node, demands)| {
            let at = place.as_ref().filter(|(at, _)| at.node == *node).map(|(at, o)| (at.worker, *o));
            let (room, demands) = (room.clone(), demands.clone());
            let reserve = Reserve { ticket, session, room, demands, at, claim, replaces: old };
            let first = reserve.demands.first().map_or(0, |(worker, _)| *worker);
            async move {
                let reply = self.mesh.call(node, Call::Reserve(reserve), RESERVE_DEADLINE).await;
                (node, first, reply)
            }
        });
        let (mut granted, mut refused) = (Vec::new(), None);
        for (node, first, reply) in join_all(asks).await {
            let address = |worker| WorkerAddress { node: node.clone(), worker };
            match reply {
                Ok(Reply::Reserved { left }) => {
                    granted.push(node.clone());
                    let mut field = self.field.lock();
                    for (worker, left) in left {
                        field.field.correct(&address(worker), left);
                    }
                }
                Ok(Reply::Full { worker, left }) => {
                    self.field.lock().field.correct(&address(worker), left);
                    refused = Some(address(worker));
                }
                Ok(other) => {
                    tracing::debug!(%node, ?other, "no answer to a reservation");
                    refused = Some(address(first));
                }
                Err(error) => {
                    tracing::debug!(%node, %error, "reservation failed");
                    refused = Some(address(first));
                }
            }
        }
        // Where nothing is needed any more, or this was refused, it is still there.
        replaces.into_iter().for_each(|kept| self.release(kept));
        let kept = Kept { ticket, nodes: granted };
        match refused {
            None => Ok(kept),
            Some(by) => {
                // Whoever is tried next finds it free again. It goes on where nobody waits any more.
                let _ = self.tasks.spawn(self.give_up(kept)).await;
                Err(by)
            }
        }
    }

    /// Gives up what is kept. Not waited for: what is not heard of expires.
    pub(super) fn release(&self, kept: Kept) {
        self.tasks.spawn(self.give_up(kept));
    }

    fn give_up(&self, kept: Kept) -> impl Future<Output = ()> + use<> {
        let mesh = self.mesh.clone();
        async move {
            let ask = |node| mesh.call(node, Call::Release(kept.ticket), RESERVE_DEADLINE);
            join_all(kept.nodes.iter().map(ask)).await;
        }
    }

    /// Has all of `demands` kept for a room at any time, or renews that. Says whether all do; what is left where there is too
    /// little is known from now on.
    pub(super) async fn guarantee(&self, room: &RoomId, demands: &[(WorkerAddress, Cost)]) -> bool {
        let nodes = by_node(demands);
        let asks = nodes.iter().map(|(node, demands)| async move {
            let guarantee = Guarantee { room: room.clone(), demands: demands.clone() };
            match self.mesh.call(node, Call::Guarantee(guarantee), RESERVE_DEADLINE).await {
                Ok(Reply::Done) => true,
                Ok(Reply::Full { worker, left }) => {
                    let at = WorkerAddress { node: node.clone(), worker };
                    self.field.lock().field.correct(&at, left);
                    false
                }
                other => {
                    tracing::debug!(%node, ?other, "no answer to a guarantee");
                    false
                }
            }
        });
        join_all(asks).await.into_iter().all(|kept| kept)
    }

    /// What nodes keep for a room at any time, all that answer.
    pub(super) async fn guaranteed(&self, room: &RoomId) -> Vec<(WorkerAddress, Cost)> {
        let nodes: Vec<_> = self.mesh.view().borrow().nodes.keys().cloned().collect();
        let asks = nodes.into_iter().map(|node| async move {
            let call = Call::Guaranteed(room.clone());
            let Ok(Reply::Guaranteed { kept }) = self.mesh.call(&node, call, RESERVE_DEADLINE).await else {
                return Vec::new();
            };
            let at = |worker| WorkerAddress { node: node.clone(), worker };
            kept.into_iter().map(|(worker, cost)| (at(worker), cost)).collect()
        });
        join_all(asks).await.into_iter().flatten().collect()
    }

    /// Gives up what nodes keep for a room. Not waited for: what is not renewed expires.
    pub(super) fn unguarantee(&self, room: &RoomId, nodes: Vec<NodeId>) {
        for node in nodes {
            let (mesh, room) = (self.mesh.clone(), room.clone());
            self.tasks.spawn(async move {
                let _ = mesh.call(&node, Call::Unguarantee(room), RESERVE_DEADLINE).await;
            });
        }
    }
}
