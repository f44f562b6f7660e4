//! Vhost-user: a packet device whose other end is another process, by shared memory and messages over a Unix socket.
//!
//! Source of the protocol: QEMU's specification, "Vhost-user Protocol" (`docs/interop/vhost-user`). The names of requests and fields are
//! those of it.

mod address;
pub(crate) mod back;
pub(crate) mod channel;
pub(crate) mod front;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod socket;

use sunstar_packet::PoolOptions;
use sunstar_virtio::net::{LARGE_FRAME_BYTES, LARGE_HEADROOM_BYTES};

/// How many frames for long packets a queue has at most: what a large window takes, and as much again.
const LARGE_FRAMES: usize = 512;

/// How many bytes those take at most, with what slabs leave.
const LARGE_BYTES: usize = LARGE_FRAMES * (LARGE_FRAME_BYTES + LARGE_HEADROOM_BYTES) / 8 * 9;

/// A queue's frames for long packets.
const LARGE_POOL: PoolOptions =
    PoolOptions { frame_bytes: LARGE_FRAME_BYTES, headroom_bytes: LARGE_HEADROOM_BYTES, limit_frames: LARGE_FRAMES };

/// Whether so many of them are held that the packets in them are to be copied, when so many are not there any more.
const fn is_short(held_frames: usize, retired_frames: usize) -> bool {
    held_frames > (LARGE_FRAMES - retired_frames) / 2
}
