//! A worker is full, and a newcomer to one of its rooms needs a place there, or the room had better be there and not
//! elsewhere too: other rooms leave it, if they can. Which could is for the host to know, whether and where they go for
//! their homes.

use super::host::Rooms;
use skein_proto::ids::{RoomId, WorkerAddress};
use skein_proto::rpc::{Call, Clear, MakeWay, Reply};
use std::iter::once;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How many workers are cleared at once; half as many where nobody waits for it.
pub(super) const AT_ONCE: usize = 4;
/// How long it may take until rooms have left.
const CLEARED: Duration = Duration::from_secs(4);
/// How long a home may take to find places elsewhere and have them kept.
const HOME_DEADLINE: Duration = Duration::from_secs(2);
/// How often it is looked at whether they have left.
const POLL: Duration = Duration::from_millis(50);

/// A room that is about to leave a worker, with all that it has there or a part.
struct Leaving {
    room: RoomId,
    /// When it has no more than this there, it has left: packets a second.
    most: u64,
}

impl Rooms {
    /// Has other rooms leave a worker until a room finds so much more there, and answers what is left when they have.
    /// Where too many workers are being cleared already, or nobody can leave, it answers at once.
    pub async fn clear(&self, wish: Clear) -> Reply {
        let accounts = self.context().workers.accounts();
        let is_busy = !wish.urgent && self.clearing.available_permits() <= AT_ONCE / 2;
        if !is_busy && let Ok(_turn) = self.clearing.try_acquire() {
            let leave = async {
                let leaving = self.ask_to_leave(&wish).await;
                let stays = |room: &Leaving| accounts.of_room(wish.worker, &room.room) > room.most;
                while leaving.iter().any(stays) {
                    sleep(POLL).await;
                }
            };
            if timeout(CLEARED, leave).await.is_err() {
                tracing::debug!(worker = wish.worker, "rooms that make way take long");
            }
        }
        Reply::Left { packets: accounts.figures(wish.worker, Instant::now()).free }
    }

    /// Asks the homes of rooms, one after the other, until enough are about to leave.
    async fn ask_to_leave(&self, wish: &Clear) -> Vec<Leaving> {
        let context = self.context();
        let at = WorkerAddress { node: context.mesh.id().clone(), worker: wish.worker };
        let (mut needed, mut leaving) = (wish.packets, Vec::new());
        let mut in_the_way = context.workers.accounts().in_the_way(wish.worker, &wish.room, wish.packets);
        // Where somebody waits, those who stay are asked once more: whether they could spread.
        for spreads in once(false).chain(wish.urgent.then_some(true)) {
            let mut stay = Vec::new();
            for (room, has) in in_the_way {
                if needed == 0 {
                    return leaving;
                }
                let home = context.mesh.view().borrow().home(&room).clone();
                let make_way = MakeWay {
                    room: room.clone(),
                    at: at.clone(),
                    packets: needed,
                    avoid: wish.avoid.clone(),
                    urgent: wish.urgent,
                    spreads,
                };
                match context.mesh.call(&home, Call::MakeWay(make_way), HOME_DEADLINE).await {
                    Ok(Reply::Leaving { packets: 0 }) => stay.push((room, has)),
                    Ok(Reply::Leaving { packets }) => {
                        let goes = packets.min(has);
                        // What streams cost is measured meanwhile, and may be another by then.
                        leaving.push(Leaving { room, most: has - goes / 2 });
                        needed = needed.saturating_sub(goes);
                    }
                    other => tracing::debug!(%room, %home, ?other, "the room does not make way"),
                }
            }
            in_the_way = stay;
        }
        leaving
    }
}
