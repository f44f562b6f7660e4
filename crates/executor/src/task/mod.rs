//! Tasks: a future, its place in a run queue, and its output, in one recycled allocation.

mod foreign_word;
pub(crate) mod header;
#[cfg(all(test, not(loom)))]
mod hostile_tests;
mod join;
#[cfg(all(test, loom))]
mod loom_tests;
mod output;
pub(crate) mod raw;
pub(crate) mod recycler;
mod spawn;
#[cfg(all(test, not(loom)))]
mod tests;

pub use join::{JoinError, JoinHandle};
pub use spawn::{TaskBuilder, spawn, spawn_fallible, spawn_in};
