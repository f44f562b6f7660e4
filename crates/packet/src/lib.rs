//! Memory that moves: buffers counted without atomics, packets made of them, and the way home for what
//! was dropped on another shard.
#![cfg_attr(not(any(test, loom)), no_std)]

extern crate alloc;

#[cfg(feature = "accounting")]
pub mod accounting;
mod atomic;
mod block;
mod buffer;
mod buffer_mut;
mod foreign;
pub mod home;
mod offload;
mod packet;
mod pool;
mod ticket;

#[cfg(all(test, loom))]
mod loom_models;

pub use block::{Access, Block, OutOfMemory, Release};
pub use buffer::Buffer;
pub use buffer_mut::{BufferMut, NoRoom, TooShort};
pub use foreign::ForeignBuffer;
pub use home::{Doorbell, Home, HomeNode, HomeOwner};
pub use offload::{Checksum, Offload, Segmentation, SegmentationKind, VlanTag};
pub use packet::{ChainFull, CopyCounter, ForeignPacket, MAX_BUFFERS, Packet};
pub use pool::{FRAME_ALIGN, Pool, PoolCounters, PoolOptions, SLAB_BYTES};
