//! Capacity: what a room costs, what hosts can carry, which worker a peer goes to. Pure: no clock, no I/O; time and
//! randomness are arguments, so a simulator runs the very code that a node runs.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`estimate`] | what a stream costs before it is measured |
//! | [`layout`] | how a room lies over workers, and what that costs on each |
//! | [`seats`] | who sits where in a room, and what each sends |
//! | [`relay`] | who passes producers on, where a room is on many nodes |
//! | [`ledger`] | a host's books: what is carried, reserved, guaranteed |
//! | [`field`] | the mesh's capacity as a home sees it |
//! | [`choose`] | which workers a peer may go to, in order, and what to reserve where |
//! | [`queue`] | who waits for a machine, and whose turn it is |
//! | [`typical`] | how many peers rooms have in the end |
//! | [`shift`] | who moves where, to make room or to bring a room together |

pub mod choose;
pub mod estimate;
pub mod field;
pub mod layout;
pub mod ledger;
pub mod queue;
pub mod relay;
pub mod seats;
pub mod shift;
#[cfg(test)]
mod tests;
pub mod typical;
