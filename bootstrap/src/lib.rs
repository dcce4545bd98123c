//! What a mesh is started with: identity, enrolment, finding seeds, configuration, client tokens, and what machines
//! carry. The node uses it as a library; the program `skein` adds everything that a person types.

pub mod calibration;
pub mod config;
pub mod enrolment;
pub mod identity;
pub mod machine;
pub mod process;
pub mod seeds;
pub mod token;
