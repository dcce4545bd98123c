//! Real nodes, real clients: what whole-mesh tests, benchmarks and the load generator are made of.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`mesh`] | starts real node processes on loopback, waits for them, ends them |
//! | [`operator`] | the operator API, typed |
//! | [`protoo`] | a protoo client that shows everything it hears |
//! | [`peer`] | a WebRTC client without a browser: joins like mediasoup-demo, sends and receives real RTP |
//! | [`wait`] | waiting for conditions, with deadlines |
//! | [`stall`] | how long the machine itself stood still |
//! | [`run`] | runs one test, bounded in time, and shows the nodes' logs when it fails |
//! | [`simulate`] | placement policies over workloads, in virtual time; no node runs |
//!
//! Everything here is bounded: histories, queues, waits. Nothing here knows the inside of a node: it speaks the wires
//! that clients, operators and other nodes speak.

pub mod mesh;
pub mod operator;
pub mod peer;
pub mod protoo;
pub mod run;
pub mod simulate;
pub mod stall;
pub mod wait;

pub use mesh::{Mesh, MeshBuilder};
pub use peer::{Peer, PeerOptions};
pub use protoo::Protoo;
pub use run::run;
pub use wait::SOON;
