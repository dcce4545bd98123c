//! Finding a room's home and getting a client admitted.

use crate::mesh::Mesh;
use skein_proto::rpc::{Admit, Admitted, Call, Refusal, Reply, Unwait, Wait};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long all of it may take. A home that died is replaced within a second or two.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one home may take: it may have to ask many workers, and to wait for peers that make room.
const CALL_DEADLINE: Duration = Duration::from_secs(8);
/// How long one home may take for somebody who waits: it keeps them for some seconds first.
const TURN_DEADLINE: Duration = Duration::from_secs(12);
/// How often an answer that names another home is followed at once.
const HOPS: u32 = 2;
/// How long to wait before the view is looked at again.
const RETRY: Duration = Duration::from_millis(200);

/// Why a client is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The home refused.
    #[error("{0}")]
    Refused(Refusal),
    /// No home answered.
    #[error("the room's home does not answer: {0}")]
    Unreachable(String),
}

/// Gets a client admitted by its room's home. While there is no place, `waits` is told, and it goes on asking for as long
/// as it is not dropped; `admit` has its place in line then.
///
/// # Errors
/// When the home refuses, or none answers within 10 s.
pub async fn admit(
    mesh: &Mesh,
    admit: &mut Admit,
    waits: &watch::Sender<Option<Wait>>,
) -> Result<Admitted, AdmitError> {
    let mut until = Instant::now() + DEADLINE;
    'again: loop {
        let mut home = mesh.view().borrow().home(&admit.room).clone();
        let mut problem = "the nodes do not agree on it".to_owned();
        for _ in 0..=HOPS {
            let (asked, deadline) =
                (Instant::now(), if admit.line.is_some() { TURN_DEADLINE } else { CALL_DEADLINE });
            match mesh.call(&home, Call::Admit(admit.clone()), deadline).await {
                Ok(Reply::Admitted(admitted)) => return Ok(admitted),
                Ok(Reply::Refused(refusal)) => return Err(AdmitError::Refused(refusal)),
                Ok(Reply::NotHome(other)) => home = other,
                Ok(Reply::Wait(wait)) => {
                    let kept = admit.line.is_none() || asked.elapsed() >= RETRY;
                    admit.line = Some(wait.line);
                    waits.send_replace(Some(wait));
                    until = Instant::now() + TURN_DEADLINE + DEADLINE;
                    // A home keeps who waits for some seconds. One that does not is not asked all the time.
                    if !kept {
                        tokio::time::sleep(RETRY).await;
                    }
                    continue 'again;
                }
                Ok(other) => {
                    problem = format!("{home} answered {other:?}");
                    break;
                }
                Err(error) => {
                    problem = error.to_string();
                    break;
                }
            }
        }
        if Instant::now() + RETRY >= until {
            return Err(AdmitError::Unreachable(problem));
        }
        tracing::debug!(room = %admit.room, problem, "looking for the room's home again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Tells a room's home that a client waits no longer. What does not arrive is forgotten there before long.
pub async fn unwait(mesh: Mesh, unwait: Unwait) {
    let mut home = mesh.view().borrow().home(&unwait.room).clone();
    for _ in 0..=HOPS {
        match mesh.call(&home, Call::Unwait(unwait.clone()), CALL_DEADLINE).await {
            Ok(Reply::NotHome(other)) => home = other,
            _ => return,
        }
    }
}
