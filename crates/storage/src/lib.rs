//! Files, as a shard reads them: opened below a directory that nobody gets out of, and handed to the network without
//! passing through memory.
//!
//! This crate knows no file system. It has the contract ([`platform`]), and the types that applications use, built on it. A
//! storage is installed per shard: the kernel's by the reactor, one in memory by the simulator.
//!
//! ```no_run
//! use sunstar_storage::{Directory, Error};
//!
//! async fn greeting() -> Result<String, Error> {
//!     let root = Directory::open("/srv/www").await?;
//!     let file = root.open_file("hello.txt").await?;
//!     let bytes = file.read_at(0, 4096).await?;
//!     Ok(String::from_utf8_lossy(&bytes).into_owned())
//! }
//! ```
//!
//! # Staying inside
//!
//! A [`Directory`] opens relative paths. No path leads out of it, whatever it has in it: absolute paths are refused, `..` goes up to
//! the directory at most, and symbolic links are followed as long as they stay inside and are relative. The system's
//! own links to what processes have open (`/proc/self/fd/…`) are never followed. What is asked of the file system is one call that
//! holds to that as a whole, so nobody who moves directories meanwhile can get around it.
//!
//! Where a system has no such call, paths are opened part by part, and whoever opens the directory is warned in the log: then `..` and
//! symbolic links are refused wherever they lead.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod file;
mod metadata;
pub mod platform;

pub use error::Error;
pub use file::{Directory, File};
pub use metadata::{Identity, Kind, Metadata};
