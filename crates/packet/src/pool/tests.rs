use alloc::vec::Vec;

use super::{FRAME_ALIGN, HEADER_BYTES, Pool, PoolOptions, SLAB_BYTES};

fn pool(frame_bytes: usize, headroom_bytes: usize, limit_frames: usize) -> Pool {
    Pool::new(PoolOptions { frame_bytes, headroom_bytes, limit_frames }).expect("such frames can be addressed")
}

#[test]
fn the_frame_that_came_back_last_goes_out_first() {
    let pool = pool(2048, 0, 8);
    let frames: Vec<_> = (0..4).map(|_| pool.take().expect("below the limit")).collect();
    let places: Vec<_> = frames.iter().map(|frame| frame.as_ptr()).collect();
    assert!(places.iter().all(|place| place.addr().is_multiple_of(FRAME_ALIGN)));
    frames.into_iter().for_each(drop);
    let again: Vec<_> = (0..4).map(|_| pool.take().expect("they came back")).collect();
    assert!(again.iter().map(|frame| frame.as_ptr()).eq(places.into_iter().rev()));
}

#[test]
fn the_limit_refuses_and_counts() {
    let pool = pool(100, 20, 2);
    let first = pool.take().expect("below the limit");
    assert_eq!((first.headroom(), first.tailroom()), (20, 100));
    let second = pool.take().expect("below the limit");
    assert!(pool.take().is_none());
    assert!(pool.take().is_none());
    drop((first, second));
    let counters = pool.counters();
    assert_eq!((counters.in_use_frames, counters.high_water_frames, counters.exhausted), (0, 2, 2));
    assert_eq!(counters.reserved_bytes, 2 * (HEADER_BYTES + 128), "a small limit makes a small slab");
    assert!(pool.take().is_some());
    assert!(self::pool(1, 0, 0).take().is_none());
}

#[test]
fn memory_is_taken_slab_by_slab() {
    let pool = pool(2048, 0, 100_000);
    assert_eq!(pool.counters().reserved_bytes, 0);
    let per_slab = SLAB_BYTES / (HEADER_BYTES + 2048);
    let mut frames: Vec<_> = (0..per_slab).map(|_| pool.take().expect("below the limit")).collect();
    let one_slab = pool.counters().reserved_bytes;
    assert!(one_slab <= SLAB_BYTES && one_slab > SLAB_BYTES - 4096);
    frames.push(pool.take().expect("below the limit"));
    assert_eq!(pool.counters().reserved_bytes, 2 * one_slab);
    for frame in &mut frames {
        frame.append(2048).expect("the frame is of that size").fill(0xa5);
    }
    assert!(frames.iter().all(|frame| frame.iter().all(|&byte| byte == 0xa5)));
}

#[test]
fn frames_larger_than_a_slab_get_slabs_of_their_own() {
    let pool = pool(3 * SLAB_BYTES, 0, 2);
    let mut frame = pool.take().expect("below the limit");
    frame.append(3 * SLAB_BYTES).expect("the frame is of that size");
    assert!(Pool::new(PoolOptions { frame_bytes: usize::MAX, headroom_bytes: 1, limit_frames: 1 }).is_err());
    assert!(Pool::new(PoolOptions { frame_bytes: usize::MAX / 2, headroom_bytes: 0, limit_frames: 1 }).is_err());
}

#[test]
fn buffers_outlive_the_pool() {
    let pool = pool(64, 0, 4);
    let mut frame = pool.take().expect("below the limit");
    let unused = pool.take().expect("below the limit");
    frame.extend_from_slice(b"still here").expect("ten bytes fit");
    let core = alloc::rc::Rc::downgrade(&pool.core);
    drop(pool);
    drop(unused);
    let buffer = frame.freeze();
    let part = buffer.slice(6..);
    drop(buffer);
    assert_eq!(part, b"here");
    assert_eq!(core.strong_count(), 1);
    drop(part);
    assert_eq!(core.strong_count(), 0, "the memory went with the last frame");
}

#[test]
fn a_frame_comes_back_with_its_whole_room() {
    let pool = pool(64, 16, 1);
    let mut frame = pool.take().expect("below the limit");
    frame.push_front(b"0123456789").expect("ten of sixteen bytes");
    frame.append(64).expect("all of the tail room");
    let mut buffer = frame.freeze();
    buffer.advance(70);
    let back = buffer.try_into_mut().expect("nobody else has the frame");
    assert_eq!((back.headroom(), back.len(), back.tailroom()), (76, 4, 0));
    drop(back);
    let again = pool.take().expect("it came back");
    assert_eq!((again.headroom(), again.len(), again.tailroom()), (16, 0, 64));
}

#[test]
fn memory_is_given_back_when_no_frame_is_out() {
    let pool = pool(2048, 0, 8);
    let frame = pool.take().expect("the first frame");
    let reserved_bytes = pool.counters().reserved_bytes;
    pool.free_unused_memory();
    assert_eq!(pool.counters().reserved_bytes, reserved_bytes, "a frame is out");
    drop(frame);
    pool.free_unused_memory();
    assert_eq!(pool.counters().reserved_bytes, 0);
    let frames: Vec<_> = (0..8).map(|_| pool.take().expect("below the limit")).collect();
    assert_eq!((frames.len(), pool.counters().reserved_bytes), (8, reserved_bytes));
}

#[test]
fn a_frame_that_is_out_keeps_its_slab_and_no_other() {
    let pool = pool(2048, 0, 10_000);
    let mut frames: Vec<_> = (0..2_000).map(|_| pool.take().expect("below the limit")).collect();
    let peak = pool.counters().reserved_bytes;
    for (index, frame) in frames.iter_mut().enumerate() {
        frame.extend_from_slice(&index.to_ne_bytes()).expect("it fits");
    }
    // One in the middle, and the last: the newest slab has frames that were never out.
    let kept = [frames.swap_remove(1_999), frames.swap_remove(1_000)];
    drop(frames);
    assert_eq!(pool.counters().reserved_bytes, peak, "it is kept for what comes next");
    pool.free_unused_memory();
    let slab = peak / 5;
    assert_eq!(pool.counters().reserved_bytes, 2 * slab);
    // What is left is handed out before there is more, each frame once.
    let again: Vec<_> = (0..2 * slab / (2048 + 128) - 2).map(|_| pool.take().expect("below the limit")).collect();
    assert!(again.len() > 700 && pool.counters().reserved_bytes == 2 * slab);
    for (frame, index) in kept.iter().zip([1_999_usize, 1_000]) {
        assert_eq!(frame[..], index.to_ne_bytes());
    }
    drop((again, kept));
    pool.free_unused_memory();
    assert_eq!(pool.counters().reserved_bytes, 0);
}
