//! What needs no network.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use simple_dns::rdata::{A, AAAA, CNAME, OPT, PTR, RData, SOA, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use sunstar_executor::Instant;

use super::cache::Cache;
use super::hosts::{candidates, is_name, known, reverse_name};
use super::message::{Data, RecordKind, Reply, answer, question};
use super::naive;
use super::{Hosts, NameError, ResolvConf, Service, order};

const ID: u16 = 7;

fn packet(name: &'static str) -> Packet<'static> {
    let mut packet = Packet::new_reply(ID);
    let name = Name::new(name).unwrap();
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    packet
}

fn record(name: &'static str, ttl: u32, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, ttl, data)
}

fn a(last: u8) -> RData<'static> {
    RData::A(A { address: Ipv4Addr::new(192, 0, 2, last).to_bits() })
}

fn alias(to: &'static str) -> RData<'static> {
    RData::CNAME(CNAME(Name::new(to).unwrap()))
}

fn read(packet: &Packet<'_>) -> Option<Reply> {
    answer(&packet.build_bytes_vec().unwrap(), ID, "a.test", RecordKind::A)
}

fn ip(last: u8) -> Data {
    Data::Ip(Ipv4Addr::new(192, 0, 2, last).into())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn answers_are_to_what_was_asked() {
    let mut packet = packet("A.Test");
    packet.answers.push(record("a.test", 60, a(1)));
    assert_eq!(read(&packet), Some(Reply::Found(vec![ip(1)], seconds(60))));
    let bytes = packet.build_bytes_vec().unwrap();
    assert_eq!(answer(&bytes, ID + 1, "a.test", RecordKind::A), None, "another number");
    assert_eq!(answer(&bytes, ID, "b.test", RecordKind::A), None, "another name");
    assert_eq!(answer(&bytes, ID, "a.test", RecordKind::Aaaa), None, "another kind");
    let own = question(ID, "a.test", RecordKind::A, true).unwrap();
    assert_eq!(answer(&own, ID, "a.test", RecordKind::A), None, "it is a question");
    packet.questions.clear();
    assert_eq!(read(&packet), None, "nobody knows to what");
}

/// RFC 1034 §3.6.2.
#[test]
fn aliases_are_followed_within_an_answer() {
    let mut packet = packet("a.test");
    packet.answers.push(record("b.test", 50, alias("c.test")));
    packet.answers.push(record("a.test", 40, alias("b.test")));
    packet.answers.push(record("x.test", 60, a(9)));
    assert_eq!(read(&packet), Some(Reply::Alias("c.test".into(), seconds(40))));
    packet.answers.push(record("c.test", 60, a(1)));
    packet.answers.push(record("c.test", 70, a(2)));
    assert_eq!(read(&packet), Some(Reply::Found(vec![ip(1), ip(2)], seconds(40))));
    let mut circle = self::packet("a.test");
    circle.answers.push(record("a.test", 40, alias("b.test")));
    circle.answers.push(record("b.test", 40, alias("a.test")));
    assert!(matches!(read(&circle), Some(Reply::Alias(..) | Reply::Missing { .. })), "it ends");
}

/// RFC 2308 §5.
#[test]
fn what_is_missing_is_so_for_a_time() {
    let mut packet = packet("a.test");
    let missing = |is_name_unknown, ttl: Option<u64>| Some(Reply::Missing { is_name_unknown, ttl: ttl.map(seconds) });
    assert_eq!(read(&packet), missing(false, None));
    *packet.rcode_mut() = RCODE::NameError;
    let name = || Name::new("test").unwrap();
    let soa = |minimum| {
        let soa = SOA { mname: name(), rname: name(), serial: 1, refresh: 1, retry: 1, expire: 1, minimum };
        record("test", 300, RData::SOA(soa))
    };
    for (minimum, ttl) in [(60, 60), (900, 300)] {
        packet.name_servers = vec![soa(minimum)];
        assert_eq!(read(&packet), missing(true, Some(ttl)));
    }
}

#[test]
fn servers_may_fail() {
    let mut packet = packet("a.test");
    for (rcode, reply) in [
        (RCODE::ServerFailure, Reply::Failed),
        (RCODE::Refused, Reply::Failed),
        (RCODE::FormatError, Reply::NoExtensions),
        (RCODE::NotImplemented, Reply::NoExtensions),
    ] {
        *packet.rcode_mut() = rcode;
        assert_eq!(read(&packet), Some(reply));
    }
    packet.set_flags(PacketFlag::TRUNCATION);
    assert_eq!(read(&packet), Some(Reply::Truncated));
    *packet.rcode_mut() = RCODE::NoError;
    packet.remove_flags(PacketFlag::TRUNCATION);
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 512, version: 0 });
    let mut bytes = packet.build_bytes_vec().unwrap();
    assert!(matches!(answer(&bytes, ID, "a.test", RecordKind::A), Some(Reply::Missing { .. })));
    let ttl = bytes.len() - 6;
    bytes[ttl] = 1;
    assert_eq!(answer(&bytes, ID, "a.test", RecordKind::A), Some(Reply::Failed), "RFC 6891 §6.1.3");
}

/// Who does not understand a question need not repeat it.
#[test]
fn refusals_without_the_question_are_taken() {
    let mut packet = packet("a.test");
    packet.questions.clear();
    for (rcode, reply) in [
        (RCODE::FormatError, Some(Reply::NoExtensions)),
        (RCODE::NotImplemented, Some(Reply::NoExtensions)),
        (RCODE::ServerFailure, Some(Reply::Failed)),
        (RCODE::NameError, None),
        (RCODE::NoError, None),
    ] {
        *packet.rcode_mut() = rcode;
        assert_eq!(read(&packet), reply);
    }
}

/// RFC 2181 §9.
#[test]
fn truncated_answers_may_end_anywhere() {
    let mut packet = packet("a.test");
    packet.answers.push(record("a.test", 60, a(1)));
    packet.set_flags(PacketFlag::TRUNCATION);
    let bytes = packet.build_bytes_vec().unwrap();
    for len in 0..bytes.len() {
        let reply = answer(&bytes[..len], ID, "a.test", RecordKind::A);
        assert_eq!(reply, (len >= 12).then_some(Reply::Truncated), "{len} bytes");
    }
    assert_eq!(answer(&bytes[..30], ID, "b.test", RecordKind::A), None, "to another question");
}

/// RFC 2181 §8.
#[test]
fn times_with_the_highest_bit_are_none() {
    for (ttl, is) in [(1 << 31, 0), (u32::MAX, 0), ((1 << 31) - 1, 86_400)] {
        let mut packet = packet("a.test");
        packet.answers.push(record("a.test", ttl, a(1)));
        assert_eq!(read(&packet), Some(Reply::Found(vec![ip(1)], seconds(is))));
    }
}

/// RFC 2308 §2.2: nothing more is to be asked for.
#[test]
fn an_alias_of_what_has_nothing_is_no_alias() {
    let soa = |zone: &'static str| {
        let name = || Name::new("ns.test").unwrap();
        let soa = SOA { mname: name(), rname: name(), serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 60 };
        record(zone, 60, RData::SOA(soa))
    };
    let mut packet = packet("a.test");
    packet.answers.push(record("a.test", 40, alias("b.other")));
    for zone in ["other", "b.OTHER", "."] {
        packet.name_servers = vec![soa(zone)];
        assert_eq!(read(&packet), Some(Reply::Missing { is_name_unknown: false, ttl: Some(seconds(40)) }));
    }
    // It speaks of another zone.
    for zone in ["test", "c.b.other"] {
        packet.name_servers = vec![soa(zone)];
        assert_eq!(read(&packet), Some(Reply::Alias("b.other".into(), seconds(40))));
    }
}

/// RFC 2317: what names of addresses stand for may have bytes that hosts' names do not.
#[test]
fn aliases_have_any_bytes() {
    let mut packet = packet("a.test");
    packet.answers.push(record("a.test", 40, alias("0/25.test")));
    assert_eq!(read(&packet), Some(Reply::Failed), "it is not asked for");
    packet.answers.push(record("0/25.test", 50, a(1)));
    assert_eq!(read(&packet), Some(Reply::Found(vec![ip(1)], seconds(40))));
}

/// An answer with this in the data of a record of another kind, and `count` records of a kind, whose names begin at its end.
fn with_names(rdata: &[u8], count: u16, kind: u8) -> Vec<u8> {
    let mut bytes = packet("a.test").build_bytes_vec().unwrap();
    bytes[6..8].copy_from_slice(&(count + 1).to_be_bytes());
    let header = |kind: u8, len: usize| {
        let [high, low] = u16::try_from(len).unwrap().to_be_bytes();
        [0, kind, 0, 1, 0, 0, 0, 60, high, low]
    };
    bytes.push(0);
    bytes.extend(header(16, rdata.len()));
    let first = bytes.len();
    bytes.extend_from_slice(rdata);
    let pointer = (0xc000 | u16::try_from(bytes.len() - 2).unwrap()).to_be_bytes();
    for _ in 0..count {
        bytes.extend_from_slice(&pointer);
        bytes.extend(header(kind, 4));
        bytes.extend([192, 0, 2, 1]);
    }
    assert!(first < bytes.len() && bytes.len() < 1 << 16);
    bytes
}

/// Pointers to pointers, so many, the first of which leads to the name that was asked for.
fn chain(jumps: usize) -> Vec<u8> {
    // Behind the question, a name of the root, and what is fixed of a record.
    let first = packet("a.test").build_bytes_vec().unwrap().len() + 11;
    let places = core::iter::once(12).chain((0..).map(|jump| first + 2 * jump)).take(jumps);
    places.flat_map(|place| (0xc000 | u16::try_from(place).unwrap()).to_be_bytes()).collect()
}

/// RFC 1035 §4.1.4 has no bound; a server could keep a shard busy.
#[test]
fn names_are_followed_for_so_long() {
    let found = |rdata: &[u8], count| answer(&with_names(rdata, count, 1), ID, "a.test", RecordKind::A);
    assert!(matches!(found(&chain(100), 1), Some(Reply::Found(..))));
    assert_eq!(found(&chain(128), 1), None, "one name");
    assert_eq!(found(&chain(8_000), 1), None, "one name");
    assert!(matches!(found(&chain(100), 500), Some(Reply::Found(..))));
    assert_eq!(found(&chain(100), 1_000), None, "all of them");
    // Not those that are of no use.
    assert!(answer(&with_names(&chain(8_000), 2_000, 16), ID, "a.test", RecordKind::A).is_some());
    let mut circle = packet("a.test").build_bytes_vec().unwrap();
    circle[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(answer(&circle, ID, "a.test", RecordKind::A), None);
}

/// The names of made-up replies, and what questions ask for.
const LIKELY: [&str; 6] = ["a.test", "A.TEST", "_s._tcp.b.test", "b.test", "test", "."];

fn likely_name() -> impl Strategy<Value = Name<'static>> {
    proptest::sample::select(&LIKELY[..]).prop_map(|name| Name::new(name).unwrap())
}

fn likely_data() -> impl Strategy<Value = RData<'static>> {
    let numbers = proptest::array::uniform3(0_u16..3);
    prop_oneof![
        any::<u8>().prop_map(a),
        any::<u128>().prop_map(|address| RData::AAAA(AAAA { address })),
        likely_name().prop_map(|name| RData::CNAME(CNAME(name))),
        likely_name().prop_map(|name| RData::PTR(PTR(name))),
        (numbers, likely_name()).prop_map(|([priority, weight, port], target)| RData::SRV(SRV {
            priority,
            weight,
            port,
            target
        })),
        (likely_name(), 0_u32..5_000).prop_map(|(name, minimum)| {
            let (mname, rname) = (name.clone(), name);
            RData::SOA(SOA { mname, rname, serial: 1, refresh: 1, retry: 1, expire: 1, minimum })
        }),
        Just(RData::TXT(TXT::new().with_string("text").unwrap())),
    ]
}

fn likely_records() -> impl Strategy<Value = Vec<ResourceRecord<'static>>> {
    let ttl = prop_oneof![0_u32..100, Just(1 << 31), any::<u32>()];
    let record = (likely_name(), ttl, likely_data());
    vec(record.prop_map(|(name, ttl, data)| ResourceRecord::new(name, CLASS::IN, ttl, data)), 0..6)
}

/// A reply as a server may make it, and its bytes.
fn likely_reply() -> impl Strategy<Value = (Packet<'static>, Vec<u8>)> {
    let rcode = proptest::sample::select(&[RCODE::NoError, RCODE::NoError, RCODE::NameError, RCODE::Refused][..]);
    let kind = proptest::sample::select(&[TYPE::A, TYPE::AAAA, TYPE::SRV, TYPE::PTR][..]);
    let question = (likely_name(), kind);
    (question, rcode, likely_records(), likely_records(), any::<bool>()).prop_map(
        |((name, kind), rcode, answers, authorities, is_compressed)| {
            let mut packet = Packet::new_reply(naive::ID);
            packet.questions.push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
            *packet.rcode_mut() = rcode;
            (packet.answers, packet.name_servers) = (answers, authorities);
            let bytes = if is_compressed { packet.build_bytes_vec_compressed() } else { packet.build_bytes_vec() };
            (packet, bytes.unwrap())
        },
    )
}

#[test]
fn the_corpus_of_names_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/names");
    let paths: Vec<_> = std::fs::read_dir(folder).expect("the corpus is in the tree").collect();
    assert!(paths.len() >= 40, "the corpus has only {} inputs", paths.len());
    for entry in paths {
        let path = entry.unwrap().path();
        let checked = std::panic::catch_unwind(|| naive::check(&std::fs::read(&path).unwrap()));
        assert!(checked.is_ok(), "{} fails", path.display());
    }
}

/// Memory is not taken for what a header only says.
#[test]
fn counts_are_not_believed() {
    let mut bytes = packet("a.test").build_bytes_vec().unwrap();
    bytes[6..12].fill(0xff);
    assert_eq!(answer(&bytes, ID, "a.test", RecordKind::A), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn property_any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        answer(&bytes, ID, "a.test", RecordKind::A);
    }

    /// The same of bytes that begin as an answer does, with names that point anywhere.
    #[test]
    fn property_likely_answers_are_read_without_panic(
        counts in proptest::array::uniform3(0_u8..4),
        rest in vec(prop_oneof![Just(0xc0_u8), Just(12), Just(0), Just(1), 0_u8..70, any::<u8>()], 0..120),
    ) {
        let mut bytes = packet("a.test").build_bytes_vec().unwrap();
        [bytes[7], bytes[9], bytes[11]] = counts;
        bytes.extend(rest);
        answer(&bytes, ID, "a.test", RecordKind::A);
    }

    /// The plain way to read answers is no worse than a codec that knows nothing of it.
    #[test]
    fn property_plain_reading_finds_what_was_written((packet, bytes) in likely_reply()) {
        let question = packet.questions[0].qname.as_bytes().map(|label| label.len() + 1).sum::<usize>() + 1 + 4;
        let count = u16::try_from(packet.answers.len()).unwrap();
        let (rows, _) = naive::rows(&bytes, 12 + question, count).expect("it is whole");
        for (row, record) in rows.iter().zip(&packet.answers) {
            let owner: Vec<_> = record.name.as_bytes().map(<[u8]>::to_ascii_lowercase).collect();
            prop_assert_eq!(row.owner(&bytes), Some(owner));
            prop_assert_eq!(row.kind, u16::from(record.rdata.type_code()));
        }
    }

    /// Replies of which some bytes are others, are gone, or are there twice.
    #[test]
    fn property_mutated_replies_are_read_as_in_a_plain_way(
        choice in 0_u8..8,
        (_, bytes) in likely_reply(),
        changes in vec((any::<prop::sample::Index>(), 0_u8..4, prop_oneof![any::<u8>(), Just(0xc0), Just(0)]), 0..4),
    ) {
        let mut input = bytes;
        input.insert(0, choice);
        for (place, how, byte) in changes {
            let place = place.index(input.len());
            match how {
                0 | 1 => input[place] = byte,
                2 => drop(input.remove(place)),
                _ => input.insert(place, byte),
            }
            if input.is_empty() {
                break;
            }
        }
        naive::check(&input);
    }

    #[test]
    fn property_names_can_be_asked_for(name in "([a-z0-9_-]{1,63}\\.){0,4}[a-z0-9]{1,20}\\.?") {
        prop_assert_eq!(question(ID, &name, RecordKind::Srv, true).is_some(), is_name(&name));
    }

    /// What was inserted last is there, nothing that is over is, and there are never more than may be.
    #[test]
    fn property_cache_behaves_like_a_list(steps in vec((0_u64..20, 0_u8..12, 1_u64..30), 1..80)) {
        let mut cache = Cache::new(4);
        let mut now = Instant::ORIGIN;
        let mut list: Vec<(u8, u64, Instant)> = Vec::new();
        for (number, (wait, name, ttl)) in (0_u64..).zip(steps) {
            now += seconds(wait);
            let key = |name: u8| (format!("{name}").into(), RecordKind::A);
            let got = cache.get(now, &key(name)).map(|answer| answer.map_err(|_| ()));
            let known = list.iter().rev().find(|(other, ..)| *other == name).filter(|(.., until)| *until > now);
            if let Some(got) = got {
                let number = known.expect("it is still true").1.to_string();
                prop_assert_eq!(&*got.unwrap(), &[Data::Name(number.into())]);
            }
            cache.insert(now, key(name), Ok([Data::Name(number.to_string().into())].into()), now + seconds(ttl));
            prop_assert!(cache.get(now, &key(name)).is_some() && cache.len() <= 4);
            list.push((name, number, now + seconds(ttl)));
        }
    }
}

#[test]
fn a_cache_of_no_answers_remembers_none() {
    let mut cache = Cache::new(0);
    let key = || ("a".into(), RecordKind::A);
    cache.insert(Instant::ORIGIN, key(), Err(NameError::NotFound), Instant::ORIGIN + seconds(9));
    assert_eq!((cache.get(Instant::ORIGIN, &key()), cache.len()), (None, 0));
}

/// `hosts(5)`.
#[test]
fn hosts_files() {
    let hosts =
        Hosts::parse("# all\n192.0.2.1 A b.test # c\n\n2001:db8::1\ta\nnonsense d\n192.0.2.1 a\n192.0.2.2 b!\n");
    let ips = |name: &str| hosts.get(name).iter().map(IpAddr::to_string).collect::<Vec<_>>();
    assert_eq!(ips("a"), ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(ips("B.test."), ["192.0.2.1"]);
    for name in ["c", "d", "b!", ""] {
        assert!(ips(name).is_empty());
    }
    assert_eq!(known(&hosts, "a.localhost.").unwrap().len(), 2, "RFC 6761 §6.3");
    assert_eq!(known(&hosts, "::1").unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(known(&hosts, "localhost.test"), None);
}

/// `resolv.conf(5)`.
#[test]
fn resolver_files() {
    let conf = ResolvConf::parse(
        "; all\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # two\nnameserver x\nnameserver fe80::1%eth0\ndomain a.test\n\
         search b.test C.test. b!d\noptions ndots:2 timeout:0 attempts:99 rotate\n",
    );
    let servers: Vec<_> = conf.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    assert_eq!(conf.skipped, ["x".into(), "fe80::1%eth0".into()]);
    assert_eq!(conf.search, ["b.test".into(), "c.test".into()]);
    assert_eq!((conf.dots, conf.timeout_s, conf.attempts), (Some(2), Some(1), Some(5)));
    let many = ResolvConf::parse(&"nameserver 192.0.2.1\nnameserver\n".repeat(99));
    assert_eq!((many.servers.len(), many.skipped.len()), (8, 8));
}

#[test]
fn names_are_looked_for_in_domains() {
    let search = ["a.test".into(), "b.test".into()];
    assert_eq!(candidates("x", &search, 1), ["x.a.test", "x.b.test", "x"]);
    assert_eq!(candidates("x.y", &search, 1), ["x.y", "x.y.a.test", "x.y.b.test"]);
    assert_eq!(candidates("x.y", &search, 2), ["x.y.a.test", "x.y.b.test", "x.y"]);
    assert_eq!(candidates("x.", &search, 1), ["x"]);
    for (name, is) in [("a", true), ("_a._tcp.b", true), ("a.", true), ("", false), (".", false), ("a..b", false)] {
        assert_eq!(is_name(name), is, "{name}");
    }
    assert!(!is_name(&"a".repeat(64)) && !is_name(&"a.".repeat(128)) && !is_name("ä"));
    assert_eq!(reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
    let v6 = reverse_name("2001:db8::567:89ab".parse().unwrap());
    assert_eq!(v6, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "RFC 3596 §2.5");
}

/// RFC 6724 §2.1, RFC 8305 §4.
#[test]
fn addresses_have_an_order() {
    let sorted = |text: &str| {
        let mut all: Vec<IpAddr> = text.split(' ').map(|ip| ip.parse().unwrap()).collect();
        order::sort(&mut all);
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sorted("192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2"), "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2");
    assert_eq!(sorted("fd00::1 192.0.2.2 192.0.2.1"), "192.0.2.2 fd00::1 192.0.2.1");
    assert_eq!(sorted("2002::1 2001:db8::1 2001::1 ::1"), "::1 2001:db8::1 2002::1 2001::1");
}

/// RFC 2782: by priority, and the more weight, the more often first.
#[test]
fn services_are_drawn() {
    let service = |priority, weight| Service { priority, weight, port: 1, target: "a".into() };
    let mut firsts = [0; 3];
    for seed in 0..1_000_u32 {
        let mut services = [service(2, 9), service(1, 10), service(1, 30), service(1, 0)];
        let mut state = seed.wrapping_mul(2_654_435_761);
        order::draw(&mut services, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        });
        assert_eq!(services.iter().map(|service| service.priority).collect::<Vec<_>>(), [1, 1, 1, 2]);
        firsts
            [usize::from(services[0].weight / 15) + usize::from(services[0].weight > 0 && services[0].weight < 15)] +=
            1;
    }
    let [none, few, many] = firsts;
    assert!(none < few && few * 2 < many && none > 0, "{firsts:?}");
}
