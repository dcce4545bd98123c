//! What crosses a wire in a Skein mesh, and nothing else.
//!
//! | module | wire |
//! | --- | --- |
//! | [`ids`] | the names that all the others use |
//! | [`room`] | what a room is like |
//! | [`signaling`] | protoo between a client and a node, with mediasoup-demo's methods |
//! | [`rpc`] | frames on the QUIC streams between nodes |
//! | [`gossip`] | the keys and values that nodes gossip |
//! | [`operator`] | the JSON of the operator API |
//! | [`capacity`] | what streams cost and what machines can carry |
//! | [`codec`] | the one place that knows how node-to-node frames become bytes |
//! | [`typescript`] | the browser SDK's types, made from the definitions above |

pub mod capacity;
pub mod codec;
pub mod gossip;
pub mod ids;
pub mod operator;
pub mod room;
pub mod rpc;
pub mod signaling;
pub mod typescript;
