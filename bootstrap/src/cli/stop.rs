//! Being told to stop: Ctrl-C, SIGTERM, or a terminal that goes away.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells, once and for all who ask, that the program shall stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<Option<&'static str>>);

impl Stop {
    /// One that never comes, for tests.
    #[cfg(test)]
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Takes over the signals that would end the program at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> anyhow::Result<Self> {
        let context = "cannot listen for signals";
        let mut interrupt = signal(SignalKind::interrupt()).context(context)?;
        let mut terminate = signal(SignalKind::terminate()).context(context)?;
        let mut hangup = signal(SignalKind::hangup()).context(context)?;
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            let reason = tokio::select! {
                _ = interrupt.recv() => "Ctrl-C",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            // Fails when nobody asks any more.
            let _ = sender.send(Some(reason));
            // The receivers must not see the channel close.
            std::future::pending::<()>().await;
        });
        Ok(Self(receiver))
    }

    /// Waits until the program shall stop, and says why. Safe to cancel.
    pub async fn requested(&self) -> &'static str {
        let mut receiver = self.0.clone();
        match receiver.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or("a signal"),
            Err(_) => std::future::pending().await,
        }
    }

    /// Why the program shall stop, if it shall.
    pub fn reason(&self) -> Option<&'static str> {
        *self.0.borrow()
    }
}
