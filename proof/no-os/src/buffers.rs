//! Checks of the memory that moves.

use alloc::boxed::Box;
use core::cell::Cell;
use core::ptr::NonNull;

use sunstar_packet::{Buffer, CopyCounter, HomeNode, HomeOwner, Packet, Pool, PoolOptions};

use crate::world::Silent;

/// A thing that notes its arrival. The node comes first, so that both have the same address.
#[repr(C)]
struct Traveller {
    node: HomeNode,
    arrived: Cell<bool>,
}

/// # Safety
/// `node` must be that of a live `Traveller`.
unsafe fn arrive(node: NonNull<HomeNode>) {
    // SAFETY: the caller vouches for it; the node is the first field of a `repr(C)` struct.
    unsafe { node.cast::<Traveller>().as_ref() }.arrived.set(true);
}

pub(crate) fn what_was_posted_comes_home() -> bool {
    let owner = HomeOwner::new(Box::new(Silent));
    let traveller = Box::new(Traveller { node: HomeNode::new(arrive), arrived: Cell::new(false) });
    let node = NonNull::from(&*traveller).cast::<HomeNode>();
    // SAFETY: the traveller outlives the drain below, is posted once, and `arrive` fits it.
    unsafe { owner.home().post(node) };
    owner.drain() == 1 && traveller.arrived.get() && !owner.has_arrivals()
}

pub(crate) fn packets_are_built_around_frames() -> bool {
    packet_around_frame().is_some_and(|(bytes, in_use, copied)| &*bytes == b"head body" && in_use == 0 && copied == 9)
}

/// A packet's bytes, the frames in use after it is gone, and how many bytes were copied to join it.
fn packet_around_frame() -> Option<(Buffer, usize, u64)> {
    let pool = Pool::new(PoolOptions { frame_bytes: 256, headroom_bytes: 32, limit_frames: 2 }).ok()?;
    let mut frame = pool.take()?;
    frame.extend_from_slice(b"a body.").ok()?;
    let mut packet = Packet::new();
    packet.push_back(frame.freeze().slice(2..6)).ok()?;
    packet.push_front(Buffer::copy_from_slice(b"head ")).ok()?;
    let copies = CopyCounter::default();
    let whole = packet.into_buffer(&copies);
    Some((whole, pool.counters().in_use_frames, copies.bytes()))
}

pub(crate) fn buffers_cross_and_come_back() -> bool {
    let owner = HomeOwner::new(Box::new(Silent));
    let abroad = Buffer::copy_from_slice(b"traveller").into_foreign(&owner).into_buffer();
    let readable = &*abroad == b"traveller" && owner.residents() == 1;
    drop(abroad);
    readable && owner.drain() == 1 && owner.residents() == 0
}
