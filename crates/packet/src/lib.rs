//! Memory that moves: buffers counted without atomics, packets made of them, and the way home for what
//! was dropped on another shard.
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

mod atomic;
pub mod home;

pub use home::{Doorbell, Home, HomeNode, HomeOwner};
