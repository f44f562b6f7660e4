//! RFC 4861 §7, RFC 4862 §5.4, RFC 7527.

use core::net::Ipv6Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{IpProtocol, Ipv6Header, MacAddr, NdpMessage, NdpOption};

use super::{ALL_NODES, PEER, Script, US, US_LOCAL, US_SOLICITED, discovery, ndp_bytes, prefix};
use crate::configuration::Change;
use crate::drops::DropReason;
use crate::stack::Event;
use crate::stack::tests::world::mac;
use crate::udp::UdpOptions;

const ANYBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const SECOND: Duration = Duration::from_secs(1);
/// By which timers of neighbours may be late.
const TICK: Duration = Duration::from_millis(1);

fn solicitation(target: Ipv6Addr) -> NdpMessage {
    NdpMessage::NeighbourSolicitation { target }
}

fn advertisement(target: Ipv6Addr, is_solicited: bool, is_override: bool) -> NdpMessage {
    NdpMessage::NeighbourAdvertisement { target, is_router: false, is_solicited, is_override }
}

fn send_datagram(script: &mut Script, to: Ipv6Addr) {
    let id = script.stack.udp_bind((ANYBODY, 0).into(), UdpOptions::DEFAULT).expect("there is a port");
    let payload = Packet::from(Buffer::from_static(b"hello"));
    script.stack.udp_send(script.now, id, Some((to, 9).into()), payload).expect("there is a way");
    script.stack.udp().close(id);
}

/// §7.2.4.
#[test]
fn who_asks_for_us_is_answered() {
    let mut script = Script::v6();
    script.ndp((PEER, US_SOLICITED), &solicitation(US), &[NdpOption::SourceLinkLayer(mac(1))]);
    let sent = script.sent_one();
    assert_eq!(sent.ethernet.dst, mac(1));
    assert_eq!((sent.ip_v6().src(), sent.ip_v6().dst()), (US, PEER));
    assert_eq!(sent.ndp(), (advertisement(US, true, true), vec![NdpOption::TargetLinkLayer(mac(0))]));
    script.ndp((ANYBODY, US_SOLICITED), &solicitation(US), &[]);
    let sent = script.sent_one();
    assert_eq!(sent.ethernet.dst, MacAddr([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(sent.ip_v6().dst(), ALL_NODES, "who has no address yet hears it with all others");
    assert_eq!(sent.ndp().0, advertisement(US, false, true));
}

/// §7.1.1: who is behind a router is no neighbour.
#[test]
fn ndp_from_afar_is_dropped() {
    let mut script = Script::v6();
    let bytes = ndp_bytes((PEER, US), &solicitation(US), &[]);
    script.ip_v6(&Ipv6Header { hop_limit: 254, ..Ipv6Header::new(IpProtocol::ICMPV6, PEER, US) }, &bytes);
    script.ndp((ANYBODY, US_SOLICITED), &solicitation(US), &[NdpOption::SourceLinkLayer(mac(1))]);
    script.ndp((ANYBODY, ALL_NODES), &solicitation(US), &[]);
    script.ndp((PEER, ALL_NODES), &advertisement(PEER, true, true), &[]);
    assert_eq!((script.sent().len(), script.dropped(DropReason::NdpImplausible)), (0, 4));
    script.ndp((PEER, US_SOLICITED), &solicitation(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 7, 1)), &[]);
    assert_eq!(script.sent().len(), 0, "another one with the same last bytes");
}

/// §7.2.2, §7.2.5.
#[test]
fn neighbours_are_asked_for() {
    let mut script = Script::v6();
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
    send_datagram(&mut script, other);
    let sent = script.sent_one();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456);
    assert_eq!((sent.ip_v6().src(), sent.ip_v6().dst()), (US, group));
    assert_eq!(sent.ethernet.dst, MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    assert_eq!(sent.ndp(), (solicitation(other), vec![NdpOption::SourceLinkLayer(mac(0))]));
    script.ndp((other, US), &advertisement(other, true, true), &[NdpOption::TargetLinkLayer(mac(9))]);
    let sent = script.sent_one();
    assert_eq!((sent.ethernet.dst, sent.ip_v6().next_header()), (mac(9), IpProtocol::UDP));
}

/// §7.2.2, §7.2.8: three questions, then what waits is given up.
#[test]
fn silent_neighbours_are_given_up() {
    let mut script = Script::v6();
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    send_datagram(&mut script, other);
    for _ in 0..3 {
        assert_eq!(discovery(script.sent()).len(), 1);
        script.wait(SECOND + TICK);
    }
    assert_eq!((script.sent().len(), script.dropped(DropReason::NeighbourSilent)), (0, 1));
}

/// §7.3.2: reachable for a while, then stale; used, it is asked itself five seconds later, three times, and then forgotten.
#[test]
fn stale_neighbours_are_asked_after_a_moment() {
    let mut script = Script::v6();
    let questions = |script: &mut Script| {
        let mut sent = discovery(script.sent());
        sent.retain(|sent| sent.ndp().0 == solicitation(PEER));
        sent
    };
    script.ndp((PEER, US), &advertisement(PEER, true, true), &[NdpOption::TargetLinkLayer(mac(1))]);
    script.wait(29 * SECOND);
    send_datagram(&mut script, PEER);
    script.wait(6 * SECOND);
    assert_eq!(questions(&mut script).len(), 0, "it was reachable when it was used");
    send_datagram(&mut script, PEER);
    script.wait(4 * SECOND);
    assert_eq!(questions(&mut script).len(), 0);
    script.wait(SECOND + TICK);
    let sent = questions(&mut script);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].ethernet.dst, sent[0].ip_v6().dst()), (mac(1), PEER), "asked itself");
    script.ndp((PEER, US), &advertisement(PEER, true, false), &[]);
    script.wait(31 * SECOND);
    send_datagram(&mut script, PEER);
    let mut count = 0;
    for _ in 0..10 {
        script.wait(SECOND + TICK);
        count += questions(&mut script).len();
    }
    assert_eq!(count, 3);
    send_datagram(&mut script, PEER);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2);
    assert_eq!(script.sent_one().ip_v6().dst(), group, "whoever has it now");
}

/// §7.2.5: an address that is known is not replaced without the override flag.
#[test]
fn others_do_not_replace_what_is_known_without_override() {
    let mut script = Script::v6();
    for (is_override, station) in [(false, 1), (true, 7)] {
        let option = NdpOption::TargetLinkLayer(mac(7));
        script.ndp((PEER, US), &advertisement(PEER, true, is_override), &[option]);
        send_datagram(&mut script, PEER);
        assert_eq!(script.sent_one().ethernet.dst, mac(station));
    }
}

/// RFC 4862 §5.4: asked for from nobody's address, and ours a second later.
#[test]
fn addresses_are_asked_for_before_they_are_ours() {
    let mut script = Script::new();
    script.stack.add_address(script.now, script.link, prefix(US)).expect("it is a station's");
    let sent = discovery(script.sent());
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].ip_v6().src(), sent[0].ip_v6().dst()), (ANYBODY, US_SOLICITED));
    let (message, options) = sent[0].ndp();
    assert_eq!(message, solicitation(US));
    assert!(matches!(options[..], [NdpOption::Nonce(_)]), "RFC 7527 §4.1, and no address (RFC 4861 §4.3)");
    script.ndp((PEER, US_SOLICITED), &solicitation(US), &[]);
    assert_eq!(discovery(script.sent()).len(), 0, "others are not answered yet");
    assert!(!script.owns(US));
    assert_eq!(script.stack.deadline().map(|at| at <= script.now + SECOND), Some(true));
    script.wait(SECOND);
    assert!(script.owns(US));
}

/// RFC 4862 §5.4.3, §5.4.4; RFC 7527 §4.2.
#[test]
fn addresses_of_others_are_not_taken() {
    for objection in 0..4 {
        let mut script = Script::new();
        script.stack.add_address(script.now, script.link, prefix(US)).expect("it is a station's");
        let sent = discovery(script.sent());
        let (_, own) = sent[0].ndp();
        match objection {
            0 => script.ndp((ANYBODY, US_SOLICITED), &solicitation(US), &own),
            1 => script.ndp((ANYBODY, US_SOLICITED), &solicitation(US), &[NdpOption::Nonce([7; 6])]),
            2 => script.ndp((ANYBODY, US_SOLICITED), &solicitation(US), &[]),
            _ => {
                let option = NdpOption::TargetLinkLayer(mac(1));
                script.ndp((US, ALL_NODES), &advertisement(US, false, true), &[option]);
            }
        }
        script.wait(2 * SECOND);
        assert_eq!(script.owns(US), objection == 0, "an echo of our own question is no objection");
        let told = script.stack.poll_event() == Some(Event::AddressTaken { interface: script.link, address: US });
        assert_eq!((told, script.stack.counters().address_conflicts_v6), (objection != 0, u64::from(objection != 0)));
    }
}

/// Others hear of an address when it is ours.
#[test]
fn changes_are_handed_out_when_addresses_are_ours() {
    let mut script = Script::new();
    let change = Change::AddAddress { interface: script.link, address: prefix(US) };
    script.stack.configure(script.now, change.clone()).expect("it is a station's");
    assert_eq!(script.stack.poll_change(), None);
    script.wait(SECOND);
    assert_eq!(script.stack.poll_change(), Some(change));
}

/// RFC 4291 §2.5.6, RFC 6724 §5: what is sent on the link comes from there.
#[test]
fn the_source_fits_the_destination() {
    let mut script = Script::v6();
    for (to, from) in [(PEER, US), (super::PEER_LOCAL, US_LOCAL), (ALL_NODES, US_LOCAL)] {
        send_datagram(&mut script, to);
        assert_eq!(script.sent_one().ip_v6().src(), from);
    }
    // Rule 3, rule 8.
    let near = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x12);
    let change = Change::AddAddress { interface: script.link, address: prefix(near) };
    script.stack.apply(script.now, &change).expect("it is a station's");
    let (interface, is_preferred) = (script.link, false);
    send_datagram(&mut script, PEER);
    assert_eq!(script.sent_one().ip_v6().src(), US, "the first one of equal ones");
    let change = Change::SetPreferred { interface, address: US.into(), is_preferred };
    script.stack.apply(script.now, &change).expect("it is there");
    send_datagram(&mut script, PEER);
    assert_eq!(script.sent_one().ip_v6().src(), near);
}

/// Nobody drives out the neighbours that are in use.
#[test]
fn floods_of_neighbours_drive_out_only_their_own() {
    let mut script = Script::v6();
    script.ndp((PEER, US), &advertisement(PEER, true, true), &[NdpOption::TargetLinkLayer(mac(1))]);
    send_datagram(&mut script, PEER);
    assert_eq!(script.sent_one().ethernet.dst, mac(1));
    for last in 0..3_000 {
        let stranger = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 7, last);
        script.ndp((stranger, US), &solicitation(US), &[NdpOption::SourceLinkLayer(mac(9))]);
        script.sent();
    }
    // Half of the places are for strangers.
    assert_eq!(script.stack.neighbours(), 512 + 1);
    send_datagram(&mut script, PEER);
    assert_eq!(script.sent_one().ethernet.dst, mac(1), "it is still known");
}

/// RFC 4862 §5.4.4, RFC 4861 §7.2.5: another station claims an address that we have; what we have said ourselves is nothing new.
#[test]
fn others_with_our_address_are_noticed() {
    let mut script = Script::v6();
    script.ndp((US, ALL_NODES), &advertisement(US, false, true), &[NdpOption::TargetLinkLayer(mac(0))]);
    script.ndp((US, ALL_NODES), &advertisement(PEER, false, true), &[NdpOption::TargetLinkLayer(mac(9))]);
    assert_eq!((script.stack.counters().address_conflicts_v6, script.dropped(DropReason::Source)), (0, 2));
    script.ndp((US, ALL_NODES), &advertisement(US, false, true), &[NdpOption::TargetLinkLayer(mac(9))]);
    assert_eq!(script.stack.counters().address_conflicts_v6, 1);
    let (interface, address) = (script.link, US);
    assert_eq!(script.stack.poll_event(), Some(Event::AddressTaken { interface, address }));
    assert!(script.owns(US));
}
