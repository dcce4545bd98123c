//! Whole-mesh tests: real node processes on loopback, real clients, one subject a file.
//!
//! They start many processes and measure time: run them with `--test-threads=1`. One program, because linking one for
//! each file takes longer than running them.

mod bad_input;
mod burst;
mod capacity;
mod cleanup;
mod config;
mod death;
mod drain;
mod election;
mod enrol;
mod forwarding;
mod guarantees;
mod guests;
mod homes;
mod membership;
mod moves;
mod one_node;
mod operator;
mod overload;
mod pictures;
mod pipes;
mod regions;
mod scaling;
mod sessions;
mod stage;
mod trust;
