//! What operators ask of a node: JSON under `/v1`, events, metrics, health; and the pages that the node serves.

mod api;
mod gather;
mod metrics;
mod pages;
mod watch;

pub use api::routes;
pub use gather::Operator;
pub use watch::run as run_watch;
