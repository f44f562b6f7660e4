use std::rc::Rc;

use proptest::prelude::*;
use sunstar_packet::{Pool, PoolOptions};

use super::*;

#[test]
fn frames_are_seen_by_whoever_has_the_descriptor() {
    let memory = SharedMemory::new(1).expect("there is memory");
    assert_eq!((memory.len(), memory.used_bytes()), (HUGE_PAGE_BYTES, 0));
    let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: usize::MAX };
    let pool = Rc::new(Pool::with_memory(memory.clone(), options).expect("frames are small"));
    let mut frame = pool.take().expect("the first frame");
    frame.extend_from_slice(b"seen from outside").expect("it fits");
    let offset = memory.offset_of(frame.as_ptr(), frame.len()).expect("it lies in the memory");
    let mut seen = [0; 17];
    rustix::io::pread(&*memory, &mut seen, offset as u64).expect("it is a file");
    assert_eq!(&seen, b"seen from outside");
    assert_eq!(memory.address(frame.as_ptr(), 17), Some(frame.as_ptr().addr() as u64));
    // Pools end where the memory does.
    let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
    assert!(frames.len() > 400 && memory.used_bytes() > HUGE_PAGE_BYTES / 2);
    drop((frames, frame));
    pool.free_unused_memory();
    assert_eq!(memory.used_bytes(), 0);
    drop(pool);
    assert_eq!(Arc::strong_count(&memory), 1);
}

#[test]
fn only_what_is_used_takes_memory() {
    let memory = SharedMemory::new(1 << 30).expect("most of it is not there");
    let blocks = || rustix::fs::fstat(&*memory).expect("it is a file").st_blocks;
    if memory.is_huge() {
        return;
    }
    let before = blocks();
    let area = memory.area(1 << 20).expect("there is room");
    assert!(blocks() >= before + (1 << 11), "it was zeroed");
    drop(area);
    assert_eq!(blocks(), before, "its pages went back");
}

#[test]
fn what_is_withheld_is_handed_out_again_only_when_it_is_restored_and_given_back() {
    let memory = SharedMemory::new(HUGE_PAGE_BYTES).expect("there is memory");
    let layout = Layout::from_size_align(4 * GRAIN_BYTES, GRAIN_BYTES).expect("some pages");
    let [one, other] = [0; 2].map(|_| memory.take(layout).expect("there is room"));
    // SAFETY: it is within what was taken.
    let within = unsafe { one.add(GRAIN_BYTES) }.as_ptr();
    let mut withheld: Vec<_> = [within, within, one.as_ptr()].map(|at| memory.withhold(at, 100)).into();
    assert!(memory.withhold(within, 0).is_none() && memory.withhold([0_u8].as_ptr(), 1).is_none());
    // SAFETY: they were taken with this layout, and are given back once.
    unsafe {
        memory.give(one, layout);
        memory.give(other, layout);
    }
    for _ in 0..3 {
        assert_eq!(memory.used_bytes(), layout.size(), "it is kept");
        memory.restore(withheld.pop().flatten().expect("it is within the memory"));
    }
    assert_eq!(memory.used_bytes(), 0);
    // It need not be given back before.
    let again = memory.take(layout).expect("there is room");
    let withheld = memory.withhold(again.as_ptr(), layout.size()).expect("it is within the memory");
    memory.restore(withheld);
    assert_eq!(memory.used_bytes(), layout.size());
    // SAFETY: as above.
    unsafe { memory.give(again, layout) };
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn pages_that_somebody_has_pinned_stay() {
    let memory = SharedMemory::new(HUGE_PAGE_BYTES).expect("there is memory");
    memory.keep_pages();
    let layout = Layout::from_size_align(GRAIN_BYTES, GRAIN_BYTES).expect("a page");
    let page = memory.take(layout).expect("there is room");
    // SAFETY: it was taken, has so many bytes, and is given back once.
    unsafe {
        page.write_bytes(7, GRAIN_BYTES);
        memory.give(page, layout);
    }
    let mut seen = [0; 2];
    rustix::io::pread(&*memory, &mut seen, 0).expect("it is a file");
    assert_eq!(seen, [7; 2]);
}

#[test]
fn what_lies_outside_has_no_offset() {
    let memory = SharedMemory::new(HUGE_PAGE_BYTES).expect("there is memory");
    let start = memory.start().as_ptr().cast_const();
    assert_eq!(memory.offset_of(start, memory.len()), Some(0));
    assert_eq!(memory.offset_of(start.wrapping_add(memory.len()), 0), Some(memory.len()));
    for (start, len) in [
        (start, memory.len() + 1),
        (start.wrapping_sub(1), 2),
        (start.wrapping_add(memory.len()), 1),
        (start.wrapping_add(8), usize::MAX),
        (std::ptr::null(), 1),
    ] {
        assert_eq!(memory.offset_of(start, len), None, "{start:?}, {len}");
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for bytes in [0, usize::MAX, usize::MAX / 2] {
        assert!(matches!(SharedMemory::new(bytes), Err(SharedMemoryError::Size { bytes: told }) if told == bytes));
    }
    let error = SharedMemory::new(1 << 60).expect_err("no machine has as much");
    assert!(error.to_string().contains("1152921504606846976 bytes"), "{error}");
}

#[test]
fn rings_begin_as_zeros_also_where_something_was() {
    let memory = SharedMemory::new(1).expect("there is memory");
    let area = memory.area(10_000).expect("there is room");
    area.write(5_000, b"left behind");
    let start = area.start();
    drop(area);
    let area = memory.area(10_000).expect("there is room");
    assert_eq!(area.start(), start);
    let mut bytes = [1; 10_000];
    area.read(0, &mut bytes);
    assert_eq!(bytes, [0; 10_000]);
    assert!(memory.area(HUGE_PAGE_BYTES).is_none());
}

proptest! {
    #[test]
    fn pieces_never_overlap_and_all_come_back(
        steps in prop::collection::vec((any::<bool>(), 1_usize..40_000, 0_u32..15, any::<usize>()), 1..200),
    ) {
        let (start, len) = (0x7000, 64 * GRAIN_BYTES);
        let mut free = Extents { free: BTreeMap::from([(0, len)]), ..Extents::default() };
        let mut out: Vec<(usize, usize)> = Vec::new();
        for (is_take, bytes, align, pick) in steps {
            if is_take {
                let align = GRAIN_BYTES.max(1 << align);
                if let Some(offset) = free.take(bytes, align, start) {
                    let piece = (offset, bytes.next_multiple_of(GRAIN_BYTES));
                    prop_assert!((start + offset).is_multiple_of(align) && offset + piece.1 <= len);
                    prop_assert!(out.iter().all(|(other, its)| offset + piece.1 <= *other || other + its <= offset));
                    out.push(piece);
                }
            } else if !out.is_empty() {
                let (offset, bytes) = out.swap_remove(pick % out.len());
                free.give(offset, bytes);
            }
            let total: usize = free.free.values().sum::<usize>() + out.iter().map(|(_, bytes)| bytes).sum::<usize>();
            prop_assert_eq!(total, len);
        }
        for (offset, bytes) in out {
            free.give(offset, bytes);
        }
        prop_assert_eq!(free.free, BTreeMap::from([(0, len)]));
    }
}
