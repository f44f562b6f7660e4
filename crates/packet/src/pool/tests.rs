use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::Mutex;

use super::{FRAME_ALIGN, HEADER_BYTES, Pool, PoolOptions, SLAB_BYTES, SlabMemory};

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

/// Memory of the heap that knows what is out, of which there are so many slabs.
#[derive(Default)]
pub(crate) struct Given {
    slabs: Mutex<Vec<(usize, Layout)>>,
    limit: usize,
}

// SAFETY: what is answered is of the allocator, as the layout says, and is nobody else's.
unsafe impl SlabMemory for Given {
    fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let mut slabs = self.slabs.lock().expect("nobody panics");
        if slabs.len() == self.limit {
            return None;
        }
        // SAFETY: slabs have bytes.
        let slab = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        slabs.push((slab.addr().get(), layout));
        Some(slab)
    }

    unsafe fn give(&self, slab: NonNull<u8>, layout: Layout) {
        let mut slabs = self.slabs.lock().expect("nobody panics");
        let place = slabs.iter().position(|out| *out == (slab.addr().get(), layout)).expect("it was taken so");
        slabs.swap_remove(place);
        // SAFETY: it was allocated with this layout, and is given back once.
        unsafe { dealloc(slab.as_ptr(), layout) };
    }
}

impl Given {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { slabs: Mutex::default(), limit })
    }

    pub(crate) fn out(&self) -> Vec<(usize, Layout)> {
        self.slabs.lock().expect("nobody panics").clone()
    }
}

#[test]
fn frames_lie_in_the_memory_that_was_given() {
    let given = Given::new(2);
    let memory: Arc<dyn SlabMemory> = given.clone();
    // Without headers between them: frames of a device may have to lie at multiples of their size.
    let options = PoolOptions { frame_bytes: 1_984, headroom_bytes: 64, limit_frames: usize::MAX };
    let pool = Pool::with_memory(memory, options).expect("such frames can be addressed");
    assert!(given.out().is_empty(), "nothing is taken before it is needed");
    let mut frames = Vec::new();
    while let Some(mut frame) = pool.take() {
        frame.append(1_984).expect("the frame is of that size").fill(0xa5);
        frames.push(frame);
    }
    let slabs = given.out();
    let per_slab = SLAB_BYTES / (2_048 + HEADER_BYTES);
    assert_eq!((slabs.len(), frames.len(), pool.counters().exhausted), (2, 2 * per_slab, 1));
    for frame in &frames {
        let start = frame.as_ptr().addr() - 64;
        let is_in = |(slab, layout): &(usize, Layout)| (*slab..slab + layout.size()).contains(&start);
        let (slab, _) = slabs.iter().find(|slab| is_in(slab)).expect("the frame lies in a slab");
        assert!((start - slab).is_multiple_of(2_048));
    }
    // The first frame of the first slab keeps that one.
    frames.truncate(1);
    pool.free_unused_memory();
    assert_eq!(given.out(), slabs[..1]);
    drop(pool);
    assert_eq!(frames[0][..], [0xa5; 1_984]);
    drop(frames);
    assert!(given.out().is_empty() && Arc::strong_count(&given) == 1);
}

#[test]
fn pools_of_several_threads_share_what_was_given() {
    let given = Given::new(usize::MAX);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let memory: Arc<dyn SlabMemory> = given.clone();
            scope.spawn(move || {
                let options = PoolOptions { frame_bytes: SLAB_BYTES / 2, headroom_bytes: 0, limit_frames: 4 };
                let pool = Pool::with_memory(memory, options).expect("such frames can be addressed");
                let frames: Vec<_> = (0..4).map(|_| pool.take().expect("below the limit")).collect();
                drop(frames);
                pool.free_unused_memory();
                assert_eq!(pool.counters().reserved_bytes, 0);
            });
        }
    });
    assert!(given.out().is_empty());
}

#[test]
fn what_is_retired_is_never_handed_out_again_and_keeps_nothing_of_the_pool() {
    let given = Given::new(1);
    let memory: Arc<dyn SlabMemory> = given.clone();
    let options = PoolOptions { frame_bytes: 64, headroom_bytes: 0, limit_frames: 3 };
    let pool = Pool::with_memory(memory, options).expect("such frames can be addressed");
    let [one, other, third] = [0; 3].map(|_| pool.take().expect("below the limit").freeze());
    let (place, kept) = (one.as_ptr(), one.clone());
    one.retire();
    assert_eq!(pool.counters().retired_frames, 0, "somebody has it still");
    drop(kept);
    drop((other, third));
    let counters = pool.counters();
    assert_eq!((counters.in_use_frames, counters.retired_frames), (1, 1), "it is not there to be used");
    let left: Vec<_> = (0..3).map_while(|_| pool.take()).collect();
    assert!(left.len() == 2 && left.iter().all(|frame| frame.as_ptr() != place));
    drop(left);
    pool.free_unused_memory();
    assert_eq!(given.out().len(), 1, "a device may be working on it");
    drop(pool);
    assert!(given.out().is_empty(), "who has the memory knows what to do with it");
}

#[test]
fn a_buffer_tells_how_much_memory_it_keeps() {
    let pool = pool(1_000, 24, 1);
    let mut frame = pool.take().expect("below the limit");
    frame.extend_from_slice(b"ten of them").expect("it fits");
    assert_eq!(frame.freeze().slice(3..5).kept_bytes(), 1_024);
    assert_eq!(crate::Buffer::from_static(b"static").kept_bytes(), 0);
}
