//! The AWS module in `terraform/`, checked without AWS and without its provider: what it refers to exists, what it opens
//! and allows is what it should, and what it writes for the nodes is what a node takes.
//!
//! Terraform itself is asked for more where it is installed; `terraform validate` needs the provider too.

mod itself;
mod machine;
mod module;
mod permissions;
mod references;
mod rendering;
