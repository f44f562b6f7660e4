use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::prelude::*;
use sunstar_wire::{AddressPair, FourTuple, Seq, TcpFlags, TcpHeader, TcpOptions, TcpTimestamps, WindowScale};

use super::{LIFETIME, SLOT, answer, open};
use crate::tcp::connection::{Connection, Options, Segment, State};
use crate::tcp::half_open::{HalfOpen, Verdict};
use crate::tcp::secret::Secret;
use crate::tcp::test_stream::data;
use crate::time::Instant;

const THEIRS: Seq = Seq::new(u32::MAX);
const LINK_MSS: u16 = 1_460;

fn secret() -> Secret {
    Secret::new([7; 16])
}

/// As we send.
fn flow() -> FourTuple {
    let [src, dst] = [1, 2].map(|host| Ipv4Addr::new(192, 0, 2, host));
    FourTuple { addresses: AddressPair::V4 { src, dst }, src_port: 80, dst_port: 1_234 }
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

fn all_options() -> TcpOptions {
    TcpOptions {
        mss: 1_460.try_into().ok(),
        window_scale: Some(WindowScale::new(3)),
        is_sack_permitted: true,
        timestamps: Some(TcpTimestamps { tsval: 77, tsecr: 0 }),
        ..TcpOptions::default()
    }
}

fn answered(now: Instant, options: TcpOptions) -> Option<TcpHeader> {
    let syn = TcpHeader { flags: TcpFlags::SYN, seq: THEIRS, window: 1_000, options, ..TcpHeader::default() };
    answer(now, &secret(), &flow(), &syn, &Options::DEFAULT, LINK_MSS)
}

/// What a peer says that has got an answer.
fn confirmation(answer: &TcpHeader) -> TcpHeader {
    let mut header =
        TcpHeader { flags: TcpFlags::ACK, seq: THEIRS + 1, ack: answer.seq + 1, window: 500, ..TcpHeader::default() };
    let echo = |theirs: TcpTimestamps| TcpTimestamps { tsval: 80, tsecr: theirs.tsval };
    header.options.timestamps = answer.options.timestamps.map(echo);
    header
}

fn opened(now: Instant, header: &TcpHeader) -> Option<HalfOpen> {
    open(now, &secret(), &flow(), header, &Options::DEFAULT, LINK_MSS)
}

fn connection(now: Instant, header: TcpHeader) -> Connection {
    let stranger = opened(now, &header).expect("it is our cookie");
    let mut segment = Segment { header, ..Segment::default() };
    segment.payload.push(data(0, 10));
    match stranger.handle_segment(now, &Options::DEFAULT.into(), segment) {
        Verdict::Open(connection) => connection,
        other => panic!("not open: {other:?}"),
    }
}

/// RFC 4987 §3.6: what they have asked for comes back, and the connection is the same as one that was remembered.
#[test]
fn options_come_back_by_timestamps() {
    let header = answered(at(100_000), all_options()).expect("there is a cookie");
    assert_eq!((header.flags, header.ack), (TcpFlags::SYN | TcpFlags::ACK, THEIRS + 1));
    assert!(header.options.is_sack_permitted && header.options.window_scale == Some(WindowScale::new(7)));
    assert_eq!(header.options.timestamps.map(|both| both.tsecr), Some(77));
    let mut connection = connection(at(100_200), confirmation(&header));
    assert_eq!((connection.state(), connection.receive()), (State::Established, Some(data(0, 10))));
    // Their window is shifted, and segments leave room for timestamps, which echo theirs and are not before the cookie's.
    connection.send(data(1, 10_000)).expect("there is room");
    let first = connection.poll_transmit(at(100_200), 65_000).expect("there are data");
    assert_eq!((first.header.seq, first.payload.concat().len(), first.mss), (header.seq + 1, 1_448, 1_448));
    let [ours, cookies] =
        [first.header.options.timestamps, header.options.timestamps].map(|both| both.expect("agreed"));
    assert!(ours.tsecr == 80 && ours.tsval.wrapping_sub(cookies.tsval) < 1_000);
    assert!(connection.info(at(100_200)).has_sack);
}

/// Who sends no timestamps is promised nothing that would have to be remembered.
#[test]
fn without_timestamps_only_the_size_is_kept() {
    let header = answered(at(1_000), TcpOptions { timestamps: None, ..all_options() }).expect("there is a cookie");
    assert_eq!(header.options, TcpOptions { mss: 1_460.try_into().ok(), ..TcpOptions::default() });
    let mut connection = connection(at(1_100), confirmation(&header));
    connection.send(data(1, 10_000)).expect("there is room");
    let first = connection.poll_transmit(at(1_100), 65_000).expect("there are data");
    assert_eq!((first.payload.concat().len(), first.mss), (500, 1_460));
}

/// Segments are never larger than they have said, and who takes less than everybody must gets no cookie.
#[test]
fn sizes_are_rounded_down() {
    let mss = |said: Option<u16>| {
        let options = TcpOptions { mss: said.and_then(|said| said.try_into().ok()), ..TcpOptions::default() };
        let header = answered(at(1_000), options)?;
        let mut connection = connection(at(1_000), confirmation(&header));
        connection.send(data(1, 10_000)).expect("there is room");
        connection.poll_transmit(at(1_000), 65_000).map(|first| first.mss)
    };
    let said = [None, Some(535), Some(536), Some(1_219), Some(1_220), Some(1_459), Some(8_960)];
    assert_eq!(said.map(mss), [Some(536), None, Some(536), Some(536), Some(1_220), Some(1_440), Some(1_460)]);
}

/// A cookie is good for the time in which it was sent and for the next one.
#[test]
fn cookies_grow_old() {
    let header = answered(at(64_000), all_options()).expect("there is a cookie");
    let confirmation = confirmation(&header);
    let is_good = |after: Duration| opened(at(64_000) + after, &confirmation).is_some();
    let short = Duration::from_millis(1);
    assert_eq!(
        [short, SLOT, LIFETIME - short, LIFETIME, 3 * SLOT, 256 * SLOT].map(is_good),
        [true, true, true, false, false, false]
    );
    let header = answered(at(64_000), TcpOptions::default()).expect("there is a cookie");
    assert!(opened(at(64_000) + LIFETIME, &self::confirmation(&header)).is_none());
}

/// Retransmitted SYNs get the same cookie, others another one, and nobody else's is good.
#[test]
fn cookies_are_for_who_has_asked() {
    let header = answered(at(1_000), all_options()).expect("there is a cookie");
    assert_eq!(answered(at(2_000), all_options()).map(|again| again.seq), Some(header.seq));
    let mine = confirmation(&header);
    let other = FourTuple { dst_port: 1_235, ..flow() };
    let open_for = |secret: &Secret, flow: &FourTuple, header: &TcpHeader| {
        open(at(1_100), secret, flow, header, &Options::DEFAULT, LINK_MSS).is_some()
    };
    assert!(open_for(&secret(), &flow(), &mine));
    assert!(!open_for(&secret(), &other, &mine));
    assert!(!open_for(&Secret::new([8; 16]), &flow(), &mine));
    assert!(!open_for(&secret(), &flow(), &TcpHeader { seq: mine.seq + 1, ..mine }));
    // The echo is not one of ours.
    let mut late = mine;
    late.options.timestamps = Some(TcpTimestamps { tsval: 80, tsecr: 0 });
    assert!(!open_for(&secret(), &flow(), &late));
    late.options.timestamps = None;
    assert!(!open_for(&secret(), &flow(), &late));
}

proptest! {
    /// Whatever was agreed upon by a cookie is what would have been agreed upon without one, but for sizes, which are no larger.
    #[test]
    fn property_cookies_keep_what_was_said(
        now in 0_u64..10_000_000_000,
        later in 0_u64..64_000,
        scale in prop::option::of(0_u8..15),
        has_sack: bool,
        tsval: u32,
        mss in 536_u16..9_000,
    ) {
        let said = TcpOptions {
            mss: mss.try_into().ok(),
            window_scale: scale.map(WindowScale::new),
            is_sack_permitted: has_sack,
            timestamps: Some(TcpTimestamps { tsval, tsecr: 0 }),
            ..TcpOptions::default()
        };
        let now = at(now);
        let header = answered(now, said).expect("there is a cookie");
        let mut usual = HalfOpen::new(
            &TcpHeader { flags: TcpFlags::SYN, seq: THEIRS, window: 1_000, options: said, ..TcpHeader::default() },
            &Options::DEFAULT,
            header.seq,
            secret().timestamp_offset(&flow()),
        );
        let usual_answer = usual.answer_again(now, &Options::DEFAULT);
        let early = usual_answer.options.timestamps.expect("agreed").tsval
            .wrapping_sub(header.options.timestamps.expect("agreed").tsval);
        prop_assert!(early <= 127, "{early} ms before the clock");
        let mut same = header;
        same.options.timestamps = usual_answer.options.timestamps;
        prop_assert_eq!(same, usual_answer);
        let later = now + Duration::from_millis(later);
        let mut confirmation = confirmation(&header);
        confirmation.options.timestamps = confirmation.options.timestamps
            .map(|both| TcpTimestamps { tsval: tsval.wrapping_add(1), ..both });
        let mut stranger = opened(later, &confirmation).expect("it is our cookie");
        prop_assert_eq!(stranger.answer_again(now, &Options::DEFAULT).options.window_scale, usual_answer.options.window_scale);
        prop_assert_eq!(stranger.answer_again(now, &Options::DEFAULT).options.is_sack_permitted, has_sack);
    }

    /// Nobody gets in by guessing: of a million no more than a few, and of thousands none.
    #[test]
    fn property_guesses_fail(seed: u32) {
        let guesses = (0..1_000_u32).map(|at| seed.wrapping_add(at).wrapping_mul(0x9e37_79b1));
        let good = guesses.filter(|guess| {
            let header = TcpHeader { flags: TcpFlags::ACK, seq: THEIRS + 1, ack: Seq::new(*guess), ..TcpHeader::default() };
            opened(at(1_000_000), &header).is_some()
        });
        prop_assert!(good.count() <= 1);
    }
}
