use std::time::Duration;

use sunstar_packet::{Buffer, Checksum};

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
    assert!(there.capabilities().tx.checksum && !there.capabilities().tx.has_segmentation());
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
