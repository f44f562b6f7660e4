//! TCP options as Linux reads them, and how they are laid out.

use core::net::Ipv4Addr;
use core::num::NonZeroU16;

use super::hex;
use crate::checksum::{Fill, Sum};
use crate::{
    FastOpenOption, IpProtocol, Ipv4Header, Ipv4Options, Ipv4Template, SackBlock, SackBlocks, Seq, TcpFlags, TcpHeader,
    TcpOptions, TcpSegment, TcpTimestamps, WindowScale,
};

/// Reads options, which are filled up with zeros.
fn parse(text: &str) -> TcpOptions {
    let mut options = hex(text);
    options.resize(options.len().next_multiple_of(4), 0);
    let mut bytes = hex("0050 0051 00000001 00000000 5002 ffff 0000 0000");
    bytes[12] = u8::try_from((20 + options.len()) / 4 * 16).unwrap();
    bytes.extend(options);
    TcpSegment::parse(&bytes).unwrap().options()
}

/// The options as they are sent.
fn built(options: TcpOptions) -> Vec<u8> {
    let header = TcpHeader { options, ..TcpHeader::new(1, 2) };
    header.to_bytes(Fill::Partial(Sum::ZERO))[20..].to_vec()
}

const TIMESTAMPS: TcpTimestamps = TcpTimestamps { tsval: 0x0102_0304, tsecr: 0x0506_0708 };

fn blocks(count: u32) -> SackBlocks {
    (0..count).map(|at| SackBlock { left: Seq::new(at * 16), right: Seq::new(at * 16 + 8) }).collect()
}

#[test]
fn a_syn_is_laid_out_as_by_linux() {
    let options = TcpOptions {
        mss: NonZeroU16::new(1460),
        window_scale: Some(WindowScale::new(7)),
        is_sack_permitted: true,
        timestamps: Some(TIMESTAMPS),
        sack: SackBlocks::NONE,
        fast_open: None,
    };
    assert_eq!(built(options), hex("020405b4 0402080a 01020304 05060708 01030307"));
    assert_eq!(built(TcpOptions { timestamps: None, ..options }), hex("020405b4 01010402 01030307"));
    let without_sack = TcpOptions { is_sack_permitted: false, ..options };
    assert_eq!(built(without_sack), hex("020405b4 0101080a 01020304 05060708 01030307"));
}

#[test]
fn a_cookie_stands_behind_the_other_options_in_either_form() {
    let cookie = FastOpenOption::new(&[0xab, 0xcd, 0x12, 0x34]);
    let options = TcpOptions { mss: NonZeroU16::new(1460), fast_open: cookie, ..TcpOptions::default() };
    assert_eq!(built(options), hex("020405b4 2206abcd 12340101"));
    let request = TcpOptions { fast_open: Some(FastOpenOption::REQUEST), ..options };
    assert_eq!(built(request), hex("020405b4 22020101"));
    let old = TcpOptions { fast_open: cookie.map(|option| option.experimental(true)), ..options };
    assert_eq!(built(old), hex("020405b4 fe08f989 abcd1234"));
}

#[test]
fn timestamps_leave_room_for_three_sack_blocks() {
    let options = TcpOptions { timestamps: Some(TIMESTAMPS), sack: blocks(4), ..TcpOptions::default() };
    assert_eq!(options.len(), 40);
    assert_eq!(
        built(options),
        hex("0101080a 01020304 05060708 0101051a 00000000 00000008 00000010 00000018 00000020 00000028")
    );
    let without_timestamps = TcpOptions { sack: blocks(4), ..TcpOptions::default() };
    assert_eq!((without_timestamps.len(), built(without_timestamps)[3]), (36, 34));
}

#[test]
fn lone_timestamps_are_found_at_once() {
    let header = TcpHeader {
        options: TcpOptions { timestamps: Some(TIMESTAMPS), ..TcpOptions::default() },
        ..TcpHeader::new(1, 2)
    };
    let bytes = header.to_bytes(Fill::Partial(Sum::ZERO));
    assert_eq!(TcpSegment::parse(&bytes).unwrap().lone_timestamps(), Some(TIMESTAMPS));
    let header = TcpHeader { options: TcpOptions { sack: blocks(1), ..header.options }, ..header };
    let bytes = header.to_bytes(Fill::Partial(Sum::ZERO));
    let segment = TcpSegment::parse(&bytes).unwrap();
    assert_eq!((segment.lone_timestamps(), segment.options().timestamps), (None, Some(TIMESTAMPS)));
}

#[test]
fn unknown_options_are_skipped() {
    let options = parse("fe04abcd 1302 020405b4");
    assert_eq!(options.mss, NonZeroU16::new(1460));
}

#[test]
fn options_of_a_wrong_length_are_skipped() {
    let options = parse("0203ff 030207 040300 05060000ffff 0809000000 0000 00 0204 05b4");
    assert_eq!(options, TcpOptions::default(), "what begins with zero ends them");
    let options = parse("0203ff 0302 0504ffff 020405b4");
    assert_eq!(options, TcpOptions { mss: NonZeroU16::new(1460), ..TcpOptions::default() });
    // Blocks are of eight bytes, and there is at least one.
    assert_eq!(parse("0502").sack.len(), 0);
    assert_eq!(parse("050b 0000000100000002 07").sack.len(), 0);
}

#[test]
fn a_length_that_cannot_be_ends_the_options() {
    let mss = TcpOptions { mss: NonZeroU16::new(1460), ..TcpOptions::default() };
    assert_eq!(parse("020405b4 0300 0402"), mss);
    assert_eq!(parse("020405b4 0301 0402"), mss);
    assert_eq!(parse("020405b4 030c 0402"), mss);
    assert_eq!(parse("020405b4 010101 03"), mss, "the length is missing");
}

#[test]
fn nothing_counts_behind_the_end() {
    assert_eq!(parse("00 020405b4 010101"), TcpOptions::default());
}

#[test]
fn of_two_of_a_kind_the_last_one_counts() {
    assert_eq!(parse("020405b4 02040218").mss, NonZeroU16::new(536));
    assert_eq!(parse("020405b4 02040000").mss, NonZeroU16::new(1460), "a size of zero is none");
}

#[test]
fn a_shift_of_more_than_14_counts_as_14() {
    assert_eq!(parse("030320").window_scale, Some(WindowScale::MAX));
    assert_eq!(WindowScale::new(13).shift(), 13);
}

#[test]
fn flags_are_shown_by_name() {
    assert_eq!(format!("{:?}", TcpFlags::SYN | TcpFlags::ACK), "SYN|ACK");
    assert_eq!(format!("{:?}", TcpFlags::NONE), "-");
    let flags = TcpFlags::from_bits(0xf112);
    assert_eq!(flags, TcpFlags::SYN | TcpFlags::ACK | TcpFlags::AE);
    assert!(flags.contains(TcpFlags::SYN | TcpFlags::ACK) && !flags.contains(TcpFlags::SYN | TcpFlags::FIN));
    assert!(flags.intersects(TcpFlags::SYN | TcpFlags::FIN) && !flags.intersects(TcpFlags::FIN));
    assert_eq!(flags.without(TcpFlags::AE | TcpFlags::SYN), TcpFlags::ACK);
}

#[test]
fn half_a_circle_is_the_limit_of_before() {
    let a = Seq::new(5);
    assert!(a.is_before(a + 0x7fff_ffff) && !(a + 0x7fff_ffff).is_before(a));
    let opposite = a + 0x8000_0000;
    assert!(a.is_before(opposite) && opposite.is_before(a), "each, as in Linux");
}

#[test]
fn headers_with_timestamps_only_are_the_same_either_way() {
    for seed in 0..100_u32 {
        let word = |nth: u32| (seed * 7 + nth).wrapping_mul(0x9e37_79b1);
        let half = |nth| u16::from_be_bytes([word(nth).to_be_bytes()[0], word(nth).to_be_bytes()[1]]);
        let timestamps = TcpTimestamps { tsval: word(0), tsecr: word(1) };
        let header = TcpHeader {
            seq: Seq::new(word(2)),
            ack: Seq::new(word(3)),
            flags: TcpFlags::from_bits(half(4)),
            window: half(5),
            urgent_pointer: half(6),
            options: TcpOptions { timestamps: Some(timestamps), ..TcpOptions::default() },
            ..TcpHeader::new(half(0), half(1))
        };
        for fill in [Fill::Complete(Sum::of(&word(5).to_be_bytes())), Fill::Partial(Sum::of_word(half(3)))] {
            let bytes = header.to_bytes_with_timestamps(fill).expect("nothing else");
            assert_eq!(bytes, *header.to_bytes(fill));
        }
    }
    let others = TcpOptions { timestamps: Some(TIMESTAMPS), is_sack_permitted: true, ..TcpOptions::default() };
    let others = TcpHeader { options: others, ..TcpHeader::new(1, 2) };
    assert_eq!(others.to_bytes_with_timestamps(Fill::Partial(Sum::ZERO)), None);
    assert_eq!(TcpHeader::new(1, 2).to_bytes_with_timestamps(Fill::Partial(Sum::ZERO)), None);
}

#[test]
fn headers_from_a_template_are_the_same_as_others() {
    let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 77));
    let header = Ipv4Header { identification: 0xabcd, ttl: 3, ..Ipv4Header::new(IpProtocol::TCP, src, dst) };
    let template = Ipv4Template::new(&header).expect("no options");
    for len in (0..=65_515).step_by(13).chain([65_515]) {
        assert_eq!(
            template.to_bytes(len),
            Ok(header.to_bytes(len).expect("it fits")[..].try_into().expect("20 bytes"))
        );
    }
    assert!(template.to_bytes(65_516).is_err() && template.to_bytes(usize::MAX).is_err());
    let with_options = Ipv4Header { options: Ipv4Options::ROUTER_ALERT, ..header };
    assert!(Ipv4Template::new(&with_options).is_none());
}
