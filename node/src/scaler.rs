//! The mesh grows when people come and shrinks when they leave: what is wanted (pure), and how that is brought about.

pub mod cloud;
