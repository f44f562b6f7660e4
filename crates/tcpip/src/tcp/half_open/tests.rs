use core::time::Duration;

use sunstar_wire::{Seq, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps, WindowScale};

use super::{HalfOpen, MAX_ANSWERS, MAX_REPEATS, Verdict};
use crate::tcp::connection::{Connection, Options, Segment, State};
use crate::tcp::test_stream::data;
use crate::time::Instant;

const THEIRS: Seq = Seq::new(u32::MAX);
const OURS: Seq = Seq::new(4_000);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn syn(options: TcpOptions) -> TcpHeader {
    TcpHeader { flags: TcpFlags::SYN, seq: THEIRS, window: 1_000, options, ..TcpHeader::default() }
}

fn asked(options: TcpOptions) -> (HalfOpen, TcpHeader) {
    let mut half_open = HalfOpen::new(&syn(options), &Options::DEFAULT, OURS, 0);
    let answer = half_open.answer(at(1_000), &Options::DEFAULT);
    (half_open, answer)
}

fn all_options() -> TcpOptions {
    TcpOptions {
        mss: 1_200.try_into().ok(),
        window_scale: Some(WindowScale::new(3)),
        is_sack_permitted: true,
        timestamps: Some(TcpTimestamps { tsval: 77, tsecr: 0 }),
        ..TcpOptions::default()
    }
}

fn gets(half_open: &HalfOpen, flags: TcpFlags, seq: Seq, ack: Seq, len: usize) -> Verdict {
    let mut segment =
        Segment { header: TcpHeader { flags, seq, ack, window: 500, ..TcpHeader::default() }, ..Segment::default() };
    segment.header.options.timestamps = Some(TcpTimestamps { tsval: 80, tsecr: 1_000 });
    segment.payload.extend((len > 0).then(|| data(0, len)));
    half_open.handle_segment(at(1_100), &Options::DEFAULT.into(), segment)
}

fn open(verdict: Verdict) -> Connection {
    match verdict {
        Verdict::Open(connection) => connection,
        other => panic!("not open: {other:?}"),
    }
}

/// RFC 9293 §3.5, figure 6, seen by who is asked.
#[test]
fn third_segment_opens() {
    let (half_open, answer) = asked(all_options());
    assert_eq!((answer.flags, answer.seq, answer.ack), (TcpFlags::SYN | TcpFlags::ACK, OURS, THEIRS + 1));
    let mut connection = open(gets(&half_open, TcpFlags::ACK, THEIRS + 1, OURS + 1, 10));
    assert_eq!((connection.state(), connection.receive()), (State::Established, Some(data(0, 10))));
    // Their window is shifted, the segments leave room for timestamps, and echo theirs.
    connection.send(data(1, 10_000)).expect("there is room");
    let first = connection.poll_transmit(at(1_100), 65_000).expect("there are data");
    assert_eq!((first.header.seq, first.payload.concat().len(), first.mss), (OURS + 1, 1_188, 1_188));
    assert_eq!(first.header.options.timestamps, Some(TcpTimestamps { tsval: 1_100, tsecr: 80 }));
}

/// RFC 7323 §2.2, §3.2, RFC 2018 §2: nothing is said that was not asked for.
#[test]
fn answers_with_what_was_offered() {
    let (_, answer) = asked(TcpOptions::default());
    assert_eq!(answer.options, TcpOptions { mss: 1_460.try_into().ok(), ..TcpOptions::default() });
    let (_, answer) = asked(all_options());
    assert!(answer.options.is_sack_permitted && answer.options.window_scale == Some(WindowScale::new(7)));
    assert_eq!(answer.options.timestamps, Some(TcpTimestamps { tsval: 1_000, tsecr: 77 }));
}

/// The answer is repeated when their SYN is, and by itself, and at last the stranger is forgotten.
#[test]
fn answers_are_repeated() {
    let (mut half_open, _) = asked(all_options());
    assert!(matches!(gets(&half_open, TcpFlags::SYN, THEIRS, Seq::new(0), 0), Verdict::Answer));
    let mut waits = Vec::new();
    while !half_open.is_last_answer() {
        let now = half_open.deadline();
        waits.push((now - half_open.answered_at).as_secs());
        half_open.answer(now, &Options::DEFAULT);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16]);
    assert_eq!(
        (usize::from(MAX_ANSWERS), half_open.deadline() - half_open.answered_at),
        (waits.len(), Duration::from_secs(32))
    );
}

/// Who asks again and again is answered, and forgotten no later.
#[test]
fn strangers_do_not_choose_how_long_they_are_remembered() {
    let (mut half_open, _) = asked(all_options());
    let deadline = half_open.deadline();
    for _ in 0..300 {
        assert!(matches!(gets(&half_open, TcpFlags::SYN, THEIRS, Seq::new(0), 0), Verdict::Answer));
        half_open.answer_again(at(1_500), &Options::DEFAULT);
    }
    assert_eq!(half_open.deadline(), deadline);
    half_open.answer(deadline, &Options::DEFAULT);
    assert_eq!(half_open.deadline() - deadline, Duration::from_secs(2));
}

/// Who asks once more before he is forgotten has as long to confirm as after any last answer; not for ever.
#[test]
fn the_last_answer_is_followed_by_time_to_confirm() {
    let (mut half_open, _) = asked(all_options());
    while !half_open.is_last_answer() {
        half_open.answer(half_open.deadline(), &Options::DEFAULT);
    }
    let first = half_open.deadline();
    for _ in 0..300 {
        let late = half_open.answered_at + Duration::from_millis(31_999);
        assert!(matches!(gets(&half_open, TcpFlags::SYN, THEIRS, Seq::new(0), 0), Verdict::Answer));
        half_open.answer_again(late, &Options::DEFAULT);
        assert!(half_open.is_last_answer());
    }
    let most = Duration::from_secs(32) * u32::from(MAX_REPEATS);
    assert!(half_open.deadline() - first > most - Duration::from_secs(1) && half_open.deadline() - first < most);
}

/// RFC 9293 §3.10.7.4: who acknowledges something else is reset.
#[test]
fn wrong_acknowledgements_are_reset() {
    let (half_open, _) = asked(all_options());
    let verdict = gets(&half_open, TcpFlags::ACK, THEIRS + 1, OURS + 7, 0);
    assert!(matches!(verdict, Verdict::Reset(seq) if seq == OURS + 7));
}

/// RFC 9293 §3.10.7.4: what is in the window confirms, also if what precedes it got lost; and it is reset if it acknowledges something else.
/// So a SYN that comes again when its connection is over does not set both sides answering each other for ever.
#[test]
fn later_segments_confirm_or_are_reset() {
    let (half_open, _) = asked(all_options());
    let mut connection = open(gets(&half_open, TcpFlags::ACK, THEIRS + 1_001, OURS + 1, 10));
    assert_eq!((connection.state(), connection.receive()), (State::Established, None));
    let verdict = gets(&half_open, TcpFlags::ACK, THEIRS + 2, OURS - 1_353, 0);
    assert!(matches!(verdict, Verdict::Reset(seq) if seq == OURS - 1_353));
}

/// RFC 5961 §7: what can't be is answered, but not for ever.
#[test]
fn challenges_are_bounded() {
    let (mut half_open, _) = asked(all_options());
    for _ in 0..MAX_REPEATS {
        assert!(matches!(gets(&half_open, TcpFlags::ACK, THEIRS + 100_000, OURS - 9, 0), Verdict::Answer));
        half_open.answer_again(at(1_200), &Options::DEFAULT);
    }
    assert!(matches!(gets(&half_open, TcpFlags::ACK, THEIRS + 100_000, OURS - 9, 0), Verdict::Waits));
    assert!(matches!(gets(&half_open, TcpFlags::SYN, THEIRS, Seq::new(0), 0), Verdict::Answer), "their SYN always is");
    half_open.answer(half_open.deadline(), &Options::DEFAULT);
    assert!(matches!(gets(&half_open, TcpFlags::ACK, THEIRS + 100_000, OURS - 9, 0), Verdict::Answer));
}

/// RFC 5961 §3: a reset with exactly the expected number takes it back; others do not.
#[test]
fn exact_resets_take_it_back() {
    let (half_open, _) = asked(all_options());
    assert!(matches!(gets(&half_open, TcpFlags::RST, THEIRS + 9, Seq::new(0), 0), Verdict::Waits));
    assert!(matches!(gets(&half_open, TcpFlags::RST, THEIRS + 1, Seq::new(0), 0), Verdict::Gone));
}

/// A flood takes so much memory for each SYN.
#[test]
fn is_small() {
    assert!(size_of::<HalfOpen>() <= 40, "{}", size_of::<HalfOpen>());
}

/// RFC 7323 §5.3: what is older than the SYN does not open what that asks for.
#[test]
fn old_timestamps_open_nothing() {
    let (half_open, _) = asked(all_options());
    let mut header =
        TcpHeader { flags: TcpFlags::ACK, seq: THEIRS + 1, ack: OURS + 1, window: 500, ..TcpHeader::default() };
    header.options.timestamps = Some(TcpTimestamps { tsval: 76, tsecr: 0 });
    let gets = |header| {
        half_open.handle_segment(at(1_100), &Options::DEFAULT.into(), Segment { header, ..Segment::default() })
    };
    assert!(matches!(gets(header), Verdict::Answer));
    header.options.timestamps = Some(TcpTimestamps { tsval: 77, tsecr: 0 });
    open(gets(header));
}

/// RFC 6298 §3: only an answer measures a round trip that was sent once, at a time that is known.
#[test]
fn what_was_answered_before_it_was_remembered_measures_nothing() {
    let rtt = |half_open: &HalfOpen| {
        let info = open(gets(half_open, TcpFlags::ACK, THEIRS + 1, OURS + 1, 0)).info(at(1_100));
        (info.rtt.is_zero(), info.min_rtt)
    };
    let (mut half_open, _) = asked(all_options());
    assert_eq!(rtt(&half_open), (false, Some(Duration::from_millis(100))));
    half_open.set_answered(at(1_050));
    assert_eq!(rtt(&half_open), (true, None));
    let (mut half_open, _) = asked(all_options());
    half_open.answer_again(at(1_090), &Options::DEFAULT);
    assert_eq!(rtt(&half_open), (true, None), "nobody knows which of both it confirms");
}
