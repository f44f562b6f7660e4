//! How large segments may be, where no router tells: RFC 4821.

use core::time::Duration;

use proptest::prelude::*;
use sunstar_wire::Seq;

use super::pair::Pair;
use super::script::{ACK, MSS, OURS, PLAIN, Script, Sent, arrives};
use crate::path::PathError;
use crate::tcp::connection::{CaState, Options, PathProbing};

/// Segments of 1,000 bytes, and of 600 if those don't get through.
const SEARCHING: Options = Options { base_mss: 600, path_probing: PathProbing::AfterBlackHole, ..PLAIN };

const LOW: u32 = 600;

fn parts(sent: &[Sent]) -> Vec<(u32, u32)> {
    sent.iter().map(|sent| (sent.seq, sent.len)).collect()
}

impl Script {
    fn mss(&self) -> u32 {
        self.connection.info(self.now).snd_mss
    }

    /// The number on the wire of a byte of our stream.
    fn number(&self, seq: u32) -> Seq {
        OURS + seq
    }

    /// Lets the retransmission timer ring, and answers with what is sent again.
    fn times_out(&mut self) -> Vec<(u32, u32)> {
        let (_, sent) = self.next();
        parts(&sent)
    }
}

/// Ten full segments were swallowed three times.
fn swallowed(options: Options) -> (Script, Vec<(u32, u32)>) {
    let mut script = Script::established(options);
    script.send(1, 60_000);
    assert_eq!(script.sent_data().len(), 10);
    // RFC 8985 §7.3: the probe of the tail.
    script.next();
    for _ in 0..2 {
        assert_eq!(script.times_out(), [(1, MSS)]);
    }
    let third = script.times_out();
    (script, third)
}

/// RFC 4821 §7.7: the third timeout in a row (R1 of RFC 1122 §4.2.3.5) tells of a black hole.
#[test]
fn black_holes_are_escaped_after_three_timeouts() {
    let (mut script, third) = swallowed(SEARCHING);
    assert_eq!((third, script.mss()), (vec![(1, LOW)], LOW));
    // All that was too large is lost, and nothing new is tried instead (no F-RTO).
    script.gets(arrives(ACK, 1, 0, 601));
    assert!(script.sent_data().iter().all(|(seq, len)| *seq < 11_001 && *len <= LOW));
    let news = script.connection.take_path_news().expect("there are");
    assert_eq!((news.black_holes, news.lost), (1, 0));
    assert!(script.connection.take_path_news().is_none());
}

/// RFC 4821 §7.7: then half of that, and so on, but not without end.
#[test]
fn black_holes_may_be_deeper() {
    let (mut script, _) = swallowed(SEARCHING);
    let sizes: Vec<u32> = (0..3).map(|_| script.times_out()[0].1).collect();
    assert_eq!(sizes, [500; 3], "the least there is");
}

#[test]
fn silence_is_no_black_hole() {
    // Whoever does not want it.
    let (script, third) = swallowed(Options { path_probing: PathProbing::Off, ..SEARCHING });
    assert_eq!((third, script.mss()), (vec![(1, MSS)], MSS));
    // Small segments are not swallowed for their size.
    let mut script = Script::established(Options { is_no_delay: true, ..SEARCHING });
    script.send(1, 500);
    assert_eq!(script.sent_data(), [(1, 500)]);
    for _ in 0..6 {
        assert_eq!(script.times_out(), [(1, 500)]);
    }
    assert_eq!(script.mss(), MSS);
    // A router has told why nothing arrives (RFC 4821 §7.7).
    let mut script = Script::established(SEARCHING);
    script.send(1, 5_000);
    assert_eq!(script.sent().len(), 5);
    let seq = script.connection.snd_nxt() - 5_000;
    assert!(script.connection.handle_path_error(script.now, seq, PathError::Host));
    for _ in 0..5 {
        script.times_out();
    }
    assert_eq!(script.mss(), MSS);
}

/// Acknowledges all that leaves until the next segment is larger than those before, which is the last one that is answered with.
fn until_probe(script: &mut Script, mut acked: u32) -> (u32, u32) {
    for _ in 0..60 {
        let (mss, sent) = (script.mss(), script.sent());
        if let Some(probe) = sent.iter().find(|sent| sent.len > mss) {
            return (probe.seq, probe.len);
        }
        acked = sent.last().map_or(acked, |last| acked.max(last.seq + last.len));
        script.now = script.now + Duration::from_millis(100);
        script.gets(arrives(ACK, 1, 0, acked));
    }
    panic!("no probe was sent");
}

/// A connection that has escaped, and has sent its first probe.
fn probing() -> (Script, (u32, u32)) {
    let (mut script, _) = swallowed(SEARCHING);
    script.gets(arrives(ACK, 1, 0, 601));
    let probe = until_probe(&mut script, 601);
    (script, probe)
}

/// RFC 4821 §7.3, §7.6.1: what arrives is the new size; the first probe is for all, since there may have been no black hole.
#[test]
fn a_probe_that_arrives_widens() {
    let (mut script, (seq, len)) = probing();
    assert_eq!((len, script.mss()), (MSS, LOW));
    script.gets(arrives(ACK, 1, 0, seq + len));
    assert_eq!(script.mss(), MSS);
    script.sent();
    assert_eq!(script.connection.take_path_news().map(|news| (news.arrived, news.lost)), Some((1, 0)));
}

/// RFC 4821 §7.6.2: a probe that is lost is no sign of congestion, and is sent again at once, in segments that get through.
#[test]
fn a_probe_that_is_lost_costs_nothing() {
    let (mut script, (seq, len)) = probing();
    let (before, following) =
        (script.connection.info(script.now), script.connection.snd_nxt() - script.number(seq + len));
    assert!(following >= 3 * LOW, "enough follows to tell");
    script.now = script.now + Duration::from_millis(100);
    script.gets(arrives(ACK, 1, 0, seq).sack(&[(seq + len, seq + len + LOW)]));
    script.sent();
    // Late may be a quarter of a round trip (RFC 8985 §6.2).
    let (waited, again) = script.next();
    assert_eq!(waited, 25);
    let again = parts(&again);
    assert_eq!(again[..2], [(seq, LOW), (seq + LOW, len - LOW)]);
    let info = script.connection.info(script.now);
    assert_eq!((info.ca_state, info.snd_ssthresh), (CaState::Disorder, before.snd_ssthresh));
    assert!(info.snd_cwnd >= before.snd_cwnd, "{info:?}");
    assert_eq!(script.connection.take_path_news().map(|news| (news.arrived, news.lost)), Some((0, 1)));
    // The next one is half way.
    script.now = script.now + Duration::from_millis(100);
    let all = script.connection.snd_nxt() - script.number(0);
    script.gets(arrives(ACK, 1, 0, all));
    assert_eq!(until_probe(&mut script, all).1, u32::midpoint(LOW, MSS - 1));
}

/// RFC 4821 §7.6.4: if others are lost too, that is congestion, and says nothing of the size.
#[test]
fn a_probe_lost_among_others_says_nothing() {
    let (mut script, (seq, len)) = probing();
    let end = script.connection.snd_nxt() - script.number(0);
    script.now = script.now + Duration::from_millis(100);
    script.gets(arrives(ACK, 1, 0, seq).sack(&[(end - LOW, end)]));
    script.sent();
    assert_eq!(script.next().0, 25);
    assert_eq!(script.connection.info(script.now).ca_state, CaState::Recovery);
    assert_eq!(script.connection.take_path_news().map(|news| news.lost), Some(0));
    assert!(len > LOW);
}

/// A router that speaks after all is believed (RFC 1191), also of a probe.
#[test]
fn a_probe_may_be_refused() {
    let (mut script, (seq, len)) = probing();
    let number = script.number(seq);
    assert!(script.connection.handle_path_error(script.now, number, PathError::TooBig { mtu: 840 }));
    assert_eq!((script.mss(), script.sent_data()[..2].to_vec()), (LOW, vec![(seq, LOW), (seq + LOW, len - LOW)]));
    let all = script.connection.snd_nxt() - script.number(0);
    script.now = script.now + Duration::from_millis(100);
    script.gets(arrives(ACK, 1, 0, all));
    assert_eq!(until_probe(&mut script, all).1, u32::midpoint(LOW, 800));
}

/// RFC 4821 §7.2: who always searches begins with what gets through nearly everywhere.
#[test]
fn some_search_from_the_beginning() {
    let options = Options { path_probing: PathProbing::Always, ..SEARCHING };
    let mut script = Script::established(options);
    assert_eq!(script.mss(), LOW);
    script.send(1, 60_000);
    assert!(script.sent().iter().all(|sent| sent.len == LOW), "the window is too small to tell what is lost (§7.4)");
    script.gets(arrives(ACK, 1, 0, 6_001));
    assert_eq!(until_probe(&mut script, 6_001).1, MSS);
}

/// A path on which what has more than `most` bytes of payload vanishes, and `bytes` have to get through it.
fn through_black_hole(options: Options, most: u32, bytes: u32, loss: u32) -> Pair {
    let mut pair = Pair::new(options, Options::DEFAULT);
    let mut count = 0;
    pair.ends[0].fate = Box::new(move |outgoing| {
        let len: usize = outgoing.payload.iter().map(|part| part.len()).sum();
        count += 1;
        let is_lost = len > most as usize || loss > 0 && count % loss == 0;
        if is_lost { vec![] } else { vec![Duration::from_millis(10)] }
    });
    pair.send(0, bytes);
    pair.run_until(|pair| pair.ends[1].received == bytes);
    pair
}

fn found(pair: &Pair) -> u32 {
    pair.ends[0].connection.info(pair.now).snd_mss
}

/// RFC 4821 §7.3: what gets through is found, but for less than a probe is worth. Nothing of it is congestion: the window never shrinks.
#[test]
fn the_width_is_found() {
    for path_probing in [PathProbing::AfterBlackHole, PathProbing::Always] {
        for most in [1_024, 1_100, 1_340, 1_400, 1_447] {
            let pair = through_black_hole(Options { path_probing, ..Options::DEFAULT }, most, 4_000_000, 0);
            assert!((most - 7..=most).contains(&found(&pair)), "{} of {most}", found(&pair));
            if path_probing == PathProbing::Always {
                let info = pair.ends[0].connection.info(pair.now);
                assert_eq!((info.snd_ssthresh, info.total_rto), (u32::MAX, 0), "{info:?}");
            }
        }
    }
}

/// What is smaller than a full segment is swallowed as full ones are.
#[test]
fn small_writes_get_through_narrow_paths() {
    for (most, bytes, expected) in [(500, 501, 500), (700, 900, 500), (900, 1_024, 512)] {
        let pair = through_black_hole(Options::DEFAULT, most, bytes, 0);
        assert_eq!(found(&pair), expected, "of {most}");
    }
}

/// RFC 4821 §7.3, §7.7: a path may become wider, which is tried after ten minutes.
#[test]
fn a_wider_path_is_found_later() {
    let mut pair = through_black_hole(Options::DEFAULT, 1_200, 1_000_000, 0);
    assert!((1_193..=1_200).contains(&found(&pair)));
    pair.ends[0].fate = Box::new(|_| vec![Duration::from_millis(10)]);
    pair.send(0, 1_000_000);
    pair.run_until(|pair| pair.ends[1].received == 2_000_000);
    assert!(found(&pair) <= 1_200, "not yet");
    pair.run_for(Duration::from_secs(601));
    pair.send(0, 1_000_000);
    pair.run_until(|pair| pair.ends[1].received == 3_000_000);
    assert_eq!(found(&pair), 1_448);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is swallowed, and whatever else is lost: all arrives, and nothing is known to get through that does not.
    #[test]
    fn search_random_paths(
        most in 500_u32..1_500,
        loss in prop_oneof![Just(0_u32), 7_u32..200],
        is_always: bool,
        has_sack: bool,
        bytes in 1_u32..400_000,
    ) {
        let path_probing = if is_always { PathProbing::Always } else { PathProbing::AfterBlackHole };
        let options = Options { path_probing, offers_sack: has_sack, ..Options::DEFAULT };
        let pair = through_black_hole(options, most, bytes, loss);
        let is_little = bytes < 30_000;
        prop_assert!(found(&pair) <= most || is_little, "{} of {most}", found(&pair));
        prop_assert!(found(&pair) >= 500);
    }
}
