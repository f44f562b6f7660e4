//! What arrives, and what is said about it.

use sunstar_wire::WindowScale;

use super::script::{ACK, MSS, PLAIN, PSH, RST, SYN, Script, arrives};
use crate::tcp::connection::receive::{COLLAPSE_FROM, COLLAPSED, SMALL_BYTES};
use crate::tcp::connection::{Failure, Options, State};

/// A connection that has used up its quick acknowledgements.
fn calm(options: Options) -> (Script, u32) {
    let mut script = Script::established(options);
    for segment in 0..16 {
        script.gets(arrives(ACK | PSH, 1 + 10 * segment, 10, 1));
        assert_eq!(script.sent_one().ack, 11 + 10 * segment);
    }
    assert_eq!(script.received(1), 160);
    (script, 161)
}

/// RFC 9293 §3.8.6.3: at most 500 ms (40 here), and every second full segment at once.
#[test]
fn delays_acknowledgements() {
    let (mut script, next) = calm(PLAIN);
    script.gets(arrives(ACK, next, 10, 1));
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].ack), (40, next + 10));
    let next = next + 10;
    script.gets(arrives(ACK, next, MSS, 1));
    assert_eq!(script.sent(), []);
    script.gets(arrives(ACK, next + MSS, MSS, 1));
    assert_eq!(script.sent_one().ack, next + 2 * MSS);
}

/// Data take the acknowledgement along.
#[test]
fn data_carry_the_acknowledgement() {
    let (mut script, next) = calm(PLAIN);
    script.gets(arrives(ACK, next, 10, 1));
    script.send(1, 5);
    let sent = script.sent_one();
    assert_eq!((sent.ack, sent.len), (next + 10, 5));
}

/// RFC 5681 §4.2, RFC 2018 §4: a gap is told at once, and so is its end.
#[test]
fn tells_of_gaps_at_once() {
    let (mut script, next) = calm(PLAIN);
    script.gets(arrives(ACK, next + 100, 50, 1));
    let sent = script.sent_one();
    assert_eq!((sent.ack, sent.sack), (next, vec![(next + 100, next + 150)]));
    script.gets(arrives(ACK, next, 100, 1));
    let sent = script.sent_one();
    assert_eq!((sent.ack, sent.sack), (next + 150, vec![]));
    assert_eq!(script.received(next), 150);
}

/// RFC 9293 §3.10.7.4: what lies outside the window is answered, and dropped; what is partly known is cut.
#[test]
fn takes_what_is_in_the_window() {
    let mut script = Script::established(Options { receive_capacity: 5_000, ..PLAIN });
    script.gets(arrives(ACK, 1, 100, 1));
    assert_eq!(script.sent_one().ack, 101);
    for (seq, len) in [(1, 100), (9_000, 10)] {
        script.gets(arrives(ACK, seq, len, 1));
        assert_eq!(script.sent_one().ack, 101, "{seq}");
    }
    script.gets(arrives(ACK, 51, 100, 1));
    assert_eq!(script.sent_one().ack, 151);
    assert_eq!(script.received(1), 150);
}

/// RFC 9293 §3.8.6.2.2: the window closes as data wait, and opens in steps that are worth a segment.
#[test]
fn window_follows_the_application() {
    let mut script = Script::established(Options { receive_capacity: 4_000, ..PLAIN });
    for segment in 0..4 {
        script.gets(arrives(ACK, 1 + MSS * segment, MSS, 1));
        assert_eq!(script.sent_one().window, 3_000 - MSS * segment);
    }
    script.gets(arrives(ACK, 4_001, 1, 1));
    assert_eq!(script.sent_one().window, 0, "what a closed window does not take is answered");
    script.connection.receive();
    assert_eq!(script.sent(), [], "a step of one segment is not told on its own");
    script.connection.receive();
    assert_eq!(script.sent_one().window, 2_000);
}

/// RFC 5961 §3: a reset counts with exactly the expected number; one elsewhere in the window is asked about.
#[test]
fn believes_exact_resets_only() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(RST, 2, 0, 0));
    assert_eq!((script.sent_one().ack, script.connection.state()), (1, State::Established));
    script.gets(arrives(RST, 70_000_000, 0, 0));
    assert_eq!((script.sent(), script.connection.state()), (vec![], State::Established));
    script.gets(arrives(RST, 1, 0, 0));
    assert_eq!((script.connection.state(), script.connection.failure()), (State::Closed, Some(Failure::Reset)));
}

/// RFC 5961 §5: acknowledgements of what was never sent, or of long ago, are answered, and their data dropped.
#[test]
fn refuses_impossible_acknowledgements() {
    let mut script = Script::established(PLAIN);
    for ack in [2, 0_u32.wrapping_sub(70_000)] {
        script.gets(arrives(ACK, 1, 10, ack));
        assert_eq!(script.sent_one().ack, 1);
        assert_eq!(script.received(1), 0);
        script.wait(500);
    }
}

/// RFC 5961 §7: segments without data that do not fit are answered twice a second, or two sides could go on for ever.
#[test]
fn challenges_are_throttled() {
    let mut script = Script::established(PLAIN);
    for round in 0..3 {
        script.gets(arrives(ACK, 70_000_000, 0, 1));
        assert_eq!(script.sent_one().ack, 1, "{round}");
        script.wait(499);
        script.gets(arrives(ACK, 70_000_000, 0, 1));
        assert_eq!(script.sent(), []);
        script.wait(1);
    }
}

/// Those with data are answered more often, since who retransmits needs it, and not without bound either.
#[test]
fn challenges_to_data_are_bounded() {
    let mut script = Script::established(PLAIN);
    for round in 0..3 {
        let answers = (0..40).filter(|_| {
            script.gets(arrives(ACK, 70_000_000, 10, 1));
            script.sent().len() == 1
        });
        assert_eq!(answers.count(), 17, "{round}");
        assert_eq!(script.connection.take_unanswered(), 23, "{round}");
        script.wait(500);
    }
    // Of a burst one answer counts.
    for _ in 0..100 {
        script.gets(arrives(ACK, 70_000_000, 10, 1));
    }
    assert_eq!(script.sent_one().ack, 1);
    assert_eq!(script.connection.take_unanswered(), 0);
    script.gets(arrives(ACK, 70_000_000, 10, 1));
    assert_eq!(script.sent_one().ack, 1);
}

/// Who has filled the window acknowledges with a number at its edge, though what filled it was lost.
#[test]
fn acknowledgements_at_the_edge_count() {
    let mut script = Script::established(Options { receive_capacity: 4_000, ..PLAIN });
    script.send(1, 10);
    script.sent_one();
    script.gets(arrives(ACK, 4_001, 0, 11));
    assert_eq!(script.connection.unacknowledged(), 0);
}

/// RFC 7323 §5.3: a segment with an older timestamp than the last one is from long ago.
#[test]
fn old_timestamps_are_refused() {
    let mut script = Script::established(Options { offers_timestamps: true, ..PLAIN });
    script.gets(arrives(ACK, 1, 10, 1).timestamps(1_010, 5_000));
    assert_eq!(script.sent_one().ack, 11);
    script.gets(arrives(ACK, 11, 10, 1).timestamps(1_009, 5_000));
    assert_eq!((script.sent_one().ack, script.received(1)), (11, 10));
    script.gets(arrives(ACK, 11, 10, 1).timestamps(1_010, 5_000));
    assert_eq!((script.sent_one().ack, script.received(11)), (21, 10));
}

/// RFC 7323 §5.5: after 24 days the other side's clock may have turned.
#[test]
fn timestamps_of_24_days_ago_do_not_count() {
    let mut script = Script::established(Options { offers_timestamps: true, ..PLAIN });
    script.gets(arrives(ACK, 1, 10, 1).timestamps(1_010, 5_000));
    script.sent_one();
    script.wait(24 * 24 * 3_600 * 1_000 + 1);
    script.gets(arrives(ACK, 11, 10, 1).timestamps(1_009, 5_000));
    assert_eq!(script.sent_one().ack, 21);
}

/// RFC 9293 §3.10.7.4: whose acknowledgement is not believed, whose timestamp is not echoed (RFC 7323 §4.3).
#[test]
fn timestamps_of_impossible_acknowledgements_do_not_count() {
    let mut script = Script::established(Options { offers_timestamps: true, ..PLAIN });
    script.gets(arrives(ACK, 1, 0, 900).timestamps(9_000, 5_000));
    script.sent();
    script.gets(arrives(ACK, 1, 10, 1).timestamps(1_010, 5_000));
    assert_eq!((script.sent_one().ack, script.received(1)), (11, 10), "it is not older than anything");
}

/// RFC 7323 §2.4: a window is rounded up, so that it does not shrink, but many small segments don't let it grow beyond all room.
#[test]
fn rounding_does_not_pile_up() {
    let capacity = 60 << 14;
    let mut script = Script::new(Options { receive_capacity: capacity, ..PLAIN });
    script.sent_one();
    script.gets(arrives(SYN | ACK, 0, 0, 1).options(|header| header.options.window_scale = Some(WindowScale::new(0))));
    script.sent_one();
    let mut edge = 0;
    for at in 1..400 {
        script.gets(arrives(ACK, at, 1, 1));
        let sent = script.sent().pop().unwrap_or_else(|| script.next().1.remove(0));
        edge = edge.max(sent.ack + (sent.window << 4));
    }
    assert!(edge <= 1 + capacity + 16, "{edge}");
}

/// RFC 2883 §4.1.1, §4.1.3: a segment that came before is told of, once, also if only a part of it was.
#[test]
fn tells_of_duplicates_once() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 500, 1));
    assert_eq!(script.sent_one().sack, []);
    script.gets(arrives(ACK, 1, 500, 1));
    let sent = script.sent_one();
    assert_eq!((sent.ack, sent.sack), (501, vec![(1, 501)]));
    script.gets(arrives(ACK, 401, 200, 1));
    let sent = script.sent_one();
    assert_eq!((sent.ack, sent.sack), (601, vec![(401, 501)]));
    script.gets(arrives(ACK, 601, 10, 1));
    assert_eq!(script.sent_one().sack, [], "it was told");
    // Two that follow each other before anything is told are one range.
    script.gets(arrives(ACK, 1, 100, 1));
    script.gets(arrives(ACK, 101, 100, 1));
    assert_eq!(script.sent_one().sack, [(1, 201)]);
    assert_eq!(script.received(1), 610);
}

/// RFC 2883 §4.1.2, §4.2.1, §4.2.2: above a gap what contains the duplicate comes next, then the others.
#[test]
fn tells_of_duplicates_above_gaps() {
    let mut script = Script::established(PLAIN);
    for (seq, len) in [(1_001, 500), (1_501, 500), (4_001, 500)] {
        script.gets(arrives(ACK, seq, len, 1));
        script.sent_one();
    }
    script.gets(arrives(ACK, 1_501, 500, 1));
    assert_eq!(script.sent_one().sack, [(1_501, 2_001), (1_001, 2_001), (4_001, 4_501)]);
    // The beginning of what is new was there.
    script.gets(arrives(ACK, 1_901, 300, 1));
    assert_eq!(script.sent_one().sack, [(1_901, 2_001), (1_001, 2_201), (4_001, 4_501)]);
    // A duplicate below all gaps.
    script.gets(arrives(ACK, 1, 10, 1));
    assert_eq!(script.sent_one().ack, 11);
    script.gets(arrives(ACK, 1, 10, 1));
    assert_eq!(script.sent_one().sack, [(1, 11), (1_001, 2_201), (4_001, 4_501)]);
    // What closes the gap reaches into what was there.
    script.gets(arrives(ACK, 11, 1_000, 1));
    let sent = script.sent_one();
    assert_eq!((sent.ack, sent.sack), (2_201, vec![(1_001, 1_011), (4_001, 4_501)]));
    assert_eq!(script.received(1), 2_200);
}

/// RFC 2883 §4.2: also of what came so long ago that it is not told any more.
#[test]
fn tells_what_contains_an_old_duplicate() {
    let mut script = Script::established(PLAIN);
    for at in 1..=6 {
        script.gets(arrives(ACK, 1 + 2_000 * at, 500, 1));
        script.sent_one();
    }
    script.gets(arrives(ACK, 2_101, 100, 1));
    assert_eq!(script.sent_one().sack, [(2_101, 2_201), (2_001, 2_501), (12_001, 12_501), (10_001, 10_501)]);
}

/// Who has not offered to listen is told nothing (RFC 2883 §3).
#[test]
fn tells_of_no_duplicates_without_sack() {
    let mut script = Script::established(Options { offers_sack: false, ..PLAIN });
    for _ in 0..2 {
        script.gets(arrives(ACK, 1, 10, 1));
        assert_eq!(script.sent_one().sack, []);
    }
}

/// RFC 2883 §4: a duplicate is told once, also beside data of which the pieces of a large segment would all say the same.
#[test]
fn tells_of_duplicates_beside_one_piece() {
    let (mut script, next) = calm(Options { burst_segments: 10, ..PLAIN });
    script.gets(arrives(ACK, next - 10, 10, 1));
    script.send(1, 5 * MSS);
    let mut sent = || {
        let outgoing = script.connection.poll_transmit(script.now, 65_000).expect("there are data");
        (outgoing.header.options.sack.len(), outgoing.segments())
    };
    assert_eq!((sent(), sent()), ((1, 1), (0, 5)));
}

/// Who sends small segments that nobody reads gets no more memory than what the window says, whatever their sizes: they are put together.
#[test]
fn small_pieces_are_put_together() {
    for sizes in [&[1][..], &[3], &[1, 1, 1, 600], &[300, 1]] {
        let mut script = Script::established(PLAIN);
        let mut seq = 1;
        for size in sizes.iter().cycle().take(20_000) {
            if seq + size < 60_000 {
                script.gets(arrives(ACK, seq, *size, 1));
                script.sent();
                seq += size;
            }
        }
        assert_eq!((script.connection.receivable(), script.connection.take_refused()), (seq - 1, [0, 0]));
        let pieces = script.connection.queues.as_deref().expect("something waits").ready.len();
        assert!(pieces < COLLAPSE_FROM + COLLAPSED + 60_000 / SMALL_BYTES, "{sizes:?}: {pieces}");
        assert_eq!(script.received(1), seq as usize - 1);
    }
}

/// What is as large as usual is not copied.
#[test]
fn large_pieces_stay_where_they_are() {
    let mut script = Script::established(PLAIN);
    for at in 0..100 {
        script.gets(arrives(ACK, 1 + 600 * at, 600, 1));
    }
    assert_eq!(script.connection.queues.as_deref().expect("something waits").ready.len(), 100);
}

/// Answers carry the acknowledgement of what they answer: who has sent one waits for the next (RFC 9293 §3.8.6.3 allows it).
#[test]
fn who_answers_delays_acknowledgements() {
    let mut script = Script::established(PLAIN);
    script.gets(arrives(ACK, 1, 100, 1));
    assert_eq!(script.sent_one().ack, 101, "the first ones are acknowledged at once");
    script.send(1, 50);
    assert_eq!(script.sent_one().len, 50);
    script.gets(arrives(ACK, 101, 100, 51));
    assert_eq!(script.sent(), []);
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].ack), (40, 201));
}

/// RFC 9293 §3.8.6.2.2: reading is told at once when the window was nearly used up and doubles, not with each segment.
#[test]
fn room_is_told_when_it_matters() {
    let options = Options { receive_capacity: 20_000, ..PLAIN };
    let mut script = Script::established(options);
    for segment in 0..6 {
        script.gets(arrives(ACK, 1 + segment * MSS, MSS, 1));
    }
    script.sent();
    assert_eq!(script.received(1), 6_000);
    assert_eq!(script.sent(), [], "more than half is left");
    for segment in 6..18 {
        script.gets(arrives(ACK, 1 + segment * MSS, MSS, 1));
    }
    script.sent();
    assert_eq!(script.received(6_001), 12_000);
    assert_eq!(script.sent_one().window, 20_000);
}

/// RFC 7323 §5.2: resets carry timestamps where they were agreed upon.
#[test]
fn resets_carry_timestamps() {
    let mut script = Script::established(Options { offers_timestamps: true, ..PLAIN });
    let reset = script.connection.reset(script.now).expect("it has to be told");
    assert_eq!(reset.options.timestamps.map(|timestamps| timestamps.tsecr), Some(1_000));
}

/// RFC 9293 §3.8.5, §3.10.7.4, sixth: where urgent data end is known as soon as it is said, and only moves on. They come in order.
#[test]
fn the_end_of_urgent_data_is_known_before_they_come() {
    let mut script = Script::established(PLAIN);
    let urgent = |seq, len, pointer| {
        arrives(ACK, seq, len, 1).options(|header| {
            header.flags |= sunstar_wire::TcpFlags::URG;
            header.urgent_pointer = pointer;
        })
    };
    assert_eq!(script.connection.urgent_end(), None);
    script.gets(urgent(1, 0, 3_000));
    assert_eq!((script.connection.urgent_end(), script.connection.receivable()), (Some(3_000), 0));
    script.gets(urgent(1, 1_000, 500));
    assert_eq!(script.connection.urgent_end(), Some(3_000));
    script.gets(urgent(1_001, 100, u16::MAX));
    assert_eq!(script.connection.urgent_end(), Some(1_000 + 65_535));
    assert_eq!(script.received(1), 1_100);
    // Also where there is no room.
    let mut script = Script::established(Options { receive_capacity: 1_000, ..PLAIN });
    script.gets(arrives(ACK, 1, 1_000, 1));
    assert_eq!(script.sent_one().window, 0);
    script.gets(urgent(1_001, 0, 5));
    assert_eq!((script.connection.urgent_end(), script.sent()), (Some(1_005), vec![]));
}
