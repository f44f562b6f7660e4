use core::time::Duration;

use proptest::prelude::*;
use smallvec::smallvec;
use sunstar_wire::{SackBlock, SackBlocks, Seq};

use super::{Acknowledged, Outgoing, Scoreboard, State};
use crate::tcp::rack::Rack;
use crate::tcp::test_stream::data;
use crate::time::Instant;

/// Numbers wrap in the third segment.
const START: Seq = Seq::new(u32::MAX - 250);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

/// Segments of 100 bytes, a millisecond apart.
fn sent(segments: u32) -> Scoreboard {
    let mut board = Scoreboard::default();
    for index in 0..segments {
        board.push(START + 100 * index, smallvec![data(100 * index, 100)], false, at(u64::from(index)));
    }
    board
}

fn block(left: u32, right: u32) -> SackBlock {
    SackBlock { left: START + left, right: START + right }
}

fn acked(board: &mut Scoreboard, rack: &mut Rack, ms: u64, una: u32, blocks: &[SackBlock]) -> Acknowledged {
    board.on_ack(at(ms), START + una, blocks.iter().copied().collect(), rack, |_| false)
}

fn offset(outgoing: &Outgoing) -> (u32, usize) {
    (outgoing.seq - START, outgoing.payload.concat().len())
}

/// What the sums say, counted anew.
fn check(board: &Scoreboard) {
    let sum =
        |state| board.segments.iter().filter(|segment| segment.state == state).map(super::Segment::len).sum::<u32>();
    assert_eq!(
        [board.in_flight, board.sacked, board.lost],
        [sum(State::InFlight), sum(State::Sacked), sum(State::Lost)]
    );
    let sacked = board.segments.iter().filter(|segment| segment.state == State::Sacked).count();
    assert_eq!(board.sacked_segments as usize, sacked);
    let first_lost = board.segments.iter().find(|segment| segment.state == State::Lost);
    assert!(first_lost.is_none_or(|segment| segment.seq.is_at_or_after(board.first_lost)));
    for (one, next) in board.segments.iter().zip(board.segments.iter().skip(1)) {
        assert_eq!(one.end(), next.seq);
    }
}

#[test]
fn acknowledged_bytes_are_let_go() {
    let (mut board, mut rack) = (sent(3), Rack::default());
    assert_eq!(board.in_flight(), 300);
    let result = acked(&mut board, &mut rack, 50, 200, &[]);
    assert_eq!((result.acked, result.delivered, result.rtt_micros), (200, 200, Some(49_000)));
    assert_eq!((board.in_flight(), board.is_empty()), (100, false));
    acked(&mut board, &mut rack, 51, 300, &[]);
    assert!(board.is_empty());
}

/// RFC 2018 §5: what is reported is not sent again, and counts once.
#[test]
fn reported_segments_are_not_sent_again() {
    let (mut board, mut rack) = (sent(5), Rack::default());
    assert_eq!(acked(&mut board, &mut rack, 50, 0, &[block(100, 200)]).delivered, 100);
    assert_eq!(acked(&mut board, &mut rack, 51, 0, &[block(100, 300)]).delivered, 100);
    assert_eq!(acked(&mut board, &mut rack, 52, 0, &[block(400, 500), block(100, 300)]).delivered, 100);
    assert_eq!((board.sacked(), board.sacked_segments(), board.in_flight()), (300, 3, 200));
    assert_eq!(board.detect_losses(at(52), &rack, Duration::ZERO), (200, None));
    let first = board.retransmit(at(60), 1_000).expect("two segments are lost");
    let second = board.retransmit(at(60), 1_000).expect("two segments are lost");
    assert_eq!([offset(&first), offset(&second)], [(0, 100), (300, 100)]);
    assert!(board.retransmit(at(60), 1_000).is_none());
    assert_eq!(first.payload.concat(), &data(0, 100)[..]);
    // The gap is filled: all that was reported is acknowledged, and none of it delivered again.
    let result = acked(&mut board, &mut rack, 100, 500, &[]);
    assert_eq!((result.acked, result.delivered), (500, 200));
}

/// Karn's rule, RFC 6298 §3: no sample of what was sent twice.
#[test]
fn segments_that_were_sent_twice_measure_nothing() {
    let (mut board, mut rack) = (sent(1), Rack::default());
    board.lose_first(1_000);
    board.retransmit(at(500), 1_000);
    let result = acked(&mut board, &mut rack, 600, 100, &[]);
    assert_eq!((result.rtt_micros, result.has_original, result.acked), (None, false, 100));
}

/// A device sends large segments in pieces, and each of them can get lost.
#[test]
fn large_segments_are_split_where_it_matters() {
    let (mut board, mut rack) = (Scoreboard::default(), Rack::default());
    board.push(START, smallvec![data(0, 250), data(250, 150)], true, at(0));
    acked(&mut board, &mut rack, 40, 50, &[block(100, 200), block(300, 401)]);
    check(&board);
    assert_eq!((board.in_flight(), board.sacked()), (150, 201));
    board.detect_losses(at(40), &rack, Duration::ZERO);
    let again: Vec<_> = core::iter::from_fn(|| board.retransmit(at(50), 70)).collect();
    let expected = [(50, 50), (200, 70), (270, 30)];
    assert_eq!(again.iter().map(offset).collect::<Vec<_>>(), expected);
    for (outgoing, (from, len)) in again.iter().zip(expected) {
        assert_eq!(outgoing.payload.concat(), &data(from, len)[..]);
        assert!(!outgoing.has_fin, "the end was reported");
    }
    check(&board);
}

/// RFC 8985 §6.2, step 5: what may be only late is asked about again in time.
#[test]
fn late_segments_have_the_reordering_window() {
    let (mut board, mut rack) = (sent(2), Rack::default());
    acked(&mut board, &mut rack, 41, 0, &[block(100, 200)]);
    let window = Duration::from_millis(10);
    assert_eq!(board.detect_losses(at(41), &rack, window), (0, Some(at(50))));
    assert_eq!(board.detect_losses(at(50), &rack, window), (100, None));
}

/// RFC 8985 §6.3: a timeout loses the first segment, and what is older than a round trip; what was just sent is still in flight.
#[test]
fn timeout_loses_what_is_overdue() {
    let (mut board, mut rack) = (sent(3), Rack::default());
    acked(&mut board, &mut rack, 40, 100, &[]);
    board.push(START + 300, smallvec![data(300, 100)], false, at(230));
    assert_eq!(board.on_timeout(at(240), &rack, Duration::ZERO), 200);
    assert_eq!((board.lost(), board.in_flight()), (200, 100));
}

/// RFC 2018 §8: a receiver that acknowledges by number less than it reported has dropped it, and all is sent again.
#[test]
fn reneging_is_forgiven() {
    let (mut board, mut rack) = (sent(3), Rack::default());
    acked(&mut board, &mut rack, 40, 0, &[block(100, 300)]);
    acked(&mut board, &mut rack, 41, 100, &[]);
    assert_eq!(board.on_timeout(at(300), &rack, Duration::ZERO), 200);
    assert_eq!((board.sacked(), board.lost()), (0, 200));
    assert_eq!(acked(&mut board, &mut rack, 340, 100, &[block(200, 300)]).delivered, 100, "reported anew");
    check(&board);
}

/// RFC 8985 §7.3: the probe is the end of what is in flight.
#[test]
fn probe_is_the_last_segment() {
    let mut board = sent(2);
    board.push(START + 200, smallvec![data(200, 500)], true, at(2));
    let probe = board.probe(at(90), 100).expect("something is in flight");
    assert_eq!((offset(&probe), probe.has_fin), ((601, 99), true));
    check(&board);
    assert!(Scoreboard::default().probe(at(0), 100).is_none());
}

proptest! {
    /// Whatever a receiver reports and whatever is lost: the sums hold, what is sent again is what the application wrote, and
    /// nothing that was acknowledged is sent again.
    #[test]
    fn sums_hold_and_bytes_are_right(
        steps in prop::collection::vec((0..6u8, 0..1_000u32, 1..300u32, prop::collection::vec((0..1_000u32, 1..300u32), 0..4)), 1..60),
    ) {
        let (mut board, mut rack) = (Scoreboard::default(), Rack::default());
        let (mut una, mut nxt, mut now) = (0, 0, 0);
        let mut delivered = 0;
        for (kind, place, len, blocks) in steps {
            now += 3;
            match kind {
                0 | 1 => {
                    let half = len / 2;
                    let parts = [data(nxt, half as usize), data(nxt + half, (len - half) as usize)];
                    board.push(START + nxt, parts.into_iter().filter(|part| !part.is_empty()).collect(), false, at(now));
                    nxt += len;
                }
                2 | 3 => {
                    let outstanding = nxt - una;
                    let next = una + place.min(outstanding) * u32::from(kind == 2);
                    let blocks: SackBlocks = blocks
                        .into_iter()
                        .map(|(left, len)| (next + left, (next + left + len).min(nxt)))
                        .filter(|(left, right)| left < right)
                        .map(|(left, right)| block(left, right))
                        .collect();
                    let result = board.on_ack(at(now), START + next, blocks, &mut rack, |_| false);
                    prop_assert_eq!(result.acked, next - una);
                    delivered += result.delivered;
                    una = next;
                    board.detect_losses(at(now), &rack, Duration::from_millis(u64::from(place) % 5));
                }
                4 => {
                    let before = board.lost();
                    if let Some(outgoing) = board.retransmit(at(now), len) {
                        let (from, bytes) = offset(&outgoing);
                        prop_assert!(from >= una && bytes <= len as usize && board.lost() as usize == before as usize - bytes);
                        prop_assert_eq!(outgoing.payload.concat(), &data(from, bytes)[..]);
                    } else {
                        prop_assert_eq!(before, 0);
                    }
                }
                _ => {
                    let sacked = board.sacked();
                    board.on_timeout(at(now), &rack, Duration::ZERO);
                    // What was given up will be delivered again.
                    delivered -= sacked - board.sacked();
                }
            }
            check(&board);
            prop_assert_eq!(board.in_flight() + board.sacked() + board.lost(), nxt - una);
            prop_assert_eq!(delivered, una + board.sacked());
        }
    }
}

/// A receiver that reports every second byte does not make ever more of what was sent; when it acknowledges, all is as ever.
#[test]
fn reports_divide_no_further_than_they_may() {
    let (mut board, mut rack) = (Scoreboard::default(), Rack::default());
    for index in 0..16 {
        board.push(START + 60_000 * index, smallvec![data(0, 60_000)], false, at(0));
    }
    let most = super::MAX_PIECES + 16 * 60_000 / super::PIECE_BYTES as usize;
    for holes in 0..2_000 {
        let blocks = [1, 3, 5, 7].map(|edge| block(8 * holes + edge, 8 * holes + edge + 1));
        acked(&mut board, &mut rack, 10, 0, &blocks);
        assert!(board.segments() <= most, "{} segments", board.segments());
    }
    check(&board);
    assert!(board.sacked() > 500 && board.take_refused() > 10_000 && board.take_refused() == 0);
    // What can be reported without dividing more is heard still.
    let before = board.sacked();
    acked(&mut board, &mut rack, 11, 0, &[block(60_000, 120_000)]);
    assert_eq!(board.sacked(), before + 60_000);
    let all = acked(&mut board, &mut rack, 12, 960_000, &[]);
    assert!(all.acked == 960_000 && board.is_empty());
    check(&board);
}
