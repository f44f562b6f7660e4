//! Messages between shards.

mod inbox;
pub mod mesh;
#[cfg(all(test, loom))]
mod models;
mod ring;
mod slot;
mod slots;
#[cfg(all(test, not(loom)))]
mod tests;
