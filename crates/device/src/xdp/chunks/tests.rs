use std::rc::Rc;

use sunstar_packet::{Pool, PoolOptions};

use super::*;

const CHUNK: usize = 2_048;

fn chunks() -> (Chunks, Rc<Pool>) {
    let memory = SharedMemory::new(1 << 20).unwrap();
    let options = PoolOptions { frame_bytes: CHUNK - HEADROOM_BYTES, headroom_bytes: HEADROOM_BYTES, limit_frames: 64 };
    let pool = Pool::with_memory(Arc::clone(&memory) as _, options).unwrap();
    (Chunks::new(memory, CHUNK), Rc::new(pool))
}

#[test]
fn frames_of_a_pool_lie_as_the_kernel_wants_them() {
    let (mut chunks, pool) = chunks();
    let mut seen = Vec::new();
    while let Some(frame) = pool.take() {
        let start = frame.as_ptr();
        let address = chunks.post(frame).unwrap();
        assert!(address.is_multiple_of(CHUNK as u64));
        assert!(!seen.contains(&address));
        seen.push(address);
        let lies_at = chunks.memory.offset_of(start, 0).unwrap();
        assert_eq!(lies_at, usize::try_from(address).unwrap() + HEADROOM_BYTES);
    }
    assert_eq!((seen.len(), chunks.posted()), (64, 64));
}

#[test]
fn what_is_received_is_the_frame_that_was_posted() {
    let (mut chunks, pool) = chunks();
    let mut frame = pool.take().unwrap();
    frame.spare()[..8].write_copy_of_slice(b"pad.data");
    let start = frame.as_ptr();
    let address = chunks.post(frame).unwrap();
    // This device has put four bytes before the frame.
    let buffer = chunks.received(address + HEADROOM_BYTES as u64 + 4, 4).unwrap();
    assert_eq!((&*buffer, buffer.as_ptr()), (&b"data"[..], start.wrapping_add(4)));
    assert_eq!(chunks.posted(), 0);
    drop(buffer);
    assert_eq!(pool.counters().in_use_frames, 0);
}

#[test]
fn what_the_kernel_can_not_have_received_is_refused() {
    let (mut chunks, pool) = chunks();
    let headroom = HEADROOM_BYTES as u64;
    let room = u32::try_from(CHUNK - HEADROOM_BYTES).unwrap();
    for (at, len) in [(headroom - 1, 1), (headroom, room + 1), (headroom + 1, room)] {
        let address = chunks.post(pool.take().unwrap()).unwrap();
        assert_eq!(chunks.received(address + at, len), None);
        assert_eq!(chunks.received(address + headroom, 1), None, "it was taken back");
        assert_eq!((chunks.posted(), pool.counters().in_use_frames), (0, 0));
    }
    assert_eq!(chunks.received(u64::MAX, 1), None);
}

#[test]
fn frames_from_elsewhere_are_not_posted() {
    let (mut chunks, pool) = chunks();
    assert!(chunks.post(BufferMut::with_capacity(HEADROOM_BYTES, CHUNK)).is_err());
    let mut used = pool.take().unwrap();
    used.extend_from_slice(b"bytes").unwrap();
    assert!(chunks.post(used).is_err());
}

#[test]
fn a_frame_is_held_until_all_that_was_sent_from_it_has_left() {
    let (mut chunks, pool) = chunks();
    let mut frame = pool.take().unwrap();
    frame.extend_from_slice(b"one, two").unwrap();
    let buffer = frame.freeze();
    let one = chunks.send(buffer.slice(..3)).unwrap();
    let two = chunks.send(buffer.slice(5..)).unwrap();
    assert_eq!(two - one, 5);
    drop(buffer);
    assert!(chunks.sent(two));
    assert_eq!(pool.counters().in_use_frames, 1);
    assert!(chunks.sent(one));
    assert_eq!(pool.counters().in_use_frames, 0);
    assert!(!chunks.sent(one), "it has come back already");
    assert!(!chunks.sent(u64::MAX));
    assert_eq!(chunks.send(Buffer::copy_from_slice(b"on the heap")), None);
}
