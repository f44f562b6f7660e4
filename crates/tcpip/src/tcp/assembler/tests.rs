use proptest::prelude::*;
use sunstar_packet::Buffer;
use sunstar_wire::{SackBlock, Seq};

use super::{Assembler, Inserted, MAX_PIECES, max_pieces};
use crate::tcp::test_stream::data;

fn block(left: u32, right: u32) -> SackBlock {
    SackBlock { left: Seq::new(left), right: Seq::new(right) }
}

fn insert(assembler: &mut Assembler, seq: u32, len: u32) -> Inserted {
    assembler.insert(Seq::new(seq), data(seq, len as usize), max_pieces(0))
}

fn new(bytes: u32) -> Inserted {
    Inserted { bytes, ..Inserted::default() }
}

/// RFC 2018 §5.1, case 2: the first of eight segments is lost; one block grows.
#[test]
fn one_gap_is_one_block() {
    let mut assembler = Assembler::default();
    for seq in (5_500..9_000).step_by(500) {
        assert_eq!(insert(&mut assembler, seq, 500), new(500));
        assert_eq!(assembler.sack_blocks()[..], [block(5_500, seq + 500)]);
    }
    let mut out = Vec::new();
    assert_eq!(assembler.take_ready(Seq::new(5_000), &mut out), 0, "the gap is still there");
    assert_eq!(assembler.take_ready(Seq::new(5_500), &mut out), 3_500);
    assert_eq!(out.concat(), &data(5_500, 3_500)[..]);
    assert!(assembler.is_empty() && assembler.sack_blocks().is_empty());
}

/// RFC 2018 §5.1, case 3: every second segment is lost, and then they come: the newest block is the first.
#[test]
fn newest_block_is_the_first() {
    let mut assembler = Assembler::default();
    for seq in [5_500, 6_500, 7_500, 8_500] {
        insert(&mut assembler, seq, 500);
    }
    let blocks = [block(8_500, 9_000), block(7_500, 8_000), block(6_500, 7_000), block(5_500, 6_000)];
    assert_eq!(assembler.sack_blocks()[..], blocks);
    insert(&mut assembler, 7_000, 500);
    assert_eq!(assembler.sack_blocks()[..], [block(6_500, 8_000), block(8_500, 9_000), block(5_500, 6_000)]);
    assert_eq!(assembler.take_ready(Seq::new(6_000), &mut Vec::new()), 0);
    assert_eq!(
        assembler.sack_blocks()[..],
        [block(6_500, 8_000), block(8_500, 9_000)],
        "what is behind is not reported"
    );
}

/// RFC 2883 §4: the first duplicate part is reported, the new one kept.
#[test]
fn duplicates_are_told() {
    let mut assembler = Assembler::default();
    insert(&mut assembler, 1_000, 100);
    let duplicate = Some(block(1_000, 1_100));
    assert_eq!(insert(&mut assembler, 1_000, 100), Inserted { duplicate, ..new(0) });
    assert_eq!(insert(&mut assembler, 1_020, 20), Inserted { duplicate: Some(block(1_020, 1_040)), ..new(0) });
    assert_eq!(insert(&mut assembler, 1_050, 100), Inserted { duplicate: Some(block(1_050, 1_100)), ..new(50) });
    assert_eq!(insert(&mut assembler, 950, 300), Inserted { duplicate: Some(block(1_000, 1_100)), ..new(150) });
    assert_eq!((assembler.bytes(), assembler.sack_blocks()[..].to_vec()), (300, vec![block(950, 1_250)]));
}

#[test]
fn numbers_wrap() {
    let mut assembler = Assembler::default();
    let start = u32::MAX - 49;
    insert(&mut assembler, start.wrapping_add(100), 100);
    insert(&mut assembler, start, 100);
    assert_eq!(assembler.sack_blocks()[..], [block(start, start.wrapping_add(200))]);
    let mut out = Vec::new();
    assert_eq!(assembler.take_ready(Seq::new(start), &mut out), 200);
    assert_eq!(out.concat(), &data(start, 200)[..]);
}

/// Who sends single bytes with gaps gets no more of our frames than the bound.
#[test]
fn pieces_are_bounded() {
    let mut assembler = Assembler::default();
    for piece in 0..u32::try_from(MAX_PIECES).expect("small") {
        assert_eq!(insert(&mut assembler, 2 * piece, 1), new(1));
    }
    let refused = insert(&mut assembler, 1_000_000, 7);
    assert_eq!(refused, Inserted { refused: 7, ..new(0) });
    assert_eq!(insert(&mut assembler, 0, 2), Inserted { duplicate: Some(block(0, 1)), refused: 1, bytes: 0 });
}

proptest! {
    /// Beside a model that knows each byte: whatever comes in whatever order, the stream comes out once and in order, and
    /// the blocks are ranges that are there.
    #[test]
    fn stream_comes_out_in_order(
        start in any::<u32>(),
        segments in prop::collection::vec((0..400u32, 1..60u32), 0..80),
    ) {
        let mut assembler = Assembler::default();
        let mut is_there = vec![false; 500];
        let (mut next, mut out) = (0, Vec::<Buffer>::new());
        for (offset, len) in segments {
            // What the connection trims: nothing before what is expected.
            let (offset, end) = (offset.max(next), offset + len);
            if offset >= end {
                continue;
            }
            let range = offset as usize..end as usize;
            let is_duplicate = is_there[range.clone()].contains(&true);
            let fresh = is_there[range.clone()].iter().filter(|there| !**there).count();
            let seq = start.wrapping_add(offset);
            if offset == next {
                // What comes in order goes past the assembler, and may cover some of what waits there.
                is_there[range].fill(true);
                out.push(data(seq, (end - offset) as usize));
                next = end;
                next += assembler.take_ready(Seq::new(start.wrapping_add(next)), &mut out);
                continue;
            }
            let inserted = insert(&mut assembler, seq, end - offset);
            prop_assert_eq!((inserted.bytes as usize, inserted.duplicate.is_some()), (fresh, is_duplicate));
            is_there[range].fill(true);
            let first = assembler.sack_blocks()[..].first().copied();
            if fresh > 0 {
                let first = first.expect("a range waits");
                let last_new = end - 1;
                prop_assert!(Seq::new(start.wrapping_add(last_new)).is_at_or_after(first.left) || inserted.duplicate.is_some());
            }
            next += assembler.take_ready(Seq::new(start.wrapping_add(next)), &mut out);
            for block in assembler.sack_blocks().iter() {
                let (left, right) = (block.left.value().wrapping_sub(start), block.right.value().wrapping_sub(start));
                prop_assert!(left > next && is_there[left as usize..right as usize].iter().all(|there| *there));
                prop_assert!(!is_there[left as usize - 1] && !is_there[right as usize], "{block:?} is a part of a range");
            }
            let waiting = is_there[next as usize..].iter().filter(|there| **there).count();
            prop_assert_eq!(assembler.bytes() as usize, waiting);
        }
        let received = out.concat();
        prop_assert_eq!(received.len(), next as usize);
        prop_assert_eq!(&received[..], &data(start, next as usize)[..]);
    }
}
