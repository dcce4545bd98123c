//! What is under way beside a session's loop.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

/// Things that are under way. Ends with its owner, and they with it.
pub(super) struct Pending<T>(FuturesUnordered<BoxFuture<'static, T>>);

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self(FuturesUnordered::new())
    }
}

impl<T> Pending<T> {
    /// One more.
    pub fn push(&self, one: impl Future<Output = T> + Send + 'static) {
        self.0.push(Box::pin(one));
    }

    /// The next that is done; never while there is none, so that it can be waited for beside other things. Cancel-safe.
    pub async fn next(&mut self) -> T {
        match self.0.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}
