//! A spot instance is told two minutes before it is taken away; the node drains then.

use super::cloud::ec2::Metadata;
use crate::node::Drainer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often the metadata service is asked, as EC2's user guide recommends.
const POLL: Duration = Duration::from_secs(5);
/// So long before the end those who are still there are told to dial another node.
const LAST: Duration = Duration::from_secs(20);

/// Drains the node when its machine is about to be taken away; until it is cancelled.
pub async fn heed(metadata: Metadata, drainer: Arc<Drainer>, cancel: CancellationToken) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match metadata.interruption().await {
            Ok(None) => silent = false,
            Ok(Some(at)) => {
                let left = at.duration_since(SystemTime::now()).unwrap_or_default();
                tracing::warn!(left_s = left.as_secs(), "the machine is about to be taken away");
                // Where there is nowhere to go it stays until the end.
                if let Err(error) = drainer.drain("a spot notice", Some(left.saturating_sub(LAST)), false) {
                    tracing::warn!(%error, "the node cannot drain");
                }
                return;
            }
            Err(error) => {
                // Said when it begins.
                if !std::mem::replace(&mut silent, true) {
                    tracing::warn!(%error, "a notice that the machine goes would not be heard");
                }
            }
        }
    }
}
