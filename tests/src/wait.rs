//! Waiting for conditions.

use std::time::Duration;
use tokio::time::Instant;

/// How long things may take that take milliseconds on an idle machine: tests share theirs with builds.
pub const SOON: Duration = Duration::from_secs(10);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Asks again and again until the answer is good; the last problem is the error when time is up.
///
/// # Errors
/// When the deadline passes first.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    let mut last = anyhow::anyhow!("it was never looked at");
    loop {
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error,
            Err(_) => return Err(last.context(format!("{what}: no answer within {deadline:?}"))),
        }
        if Instant::now() + INTERVAL >= end {
            return Err(last.context(format!("{what}: not within {deadline:?}")));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Checks that something stays true for a while.
///
/// # Errors
/// The first problem.
pub async fn holds<T>(
    what: &str,
    time: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        probe().await.map_err(|error| error.context(format!("{what}: it did not last")))?;
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}
