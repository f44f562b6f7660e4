//! Properties of any bytes, and of any headers.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU16;

use proptest::array::uniform4;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::views;
use crate::checksum::{Fill, Sum, pseudo_header, update};
use crate::{
    AddressPair, Arp, ArpOperation, EtherType, EthernetFrame, EthernetHeader, FastOpenOption, FlowLabel, FourTuple,
    Fragment, IpProtocol, Ipv4Header, Ipv4Options, Ipv4Packet, Ipv6Header, Ipv6Packet, MacAddr, SackBlock, SackBlocks,
    Seq, TcpFlags, TcpHeader, TcpOptions, TcpSegment, TcpTimestamps, TrafficClass, UdpDatagram, UdpHeader, Vlan,
    VlanTag, WindowScale,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn property_any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        views::check(&bytes);
    }

    #[test]
    fn property_likely_bytes_are_read_without_panic(bytes in likely_packet()) {
        views::check(&bytes);
    }

    #[test]
    fn property_tagged_frames_are_read_without_panic(front in any::<[u8; 12]>(), behind in vec(tag_byte(), 2..14)) {
        views::check(&[&front[..], &behind].concat());
    }

    #[test]
    fn property_options_are_read_without_panic(options in vec(option_bytes(), 0..12)) {
        views::check(&segment_with(&options.concat()));
    }

    #[test]
    fn property_dhcpv4_messages_are_read_without_panic(bytes in dhcpv4_message()) {
        views::check(&bytes);
    }

    #[test]
    fn property_dhcpv6_messages_are_read_without_panic(kind in 0_u8..14, options in vec(dhcpv6_option(), 0..8)) {
        views::check(&[&[kind, 1, 2, 3], &options.concat()[..]].concat());
    }

    #[test]
    fn property_frames_come_back(header in ethernet_header(), payload in vec(any::<u8>(), 0..50)) {
        let bytes = [&header.to_bytes()[..], &payload].concat();
        let frame = EthernetFrame::parse(&bytes).unwrap();
        prop_assert_eq!((frame.header(), frame.payload()), (header, &payload[..]));
    }

    #[test]
    fn property_arp_comes_back(arp in arp()) {
        prop_assert_eq!(Arp::parse(&arp.to_bytes()), Ok(arp));
    }

    #[test]
    fn property_ipv4_headers_come_back(header in ipv4_header(), payload in vec(any::<u8>(), 0..50)) {
        let bytes = [&header.to_bytes(payload.len()).unwrap()[..], &payload, b"padding"].concat();
        let packet = Ipv4Packet::parse(&bytes).unwrap();
        prop_assert!(packet.has_valid_checksum());
        prop_assert_eq!((packet.header(), packet.payload()), (header, &payload[..]));
    }

    #[test]
    fn property_ipv6_headers_come_back(header in ipv6_header(), payload in vec(any::<u8>(), 0..50)) {
        let bytes = [&header.to_bytes(payload.len()).unwrap()[..], &payload, b"padding"].concat();
        views::check(&bytes);
        let packet = Ipv6Packet::parse(&bytes).unwrap();
        prop_assert_eq!((packet.header(), packet.payload()), (header, &payload[..]));
        prop_assert_eq!(packet.addresses(), AddressPair::V6 { src: header.src, dst: header.dst });
    }

    #[test]
    fn property_udp_headers_come_back(
        addresses in addresses(), src_port: u16, dst_port: u16, payload in vec(any::<u8>(), 0..50),
    ) {
        let header = UdpHeader { src_port, dst_port };
        let length = u32::try_from(UdpHeader::LEN + payload.len()).unwrap();
        let rest = pseudo_header(addresses, IpProtocol::UDP, length) + Sum::of(&payload);
        let bytes = [&header.to_bytes(payload.len(), Fill::Complete(rest)).unwrap()[..], &payload].concat();
        let datagram = UdpDatagram::parse(&bytes).unwrap();
        prop_assert!(datagram.has_valid_checksum(addresses));
        prop_assert_eq!((datagram.header(), datagram.payload()), (header, &payload[..]));
    }

    #[test]
    fn property_tcp_headers_come_back(
        addresses in addresses(), header in tcp_header(), payload in vec(any::<u8>(), 0..50),
    ) {
        let length = u32::try_from(header.header_len() + payload.len()).unwrap();
        let pseudo_header = pseudo_header(addresses, IpProtocol::TCP, length);
        let complete = header.to_bytes(Fill::Complete(pseudo_header + Sum::of(&payload)));
        let bytes = [&complete[..], &payload].concat();
        let segment = TcpSegment::parse(&bytes).unwrap();
        prop_assert!(segment.has_valid_checksum(addresses));
        prop_assert_eq!((segment.header(), segment.payload()), (header, &payload[..]));
        // A device that finishes the sum comes to the same.
        let partial = [&header.to_bytes(Fill::Partial(pseudo_header))[..], &payload].concat();
        prop_assert_eq!(Sum::of(&partial).checksum(), segment.checksum());
    }

    #[test]
    fn property_the_usual_headers_are_read_and_written_as_all_are(
        header in tcp_header(), before in tcp_header(), timestamps in any::<[u32; 2]>(), is_usual in any::<bool>(),
    ) {
        let [tsval, tsecr] = timestamps;
        let mut header = header;
        if is_usual {
            header.options.set_lone_timestamps(Some(TcpTimestamps { tsval, tsecr }));
            let timestamps = header.options.timestamps;
            prop_assert_eq!(header.options, TcpOptions { timestamps, ..TcpOptions::default() });
        }
        let sum = Sum::of(&tsval.to_be_bytes());
        for fill in [Fill::Complete(sum), Fill::Partial(sum)] {
            prop_assert_eq!(header.to_bytes(fill), header.bytes_with_any_options(fill));
        }
        let bytes = header.to_bytes(Fill::Complete(sum));
        let view = TcpSegment::parse(&bytes).unwrap();
        let mut read = before;
        view.read_header(&mut read);
        prop_assert_eq!(read, header);
        prop_assert!(view.has_options(&header.options));
        prop_assert_eq!(view.has_options(&before.options), header.options == before.options);
    }

    #[test]
    fn property_flows_have_one_way_back(one in flow(), other in flow()) {
        prop_assert!(one.is_reverse_of(&one.reversed()));
        prop_assert_eq!(one.is_reverse_of(&other), one == other.reversed());
    }

    #[test]
    fn property_any_options_have_room(options in tcp_options(), blocks in vec(sack_block(), 0..9)) {
        let sack: SackBlocks = blocks.iter().copied().collect();
        prop_assert_eq!(&sack[..], &blocks[..blocks.len().min(4)]);
        let header = TcpHeader { options: TcpOptions { sack, ..options }, ..TcpHeader::new(1, 2) };
        views::check(&header.to_bytes(Fill::Complete(Sum::ZERO)));
    }

    #[test]
    fn property_sums_do_not_depend_on_the_cut(
        bytes in vec(any::<u8>(), 0..1600), cuts in vec(0..600_usize, 0..20),
    ) {
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, others) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = others;
        }
        pieces.push(rest);
        prop_assert_eq!(Sum::of_chain(&pieces).partial(), plain(&bytes));
        let (first, others) = (pieces[0], &pieces[1..]);
        prop_assert_eq!(Sum::of(first).and_chain(first.len(), others).partial(), plain(&bytes));
        prop_assert_eq!(Sum::of(&bytes).partial(), plain(&bytes));
    }

    #[test]
    fn property_updates_are_sums_anew(
        mut words in vec(extreme_word(), 2..20), at in any::<prop::sample::Index>(), new in extreme_word(),
    ) {
        // A header is never all zero; without it the sum has two forms.
        words[0] = 0x4500;
        let at = 1 + at.index(words.len() - 1);
        let old = words[at];
        let before = plain_words(&words);
        words[at] = new;
        prop_assert_eq!(update(!before, Sum::of_word(old), Sum::of_word(new)), !plain_words(&words));
    }

    #[test]
    fn property_sequence_numbers_wrap(a: u32, distance in 1..0x8000_0000_u32, beyond: u32) {
        let (a, b) = (Seq::new(a), Seq::new(a) + distance);
        prop_assert!(a.is_before(b) && b.is_after(a) && !b.is_before(a) && !a.is_after(b));
        prop_assert!(a.is_at_or_before(b) && !b.is_at_or_before(a) && b.is_at_or_after(a) && a.is_at_or_after(a));
        prop_assert_eq!((b - a, b - distance, a.max(b), b.max(a), a.min(b), b.min(a)), (distance, a, b, b, a, a));
        prop_assert_eq!((a + beyond).is_within(a, distance), beyond < distance);
    }

    #[test]
    fn property_symmetric_keys_hash_both_ways_alike(flow in flow()) {
        prop_assert_eq!(super::hashes::SYMMETRIC.hash_flow(flow), super::hashes::SYMMETRIC.hash_flow(flow.reversed()));
    }

    #[test]
    fn property_tables_hash_as_bits_do(key in any::<[[u8; 20]; 2]>(), flow in flow()) {
        super::hashes::check(key.concat().as_array().unwrap(), flow);
    }
}

/// RFC 1071 §1, with the carries at the end.
fn plain(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]));
    plain_words(&words.collect::<Vec<_>>())
}

fn plain_words(words: &[u16]) -> u16 {
    let mut sum: u64 = words.iter().copied().map(u64::from).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum.try_into().unwrap()
}

fn extreme_word() -> impl Strategy<Value = u16> {
    prop_oneof![any::<u16>(), Just(0), Just(0xffff), Just(1), Just(0xfffe), Just(0xbaff)]
}

fn tag_byte() -> impl Strategy<Value = u8> {
    prop::sample::select(&[0x81, 0x00, 0x88, 0xa8, 0x08, 0x06][..])
}

/// An option as it should be, or nearly.
fn option_bytes() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(&[2_u8, 3, 4, 5, 8, 7, 68, 131, 148, 30][..]);
    prop_oneof![
        2 => Just(vec![1]),
        1 => Just(vec![0]),
        1 => (known.clone(), any::<u8>()).prop_map(|(kind, len)| vec![kind, len]),
        1 => known.clone().prop_map(|kind| vec![kind, 0]),
        8 => (known, prop::sample::select(&[0_usize, 1, 2, 8, 16, 24, 32][..]), any::<u8>()).prop_map(|(kind, len, byte)| {
            let mut option = vec![byte; len + 2];
            option[..2].copy_from_slice(&[kind, u8::try_from(len + 2).unwrap()]);
            option
        }),
    ]
}

/// A TCP segment with these options, as far as they have room.
fn segment_with(options: &[u8]) -> Vec<u8> {
    let mut options = options[..options.len().min(40)].to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let mut bytes = vec![7; 20];
    bytes[12] = u8::try_from((20 + options.len()) / 4 * 16).unwrap();
    bytes.extend(options);
    bytes
}

/// A packet of something in IPv4, in Ethernet or not, with a few bytes changed and an end cut off.
fn likely_packet() -> impl Strategy<Value = Vec<u8>> {
    let inside = prop_oneof![
        (tcp_header(), vec(any::<u8>(), 0..20)).prop_map(|(header, payload)| {
            (IpProtocol::TCP, [&header.to_bytes(Fill::Complete(Sum::ZERO))[..], &payload].concat())
        }),
        vec(option_bytes(), 0..12).prop_map(|options| (IpProtocol::TCP, segment_with(&options.concat()))),
        vec(any::<u8>(), 0..20).prop_map(|payload| {
            let header = UdpHeader { src_port: 1, dst_port: 2 }.to_bytes(payload.len(), Fill::Complete(Sum::ZERO));
            (IpProtocol::UDP, [&header.unwrap()[..], &payload].concat())
        }),
        (0..20_u8, 0..6_u8, ipv4_header(), any::<[u8; 12]>()).prop_map(|(kind, code, quoted, rest)| {
            let (front, behind) = rest.split_at(4);
            let quoted = quoted.to_bytes(100).unwrap();
            (IpProtocol::ICMP, [&[kind, code, 0, 0], front, &quoted, behind].concat())
        }),
    ];
    let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cut = prop_oneof![3 => Just(0), 1 => 1..40_usize];
    (inside, ipv4_header(), ethernet_header(), any::<bool>(), damage, cut).prop_map(
        |((protocol, inside), ip, frame, is_framed, damage, cut)| {
            let ip = Ipv4Header { protocol, ..ip }.to_bytes(inside.len()).unwrap();
            let frame = EthernetHeader { ethertype: EtherType::IPV4, ..frame }.to_bytes();
            let front = if is_framed { &frame[..] } else { &[] };
            let mut bytes = [front, &ip, &inside].concat();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            bytes
        },
    )
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn ipv4_addr() -> impl Strategy<Value = Ipv4Addr> {
    any::<[u8; 4]>().prop_map(Ipv4Addr::from)
}

fn addresses() -> impl Strategy<Value = AddressPair> {
    let v6 = any::<[[u8; 16]; 2]>().prop_map(|[src, dst]| [Ipv6Addr::from(src), Ipv6Addr::from(dst)]);
    prop_oneof![
        [ipv4_addr(), ipv4_addr()].prop_map(|[src, dst]| AddressPair::V4 { src, dst }),
        v6.prop_map(|[src, dst]| AddressPair::V6 { src, dst }),
    ]
}

fn flow() -> impl Strategy<Value = FourTuple> {
    (addresses(), any::<u16>(), any::<u16>()).prop_map(|(addresses, src_port, dst_port)| FourTuple {
        addresses,
        src_port,
        dst_port,
    })
}

fn arp() -> impl Strategy<Value = Arp> {
    let operation = prop::sample::select(&[ArpOperation::Request, ArpOperation::Reply][..]);
    (operation, mac(), ipv4_addr(), mac(), ipv4_addr()).prop_map(|(operation, sha, spa, tha, tpa)| Arp {
        operation,
        sha,
        spa,
        tha,
        tpa,
    })
}

fn ethernet_header() -> impl Strategy<Value = EthernetHeader> {
    let tag = || any::<u16>().prop_map(VlanTag);
    let vlan = prop_oneof![
        Just(Vlan::Untagged),
        tag().prop_map(Vlan::Tagged),
        [tag(), tag()].prop_map(|[outer, inner]| Vlan::DoubleTagged { outer, inner }),
    ];
    let ethertype = any::<u16>().prop_filter_map("a type", EtherType::new);
    (mac(), mac(), vlan, ethertype).prop_map(|(dst, src, vlan, ethertype)| EthernetHeader { dst, src, vlan, ethertype })
}

fn ipv4_header() -> impl Strategy<Value = Ipv4Header> {
    let fragment = (0..0x2000_u16, any::<bool>()).prop_map(|(offset, more)| Fragment::new(offset * 8, more).unwrap());
    let options = prop_oneof![
        3 => Just(Ipv4Options::NONE),
        1 => Just(Ipv4Options::ROUTER_ALERT),
        1 => vec(any::<u8>(), 0..=40).prop_map(|options| Ipv4Options::new(&options).unwrap()),
        1 => vec(option_bytes(), 0..4).prop_filter_map("short", |options| Ipv4Options::new(&options.concat()).ok()),
    ];
    (any::<[u8; 3]>(), any::<u16>(), any::<bool>(), fragment, ipv4_addr(), ipv4_addr(), options).prop_map(
        |([class, ttl, protocol], identification, dont_fragment, fragment, src, dst, options)| Ipv4Header {
            traffic_class: TrafficClass(class),
            identification,
            dont_fragment,
            fragment,
            ttl,
            protocol: IpProtocol(protocol),
            src,
            dst,
            options,
        },
    )
}

fn ipv6_header() -> impl Strategy<Value = Ipv6Header> {
    (any::<[u8; 3]>(), any::<u32>(), any::<[[u8; 16]; 2]>()).prop_map(
        |([class, next, hop_limit], label, [src, dst])| Ipv6Header {
            traffic_class: TrafficClass(class),
            flow_label: FlowLabel::new(label),
            next_header: IpProtocol(next),
            hop_limit,
            src: src.into(),
            dst: dst.into(),
        },
    )
}

fn tcp_header() -> impl Strategy<Value = TcpHeader> {
    (uniform4(any::<u16>()), any::<u32>(), any::<u32>(), any::<u16>(), tcp_options()).prop_map(
        |([src_port, dst_port, window, urgent_pointer], seq, ack, flags, options)| TcpHeader {
            src_port,
            dst_port,
            seq: Seq::new(seq),
            ack: Seq::new(ack),
            flags: TcpFlags::from_bits(flags),
            window,
            urgent_pointer,
            options,
        },
    )
}

/// Options with as many SACK blocks as have room.
fn tcp_options() -> impl Strategy<Value = TcpOptions> {
    let mss = option::of(any::<u16>()).prop_map(|mss| mss.and_then(NonZeroU16::new));
    let window_scale = option::of(any::<u8>().prop_map(WindowScale::new));
    let timestamps = option::of(any::<[u32; 2]>().prop_map(|[tsval, tsecr]| TcpTimestamps { tsval, tsecr }));
    let cookie = vec(any::<u8>(), 0..=16).prop_map(|cookie| FastOpenOption::new(&cookie));
    let fast_open = (cookie, any::<bool>()).prop_map(|(option, is_old)| option.map(|it| it.experimental(is_old)));
    (mss, window_scale, any::<bool>(), timestamps, vec(sack_block(), 0..=SackBlocks::MAX), fast_open).prop_map(
        |(mss, window_scale, is_sack_permitted, timestamps, blocks, fast_open)| {
            let sack = SackBlocks::NONE;
            let mut options = TcpOptions { mss, window_scale, is_sack_permitted, timestamps, sack, fast_open };
            let room = (40 - options.len()).saturating_sub(4) / 8;
            options.sack = blocks.into_iter().take(room).collect();
            options
        },
    )
}

fn sack_block() -> impl Strategy<Value = SackBlock> {
    any::<[u32; 2]>().prop_map(|[left, right]| SackBlock { left: Seq::new(left), right: Seq::new(right) })
}

/// A message with options in all three places where they may be.
fn dhcpv4_message() -> impl Strategy<Value = Vec<u8>> {
    let options = |max| vec(dhcpv4_option(), 0..max).prop_map(|options| options.concat());
    (any::<[u8; 44]>(), options(8), options(12), options(20), any::<bool>()).prop_map(
        |(front, mut sname, mut file, options, is_reply)| {
            sname.resize(64, 0);
            file.resize(128, 0);
            let mut bytes = [&front[..], &sname, &file, &[99, 130, 83, 99], &options].concat();
            bytes[..3].copy_from_slice(&[1 + u8::from(is_reply), 1, 6]);
            bytes
        },
    )
}

fn dhcpv4_option() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![Just(52_u8), Just(53), Just(121), Just(3), Just(0), Just(255), any::<u8>()];
    (code, vec(0_u8..40, 0..12), 0_u8..20).prop_map(|(code, data, off)| {
        // Now and then a length that is not so.
        let len = u8::try_from(data.len()).unwrap() + off.saturating_sub(18);
        [&[code, len], &data[..]].concat()
    })
}

/// Some with others in them, some with lengths that are not so.
fn dhcpv6_option() -> impl Strategy<Value = Vec<u8>> {
    let plain = (0_u8..30, vec(any::<u8>(), 0..30), 0_u8..30).prop_map(|(code, data, off)| {
        let len = u8::try_from(data.len()).unwrap() + off.saturating_sub(28);
        [&[0, code, 0, len], &data[..]].concat()
    });
    let nested = (vec(plain.clone(), 0..3), vec(0_u8..4, 12..13)).prop_map(|(inner, times)| {
        let data = [times, inner.concat()].concat();
        [&[0, 3, 0, u8::try_from(data.len()).unwrap()], &data[..]].concat()
    });
    prop_oneof![plain, nested]
}
