use core::time::Duration;

use sunstar_wire::{Seq, TcpFlags, TcpHeader, TcpTimestamps};

use super::{DURATION, RENEWABLE, TimeWait, Verdict, seconds};
use crate::tcp::connection::Segment;
use crate::time::Instant;

const ENDED: Instant = Instant::from_micros(7_000_000);

fn time_wait(has_timestamps: bool) -> TimeWait {
    TimeWait {
        snd_nxt: Seq::new(100),
        rcv_nxt: Seq::new(200),
        ts_recent: 50,
        ts_offset: 3,
        has_timestamps,
        ends_at: ENDED + DURATION,
        since_secs: seconds(ENDED),
    }
}

fn gets(time_wait: &mut TimeWait, flags: TcpFlags, seq: u32, tsval: Option<u32>) -> Verdict {
    let mut header = TcpHeader { flags, seq: Seq::new(seq), ..TcpHeader::default() };
    header.options.timestamps = tsval.map(|tsval| TcpTimestamps { tsval, tsecr: 0 });
    time_wait.handle_segment(ENDED + DURATION / 2, &Segment { header, ..Segment::default() })
}

/// RFC 9293 §3.10.7.4: the end came again since our acknowledgement was lost; the time begins anew.
#[test]
fn answers_the_end_again() {
    let mut over = time_wait(true);
    let Verdict::Answer(header) = gets(&mut over, TcpFlags::FIN | TcpFlags::ACK, 199, Some(51)) else {
        panic!("no answer")
    };
    assert_eq!((header.flags, header.seq, header.ack), (TcpFlags::ACK, Seq::new(100), Seq::new(200)));
    assert_eq!(header.options.timestamps, Some(TcpTimestamps { tsval: 37_003, tsecr: 50 }));
    assert_eq!(over.deadline(), ENDED + DURATION / 2 + DURATION);
}

/// RFC 9293 §3.10.7.4: only the end that was acknowledged begins the time anew. What is no such end, or has an old timestamp (RFC 7323
/// §5.3), is answered, as all that is not acceptable.
#[test]
fn other_ends_do_not_renew_it() {
    let (ack, fin, syn) = (TcpFlags::ACK, TcpFlags::FIN, TcpFlags::SYN);
    for (flags, seq, tsval, renews) in [
        (fin | ack, 199, Some(50), true),
        (fin | ack, 199, Some(49), false),
        (fin | ack, 198, Some(51), false),
        (fin | ack, 200, Some(51), false),
        (fin | ack, 9_999, Some(51), false),
        (fin, 199, Some(51), false),
        (syn | fin | ack, 198, Some(51), false),
    ] {
        let mut over = time_wait(true);
        let verdict = gets(&mut over, flags, seq, tsval);
        assert!(matches!(verdict, Verdict::Answer(_)), "{flags:?} {seq}");
        let ends_at = ENDED + DURATION + if renews { DURATION / 2 } else { Duration::ZERO };
        assert_eq!(over.deadline(), ends_at, "{flags:?} {seq} {tsval:?}");
    }
    let mut over = time_wait(false);
    gets(&mut over, fin | ack, 199, Some(49));
    assert_eq!(over.deadline(), ENDED + DURATION / 2 + DURATION, "what was not agreed upon says nothing");
}

/// RFC 9293 §3.6.1: who repeats the end for ever does not keep it remembered for ever, and it is no larger for that.
#[test]
fn it_ends_though_the_end_comes_again_and_again() {
    let mut over = time_wait(false);
    let header = TcpHeader { flags: TcpFlags::FIN | TcpFlags::ACK, seq: Seq::new(199), ..TcpHeader::default() };
    let again = Segment { header, ..Segment::default() };
    let (mut now, far) = (ENDED, ENDED + DURATION * 10);
    while now < over.deadline() && now < far {
        assert!(matches!(over.handle_segment(now, &again), Verdict::Answer(_)));
        now = now + Duration::from_secs(1);
    }
    let last = ENDED + (RENEWABLE - Duration::from_secs(1));
    assert_eq!((over.deadline(), now), (last + DURATION, last + DURATION));
    assert_eq!(size_of::<TimeWait>(), 32);
}

/// RFC 9293 §3.10.7.4, MAY-2: what follows begins beyond all that was sent, also where the numbers wrap.
#[test]
fn the_next_one_begins_beyond_it() {
    for snd_nxt in [100, u32::MAX - 3] {
        let over = TimeWait { snd_nxt: Seq::new(snd_nxt), ..time_wait(false) };
        let from = |iss: u32| over.next_iss(Seq::new(snd_nxt) + iss) - Seq::new(snd_nxt);
        assert_eq!(
            [0, 65_536, 65_537, 65_538, 1 << 30, 1 << 31, u32::MAX].map(from),
            [65_537, 65_537, 65_537, 65_538, 1 << 30, 1 << 31, 65_537]
        );
    }
}

/// RFC 1337: only the number that answers our last acknowledgement is believed.
#[test]
fn other_resets_do_not_end_it() {
    for flags in [TcpFlags::RST, TcpFlags::RST | TcpFlags::ACK] {
        for (seq, verdict) in [(199, Verdict::Ignore), (200, Verdict::End), (201, Verdict::Ignore)] {
            assert_eq!(gets(&mut time_wait(true), flags, seq, None), verdict, "{flags:?} {seq}");
        }
    }
}

/// RFC 6191: by the timestamp, and without timestamps by the number.
#[test]
fn newer_connections_may_have_the_ports() {
    for (has_timestamps, seq, tsval, is_newer) in
        [(true, 5, Some(51), true), (true, 5, Some(50), false), (false, 201, None, true), (false, 199, None, false)]
    {
        let verdict = gets(&mut time_wait(has_timestamps), TcpFlags::SYN, seq, tsval);
        assert_eq!(verdict == Verdict::Reopen, is_newer, "{seq} {tsval:?}");
    }
}

/// Two sides that are both over must not answer each other for ever.
#[test]
fn acknowledgements_are_not_answered() {
    assert_eq!(gets(&mut time_wait(true), TcpFlags::ACK, 200, Some(60)), Verdict::Ignore);
}
