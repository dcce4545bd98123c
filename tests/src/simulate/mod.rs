//! A discrete-event simulation of a mesh: placement policies over the same workloads, in virtual time.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`policy`] | what a policy is to the simulator |
//! | [`policies`] | those there are, by name |
//! | [`ledger`] | counting costs, for policies that see a node as one budget |
//! | [`skein`] | what the mesh's nodes do: their own code |
//! | [`fixed_room`] | a room reserves its full size |
//! | [`single_node`] | a room lives on one node |
//! | [`least_stress`] | each join goes to the node under the least stress |
//! | [`workload`] | what happens: joins, leaves and changes, one after the other |
//! | [`demand`] | what a workload asks for at its peak, and how large workers are made for it |
//! | [`engine`] | runs a policy over a workload |
//! | [`machines`] | machines that are launched and retired, under several scalers |
//! | [`compare`] | checks what is asked for, and runs several policies over the same workload |
//! | [`table`], [`plot`] | results for people |
//!
//! What is counted is sending: each consumer of a stream costs the stream's packets on the worker that sends it, a pipe
//! the same once for each receiving worker, and a producer that nobody consumes what it sends itself. Nothing here does
//! I/O while it runs, and nothing is random but through the seed.

pub mod compare;
pub mod demand;
pub mod engine;
pub mod fixed_room;
pub mod least_stress;
pub mod ledger;
pub mod machines;
pub mod plot;
pub mod policies;
pub mod policy;
pub mod single_node;
pub mod skein;
pub mod table;
pub mod workload;
