//! The protocol of collectd, and the task that speaks it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, spawn};
use sunstar_net::UdpSocket;
use sunstar_sim::{Sim, resolve};

use crate::collectd::{DEFAULT_PORT, Options, PACKET_BYTES, Sender, encode};
use crate::{Buckets, Distribution, Family, Gathered, Labels, Number, Registry, Sample, Samples, Value, gather};

const THINGS: Family = Family::counter("sunstar_things_total", "Things.");
const LEVEL: Family = Family::gauge("test_level", "A level.");
const TIMES: Family = Family::histogram("sunstar_seconds", "Times.", Buckets::LATENCY);

/// A value list as collectd reads it.
#[derive(Clone, PartialEq, Debug)]
struct List {
    host: String,
    time: u64,
    interval: u64,
    plugin: String,
    instance: String,
    kind: String,
    type_instance: String,
    value: f64,
}

/// Reads a packet.
fn decode(packet: &[u8]) -> Vec<List> {
    let (mut texts, mut numbers): ([String; 6], [u64; 2]) = Default::default();
    let mut lists = Vec::new();
    let mut rest = packet;
    while !rest.is_empty() {
        let [kind, length] = [0, 2].map(|at| usize::from(u16::from_be_bytes(rest[at..at + 2].try_into().unwrap())));
        let content = &rest[4..length];
        rest = &rest[length..];
        match kind {
            0 | 2..=5 => {
                let (end, text) = content.split_last().unwrap();
                assert!(*end == 0 && !text.contains(&0) && text.len() < 128);
                texts[kind] = String::from_utf8(text.to_vec()).unwrap();
            }
            8 | 9 => numbers[kind - 8] = u64::from_be_bytes(content.try_into().unwrap()),
            6 => {
                assert_eq!(content[..2], [0, 1]);
                let bytes: [u8; 8] = content[3..].try_into().unwrap();
                let (name, value) = match content[2] {
                    1 => ("gauge", f64::from_le_bytes(bytes)),
                    2 => ("derive", i64::from_be_bytes(bytes) as f64),
                    other => panic!("{other} is no type"),
                };
                assert_eq!(texts[4], name);
                let [host, _, plugin, instance, kind, type_instance] = texts.clone();
                lists.push(List {
                    host,
                    time: numbers[0],
                    interval: numbers[1],
                    plugin,
                    instance,
                    kind,
                    type_instance,
                    value,
                });
            }
            other => panic!("{other} is no part"),
        }
    }
    lists
}

fn sample(labels: &[(&'static str, &str)], shard: Option<u16>, value: impl Into<Number>) -> Sample {
    let labels = Labels::new(labels).unwrap();
    Sample { labels, shard: shard.map(ShardId::new), value: Value::Number(value.into()) }
}

fn gathered(families: impl IntoIterator<Item = (Family, Vec<Sample>)>) -> Gathered {
    let families = families.into_iter().map(|(family, samples)| Samples { family, samples }).collect();
    Gathered { families, missing: Vec::new() }
}

#[test]
fn a_packet_is_what_the_protocol_says() {
    let things = vec![sample(&[], Some(1), 258_u64)];
    let encoded = encode("h", Duration::from_secs(2), Duration::from_millis(500), &gathered([(THINGS, things)]));
    let mut expected = Vec::new();
    for part in [
        &b"\x00\x00\x00\x06h\0"[..],
        b"\x00\x08\x00\x0c\x00\x00\x00\x00\x80\x00\x00\x00",
        b"\x00\x09\x00\x0c\x00\x00\x00\x00\x20\x00\x00\x00",
        b"\x00\x02\x00\x0csunstar\0",
        b"\x00\x03\x00\x061\0",
        b"\x00\x04\x00\x0bderive\0",
        b"\x00\x05\x00\x11things_total\0",
        b"\x00\x06\x00\x0f\x00\x01\x02\x00\x00\x00\x00\x00\x00\x01\x02",
    ] {
        expected.extend_from_slice(part);
    }
    assert_eq!((encoded.packets, encoded.left_out), (vec![expected], 0));
}

#[test]
fn names_that_are_the_same_for_collectd_are_left_out() {
    let things = vec![
        sample(&[("a", "x-y"), ("b", "z")], Some(0), 1_u64),
        sample(&[("a", "x"), ("b", "y-z")], Some(0), 2_u64),
        sample(&[("a", "x"), ("b", "y-z")], Some(1), 3_u64),
    ];
    let encoded = encode("h", Duration::ZERO, Duration::from_secs(1), &gathered([(THINGS, things)]));
    let values: Vec<_> = decode(&encoded.packets[0]).iter().map(|list| list.value).collect();
    assert_eq!((values, encoded.left_out), (vec![1.0, 3.0], 1));
}

#[test]
fn samples_become_value_lists() {
    let values = Distribution::new(Buckets::LATENCY);
    values.record_many(500_000_000, 3);
    let times = Sample { labels: Labels::default(), shard: None, value: Value::Distribution(values.value()) };
    let encoded = encode(
        "host",
        Duration::from_nanos(1_500_000_000),
        Duration::from_secs(10),
        &gathered([
            (LEVEL, vec![sample(&[("path", "/a\0b")], Some(0), f64::INFINITY), sample(&[], Some(12), 3_u64)]),
            (THINGS, vec![sample(&[("b", "2"), ("a", "1")], Some(12), 1.5)]),
            (TIMES, vec![times]),
        ]),
    );
    assert_eq!(encoded.packets.len(), 1);
    let lists = decode(&encoded.packets[0]);
    assert!(lists.iter().all(|list| {
        (list.host.as_str(), list.plugin.as_str(), list.time, list.interval) == ("host", "sunstar", 3 << 29, 10 << 30)
    }));
    let short: Vec<_> =
        lists.iter().map(|list| (&*list.instance, &*list.kind, &*list.type_instance, list.value)).collect();
    let expected = [
        ("0", "gauge", "test_level-_a_b", f64::INFINITY),
        ("12", "gauge", "test_level", 3.0),
        ("12", "gauge", "things_total-1-2", 1.5),
        ("all", "derive", "seconds_count", 3.0),
        ("all", "gauge", "seconds_sum", 1.5),
    ];
    assert_eq!(short, expected);
}

#[test]
fn names_that_are_too_long_are_left_out_or_cut() {
    let long = "\u{e4}".repeat(100);
    let things = vec![sample(&[("a", &long)], Some(0), 1_u64), sample(&[], Some(0), 1_u64)];
    let encoded = encode(&long, Duration::ZERO, Duration::ZERO, &gathered([(THINGS, things)]));
    assert_eq!(encoded.left_out, 1);
    let lists = decode(&encoded.packets[0]);
    assert_eq!((lists.len(), &lists[0].host), (1, &"\u{e4}".repeat(63)));
}

#[test]
fn nothing_is_no_packet() {
    assert_eq!(encode("h", Duration::ZERO, Duration::ZERO, &Gathered::default()).packets, Vec::<Vec<u8>>::new());
}

proptest! {
    #[test]
    fn property_packets_are_short_and_complete(values in prop::collection::btree_map(("[a-z]{1,60}", 0_u16..3), any::<u32>(), 0..300)) {
        let samples: Vec<_> = values.iter().map(|((label, shard), value)| sample(&[("a", label)], Some(*shard), *value)).collect();
        let encoded = encode("host", Duration::ZERO, Duration::ZERO, &gathered([(THINGS, samples)]));
        prop_assert!(encoded.packets.iter().all(|packet| packet.len() <= PACKET_BYTES));
        let lists: Vec<_> = encoded.packets.iter().flat_map(|packet| decode(packet)).collect();
        prop_assert_eq!(lists.len(), values.len());
        for (list, ((label, shard), value)) in lists.iter().zip(&values) {
            prop_assert_eq!(&list.type_instance, &format!("things_total-{label}"));
            prop_assert_eq!((&list.instance, list.value), (&shard.to_string(), f64::from(*value)));
        }
    }
}

/// Sends to a host, `collectd` or none.
fn options(to: &str, period: Duration) -> Options {
    let address = SocketAddr::from((resolve(to).unwrap(), DEFAULT_PORT));
    Options { address, period, host: "sender".to_owned() }
}

#[test]
fn a_sender_reports_every_period() {
    let mut sim = Sim::new(1);
    sim.host("collectd", 1, || async {
        let mut socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into()).unwrap();
        let mut values = Vec::new();
        while values.len() < 3 {
            let (packet, _) = socket.recv_from().await.unwrap();
            values.extend(decode(&packet).into_iter().filter(|list| list.type_instance == "things_total"));
        }
        assert_eq!(values.iter().map(|list| list.value).collect::<Vec<_>>(), [7.0; 3]);
        for pair in values.windows(2) {
            let period = (pair[1].time - pair[0].time) as f64 / f64::from(1 << 30);
            assert!((0.99..1.01).contains(&period), "{period}");
        }
    });
    sim.host("sender", 2, || async {
        let things = Registry::here().counter(THINGS, &[]).unwrap();
        things.add(7);
        let sender = Sender::new(options("collectd", Duration::from_secs(1))).unwrap();
        assert!(Sender::new(options("collectd", Duration::from_secs(1))).is_err(), "one is enough");
        let _ = with_timeout(Duration::from_millis(3500), sender.run()).await;
    });
    sim.run().unwrap();
}

#[test]
fn a_sender_goes_on_when_nobody_listens() {
    let mut sim = Sim::new(1);
    sim.host("collectd", 1, || async { sleep(Duration::from_secs(10)).await });
    sim.host("sender", 1, || async {
        let sender = Sender::new(options("collectd", Duration::from_secs(1))).unwrap();
        let running = spawn(sender.run());
        sleep(Duration::from_millis(5500)).await;
        let failures = "sunstar_collectd_failures_total";
        let gathered = gather().await;
        let family = gathered.families.iter().find(|family| family.family.name() == failures).unwrap();
        assert!(!running.is_finished());
        let Value::Number(count) = family.samples[0].value else { panic!("a counter is a number") };
        assert!(count.as_f64() >= 1.0, "{count}");
        running.abort();
    });
    sim.run().unwrap();
}
