use std::time::Duration;

use sunstar_packet::{Buffer, Checksum, Segmentation, SegmentationKind};
use sunstar_wire::checksum::{Fill, Sum};
use sunstar_wire::{EtherType, EthernetHeader, IpProtocol, Ipv4Header, MacAddr, TcpHeader, Vlan};

use super::*;
use crate::capabilities::Offloads;
use crate::link::{LinkOptions, LinkQueue, link};

fn at(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

fn numbered(number: u32) -> Packet {
    Packet::from(Buffer::copy_from_slice(&[&number.to_be_bytes()[..], &[0; 60]].concat()))
}

fn number(packet: &Packet) -> u32 {
    u32::from_be_bytes(packet.buffers()[0][..4].try_into().unwrap())
}

fn disturbed(faults: &str) -> (LinkQueue, Fault<LinkQueue>) {
    let (here, there) = link(LinkOptions { ring_packets: 1 << 20, ..LinkOptions::default() });
    (here, Fault::new(there, faults.parse().unwrap(), 0))
}

/// Sends so many packets, one each microsecond, and answers the numbers of those that come, in their order.
fn run(faults: &str, count: u32) -> (Vec<u32>, FaultCounters) {
    let (mut here, mut there) = disturbed(faults);
    let mut out = VecDeque::new();
    for sent in 0..count {
        here.tx_burst(at(sent.into()), &mut [numbered(sent)].into()).unwrap();
        there.rx_burst(at(sent.into()), &mut out, 64).unwrap();
    }
    while let Some(deadline) = there.deadline() {
        there.rx_burst(deadline.max(at(count.into())), &mut out, 64).unwrap();
    }
    (out.iter().map(number).collect(), there.rx_faults())
}

#[test]
fn without_faults_nothing_happens() {
    let (numbers, counters) = run("seed=1", 1000);
    assert_eq!(numbers, Vec::from_iter(0..1000));
    assert_eq!(counters, FaultCounters { packets: 1000, ..FaultCounters::default() });
}

#[test]
fn a_seed_means_the_same_for_ever() {
    let faults = "drop=0.01,duplicate=0.02,reorder=0.03,corrupt=0.04,reorder-by=20us";
    let (numbers, counters) = run(&format!("{faults},seed=7"), 100_000);
    let expected = FaultCounters {
        packets: 100_000,
        dropped: 983,
        duplicated: 2002,
        reordered: 2977,
        corrupted: 4060,
        overflowed: 0,
    };
    assert_eq!(counters, expected);
    assert_eq!(numbers.len() as u64, 100_000 - counters.dropped + counters.duplicated);
    assert_eq!(run(&format!("{faults},seed=7"), 100_000), (numbers, counters));
    assert_ne!(run(&format!("{faults},seed=8"), 100_000).1, counters);
}

#[test]
fn one_fault_more_leaves_the_others_alone() {
    let (few, _) = run("drop=0.1,seed=3", 1000);
    let (mut more, counters) = run("drop=0.1,seed=3,duplicate=0.2", 1000);
    assert!(counters.duplicated > 0);
    more.dedup();
    assert_eq!(few, more);
}

#[test]
fn always_is_always_and_never_is_never() {
    assert_eq!(run("drop=1", 100).1.dropped, 100);
    let (numbers, _) = run("duplicate=1", 3);
    assert_eq!(numbers, [0, 0, 1, 1, 2, 2]);
    assert_eq!(run("drop=0,duplicate=0,corrupt=0,reorder=0.0", 100).0.len(), 100);
}

#[test]
fn reordered_packets_come_late_and_the_others_in_order() {
    let (numbers, counters) = run("reorder=0.1,reorder-by=5us,seed=2", 1000);
    assert_eq!(numbers.len(), 1000);
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, Vec::from_iter(0..1000));
    let late = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
    assert!(late > counters.reordered / 2 && late <= counters.reordered, "{late} of {}", counters.reordered);
}

#[test]
fn delay_and_rate_say_when_a_packet_arrives() {
    let (mut here, mut there) = disturbed("delay=100us,rate=512kbit");
    let mut out = VecDeque::new();
    // 64 bytes take a millisecond.
    here.tx_burst(at(0), &mut [numbered(0), numbered(1)].into()).unwrap();
    assert_eq!(there.rx_burst(at(0), &mut out, 64).unwrap(), 0);
    assert_eq!(there.deadline(), Some(at(1100)));
    assert_eq!(there.rx_burst(at(1099), &mut out, 64).unwrap(), 0);
    assert_eq!(there.rx_burst(at(1100), &mut out, 64).unwrap(), 1);
    assert_eq!(there.deadline(), Some(at(2100)));
    assert_eq!(there.rx_burst(at(9999), &mut out, 64).unwrap(), 1);
    assert_eq!(there.deadline(), None);
}

#[test]
fn jitter_does_not_reorder() {
    let (numbers, _) = run("delay=10us,jitter=50us,seed=1", 1000);
    assert_eq!(numbers, Vec::from_iter(0..1000));
}

#[test]
fn too_many_under_way_are_lost() {
    let (numbers, counters) = run("delay=1s,limit=10", 100);
    assert_eq!(numbers, Vec::from_iter(0..10));
    assert_eq!(counters.overflowed, 90);
}

#[test]
fn what_is_sent_is_disturbed_too_and_only_if_wanted() {
    let (mut here, mut there) = disturbed("drop=1,direction=tx");
    assert_eq!(there.tx_burst(at(0), &mut [numbered(1)].into()).unwrap(), 1);
    assert_eq!(here.rx_burst(at(0), &mut VecDeque::new(), 1).unwrap(), 0);
    assert_eq!((there.tx_faults().dropped, there.rx_faults().packets), (1, 0));
    here.tx_burst(at(0), &mut [numbered(2)].into()).unwrap();
    assert_eq!(there.rx_burst(at(0), &mut VecDeque::new(), 1).unwrap(), 1);

    let (mut here, mut there) = disturbed("drop=1,direction=rx");
    there.tx_burst(at(0), &mut [numbered(1)].into()).unwrap();
    assert_eq!(here.rx_burst(at(0), &mut VecDeque::new(), 1).unwrap(), 1);
}

#[test]
fn delayed_packets_are_sent_without_new_ones() {
    let (mut here, mut there) = disturbed("delay=5us");
    let mut out = VecDeque::new();
    assert_eq!(there.tx_burst(at(0), &mut [numbered(1)].into()).unwrap(), 1);
    assert_eq!(here.rx_burst(at(0), &mut out, 1).unwrap(), 0);
    assert_eq!(there.deadline(), Some(at(5)));
    there.tx_burst(at(5), &mut VecDeque::new()).unwrap();
    assert_eq!(here.rx_burst(at(5), &mut out, 1).unwrap(), 1);
    assert_eq!(there.deadline(), None);
}

#[test]
fn a_full_device_holds_back_what_is_due() {
    let (mut here, there) = link(LinkOptions { ring_packets: 1, ..LinkOptions::default() });
    let mut there = Fault::new(there, FaultOptions::default(), 0);
    let mut packets = VecDeque::from([numbered(0), numbered(1)]);
    assert_eq!(there.tx_burst(at(0), &mut packets).unwrap(), 2);
    packets.push_back(numbered(2));
    assert_eq!(there.tx_burst(at(0), &mut packets).unwrap(), 0);
    assert!(there.counters().tx_full > 0);
    let mut out = VecDeque::new();
    for _ in 0..3 {
        here.rx_burst(at(0), &mut out, 8).unwrap();
        there.tx_burst(at(0), &mut packets).unwrap();
    }
    here.rx_burst(at(0), &mut out, 8).unwrap();
    assert_eq!(out.iter().map(number).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn damage_is_one_bit_and_shows_in_the_checksum() {
    let (mut here, there) = link(LinkOptions { offloads: Offloads::ALL, ..LinkOptions::default() });
    let mut there = Fault::new(there, "corrupt=1,seed=5".parse().unwrap(), 0);
    assert_eq!(there.capabilities().tx, Offloads::ALL);
    let sent = Buffer::copy_from_slice(&[0; 64]);
    let mut packet = Packet::from(sent.clone());
    packet.offload.checksum = Checksum::Partial { csum_start: 0, csum_offset: 16 };
    here.tx_burst(at(0), &mut [packet].into()).unwrap();
    let mut out = VecDeque::new();
    there.rx_burst(at(0), &mut out, 1).unwrap();
    assert_eq!(out[0].offload.checksum, Checksum::Complete);
    // Of zeros the checksum is all ones.
    let mut expected = [0; 64];
    expected[16..18].fill(0xff);
    let wrong: u32 = out[0].buffers().concat().iter().zip(expected).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!(wrong, 1);
    assert_eq!(sent, [0; 64], "the sender's memory is as it was");
    assert_eq!(there.copies().bytes(), 128, "once for the checksum, once for the bit");
}

/// A large packet of TCP: so many bytes of payload, of which 10 go into each packet of the wire.
fn large(payload_bytes: usize) -> Packet {
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let mac = MacAddr([2; 6]);
    let ethernet = EthernetHeader { dst: mac, src: mac, vlan: Vlan::Untagged, ethertype: EtherType::IPV4 };
    let tcp = TcpHeader::new(1, 2).to_bytes(Fill::Partial(Sum::ZERO));
    let ip = Ipv4Header::new(IpProtocol::TCP, src, dst).to_bytes(20 + payload_bytes).unwrap();
    let mut packet = Packet::from(Buffer::copy_from_slice(&[&ethernet.to_bytes()[..], &ip, &tcp].concat()));
    packet.push_back(Buffer::copy_from_slice(&vec![7; payload_bytes])).unwrap();
    packet.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    let kind = SegmentationKind::Tcpv4;
    packet.offload.segmentation = Some(Segmentation { kind, has_ecn: false, gso_size: 10, hdr_len: 54 });
    packet
}

/// Which bytes of a stream a packet carries.
fn carried(packet: &Packet) -> std::ops::Range<u32> {
    let mut seq = [0; 4];
    packet.copy_to_slice(38, &mut seq).unwrap();
    let begin = u32::from_be_bytes(seq);
    begin..begin + u32::try_from(packet.len() - 54).unwrap()
}

/// Disturbs a link whose ends cut nothing.
fn with_large_packets(faults: &str) -> (LinkQueue, Fault<LinkQueue>) {
    let options = LinkOptions { offloads: Offloads::ALL, ring_packets: 1 << 20, ..LinkOptions::default() };
    let (here, there) = link(options);
    (here, Fault::new(there, faults.parse().unwrap(), 0))
}

#[test]
fn large_packets_that_nothing_happens_to_stay_whole() {
    for faults in ["seed=1", "delay=5us", "drop=0.000000000001", "limit=15"] {
        let (mut here, mut there) = with_large_packets(faults);
        let mut out = VecDeque::new();
        there.tx_burst(at(0), &mut [large(95), large(95)].into()).unwrap();
        there.tx_burst(at(5), &mut VecDeque::new()).unwrap();
        here.rx_burst(at(5), &mut out, 64).unwrap();
        assert_eq!((out.len(), carried(&out[0])), (2, 0..95), "{faults}");
        assert!(out.iter().all(|packet| packet.offload.segmentation.is_some()), "{faults}");
        assert_eq!(there.tx_faults().packets, 20, "of the wire");
    }
}

#[test]
fn what_happens_to_a_piece_happens_to_no_other() {
    // What would come of the same packets if they were sent one by one.
    let (one_by_one, expected) = run("drop=0.05,seed=4", 1000);
    let (mut here, mut there) = with_large_packets("drop=0.05,seed=4,direction=rx");
    let mut out = VecDeque::new();
    for _ in 0..100 {
        here.tx_burst(at(0), &mut [large(100)].into()).unwrap();
    }
    while there.rx_burst(at(0), &mut out, 64).unwrap() > 0 {}
    let whole = out.iter().filter(|packet| packet.offload.segmentation.is_some()).count();
    assert!((40..80).contains(&whole), "{whole} of 100: 0.95 to the power of ten each");
    let mut numbers = Vec::new();
    let mut large = 0;
    for packet in &out {
        // A hundred bytes each, from the same number on.
        let bytes = carried(packet);
        let numbers_before = numbers.last().map_or(0, |last: &u32| last % 10);
        large += u32::from(!numbers.is_empty() && bytes.start / 10 <= numbers_before);
        numbers.extend((bytes.start / 10..bytes.end / 10).map(|piece| large * 10 + piece));
    }
    assert_eq!(numbers, one_by_one);
    assert_eq!(there.rx_faults(), expected);
}

#[test]
fn pieces_take_their_time_on_the_line() {
    // A packet of 64 bytes takes a millisecond.
    let (mut here, mut there) = with_large_packets("rate=512kbit");
    let mut out = VecDeque::new();
    there.tx_burst(at(0), &mut [large(30)].into()).unwrap();
    for millis in 0..5 {
        there.tx_burst(at(millis * 1000), &mut VecDeque::new()).unwrap();
        here.rx_burst(at(millis * 1000), &mut out, 64).unwrap();
        assert_eq!(out.len() as u64, millis.min(3));
    }
    assert_eq!(out.iter().map(carried).collect::<Vec<_>>(), [0..10, 10..20, 20..30]);
}

#[test]
fn pieces_are_counted_where_packets_are_bounded() {
    let (_here, mut there) = with_large_packets("delay=1s,limit=15");
    there.tx_burst(at(0), &mut [large(100), large(100)].into()).unwrap();
    assert_eq!((there.tx_faults().packets, there.tx_faults().overflowed), (20, 5));
    // Without a delay there is nothing to bound.
    let (mut here, mut there) = with_large_packets("duplicate=1,limit=15");
    there.tx_burst(at(0), &mut [large(100), large(100)].into()).unwrap();
    assert_eq!((there.tx_faults().duplicated, there.tx_faults().overflowed), (20, 0));
    assert_eq!(here.rx_burst(at(0), &mut VecDeque::new(), 64).unwrap(), 40);
}

#[test]
fn a_burst_is_no_larger_by_pieces() {
    let (mut here, mut there) = with_large_packets("duplicate=1");
    here.tx_burst(at(0), &mut [large(100), large(100)].into()).unwrap();
    let mut out = VecDeque::new();
    for expected in [16, 16, 8] {
        assert_eq!(there.rx_burst(at(1), &mut out, 16).unwrap(), expected);
        // Who sleeps now is woken at once, as long as there are more.
        assert_eq!(there.deadline().is_some(), expected == 16);
    }
}

#[test]
fn what_is_under_way_arrives_before_the_end() {
    let (mut here, mut there) = disturbed("delay=5us");
    here.tx_burst(at(0), &mut [numbered(1)].into()).unwrap();
    there.rx_burst(at(0), &mut VecDeque::new(), 1).unwrap();
    drop(here);
    assert_eq!(there.rx_burst(at(1), &mut VecDeque::new(), 1).unwrap(), 0);
    assert_eq!(there.rx_burst(at(5), &mut VecDeque::new(), 1).unwrap(), 1);
    assert!(matches!(there.rx_burst(at(6), &mut VecDeque::new(), 1), Err(QueueError::Gone)));
}

#[test]
fn options_are_read() {
    let options: FaultOptions =
        "drop=0.5,delay=10ms,jitter=7us,reorder-by=3s,rate=2Gbit,limit=5,seed=9,direction=tx".parse().unwrap();
    let expected = FaultOptions {
        seed: 9,
        drop: Probability::new(0.5).unwrap(),
        delay: Duration::from_millis(10),
        jitter: Duration::from_micros(7),
        reorder_by: Duration::from_secs(3),
        rate_bits: std::num::NonZero::new(2_000_000_000),
        limit_packets: 5,
        rx: false,
        ..FaultOptions::default()
    };
    assert_eq!(options, expected);
}

#[test]
fn wrong_options_say_what_is_wrong() {
    let cases = [
        ("drop", "\"drop\" is no fault: faults are written as option=value"),
        ("", "\"\" is no fault: faults are written as option=value"),
        ("drop=1.5", "drop=1.5: expected a probability from 0 to 1"),
        ("drop=-0.1", "drop=-0.1: expected a probability from 0 to 1"),
        ("corrupt=NaN", "corrupt=NaN: expected a probability from 0 to 1"),
        ("delay=10", "delay=10: expected a duration such as 10ms (units: ns, us, ms, s)"),
        ("jitter=ms", "jitter=ms: expected a duration such as 10ms (units: ns, us, ms, s)"),
        ("rate=0bit", "rate=0bit: expected a rate above 0 such as 100Mbit (units: bit, kbit, Mbit, Gbit)"),
        (
            "rate=99999999999Gbit",
            "rate=99999999999Gbit: expected a rate above 0 such as 100Mbit (units: bit, kbit, Mbit, Gbit)",
        ),
        ("limit=x", "limit=x: expected a number of packets"),
        ("seed=-1", "seed=-1: expected a number of 64 bits"),
        ("direction=up", "direction=up: expected rx, tx or both"),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<FaultOptions>().unwrap_err().to_string(), expected);
    }
    let unknown = "drop=0.1,loss=0.1".parse::<FaultOptions>().unwrap_err().to_string();
    assert!(unknown.starts_with("there is no fault \"loss\"; there are drop, duplicate, reorder"), "{unknown}");
}
