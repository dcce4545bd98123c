//! What a mesh is started with: identity, configuration and client tokens. The node uses it as a library; the program
//! `skein` adds everything that a person types.

pub mod config;
pub mod identity;
pub mod token;
