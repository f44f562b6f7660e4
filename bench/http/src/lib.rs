//! What the load client and the floor share.

pub mod cpu;
pub mod target;
