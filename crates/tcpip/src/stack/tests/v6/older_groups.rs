//! Routers of older versions: RFC 3376 §7.2, RFC 3810 §8.2, RFC 2236, RFC 2710.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::checksum::Sum;
use sunstar_wire::{
    EtherType, IGMP_REPORTS_TO, Icmpv6Header, IpProtocol, Ipv4Header, Ipv6Header, MLD_REPORTS_TO, MacAddr,
    OldGroupMessage, ipv6_router_alert,
};

use super::{ALL_NODES, PEER_LOCAL, Script, US_SOLICITED, icmp, other_than_discovery};
use crate::stack::tests::script::{PEER as PEER_V4, Sent};

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7);
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const ALL: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// Until an older router is taken to be gone: RFC 3376 §8.12.
const PRESENT: Duration = Duration::from_secs(2 * 125 + 10);

fn gets_igmp(script: &mut Script, dst: Ipv4Addr, message: &[u8]) {
    let header = Ipv4Header { ttl: 1, ..Ipv4Header::new(IpProtocol::IGMP, PEER_V4, dst) };
    let packet = [&header.to_bytes(message.len()).expect("short")[..], message].concat();
    script.frame(super::mac(1), MacAddr::from_ipv4_multicast(dst), EtherType::IPV4, &packet);
}

/// A question of IGMPv1 or IGMPv2, for a group or for all.
fn asks_igmp(script: &mut Script, tenths: u8, group: Ipv4Addr) {
    let [a, b, c, d] = group.octets();
    let mut query = [0x11, tenths, 0, 0, a, b, c, d];
    let checksum = Sum::of(&query).checksum();
    query[2..4].copy_from_slice(&checksum.to_be_bytes());
    gets_igmp(script, if group.is_unspecified() { ALL } else { group }, &query);
}

fn gets_mld(script: &mut Script, dst: Ipv6Addr, header: &Icmpv6Header, group: Ipv6Addr) {
    let message = icmp((PEER_LOCAL, dst), header, &group.octets());
    let ip = Ipv6Header { hop_limit: 1, ..Ipv6Header::new(IpProtocol::HOP_BY_HOP, PEER_LOCAL, dst) };
    script.ip_v6(&ip, &[&ipv6_router_alert(IpProtocol::ICMPV6)[..], &message].concat());
}

const MLD_QUERY: Icmpv6Header = Icmpv6Header::Other { kind: 130, code: 0, rest: [0x27, 0x10, 0, 0] };

fn igmp_of(sent: &Sent) -> (Ipv4Addr, Vec<u8>) {
    let ip = sent.ip();
    assert_eq!((ip.ttl(), ip.options().count(), ip.protocol()), (1, 1, IpProtocol::IGMP), "RFC 2236 §2");
    assert_eq!(sent.ethernet.dst, MacAddr::from_ipv4_multicast(ip.dst()));
    (ip.dst(), ip.payload().to_vec())
}

fn report(message: OldGroupMessage) -> (Ipv4Addr, Vec<u8>) {
    (GROUP_V4, message.igmp_bytes(GROUP_V4).to_vec())
}

fn join(script: &mut Script, group: IpAddr) {
    script.stack.join_group(script.now, script.link, group).expect("it is a group");
}

fn leave(script: &mut Script, group: IpAddr) {
    assert!(script.stack.leave_group(script.now, script.link, group));
}

/// RFC 3376 §7.2.1: a general question of IGMPv2 has its version spoken, until its router was not heard for long enough.
#[test]
fn igmp_v2_is_spoken_with_routers_that_do() {
    let mut script = Script::with_peer();
    asks_igmp(&mut script, 100, Ipv4Addr::UNSPECIFIED);
    script.wait(Duration::from_secs(10));
    assert_eq!(script.sent().len(), 0, "there is no group to tell of");
    join(&mut script, GROUP_V4.into());
    assert_eq!(igmp_of(&script.sent_one()), report(OldGroupMessage::Report));
    script.wait(Duration::from_secs(9));
    assert_eq!(script.sent().len(), 0);
    script.wait(Duration::from_secs(1));
    assert_eq!(igmp_of(&script.sent_one()), report(OldGroupMessage::Report), "RFC 2236 §8.10");
    asks_igmp(&mut script, 10, GROUP_V4);
    script.wait(Duration::from_secs(1));
    assert_eq!(igmp_of(&script.sent_one()), report(OldGroupMessage::Report));
    leave(&mut script, GROUP_V4.into());
    let routers = Ipv4Addr::new(224, 0, 0, 2);
    let left = (routers, OldGroupMessage::Leave.igmp_bytes(GROUP_V4).to_vec());
    assert_eq!(igmp_of(&script.sent_one()), left, "RFC 2236 §6");
    script.wait(PRESENT);
    join(&mut script, GROUP_V4.into());
    assert_eq!(script.sent_one().ip().dst(), IGMP_REPORTS_TO);
}

/// RFC 3376 §7.2.1: a question for one group alone tells nothing of who asks in general; a join that was to be told again is not.
/// Whoever sleeps until the stack's deadline wakes for it.
#[test]
fn what_is_to_be_told_has_a_deadline() {
    let mut script = Script::with_peer();
    join(&mut script, GROUP_V4.into());
    script.wait(Duration::from_secs(30));
    script.sent();
    asks_igmp(&mut script, 20, Ipv4Addr::UNSPECIFIED);
    let latest = script.now + Duration::from_secs(2);
    while script.now < latest {
        let deadline = script.stack.deadline().filter(|deadline| *deadline <= latest).expect("it is to be told");
        script.wait(deadline - script.now);
        if let [sent] = &script.sent()[..] {
            assert_eq!(igmp_of(sent), report(OldGroupMessage::Report));
            return;
        }
    }
    panic!("nothing was told");
}

#[test]
fn a_change_of_version_cancels_what_waits() {
    let mut script = Script::with_peer();
    asks_igmp(&mut script, 10, GROUP_V4);
    join(&mut script, GROUP_V4.into());
    assert_eq!(script.sent_one().ip().dst(), IGMP_REPORTS_TO);
    asks_igmp(&mut script, 100, Ipv4Addr::UNSPECIFIED);
    script.wait(Duration::from_secs(10));
    let sent: Vec<_> = script.sent().iter().map(igmp_of).collect();
    assert_eq!(sent, [report(OldGroupMessage::Report)], "the answer, and not the version 3 report");
}

/// RFC 3376 §7.2.1, RFC 1112 appendix I: IGMPv1 knows no leaving, and goes before version 2.
#[test]
fn igmp_v1_is_spoken_with_routers_that_do() {
    let mut script = Script::with_peer();
    asks_igmp(&mut script, 0, Ipv4Addr::UNSPECIFIED);
    asks_igmp(&mut script, 100, Ipv4Addr::UNSPECIFIED);
    join(&mut script, GROUP_V4.into());
    assert_eq!(igmp_of(&script.sent_one()), report(OldGroupMessage::ReportV1));
    leave(&mut script, GROUP_V4.into());
    script.wait(Duration::from_secs(20));
    assert_eq!(script.sent().len(), 0);
}

/// RFC 2236 §3: one report is enough for a router.
#[test]
fn what_others_tell_need_not_be_told() {
    let mut script = Script::with_peer();
    let other = Ipv4Addr::new(239, 1, 2, 4);
    asks_igmp(&mut script, 100, Ipv4Addr::UNSPECIFIED);
    join(&mut script, GROUP_V4.into());
    join(&mut script, other.into());
    script.wait(Duration::from_secs(10));
    script.sent();
    asks_igmp(&mut script, 100, Ipv4Addr::UNSPECIFIED);
    gets_igmp(&mut script, other, &OldGroupMessage::Report.igmp_bytes(other));
    // That somebody leaves says nothing of us.
    gets_igmp(&mut script, GROUP_V4, &OldGroupMessage::Leave.igmp_bytes(GROUP_V4));
    script.wait(Duration::from_secs(10));
    assert_eq!(igmp_of(&script.sent_one()), report(OldGroupMessage::Report));
}

fn mld_of(sent: &Sent) -> (Ipv6Addr, u8, Vec<u8>) {
    let ip = sent.ip_v6();
    assert_eq!((ip.hop_limit(), ip.next_header()), (1, IpProtocol::HOP_BY_HOP), "RFC 2710 §3");
    (ip.dst(), sent.icmp_v6().kind(), sent.icmp_v6().body().to_vec())
}

/// RFC 3810 §8.2.1, RFC 2710.
#[test]
fn mld_v1_is_spoken_with_routers_that_do() {
    let mut script = Script::v6();
    gets_mld(&mut script, ALL_NODES, &MLD_QUERY, Ipv6Addr::UNSPECIFIED);
    script.wait(Duration::from_secs(10));
    let sent = mld_of(&other_than_discovery(script.sent()));
    assert_eq!(sent, (US_SOLICITED, 131, US_SOLICITED.octets().to_vec()), "both addresses are asked for there");
    join(&mut script, GROUP.into());
    assert_eq!(mld_of(&script.sent_one()), (GROUP, 131, GROUP.octets().to_vec()));
    gets_mld(&mut script, GROUP, &OldGroupMessage::Report.mld_header(), GROUP);
    script.wait(Duration::from_secs(10));
    assert_eq!(script.sent().len(), 0, "somebody else has told (RFC 2710 §4)");
    leave(&mut script, GROUP.into());
    let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    assert_eq!(mld_of(&script.sent_one()), (routers, 132, GROUP.octets().to_vec()));
    script.wait(PRESENT);
    script.sent();
    join(&mut script, GROUP.into());
    assert_eq!(script.sent_one().ip_v6().dst(), MLD_REPORTS_TO);
}

/// Of several shards one tells of the groups in which the addresses of all are asked for.
#[test]
fn one_shard_tells_of_addresses() {
    let mut script = Script::v6();
    script.stack.hand_out_groups();
    gets_mld(&mut script, ALL_NODES, &MLD_QUERY, Ipv6Addr::UNSPECIFIED);
    script.wait(Duration::from_secs(10));
    assert!(script.sent().iter().all(|sent| sent.icmp_v6().kind() != 131));
}
