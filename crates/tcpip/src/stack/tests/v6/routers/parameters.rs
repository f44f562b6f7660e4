//! RFC 4861 §6.3.4, RFC 8106 §5.2: how stations speak on a link, and where names are looked for.

use core::net::Ipv6Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{NdpMessage, NdpOption, RouterAdvertisement};

use super::{SECOND, Script, discovery, prefix_option, router};
use crate::configuration::{Change, LinkParameters};
use crate::stack::tests::v6::PEER_LOCAL;
use crate::tcp::connection::Options;
use crate::udp::UdpOptions;

const MS: Duration = Duration::from_millis(1);

/// Somebody of the link of whom nothing is known.
const STRANGER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

impl Script {
    fn hop_limit(&self) -> u8 {
        self.stack.interface(self.link).expect("it is there").hop_limit()
    }

    fn says(&mut self, hop_limit: u8, reachable_ms: u32, retransmit_ms: u32) {
        self.advertise(RouterAdvertisement { hop_limit, reachable_ms, retransmit_ms, ..router(1_800) }, &[]);
    }

    /// The last change of the link that is handed out, if there is one.
    fn told(&mut self) -> Option<LinkParameters> {
        core::iter::from_fn(|| self.stack.poll_change())
            .filter_map(|change| if let Change::SetLink { parameters, .. } = change { Some(parameters) } else { None })
            .last()
    }
}

/// Of the packets of connections, datagrams and ICMP; what says nothing changes nothing.
#[test]
fn the_hop_limit_is_that_of_the_link() {
    let mut script = Script::autoconfigured(1);
    script.sent();
    let [local] = script.addresses_v6()[..] else { panic!("{:?}", script.addresses_v6()) };
    let id = script.stack.udp_bind((local, 9).into(), UdpOptions::DEFAULT).expect("it is free");
    for (said, expected) in [(0, 64), (100, 100), (0, 100), (1, 32), (255, 255)] {
        script.says(said, 0, 0);
        assert_eq!(script.hop_limit(), expected);
        let payload = Packet::from(Buffer::from(vec![7; 10]));
        script.stack.udp_send(script.now, id, Some((PEER_LOCAL, 9).into()), payload).expect("there is a way");
        script.stack.connect(script.now, None, (PEER_LOCAL, 80).into(), Options::DEFAULT).expect("there is a way");
        let limits: Vec<u8> = script.sent().iter().map(|sent| sent.ip_v6().hop_limit()).collect();
        assert!(limits.iter().filter(|limit| **limit == expected).count() >= 2, "{limits:?}");
    }
}

/// What is nonsense is bounded, and what is new handed out for other shards once.
#[test]
fn other_shards_hear_of_it() {
    let mut script = Script::autoconfigured(1);
    script.says(2, 1, 1);
    let least = LinkParameters { hop_limit: 32, reachable: SECOND, retransmit: 100 * MS };
    assert_eq!(script.told(), Some(least));
    script.says(2, 1, 1);
    script.says(0, 0, 0);
    assert_eq!(script.told(), None);
    script.says(64, u32::MAX, u32::MAX);
    let most = LinkParameters { hop_limit: 64, reachable: 3_600 * SECOND, retransmit: 10 * SECOND };
    assert_eq!(script.told(), Some(most));
    script.says(200, 0, 0);
    script.says(201, 0, 0);
    let mut other = Script::new();
    while let Some(change) = script.stack.poll_change() {
        other.stack.apply(other.now, &change).expect("as here");
    }
    assert_eq!(other.hop_limit(), 201);
    // Whatever was said is gone with the interface.
    assert!(script.stack.take_down(script.now, script.link));
    assert_eq!(script.hop_limit(), 64);
}

/// RFC 4861 §7.2.2: so often a neighbour is asked for; RFC 4862 §5.4: so long others may object to an address.
#[test]
fn questions_are_as_far_apart_as_routers_say() {
    let mut script = Script::autoconfigured(1);
    script.says(0, 0, 250);
    script.sent();
    let [local] = script.addresses_v6()[..] else { panic!("{:?}", script.addresses_v6()) };
    let id = script.stack.udp_bind((local, 9).into(), UdpOptions::DEFAULT).expect("it is free");
    let payload = Packet::from(Buffer::from(vec![7; 10]));
    script.stack.udp_send(script.now, id, Some((STRANGER, 9).into()), payload).expect("there is a way");
    let asked = |script: &mut Script| {
        let asks = |message: &NdpMessage| *message == NdpMessage::NeighbourSolicitation { target: STRANGER };
        discovery(script.sent()).iter().filter(|sent| asks(&sent.ndp().0)).count()
    };
    assert_eq!(asked(&mut script), 1);
    script.wait(249 * MS);
    assert_eq!(asked(&mut script), 0);
    // Timers of neighbours may be late by so much.
    script.wait(2 * MS);
    assert_eq!(asked(&mut script), 1);
    script.advertise(router(1_800), &[prefix_option(86_400, 14_400)]);
    script.wait(249 * MS);
    assert_eq!(script.global(), None);
    script.wait(MS);
    assert!(script.global().is_some());
}

/// RFC 8106 §5.2, §5.3.1: domains are looked for as long as they are told of.
#[test]
fn domains_are_looked_for() {
    let mut script = Script::autoconfigured(1);
    let domains =
        |script: &Script| script.stack.search_domains().iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let names = b"\x07example\x03com\0\x03lab\x07example\x03com\0\0\0";
    let both = ["example.com", "lab.example.com"];
    script.advertise(router(1_800), &[NdpOption::DnsSearch { lifetime_s: 300, names }]);
    assert_eq!(domains(&script), both);
    let mut other = Script::new();
    while let Some(change) = script.stack.poll_change() {
        other.stack.apply(other.now, &change).expect("as here");
    }
    assert_eq!(domains(&other), both);
    // One is told of no more (§5.3.1), one for longer.
    script.advertise(router(1_800), &[NdpOption::DnsSearch { lifetime_s: 0, names: b"\x07example\x03com\0" }]);
    assert_eq!(domains(&script), both[1..]);
    script.wait(200 * SECOND);
    script.advertise(router(1_800), &[NdpOption::DnsSearch { lifetime_s: 300, names: b"\x03lab\x07example\x03com\0" }]);
    script.wait(299 * SECOND);
    assert_eq!(domains(&script), both[1..]);
    script.wait(SECOND);
    assert!(domains(&script).is_empty());
    // What can't be read ends the list, and there are no more than may be.
    let many: Vec<u8> = (b'a'..=b'z').flat_map(|letter| [1, letter, 0]).collect();
    script.advertise(router(1_800), &[NdpOption::DnsSearch { lifetime_s: 300, names: &many }]);
    assert_eq!(domains(&script).len(), 8);
    script.advertise(router(1_800), &[NdpOption::DnsSearch { lifetime_s: 300, names: b"\x03a b\0" }]);
    assert_eq!(domains(&script).len(), 8);
}
