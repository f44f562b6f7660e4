//! Sockets: the same for the kernel's network, Sunstar's own, and a simulated one.
//!
//! Who provides a network implements the traits in [`socket`] and [installs](socket::install) it on each shard.
//! Applications use what is built on them and name no network.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
mod error;
pub mod socket;

pub use address::{Address, UnixAddress};
pub use error::Error;
