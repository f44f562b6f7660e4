//! What is lost, what is only late, and how much may leave meanwhile.

use super::script::{ACK, MSS, PLAIN, Script, arrives};
use crate::tcp::connection::{CaState, Info, Options};

const WITHOUT_SACK: Options = Options { offers_sack: false, ..PLAIN };

impl Script {
    fn info(&self) -> Info {
        self.connection.info(self.now)
    }

    /// An acknowledgement that says nothing but its number.
    fn acked(&mut self, ack: u32) {
        self.gets(arrives(ACK, 1, 0, ack));
    }

    /// The same with ranges.
    fn reports(&mut self, ack: u32, blocks: &[(u32, u32)]) {
        self.gets(arrives(ACK, 1, 0, ack).sack(blocks));
    }
}

/// Ten segments were sent, of so many bytes, and nothing has come until the timer has rung.
fn timed_out(options: Options, bytes: u32) -> Script {
    let mut script = Script::established(options);
    script.send(1, bytes);
    assert_eq!(script.sent_data().len(), 10);
    if options.offers_sack {
        // RFC 8985 §7.3: the probe of the tail is the last segment, or new data.
        let (ms, probe) = script.next();
        assert_eq!((ms, probe.len()), (200, 1));
    }
    let (_, again) = script.next();
    assert_eq!((again[0].seq, again.len()), (1, 1));
    assert_eq!(script.info().ca_state, CaState::Loss);
    script
}

/// RFC 5682 §2.1, steps 2b and 3b: new data instead of what seems to be lost; then more is acknowledged that was sent once. Nothing is
/// sent again, and the window is what it was (RFC 4015).
#[test]
fn frto_finds_a_late_flight_by_new_data() {
    let mut script = timed_out(WITHOUT_SACK, 20_000);
    script.acked(1_001);
    assert_eq!(script.sent_data(), [(10_001, MSS), (11_001, MSS)]);
    script.acked(2_001);
    assert_eq!(
        (script.info().ca_state, script.info().snd_cwnd, script.info().snd_ssthresh),
        (CaState::Open, 10, u32::MAX)
    );
    assert_eq!((script.info().lost, script.info().total_retrans), (0, 1));
    assert_eq!(script.sent_data(), [], "the window is full");
    for segment in 3..10 {
        script.acked(1 + MSS * segment);
        assert!(script.sent().iter().all(|sent| sent.seq > 11_001), "nothing is sent again");
    }
    assert_eq!((script.info().ca_state, script.info().total_retrans), (CaState::Open, 1));
}

/// RFC 5682 §3.1: the same with selective acknowledgements, by number or behind a gap.
#[test]
fn frto_with_sack_finds_a_late_flight() {
    for is_behind_gap in [false, true] {
        let mut script = timed_out(PLAIN, 20_000);
        // Before the first new acknowledgement nothing is decided.
        script.reports(1, &[(10_001, 11_001)]);
        assert_eq!(script.info().ca_state, CaState::Loss);
        script.acked(1_001);
        assert_eq!(script.sent_data(), [(11_001, MSS), (12_001, MSS)]);
        if is_behind_gap {
            script.reports(1_001, &[(2_001, 3_001)]);
        } else {
            script.acked(2_001);
        }
        let info = script.info();
        assert!(info.snd_cwnd >= 10 && info.ca_state != CaState::Loss && info.lost == 0, "{info:?}");
        assert!(script.sent().iter().all(|sent| sent.seq > 12_001), "nothing is sent again");
    }
}

/// RFC 5682 §2.1, step 2b: without new data there is no telling, and what seems to be lost is sent again in slow start.
#[test]
fn frto_without_new_data_sends_again() {
    for options in [WITHOUT_SACK, PLAIN] {
        let mut script = timed_out(options, 10_000);
        script.acked(1_001);
        assert_eq!(script.sent_data(), [(1_001, MSS), (2_001, MSS)]);
        script.acked(3_001);
        assert_eq!(script.info().ca_state, CaState::Loss);
    }
}

/// RFC 5682 §2.1, steps 2a and 3a; §3.1, step 3a: what arrived of the new data shows that the others are lost.
#[test]
fn frto_believes_a_loss() {
    let mut script = timed_out(WITHOUT_SACK, 20_000);
    script.acked(1_001);
    assert_eq!(script.sent_data(), [(10_001, MSS), (11_001, MSS)]);
    script.acked(1_001);
    assert_eq!(script.sent_data(), [(1_001, MSS)], "three segments, of which two are new");
    assert_eq!(script.info().snd_cwnd, 3);
    script.acked(2_001);
    assert_eq!((script.info().ca_state, script.sent_data()), (CaState::Loss, vec![(2_001, MSS), (3_001, MSS)]));

    // The first acknowledgement is a duplicate.
    let mut script = timed_out(WITHOUT_SACK, 20_000);
    script.acked(1);
    script.acked(1_001);
    assert_eq!(script.sent_data(), [(1_001, MSS), (2_001, MSS)]);

    let mut script = timed_out(PLAIN, 20_000);
    script.acked(1_001);
    assert_eq!(script.sent_data(), [(11_001, MSS), (12_001, MSS)]);
    script.reports(1_001, &[(11_001, 12_001)]);
    assert_eq!(script.sent_data(), [(1_001, MSS), (2_001, MSS)]);
}

/// RFC 3042: the first two duplicates of an acknowledgement let a new segment out each, the third one sends the first one again.
#[test]
fn limited_transmit_without_sack() {
    let mut script = Script::established(WITHOUT_SACK);
    script.send(1, 30_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    script.acked(1);
    assert_eq!(script.sent_data(), [(10_001, MSS)]);
    script.acked(1);
    assert_eq!(script.sent_data(), [(11_001, MSS)]);
    script.acked(1);
    assert_eq!(script.sent_data(), [(1, MSS)]);
    assert_eq!(script.info().snd_cwnd, 9, "what is in the network, and the segment that was lost");
}

/// RFC 3042 §2: so it is with selective acknowledgements: what was reported has left the network, and as much may enter it. The window
/// stays as it is.
#[test]
fn limited_transmit_with_sack() {
    let mut script = Script::established(PLAIN);
    script.send(1, 30_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    script.reports(1, &[(1_001, 2_001)]);
    assert_eq!(script.sent_data(), [(10_001, MSS)]);
    script.reports(1, &[(1_001, 3_001)]);
    assert_eq!(script.sent_data(), [(11_001, MSS)]);
    script.reports(1, &[(1_001, 4_001)]);
    assert_eq!(script.sent_data()[0], (1, MSS));
}

/// RFC 9937 §6.2, without selective acknowledgements: each duplicate delivers a segment, and what an acknowledgement covers of those
/// does not count again. The flight shrinks to the threshold, in proportion.
#[test]
fn prr_counts_duplicates_without_sack() {
    let mut script = Script::established(WITHOUT_SACK);
    script.send(1, 60_000);
    script.sent();
    script.wait(100);
    for first in [10_001, 11_001, 1] {
        script.acked(1);
        assert_eq!(script.sent_data(), [(first, MSS)]);
    }
    assert_eq!(script.info().snd_ssthresh, 7);
    // Seven of the ten that were in the network when it began are replaced.
    let mut new = 0;
    for _ in 4..=9 {
        script.acked(1);
        new += script.sent().len();
    }
    assert!((3..=5).contains(&new), "{new}");
    // A second one was lost (RFC 6582 §3.2): it leaves at once, though the duplicates were for it too.
    script.acked(5_001);
    assert_eq!(script.sent_data()[0], (5_001, MSS));
    assert_eq!(script.info().ca_state, CaState::Recovery);
    script.acked(12_001);
    assert_eq!((script.info().ca_state, script.info().snd_cwnd), (CaState::Open, 7));
}

/// RFC 2883 §5, RFC 3708: what was sent again has come twice, as it turns out when the recovery is over: the window is what it was, and
/// what overtakes has more time (RFC 8985 §6.2, step 4).
#[test]
fn duplicates_take_a_recovery_back() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10_000);
    script.sent();
    script.wait(100);
    script.reports(1, &[(1_001, 4_001)]);
    assert_eq!(script.sent_data(), [(1, MSS)]);
    script.reports(4_001, &[]);
    script.reports(10_001, &[]);
    assert_eq!((script.info().ca_state, script.info().snd_cwnd), (CaState::Open, 7));
    script.wait(50);
    script.reports(10_001, &[(1, 1_001)]);
    assert_eq!((script.info().snd_cwnd, script.info().snd_ssthresh), (10, u32::MAX));
    script.reports(10_001, &[(1, 1_001)]);
    assert_eq!(script.info().snd_cwnd, 10, "once");
}

/// RFC 2883 §4: the network doubles segments too. Who has sent nothing twice has lost nothing, and takes nothing back.
#[test]
fn duplicates_that_the_network_made_say_nothing() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10_000);
    script.sent();
    script.wait(100);
    script.reports(2_001, &[(1, 1_001)]);
    script.sent();
    script.reports(2_001, &[(3_001, 4_001)]);
    let (ms, sent) = script.next();
    assert_eq!((ms, sent[0].seq), (25, 2_001), "a quarter of the round trip, as ever");
}

/// RFC 5682 §3.1, step 2: what arrives late, before the first new acknowledgement, lets nothing else out; so what is acknowledged then is
/// not taken for late if it had been sent again.
#[test]
fn frto_sends_only_the_first_one_until_it_is_acknowledged() {
    let mut script = timed_out(PLAIN, 20_000);
    for begin in [9_001, 8_001] {
        script.reports(1, &[(begin, 10_001)]);
        assert_eq!(script.sent_data(), []);
    }
    assert_eq!(script.info().snd_cwnd, 1);
    script.reports(1_001, &[(8_001, 10_001)]);
    assert_eq!(script.sent_data(), [(11_001, MSS), (12_001, MSS)]);
    script.reports(1_001, &[(11_001, 12_001), (8_001, 10_001)]);
    assert_eq!(script.sent_data(), [(1_001, MSS), (2_001, MSS)], "the second one was lost");
    script.reports(2_001, &[(11_001, 12_001), (8_001, 10_001)]);
    assert_eq!(script.info().ca_state, CaState::Loss);
}

/// RFC 5682 §3.1, step 3b: only what was sent once can be late. The probe of the tail was not.
#[test]
fn frto_does_not_take_a_probe_for_late_data() {
    let mut script = Script::established(PLAIN);
    script.send(1, 2_000);
    assert_eq!(script.sent_data().len(), 2);
    assert_eq!(script.next().1[0].seq, 1_001, "the probe");
    assert_eq!(script.next().1[0].seq, 1, "the timeout");
    script.send(2_001, 4_000);
    assert_eq!(script.sent_data(), []);
    script.acked(1_001);
    assert_eq!(script.sent_data(), [(2_001, MSS), (3_001, MSS)]);
    script.acked(2_001);
    let info = script.info();
    assert!(info.snd_cwnd < 10 && info.snd_ssthresh < 10, "{info:?}");
}

/// RFC 8985 §7.4: the duplicate that a probe of the tail has made tells nothing of a loss that was repaired before.
#[test]
fn a_needless_probe_does_not_take_a_recovery_back() {
    let mut script = Script::established(PLAIN);
    script.send(1, 12_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    script.reports(1, &[(1_001, 10_001)]);
    assert_eq!(script.sent_data(), [(1, MSS), (10_001, MSS), (11_001, MSS)]);
    script.wait(100);
    script.reports(10_001, &[]);
    assert_eq!((script.info().ca_state, script.info().snd_cwnd), (CaState::Open, 7));
    assert_eq!(script.next().1[0].seq, 11_001, "the probe");
    script.acked(12_001);
    script.reports(12_001, &[(11_001, 12_001)]);
    let info = script.info();
    assert!(info.snd_cwnd < 10 && info.snd_ssthresh == 7, "{info:?}");
}

/// RFC 6582 §3.2: each acknowledgement that does not end a recovery sends one segment again. Time tells nothing of peers that report
/// nothing (RFC 8985 §3).
#[test]
fn without_sack_only_the_lost_ones_are_sent_again() {
    let mut script = Script::established(WITHOUT_SACK);
    script.send(1, 10_000);
    assert_eq!(script.sent_data().len(), 10);
    script.wait(100);
    let again: Vec<(u32, u32)> = (0..8)
        .flat_map(|_| {
            script.wait(1);
            script.acked(1);
            script.sent_data()
        })
        .collect();
    assert_eq!(again, [(1, MSS)]);
    script.wait(95);
    script.acked(4_001);
    assert_eq!(script.sent_data(), [(4_001, MSS)]);
    script.wait(100);
    script.acked(10_001);
    assert_eq!((script.sent_data(), script.info().total_retrans), (vec![], 2));
}

/// RFC 5681 §3.1: after a timeout the rest leaves in slow start, each segment once. What RFC 6582 §3.2 says of the first one holds for
/// fast recovery.
#[test]
fn without_sack_slow_start_sends_each_once() {
    let mut script = timed_out(WITHOUT_SACK, 10_000);
    let mut next = 1_001;
    for ack in (1_001..10_001).step_by(1_000) {
        script.wait(10);
        script.acked(ack);
        for (seq, len) in script.sent_data() {
            assert_eq!((seq, len), (next, MSS));
            next += MSS;
        }
    }
    assert_eq!((next, script.info().total_retrans), (10_001, 10));
}

/// A segment was lost, and the timer rings twice. When it was sent again, in milliseconds: the probe, and two timeouts.
fn timed_out_twice(options: Options) -> (Script, [u32; 3]) {
    let mut script = Script::established(options);
    script.send(1, 500);
    assert_eq!(script.sent_data(), [(1, 500)]);
    let again = [(); 3].map(|()| {
        assert_eq!(script.next().1[0].seq, 1);
        u32::try_from(script.now.as_micros() / 1_000).expect("early")
    });
    (script, again)
}

/// RFC 2883 §5: nothing was lost only if all that was sent again has come twice, whatever has sent it.
#[test]
fn a_second_timeout_does_not_forget_what_was_sent_before() {
    let (mut script, again) = timed_out_twice(PLAIN);
    script.acked(501);
    for _ in again {
        assert!(script.info().snd_cwnd < 10);
        script.reports(501, &[(1, 501)]);
    }
    assert_eq!(script.info().snd_cwnd, 10);
}

/// RFC 3522 §3.2: only what was sent before anything was sent again had not been lost.
#[test]
fn timestamps_of_retransmissions_are_not_taken_for_the_original() {
    let acked = |which: usize| {
        let (mut script, again) = timed_out_twice(Options { offers_timestamps: true, ..PLAIN });
        let echoes = [5_100, again[0], again[1], again[2]];
        script.gets(arrives(ACK, 1, 0, 501).timestamps(2_000, echoes[which]));
        script.info().snd_cwnd
    };
    assert_eq!([0, 1, 2, 3].map(acked), [10, 1, 1, 1]);
}

/// RFC 6582 §3.2: one segment, also of what had left as one large piece.
#[test]
fn without_sack_large_pieces_are_not_sent_again_as_a_whole() {
    let mut script = Script::established(Options { burst_segments: 10, ..WITHOUT_SACK });
    script.send(1, 10_000);
    for _ in 0..2 {
        let large = script.connection.poll_transmit(script.now, 10 * MSS).expect("there is room");
        assert_eq!(large.payload.concat().len(), 5_000, "half of the window");
    }
    script.wait(100);
    let mut again = Vec::new();
    for ack in [1, 1, 1, 1, 1, 1, 1, 1, 4_001, 10_001] {
        script.acked(ack);
        again.extend(script.sent_data());
    }
    assert_eq!(again, [(1, MSS), (4_001, MSS)]);
}

/// RFC 8985 §6.2, step 4: three segments behind a gap show a loss at once, also if they were sent as one.
#[test]
fn segments_of_one_burst_count_each() {
    let mut script = Script::established(Options { burst_segments: 10, ..PLAIN });
    script.send(1, 1_000);
    script.sent();
    script.send(1_001, 5_000);
    // One burst for a device that cuts it.
    assert_eq!(
        script.connection.poll_transmit(script.now, 65_000).map(|sent| sent.payload.concat().len()),
        Some(5_000)
    );
    script.wait(100);
    script.reports(1, &[(1_001, 6_001)]);
    assert_eq!(script.sent_data(), [(1, MSS)]);
}

/// RFC 2018 §4: what an acknowledgement reports has arrived, also if a later one has overtaken it.
#[test]
fn reports_that_were_overtaken_count() {
    let mut script = Script::established(PLAIN);
    script.send(1, 10_000);
    script.sent();
    script.wait(100);
    script.reports(1, &[(1_001, 3_001), (8_001, 9_001)]);
    assert_eq!(script.sent_data()[0], (1, MSS));
    script.wait(100);
    script.reports(4_001, &[(8_001, 9_001)]);
    let before = script.info().sacked;
    script.sent();
    script.reports(3_001, &[(5_001, 7_001)]);
    assert_eq!((before, script.info().sacked), (1, 3));
    script.reports(2_001, &[(2_001, 3_001)]);
    assert_eq!(script.info().sacked, 3, "what lies before the acknowledgement says nothing");
}

/// RFC 8985 §6.2, step 5: what is late is looked at when its time is over, also if something new was sent meanwhile.
#[test]
fn new_data_do_not_stop_the_wait_for_what_is_late() {
    let mut script = Script::established(PLAIN);
    script.send(1, 20_000);
    assert_eq!(script.sent().len(), 10);
    script.wait(100);
    script.acked(1_001);
    assert_eq!(script.sent().len(), 2);
    script.reports(1_001, &[(2_001, 3_001)]);
    assert_eq!(script.sent_data(), [(12_001, MSS)], "RFC 3042");
    let (waited, sent) = script.next();
    assert_eq!((waited, sent[0].seq), (25, 1_001));
}
