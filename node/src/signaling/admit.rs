//! Finding a room's home and getting a client admitted.

use crate::mesh::Mesh;
use skein_proto::rpc::{Admit, Admitted, Call, Refusal, Reply};
use std::time::Duration;
use tokio::time::Instant;

/// How long all of it may take. A home that died is replaced within a second or two.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one home may take: it may have to ask many workers, and to wait for peers that make room.
const CALL_DEADLINE: Duration = Duration::from_secs(8);
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

/// Gets a client admitted by its room's home.
///
/// # Errors
/// When the home refuses, or none answers within 10 s.
pub async fn admit(mesh: &Mesh, admit: &Admit) -> Result<Admitted, AdmitError> {
    let until = Instant::now() + DEADLINE;
    loop {
        let mut home = mesh.view().borrow().home(&admit.room).clone();
        let mut problem = "the nodes do not agree on it".to_owned();
        for _ in 0..=HOPS {
            match mesh.call(&home, Call::Admit(admit.clone()), CALL_DEADLINE).await {
                Ok(Reply::Admitted(admitted)) => return Ok(admitted),
                Ok(Reply::Refused(refusal)) => return Err(AdmitError::Refused(refusal)),
                Ok(Reply::NotHome(other)) => home = other,
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
