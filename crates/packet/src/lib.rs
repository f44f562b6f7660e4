//! Memory that moves: buffers counted without atomics, packets made of them, and the way home for what
//! was dropped on another shard.
//!
//! # A tour
//!
//! Bytes begin as a [`BufferMut`]: unique, writable, with room in front for the headers that lower layers add. It comes from
//! the heap, or from a [`Pool`] of frames. Frozen, it is a [`Buffer`]: immutable, cloned and sliced without
//! allocating or copying, counted without atomics, and therefore at home on one shard. Several buffers make a
//! [`Packet`], which also says what the device has done for it or shall do ([`Offload`]).
//!
//! ```
//! use sunstar_packet::{Buffer, CopyCounter, Packet, Pool, PoolOptions};
//!
//! let pool = Pool::new(PoolOptions { frame_bytes: 2048, headroom_bytes: 64, limit_frames: 1024 })?;
//! let mut head = pool.take().expect("the pool is not exhausted");
//! head.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n")?;
//!
//! let page = Buffer::from_static(b"<p>hello</p>");
//! let mut packet = Packet::from(head.freeze());
//! packet.push_back(page.slice(3..8))?;
//! packet.prepend(b"[tcp]")?; // into the frame's head room
//! assert_eq!((packet.len(), packet.buffers().len()), (29, 2));
//!
//! let copies = CopyCounter::default();
//! assert_eq!(packet.contiguous(13, &copies)?, b"[tcp]HTTP/1.1");
//! assert_eq!(copies.copies(), 0, "it lies in one piece");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What crosses to another shard becomes a [`ForeignBuffer`] (or [`ForeignPacket`]). It keeps one reference at home. There it
//! is read, or turned into an ordinary buffer with a count of its own; when it is dropped, it posts itself on the
//! [home list](home) of the shard that it came from, which can neither fail nor fill.
//!
//! ```
//! use sunstar_packet::{Buffer, Doorbell, HomeOwner};
//! use std::thread;
//!
//! struct Unpark(thread::Thread);
//!
//! impl Doorbell for Unpark {
//!     fn ring(&self) {
//!         self.0.unpark();
//!     }
//! }
//!
//! let home = HomeOwner::new(Box::new(Unpark(thread::current())));
//! let buffer = Buffer::copy_from_slice(b"across and back");
//! let foreign = buffer.slice(..6).into_foreign(&home);
//! thread::spawn(move || {
//!     let arrived = foreign.into_buffer();
//!     assert_eq!(arrived.slice(2..), b"ross");
//! });
//! while home.residents() > 0 {
//!     home.prepare_sleep();
//!     if !home.has_arrivals() {
//!         thread::park();
//!     }
//!     home.end_sleep();
//!     home.drain();
//! }
//! assert!(buffer.is_unique());
//! ```
//!
//! # Memory of devices
//!
//! A driver whose frames, ring buffers or pages have an owner of their own embeds a [`Block`] in its record of each and hands
//! them out by [`Buffer::from_block`] or [`BufferMut::from_block`]; nothing is allocated per frame. Any other object
//! that owns bytes becomes a buffer by [`Buffer::from_owner`].
//!
//! # Leaks
//!
//! With the feature `accounting` the module `accounting` lists every live handle that holds memory, with the place that made
//! it or the name given by `held_by`. Without it nothing is kept and `held_by` does nothing.
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
mod prefetch;
mod sized;
mod ticket;
mod words;

#[cfg(all(test, loom))]
mod loom_models;

pub use block::{Access, Block, OutOfMemory, Release};
pub use buffer::Buffer;
pub use buffer_mut::{BufferMut, NoRoom, TooShort};
pub use foreign::ForeignBuffer;
pub use home::{Doorbell, Home, HomeNode, HomeOwner};
pub use offload::{Checksum, Offload, Segmentation, SegmentationKind, VlanTag};
pub use packet::{ChainFull, CopyCounter, ForeignPacket, MAX_BUFFERS, Packet, TooManyBuffers};
pub use pool::{FRAME_ALIGN, Pool, PoolCounters, PoolOptions, SLAB_BYTES, SlabMemory};
pub use prefetch::prefetch;
pub use sized::{MAX_SIZED_BYTES, SizedPools};
pub use words::sum_words;
