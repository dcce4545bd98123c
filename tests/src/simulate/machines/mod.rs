//! A mesh that grows and shrinks: scalers over the same day of demand, in virtual time.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`demand`] | days, by name: who wants to come when, for how long, at what cost |
//! | [`fleet`] | machines that boot, fail to, drain and end, and who is on them |
//! | [`scaler`] | what a scaler is to the simulation, and those there are, by name |
//! | [`mesh`] | what the mesh's leader does: its own plan |
//! | [`others`] | a fixed cluster, a target of mean CPU, and Jitsi's autoscaler |
//! | [`engine`] | runs a scaler over a day |
//! | [`promises`] | which machine was launched with whom in mind |
//! | [`asked`] | checks what is asked for |
//! | [`table`] | results for people |
//!
//! Placement is coarse here: a machine is one budget of reference streams, and a peer costs so many of them wherever it
//! is. How well rooms fill machines is what the other simulation is about.

pub mod asked;
pub mod demand;
pub mod engine;
pub mod fleet;
pub mod mesh;
pub mod others;
pub mod promises;
pub mod scaler;
pub mod table;
