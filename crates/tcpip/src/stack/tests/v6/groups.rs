//! RFC 3376, RFC 3810.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::checksum::Sum;
use sunstar_wire::{
    EtherType, GroupRecord, IGMP_REPORTS_TO, Icmpv6Header, IpProtocol, Ipv4Header, Ipv6Header, MLD_REPORTS_TO, MacAddr,
    ipv6_router_alert,
};

use super::{ALL_NODES, PEER_LOCAL, Script, US_LOCAL, US_SOLICITED, icmp, other_than_discovery, prefix};
use crate::drops::DropReason;
use crate::stack::tests::script::{PEER as PEER_V4, Sent};
use crate::stack::{ConfigError, GroupChange};
use crate::udp::UdpOptions;

const GROUP: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7);
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

fn mld_records(sent: &Sent) -> Vec<Vec<u8>> {
    assert_eq!((sent.ip_v6().dst(), sent.ip_v6().hop_limit()), (MLD_REPORTS_TO, 1));
    assert_eq!(sent.ip_v6().next_header(), IpProtocol::HOP_BY_HOP, "RFC 3810 §5");
    assert_eq!(sent.icmp_v6().kind(), 143);
    sent.icmp_v6().body().chunks(20).map(<[u8]>::to_vec).collect()
}

/// RFC 3810 §6.1: told at once, and again a second later.
#[test]
fn joins_are_told() {
    let mut script = Script::v6();
    script.stack.join_group(script.now, script.link, GROUP.into()).expect("it is a group");
    let sent = script.sent_one();
    assert_eq!(sent.ip_v6().src(), US_LOCAL);
    assert_eq!(mld_records(&sent), [GroupRecord::Joins.mld_bytes(GROUP)]);
    script.wait(Duration::from_secs(1));
    let records = mld_records(&script.sent_one());
    assert!(records.contains(&GroupRecord::IsListening.mld_bytes(GROUP).to_vec()));
    script.stack.join_group(script.now, script.link, GROUP.into()).expect("it is a group");
    assert!(script.stack.leave_group(script.now, script.link, GROUP.into()));
    assert_eq!(script.sent().len(), 0, "somebody else listens");
    assert!(script.stack.leave_group(script.now, script.link, GROUP.into()));
    assert_eq!(mld_records(&script.sent_one()), [GroupRecord::Leaves.mld_bytes(GROUP)]);
    assert!(!script.stack.leave_group(script.now, script.link, GROUP.into()));
}

/// RFC 3376 §5.1, RFC 3810 §6.1: as often as joins, unless somebody listens again.
#[test]
fn leaves_are_told_twice() {
    let mut script = Script::v6();
    let join = |script: &mut Script| {
        script.stack.join_group(script.now, script.link, GROUP.into()).expect("it is a group");
        assert_eq!(mld_records(&script.sent_one()), [GroupRecord::Joins.mld_bytes(GROUP)]);
    };
    let leave = |script: &mut Script| {
        assert!(script.stack.leave_group(script.now, script.link, GROUP.into()));
        assert_eq!(mld_records(&script.sent_one()), [GroupRecord::Leaves.mld_bytes(GROUP)]);
    };
    join(&mut script);
    script.wait(Duration::from_secs(2));
    script.sent();
    leave(&mut script);
    script.wait(Duration::from_secs(1));
    assert_eq!(mld_records(&script.sent_one()), [GroupRecord::Leaves.mld_bytes(GROUP)]);
    script.wait(Duration::from_secs(60));
    assert_eq!(script.sent().len(), 0);
    join(&mut script);
    leave(&mut script);
    join(&mut script);
    script.wait(Duration::from_secs(60));
    let left = GroupRecord::Leaves.mld_bytes(GROUP).to_vec();
    assert!(script.sent().iter().all(|sent| !mld_records(sent).contains(&left)));
}

/// Of several shards one tells, of what any of them listens to.
#[test]
fn one_shard_tells_for_others() {
    let mut script = Script::v6();
    let mut other = Script::v6();
    other.stack.hand_out_groups();
    let hand_over = |script: &mut Script, other: &mut Script, count: usize| {
        let changes: Vec<_> = core::iter::from_fn(|| other.stack.poll_group()).collect();
        assert_eq!((changes.len(), other.sent().len(), other.stack.has_group_change()), (count, 0, false));
        changes.iter().for_each(|change| script.stack.apply_group(script.now, change).expect("it is there"));
    };
    for group in [GROUP.into(), IpAddr::V4(GROUP_V4)] {
        other.stack.join_group(other.now, other.link, group).expect("it is a group");
        other.stack.join_group(other.now, other.link, group).expect("it is a group");
        hand_over(&mut script, &mut other, 1);
        assert_eq!(script.sent().len(), 1);
        script.stack.join_group(script.now, script.link, group).expect("it is a group");
        assert!(script.stack.leave_group(script.now, script.link, group));
        assert!(other.stack.leave_group(other.now, other.link, group));
        hand_over(&mut script, &mut other, 0);
        assert_eq!(script.sent().len(), 0, "one listens");
        assert!(other.stack.leave_group(other.now, other.link, group));
        other.stack.join_group(other.now, other.link, group).expect("it is a group");
        hand_over(&mut script, &mut other, 0);
        assert!(other.stack.leave_group(other.now, other.link, group));
        hand_over(&mut script, &mut other, 1);
        assert_eq!(script.sent().len(), 1);
    }
}

/// What other shards listen to takes no room from who listens here, and the other way round.
#[test]
fn each_shard_has_its_own_bound() {
    let mut script = Script::v6();
    let group = |at: u16| IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 8, at));
    let link = script.link;
    let change = |at, is_joined| GroupChange { interface: link, group: group(at), is_joined };
    for at in 0..2_000 {
        script.stack.apply_group(script.now, &change(at, true)).expect("it is there");
    }
    for at in 1_000..2_024 {
        script.stack.join_group(script.now, link, group(at)).expect("there is room");
    }
    for at in [0, 2_024] {
        let refused = script.stack.join_group(script.now, link, group(at));
        assert_eq!(refused, Err(ConfigError::Full), "{at}");
    }
    script.stack.join_group(script.now, link, group(1_000)).expect("it was joined");
    script.stack.apply_group(script.now, &change(2_100, true)).expect("it is there");
    assert!(!script.stack.leave_group(script.now, link, group(1)), "another shard listens, and nobody here");
    assert!(script.stack.leave_group(script.now, link, group(2_023)));
    script.stack.join_group(script.now, link, group(2_024)).expect("there is room again");
}

/// The host ends, and its shards tell each other nothing any more.
#[test]
fn groups_are_left_at_the_end() {
    let mut script = Script::v6();
    let change = GroupChange { interface: script.link, group: GROUP.into(), is_joined: true };
    script.stack.apply_group(script.now, &change).expect("it is there");
    script.sent();
    assert!(script.stack.leave(script.now), "it has to be sent");
    assert_eq!(mld_records(&script.sent_one()), [GroupRecord::Leaves.mld_bytes(GROUP)]);
    assert!(!script.stack.leave(script.now));
    let mut other = Script::v6();
    other.stack.hand_out_groups();
    other.stack.join_group(other.now, other.link, GROUP.into()).expect("it is a group");
    assert!(!other.stack.leave(other.now) && other.sent().is_empty(), "another shard tells");
}

/// RFC 3376 §6, RFC 3810 §6: of groups to which every host listens, and of those of no link, routers hear nothing.
#[test]
fn nobody_is_told_of_what_every_host_listens_to() {
    let mut script = Script::v6();
    let own = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 0x99);
    for group in [ALL_NODES.into(), own.into(), IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1))] {
        script.stack.join_group(script.now, script.link, group).expect("it is a group");
        assert_eq!(script.sent().len(), 0, "{group}");
        assert!(script.stack.leave_group(script.now, script.link, group));
        script.wait(Duration::from_secs(2));
        assert_eq!(script.sent().len(), 0, "{group}");
    }
}

/// An address of ours listens there: it went on before somebody joined and goes on when he has left.
#[test]
fn what_an_address_listens_to_is_not_left() {
    let mut script = Script::v6();
    script.stack.join_group(script.now, script.link, US_SOLICITED.into()).expect("it is a group");
    assert!(script.stack.leave_group(script.now, script.link, US_SOLICITED.into()));
    script.wait(Duration::from_secs(2));
    assert_eq!(script.sent().len(), 0);
}

/// The same if an address has come since it was left.
#[test]
fn a_leave_is_not_repeated_when_an_address_listens() {
    let mut script = Script::v6();
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x77, 0x77);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, 0x77);
    script.stack.join_group(script.now, script.link, group.into()).expect("it is a group");
    assert!(script.stack.leave_group(script.now, script.link, group.into()));
    assert_eq!(script.sent().len(), 2);
    script.stack.add_address(script.now, script.link, prefix(address)).expect("it is a station's");
    let mut told = Vec::new();
    for _ in 0..4 {
        script.wait(Duration::from_millis(500));
        let sent = script.sent();
        told.extend(sent.iter().filter(|sent| !sent.is_ndp()).flat_map(mld_records));
    }
    assert!(told.contains(&GroupRecord::IsListening.mld_bytes(group).to_vec()));
    assert!(!told.contains(&GroupRecord::Leaves.mld_bytes(group).to_vec()));
}

/// RFC 3810 §6.2, §5.1.14.
#[test]
fn questions_are_answered() {
    let mut script = Script::v6();
    let body = [&[0; 16][..], &[2, 125, 0, 0]].concat();
    let query = Icmpv6Header::Other { kind: 130, code: 0, rest: [0x27, 0x10, 0, 0] };
    let message = icmp((PEER_LOCAL, ALL_NODES), &query, &body);
    let bare = Ipv6Header { hop_limit: 1, ..Ipv6Header::new(IpProtocol::ICMPV6, PEER_LOCAL, ALL_NODES) };
    let header = Ipv6Header { next_header: IpProtocol::HOP_BY_HOP, ..bare };
    let alerted = [&ipv6_router_alert(IpProtocol::ICMPV6)[..], &message].concat();
    script.ip_v6(&Ipv6Header { hop_limit: 64, ..header }, &alerted);
    assert_eq!(script.dropped(DropReason::GroupQuery), 1, "from afar");
    script.ip_v6(&bare, &message);
    assert_eq!(script.dropped(DropReason::GroupQuery), 2, "without a router alert");
    let mut other = alerted.clone();
    other[5] = 1;
    script.ip_v6(&header, &other);
    assert_eq!(script.dropped(DropReason::GroupQuery), 3, "with that of something else");
    script.ip_v6(&header, &alerted);
    assert_eq!(script.sent().len(), 0, "at some moment");
    script.wait(Duration::from_secs(10));
    let records = mld_records(&other_than_discovery(script.sent()));
    assert_eq!(records, [GroupRecord::IsListening.mld_bytes(US_SOLICITED)], "both addresses are asked for there");
}

/// RFC 3376 §5.1, §5.2, §4.2.14.
#[test]
fn igmp_tells_of_groups() {
    let mut script = Script::with_peer();
    script.stack.join_group(script.now, script.link, GROUP_V4.into()).expect("it is a group");
    let sent = script.sent_one();
    let ip = sent.ip();
    assert_eq!((ip.dst(), ip.ttl(), ip.options().count()), (IGMP_REPORTS_TO, 1, 1));
    assert_eq!(sent.ethernet.dst, MacAddr::from_ipv4_multicast(IGMP_REPORTS_TO));
    assert!(Sum::of(ip.payload()).is_valid());
    assert_eq!(ip.payload()[8..], GroupRecord::Joins.igmp_bytes(GROUP_V4));
    script.wait(Duration::from_secs(1));
    assert_eq!(script.sent_one().ip().payload()[8..], GroupRecord::IsListening.igmp_bytes(GROUP_V4));
    let mut query = [0x11, 0x64, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
    let checksum = Sum::of(&query).checksum();
    query[2..4].copy_from_slice(&checksum.to_be_bytes());
    let all = Ipv4Addr::new(224, 0, 0, 1);
    let header = Ipv4Header { ttl: 1, ..Ipv4Header::new(IpProtocol::IGMP, PEER_V4, all) };
    let packet = [&header.to_bytes(query.len()).expect("short")[..], &query].concat();
    script.frame(super::mac(1), MacAddr::from_ipv4_multicast(all), EtherType::IPV4, &packet);
    script.wait(Duration::from_secs(10));
    assert_eq!(script.sent_one().ip().payload()[8..], GroupRecord::IsListening.igmp_bytes(GROUP_V4));
}

/// What is sent to a group is for who has joined it.
#[test]
fn datagrams_to_groups_are_received() {
    let mut script = Script::with_peer();
    let id = script.stack.udp_bind((Ipv4Addr::UNSPECIFIED, 9).into(), UdpOptions::DEFAULT).expect("it is free");
    let len = u16::try_from(13).expect("short");
    let rest = sunstar_wire::checksum::pseudo_header_v4(PEER_V4, GROUP_V4, IpProtocol::UDP, len) + Sum::of(b"hello");
    let fill = sunstar_wire::checksum::Fill::Complete(rest);
    let header = sunstar_wire::UdpHeader { src_port: 7, dst_port: 9 }.to_bytes(5, fill).expect("short");
    let datagram = [&header[..], b"hello"].concat();
    for is_joined in [false, true] {
        if is_joined {
            script.stack.join_group(script.now, script.link, GROUP_V4.into()).expect("it is a group");
        }
        script.ip(&Ipv4Header::new(IpProtocol::UDP, PEER_V4, GROUP_V4), &datagram);
        let received = script.stack.udp().receive(id);
        assert_eq!(received.map(|received| received.to), is_joined.then_some(IpAddr::V4(GROUP_V4)));
    }
}
