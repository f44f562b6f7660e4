//! Virtio (OASIS virtio 1.2): virtqueues, split and packed, for both who drives a device and who is one.
//!
//! A **virtqueue** carries buffers from a *driver* to a *device* and back, through memory that both see. The driver makes
//! **chains** of memory available, some parts to be read by the device and some to be written; the device uses them, and tells
//! how much it has written. There are two forms of the same contract:
//!
//! | | what lies in memory |
//! |---|---|
//! | [`split`] | a table of descriptors, a ring of what is available, a ring of what was used (§2.7) |
//! | [`packed`] | one ring of descriptors that both sides write to (§2.8) |
//!
//! [`DriverQueue`] and [`DeviceQueue`] are either, chosen when they are set up.
//!
//! Nobody here waits, allocates after the set-up, or trusts the other side. What is in shared memory is read once, checked, and then used from
//! a copy. A chain that breaks a rule is told by [`ChainError`] and can be given back; a ring that breaks one is [`Broken`], and
//! needs a reset. Whatever the other side writes, no access leaves the memory that it has shared.
//!
//! Telling the other side is the caller's: `publish` answers whether it has to be told (a *kick* of the device, an interrupt of the
//! driver), by its own wish (§2.7.7, §2.7.10, §2.8.10).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod memory;
pub mod net;
pub mod packed;
mod queue;
pub mod split;

#[cfg(test)]
mod testing;

pub use memory::{Cell, Cells, MappedRange, Memory, MemoryMap, OutOfBounds, PacketMemory, Region};
pub use queue::{
    Broken, Chain, ChainError, ChainId, DeviceQueue, DriverQueue, Full, IndirectTables, MAX_CHAIN_DESCRIPTORS,
    MAX_QUEUE_SIZE, Part, QueueOptions, Segment, SetupError, Taken, Used,
};
