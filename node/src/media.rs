//! The only code that names mediasoup: workers, routers, transports, pipes, observers.
//!
//! mediasoup's handles close what they stand for when they are dropped; so do the ones here. Its requests to a worker
//! have no deadline of their own, so every one goes through [`bounded`]. Its callbacks run on the worker's thread with
//! a lock held: they do nothing but `try_send`.

mod accounts;
pub mod calibrate;
mod codecs;
mod counts;
mod data;
mod defaults;
mod entity;
pub mod health;
mod meter;
mod observer;
mod pipe;
mod router;
mod thread;
mod transport;
mod worker;

pub use accounts::Accounts;
pub use counts::{Counted, Counts};
pub use data::{DataInlet, DataMessage, DataTap};
pub use entity::{Consumer, DataConsumer, DataProducer, Events, MediaEvent, Producer};
pub use meter::Meter;
pub use observer::{Heard, SpeakerObserver};
pub use pipe::{PipeConsumer, PipeTransport, PipedProducer};
pub use router::Router;
pub use thread::Thread;
pub use transport::{Capabilities, TransportOptions, WebRtcTransport};
pub use worker::{Worker, Workers};

use serde::de::DeserializeOwned;
use serde_json::Value;
use skein_proto::signaling::Stats;
use std::future::Future;
use std::time::Duration;

/// Version of the mediasoup crate; clients are told it first of all.
pub const MEDIASOUP_VERSION: &str = "0.33.1";

/// How long a worker may take for one request. It takes about a millisecond; past this it hangs.
const WORKER_DEADLINE: Duration = Duration::from_secs(10);

/// Why a media operation failed.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// What the client sent is not what mediasoup expects; names the field.
    #[error("{field}: {problem}")]
    Parameter {
        /// Path to the field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// mediasoup refused.
    #[error("{0}")]
    Refused(String),
    /// A setting.
    #[error(transparent)]
    Config(#[from] skein_bootstrap::config::ConfigError),
    /// The worker did not answer in time.
    #[error("the worker did not answer within {} s", WORKER_DEADLINE.as_secs())]
    Deadline,
    /// A worker cannot be started.
    #[error("worker {index}: {problem}")]
    Start {
        /// Which worker.
        index: u16,
        /// Why.
        problem: String,
    },
}

/// Runs a request to a worker with a deadline.
async fn bounded<T, E: std::fmt::Display>(
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, MediaError> {
    match tokio::time::timeout(WORKER_DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(MediaError::Refused(error.to_string())),
        Err(_) => Err(MediaError::Deadline),
    }
}

/// Reads one of mediasoup's structures from what a client or another node sent.
fn parse<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, MediaError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { field.to_owned() } else { format!("{field}.{path}") };
        MediaError::Parameter { field, problem: error.into_inner().to_string() }
    })
}

/// The JSON of one of mediasoup's structures.
fn json<T: serde::Serialize>(value: &T) -> Result<Value, MediaError> {
    serde_json::to_value(value).map_err(|e| MediaError::Refused(e.to_string()))
}

/// Statistics with the `type` that mediasoup's other bindings give each object, and the crate leaves out.
fn typed(name: &str, stats: Value) -> Result<Stats, MediaError> {
    let mut all = match stats {
        Value::Array(all) => all,
        one => vec![one],
    };
    for stats in all.iter_mut().filter_map(Value::as_object_mut) {
        stats.entry("type").or_insert_with(|| name.into());
    }
    Ok(Stats(Value::Array(all)))
}

/// An id of mediasoup's from its text.
fn id<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, MediaError> {
    text.parse()
        .map_err(|_| MediaError::Parameter { field: field.to_owned(), problem: format!("{text:?} is no id") })
}
