//! The mesh grows when people come and shrinks when they leave.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`plan`] | what is wanted, and why; pure |
//! | [`reconcile`] | one step after the other from what exists to what is wanted |
//! | [`cloud`] | where machines come from |
//! | [`user_data`] | what a launched machine is told |
//! | `notice` | a machine that is taken away says so before |
//! | `overview` | what of it operators see |
//! | [`leader`] | which node does that: the lease, in practice |

pub mod cloud;
pub mod leader;
#[cfg(feature = "ec2")]
pub mod notice;
mod overview;
pub mod plan;
pub mod reconcile;
pub mod user_data;
