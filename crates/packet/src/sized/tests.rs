use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{FAILURES_PER_SEARCH, MAX_SIZED_BYTES, MIN_BYTES, SizedPools};
use crate::pool::SlabMemory;
use crate::pool::tests::Given;

fn pools(slabs: usize, headroom_bytes: usize, grain_bytes: usize) -> (SizedPools, Arc<Given>) {
    let given = Given::new(slabs);
    let memory: Arc<dyn SlabMemory> = given.clone();
    (SizedPools::new(&memory, headroom_bytes, grain_bytes).expect("such frames can be addressed"), given)
}

#[test]
fn buffers_of_any_size_lie_in_the_memory_and_waste_less_than_half() {
    let (pools, given) = pools(usize::MAX, 128, 64);
    assert!(given.out().is_empty(), "nothing is taken before it is needed");
    let mut kept = Vec::new();
    for bytes in [0, 1, 511, 512, 513, 1_448, 65_536, 65_537, 131_057, MAX_SIZED_BYTES] {
        let mut buffer = pools.take(bytes).expect("there is memory");
        assert_eq!(buffer.headroom(), 128);
        let room = buffer.tailroom();
        assert!(room >= bytes && room < (2 * bytes).max(MIN_BYTES + 64), "{room} for {bytes}");
        buffer.append(bytes).expect("there is room").fill(0xa5);
        let start = buffer.as_ptr().addr();
        assert!(given.out().iter().any(|(slab, layout)| (*slab..slab + layout.size()).contains(&start)) || bytes == 0);
        kept.push(buffer.freeze());
    }
    assert_eq!(pools.counters().in_use_frames, kept.len());
    assert!(pools.take(MAX_SIZED_BYTES + 1).is_none(), "it is for who has a use for such");
    assert_eq!(pools.counters().exhausted, 0);
    drop(pools);
    assert!(kept.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0xa5)));
    drop(kept);
    assert!(given.out().is_empty());
}

#[test]
fn frames_begin_at_multiples_of_the_grain() {
    let (pools, given) = pools(usize::MAX, 128, 2_048);
    for bytes in [1, 1_920, 1_921, 10_000, 100_000] {
        let frames: Vec<_> = (0..3).map(|_| pools.take(bytes).expect("there is memory")).collect();
        for frame in &frames {
            let start = frame.as_ptr().addr() - 128;
            let slabs = given.out();
            let is_in =
                |(slab, layout): &&(usize, _)| (*slab..slab + core::alloc::Layout::size(layout)).contains(&start);
            let (slab, _) = slabs.iter().find(is_in).expect("the frame lies in a slab");
            assert!((start - slab).is_multiple_of(2_048) && (128 + frame.tailroom()).is_multiple_of(2_048));
        }
    }
}

#[test]
fn without_memory_larger_frames_serve_and_then_none() {
    let (pools, given) = pools(1, 0, 64);
    let whole = pools.take(1_024).expect("the slab is there");
    // Of the slab of one size those that want half and a quarter of that get frames; those that want more do not.
    let half = pools.take(600).expect("a frame of the same size");
    let quarter = pools.take(200).expect("a larger frame");
    assert!(half.tailroom() == 1_024 && quarter.tailroom() == 1_024);
    for failures in 0..3 {
        assert_eq!(pools.counters().exhausted, failures);
        assert!(pools.take(1_025).is_none());
    }
    drop((whole, half, quarter));
    // A slab of which nothing is out serves other sizes, but is not looked for at each failure.
    let tries = (0..2 * FAILURES_PER_SEARCH).take_while(|_| pools.take(1_025).is_none()).count();
    assert_eq!(tries as u64, FAILURES_PER_SEARCH - 3);
    assert_eq!(given.out().len(), 1);
}
