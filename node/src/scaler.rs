//! The mesh grows when people come and shrinks when they leave.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`plan`] | what is wanted, and why; pure |
//! | [`reconcile`] | one step after the other from what exists to what is wanted |
//! | [`cloud`] | where machines come from |
//! | [`leader`] | which node does that: the lease, in practice |

pub mod cloud;
pub mod leader;
pub mod plan;
pub mod reconcile;
