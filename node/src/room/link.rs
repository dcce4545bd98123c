//! A host's stream to a room's home: its own part goes there, the others' comes back. When the stream ends or the home
//! is another, it opens again and starts over with a snapshot; what was known of the others stays until then.

use super::host::HostRoom;
use crate::media::Heard;
use crate::mesh::{MeshError, MeshReceiver, MeshSender};
use skein_proto::ids::NodeId;
use skein_proto::rpc::{HomeMessage, HostMessage, Open, RoomOpen};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long to wait before the home is asked again. A new home is known within a second or two.
const RETRY: Duration = Duration::from_millis(200);
/// How often an answer that names another home is followed at once.
const HOPS: u32 = 2;

/// Keeps a room's stream to its home until the room ends.
pub async fn run(
    room: Arc<HostRoom>,
    outgoing: mpsc::Receiver<HostMessage>,
    mut hearing: mpsc::Receiver<Heard>,
) {
    let mut outgoing = Outgoing { waiting: outgoing, requests: VecDeque::new() };
    let mut hint: Option<NodeId> = None;
    let mut hops = 0;
    loop {
        let view = room.context.mesh.view();
        let home = hint.take().unwrap_or_else(|| view.borrow().home(&room.id).clone());
        let open = Open::Room(RoomOpen { room: room.id.clone() });
        let ended = match room.context.mesh.open(&home, &open).await {
            Ok(stream) => {
                let (sender, receiver) = stream.split();
                converse(&room, &home, sender, receiver, &mut outgoing, &mut hearing).await
            }
            Err(error) => {
                tracing::debug!(room = %room.id, %home, %error, "cannot reach the room's home");
                Ended::Lost
            }
        };
        match ended {
            Ended::Room => return,
            Ended::Elsewhere(named) if hops < HOPS => {
                hops += 1;
                hint = Some(named);
            }
            Ended::Moved => hops = 0,
            Ended::Lost | Ended::Elsewhere(_) => {
                hops = 0;
                tokio::select! {
                    () = room.cancel.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }
}

enum Ended {
    /// The room ended here.
    Room,
    /// The stream did.
    Lost,
    /// The node asked says that another is home.
    Elsewhere(NodeId),
    /// This node sees another as home now.
    Moved,
}

async fn converse(
    room: &Arc<HostRoom>,
    home: &NodeId,
    mut sender: MeshSender,
    mut receiver: MeshReceiver,
    outgoing: &mut Outgoing,
    hearing: &mut mpsc::Receiver<Heard>,
) -> Ended {
    if outgoing.catch_up(room, &mut sender).await.is_err() {
        return Ended::Lost;
    }
    let mut view = room.context.mesh.view();
    loop {
        let message = tokio::select! {
            () = room.cancel.cancelled() => {
                sender.finish().await;
                return Ended::Room;
            }
            message = outgoing.waiting.recv() => match message {
                Some(message) if room.is_behind() => {
                    outgoing.keep(message);
                    if outgoing.catch_up(room, &mut sender).await.is_err() {
                        return Ended::Lost;
                    }
                    continue;
                }
                Some(message) => message,
                None => return Ended::Room,
            },
            Some(heard) = hearing.recv() => HostMessage::Speakers(room.heard(heard)),
            message = receiver.recv::<HomeMessage>() => match message {
                Ok(Some(HomeMessage::NotHome(named))) => return Ended::Elsewhere(named),
                Ok(Some(message)) => {
                    room.hear_home(message);
                    continue;
                }
                Ok(None) | Err(_) => return Ended::Lost,
            },
            changed = view.changed() => {
                if changed.is_err() {
                    return Ended::Room;
                }
                let moved = view.borrow_and_update().home(&room.id) != home;
                if moved {
                    // Or it would be taken for the end of all that is here.
                    let _ = sender.send(&HostMessage::Elsewhere).await;
                    sender.finish().await;
                    return Ended::Moved;
                }
                continue;
            }
        };
        if sender.send(&message).await.is_err() {
            return Ended::Lost;
        }
    }
}

/// What is to be said to the home.
struct Outgoing {
    waiting: mpsc::Receiver<HostMessage>,
    /// What was asked of a home and may not have reached it.
    requests: VecDeque<HostMessage>,
}

impl Outgoing {
    /// Sends all that there is, and after that what was asked of the home and is not in it. What changed before is in it.
    async fn catch_up(&mut self, room: &HostRoom, sender: &mut MeshSender) -> Result<(), MeshError> {
        while let Ok(message) = self.waiting.try_recv() {
            self.keep(message);
        }
        room.caught_up();
        sender.send(&room.snapshot()).await?;
        while let Some(request) = self.requests.front() {
            sender.send(request).await?;
            self.requests.pop_front();
        }
        Ok(())
    }

    /// Keeps a message for after the next snapshot, if no snapshot says what it does.
    fn keep(&mut self, message: HostMessage) {
        use HostMessage::{CloseRoom, Kick, MoveRefused, SetRole};
        if matches!(message, Kick(_) | CloseRoom | SetRole(..) | MoveRefused(_)) {
            self.requests.push_back(message);
        }
    }
}
