//! Multicast groups: what we listen to, and that routers and switches hear of it (RFC 3376, RFC 3810).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use sunstar_packet::{BufferMut, Packet};
use sunstar_wire::checksum::{Sum, pseudo_header_v6};
use sunstar_wire::{
    GroupQuery, GroupRecord, IGMP_REPORTS_TO, Icmpv6Header, Icmpv6Packet, IpProtocol, Ipv4Header, Ipv4Options,
    Ipv6Extension, Ipv6Extensions, Ipv6Header, MLD_REPORTS_TO, OldGroupMessage, igmp_report, ipv6_router_alert,
    mld_report,
};

use super::input::Arrived;
use super::input_v6::ALL_NODES;
use super::ndp::solicited_node;
use super::network::{Cast, Way};
use super::{ConfigError, Stack, earliest};
use crate::drops::DropReason;
use crate::head::HeadV6;
use crate::interface::InterfaceId;
use crate::neighbours::Errand;
use crate::time::Instant;

/// Groups that sockets of a stack have joined at most, each counted once per interface.
const MAX_GROUPS: usize = 1_024;

/// A change is told so often, so far apart at most (RFC 3376 §8.1, §8.11; RFC 3810 §9.1, §9.11).
const ROBUSTNESS: u8 = 2;
const UNSOLICITED: Duration = Duration::from_secs(1);

/// The longest time over which answers are spread (RFC 3810 §5.1.3: more makes no sense).
const MAX_RESPONSE: Duration = Duration::from_secs(60);

/// Groups in one report, so that it fits any link.
const RECORDS: usize = 50;

/// All stations of a link by IPv4 (RFC 1112 §4), of which nobody is told.
pub(super) const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

mod handed;
mod leaving;
mod older;

pub use handed::GroupChange;
use handed::Handed;
use leaving::Leaving;
use older::{Mode, Older};

#[derive(Debug)]
struct Membership {
    interface: InterfaceId,
    group: IpAddr,
    /// Those of sockets here, and those of [other shards](Stack::apply_group).
    joins: [u32; 2],
}

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    Socket,
    Shard,
}

/// What is to be said, and when.
#[derive(Debug)]
struct Report {
    interface: InterfaceId,
    is_v6: bool,
    due: Instant,
    /// How often it is to be said.
    left: u8,
}

/// What sockets have joined.
#[derive(Debug, Default)]
pub(super) struct Groups {
    members: Vec<Membership>,
    reports: Vec<Report>,
    leaving: Leaving,
    older: Older,
    /// What another shard is to tell; none if we tell ourselves.
    handed: Option<Handed>,
}

impl Groups {
    /// Whether nothing is to be told.
    pub(super) const fn has_no_reports(&self) -> bool {
        self.reports.is_empty() && self.leaving.is_empty() && self.older.has_no_reports()
    }

    /// Whether a socket has joined a group.
    pub(super) fn has(&self, interface: InterfaceId, group: IpAddr) -> bool {
        self.members.iter().any(|member| (member.interface, member.group) == (interface, group))
    }

    /// How many groups sockets of this stack have joined.
    fn joined_here(&self) -> usize {
        self.members.iter().filter(|member| member.joins[Listener::Socket as usize] > 0).count()
    }

    /// Nothing is to be said on an interface. What sockets have joined stays joined.
    pub(super) fn forget_reports(&mut self, interface: InterfaceId) {
        self.reports.retain(|report| report.interface != interface);
        self.leaving.retain(|id, _| id != interface);
        self.older.forget(interface);
    }

    /// Has a report sent at `due`, or before if one is waiting.
    fn schedule(&mut self, interface: InterfaceId, is_v6: bool, due: Instant, left: u8) {
        let same = |report: &&mut Report| (report.interface, report.is_v6) == (interface, is_v6);
        match self.reports.iter_mut().find(same) {
            Some(report) => {
                report.due = report.due.min(due);
                report.left = report.left.max(left);
            }
            None => self.reports.push(Report { interface, is_v6, due, left }),
        }
    }
}

impl Stack {
    /// The interface by which a group is listened to whose number is `scope_id`; if that is zero, the one by which packets to the group leave,
    /// or the first one.
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`], [`ConfigError::Address`] if it is no group.
    pub fn group_interface(&self, group: IpAddr, scope_id: u32) -> Result<InterfaceId, ConfigError> {
        if !group.is_multicast() {
            return Err(ConfigError::Address);
        }
        let chosen = || self.network.way(group).map(|way| way.interface).or_else(|| self.network.devices().next());
        let named = u16::try_from(scope_id).ok().map(InterfaceId);
        let id = if scope_id == 0 { chosen() } else { named };
        id.filter(|id| self.network.interface(*id).is_some()).ok_or(ConfigError::NoInterface)
    }

    /// Listens to a multicast group on an interface, once more than before. Who is there is told (RFC 3376, RFC 3810).
    ///
    /// # Errors
    /// [`ConfigError::NoInterface`], [`ConfigError::Address`] if it is no group, [`ConfigError::Full`].
    pub fn join_group(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) -> Result<(), ConfigError> {
        self.network.interface(interface).ok_or(ConfigError::NoInterface)?;
        if !group.is_multicast() {
            return Err(ConfigError::Address);
        }
        self.join(now, interface, group, Listener::Socket)
    }

    /// The same for either kind of listener. Other shards have bounded how many groups theirs join.
    fn join(&mut self, now: Instant, interface: InterfaceId, group: IpAddr, who: Listener) -> Result<(), ConfigError> {
        let same = |member: &Membership| (member.interface, member.group) == (interface, group);
        let found = self.groups.members.iter().position(same);
        let joins = found.map_or(0, |at| self.groups.members[at].joins[who as usize]);
        if joins == 0 && who == Listener::Socket && self.groups.joined_here() >= MAX_GROUPS {
            return Err(ConfigError::Full);
        }
        if let Some(at) = found {
            self.groups.members[at].joins[who as usize] = joins.saturating_add(1);
            return Ok(());
        }
        let must_tell = is_of_routers(group) && !self.is_told(interface, group);
        let mut member = Membership { interface, group, joins: [0; 2] };
        member.joins[who as usize] = 1;
        self.groups.members.push(member);
        self.groups.leaving.retain(|id, other| (id, other) != (interface, group));
        if let Some(handed) = &mut self.groups.handed {
            handed.push(GroupChange { interface, group, is_joined: true });
            return Ok(());
        }
        if !must_tell {
            return Ok(());
        }
        if self.groups.older.mode(now, interface, group.is_ipv6()) != Mode::Current {
            self.join_as_of_old(now, interface, group);
            return Ok(());
        }
        self.send_records(now, interface, &[group], GroupRecord::Joins);
        self.groups.schedule(interface, group.is_ipv6(), now + UNSOLICITED, ROBUSTNESS - 1);
        Ok(())
    }

    /// Listens to a group once less. Answers whether it was listened to. If that was the last time, that is told, and told again (RFC 3376
    /// §5.1, RFC 3810 §6.1).
    pub fn leave_group(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) -> bool {
        self.leave_as(now, interface, group, Listener::Socket)
    }

    /// The same for either kind of listener.
    fn leave_as(&mut self, now: Instant, interface: InterfaceId, group: IpAddr, who: Listener) -> bool {
        let same = |member: &Membership| (member.interface, member.group) == (interface, group);
        let Some(at) = self.groups.members.iter().position(same) else { return false };
        let joins = &mut self.groups.members[at].joins;
        let Some(left) = joins[who as usize].checked_sub(1) else { return false };
        joins[who as usize] = left;
        if *joins == [0; 2] {
            self.groups.members.remove(at);
            if let Some(handed) = &mut self.groups.handed {
                handed.push(GroupChange { interface, group, is_joined: false });
                return true;
            }
            self.tell_leave(now, interface, group);
        }
        true
    }

    /// An address is new: those who filter groups hear of its one, now and again a little later.
    pub(super) fn report_joins(&mut self, now: Instant, interface: InterfaceId) {
        if self.groups.handed.is_none() {
            self.groups.schedule(interface, true, now, ROBUSTNESS);
        }
    }

    pub(super) fn group_deadline(&self) -> Option<Instant> {
        let reports = self.groups.reports.iter().map(|report| report.due).min();
        earliest(earliest(reports, self.groups.leaving.deadline()), self.groups.older.deadline())
    }

    /// Sends the reports that are due.
    pub(super) fn send_reports(&mut self, now: Instant) {
        for at in 0..self.groups.reports.len() {
            let report = &mut self.groups.reports[at];
            if report.due > now || report.left == 0 {
                continue;
            }
            report.left -= 1;
            report.due = now + UNSOLICITED;
            let (interface, is_v6) = (report.interface, report.is_v6);
            let groups = self.listened_groups(interface, is_v6);
            if self.groups.older.mode(now, interface, is_v6) != Mode::Current {
                groups.into_iter().for_each(|group| self.send_old_report(now, interface, group));
                continue;
            }
            self.send_records(now, interface, &groups, GroupRecord::IsListening);
        }
        self.groups.reports.retain(|report| report.left > 0);
        self.send_leaves(now);
        self.send_old_reports(now);
    }

    /// Whether routers are told that an interface listens to a group: not of those to which every host listens (RFC 3376 §6, RFC 3810 §6), nor
    /// of those that no router carries (RFC 3810 §6).
    fn is_told(&self, id: InterfaceId, group: IpAddr) -> bool {
        is_of_routers(group)
            && match group {
                IpAddr::V4(_) => self.groups.has(id, group),
                IpAddr::V6(v6) => self.listens_to(id, v6),
            }
    }

    /// All groups of an interface of which routers are told.
    fn listened_groups(&self, id: InterfaceId, is_v6: bool) -> Vec<IpAddr> {
        let joined = self.groups.members.iter().filter(|member| member.interface == id);
        let mut groups: Vec<IpAddr> =
            joined.map(|member| member.group).filter(|group| group.is_ipv6() == is_v6).collect();
        if is_v6 && let Some(interface) = self.network.interface(id) {
            let tentative = self.tentative.iter().filter(|other| other.interface == id).map(|other| other.address());
            groups.extend(interface.addresses_v6().chain(tentative).map(|own| IpAddr::V6(solicited_node(own))));
        }
        groups.retain(|group| is_of_routers(*group));
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn send_records(&mut self, now: Instant, id: InterfaceId, groups: &[IpAddr], record: GroupRecord) {
        let is_link = self.network.interface(id).is_some_and(|interface| interface.mac().is_some());
        for some in groups.chunks(RECORDS).filter(|_| is_link) {
            let (mut v4, mut v6) = (Vec::new(), Vec::new());
            for group in some {
                match group {
                    IpAddr::V4(group) => v4.push(record.igmp_bytes(*group)),
                    IpAddr::V6(group) => v6.push(record.mld_bytes(*group)),
                }
            }
            self.send_igmp(now, id, &v4);
            self.send_mld(now, id, &v6);
        }
    }

    fn send_igmp(&mut self, now: Instant, id: InterfaceId, records: &[[u8; 8]]) {
        let Some(count) = u16::try_from(records.len()).ok().filter(|count| *count > 0) else { return };
        let records = records.as_flattened();
        let report = igmp_report(count, Sum::of(records));
        self.send_igmp_message(now, id, IGMP_REPORTS_TO, &[&report, records]);
    }

    /// RFC 3376 §4.
    fn send_igmp_message(&mut self, now: Instant, id: InterfaceId, dst: Ipv4Addr, message: &[&[u8]]) {
        let Some(interface) = self.network.interface(id) else { return };
        let source = match interface.source_for(dst.into()) {
            Some(IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let Some(packet) = joined(message) else { return };
        let header = Ipv4Header {
            ttl: 1,
            options: Ipv4Options::ROUTER_ALERT,
            traffic_class: sunstar_wire::TrafficClass(0xc0),
            ..Ipv4Header::new(IpProtocol::IGMP, source, dst)
        };
        let Some(packet) = self.with_ipv4_header(&header, packet) else { return };
        self.send_report(now, id, dst.into(), packet);
    }

    fn send_mld(&mut self, now: Instant, id: InterfaceId, records: &[[u8; 20]]) {
        let Some(count) = u16::try_from(records.len()).ok().filter(|count| *count > 0) else { return };
        self.send_mld_message(now, id, MLD_REPORTS_TO, mld_report(count), records.as_flattened());
    }

    /// RFC 3810 §5.
    fn send_mld_message(&mut self, now: Instant, id: InterfaceId, dst: Ipv6Addr, header: Icmpv6Header, body: &[u8]) {
        let Some(interface) = self.network.interface(id) else { return };
        // RFC 3810 §5.2.13: link-local, or none.
        let src = interface.link_local().unwrap_or(Ipv6Addr::UNSPECIFIED);
        let Ok(len) = u32::try_from(body.len() + Icmpv6Header::LEN) else { return };
        let sum = pseudo_header_v6(src, dst, IpProtocol::ICMPV6, len) + Sum::of(body);
        let message = header.to_bytes(sum);
        let Some(packet) = joined(&[&ipv6_router_alert(IpProtocol::ICMPV6), &message, body]) else { return };
        let header = Ipv6Header { hop_limit: 1, ..Ipv6Header::new(IpProtocol::HOP_BY_HOP, src, dst) };
        let Some(packet) = self.with_ipv6_header(&header, packet) else { return };
        self.send_report(now, id, dst.into(), packet);
    }

    fn send_report(&mut self, now: Instant, interface: InterfaceId, next_hop: IpAddr, packet: Packet) {
        self.counters.group_reports_sent += 1;
        if let Some(ready) =
            self.link_output(now, &Way { interface, next_hop, cast: Cast::Multicast }, Errand::Own, packet)
        {
            self.enqueue(ready);
        }
    }

    /// RFC 3376 §5.2, §9.1.
    pub(super) fn input_igmp(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        header: &Ipv4Header,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        let len = packet.len().min(12);
        if !Sum::of_chain(packet.buffers()).is_valid() {
            return Err(DropReason::GroupQuery);
        }
        let bytes = packet.contiguous(len, &self.copies).map_err(|_| DropReason::GroupQuery)?;
        if header.ttl != 1 {
            return Err(DropReason::GroupQuery);
        }
        if let Ok((message, group)) = OldGroupMessage::parse_igmp(bytes) {
            self.groups.older.on_other(arrived.interface, group.into(), message);
            return Ok(());
        }
        // What others report by the current version concerns no host (§5.2).
        let Ok(query) = GroupQuery::parse_igmp(bytes) else { return Err(DropReason::GroupQuery) };
        let is_listened = query.group.is_unspecified() || self.is_told(arrived.interface, query.group.into());
        self.on_query(now, arrived.interface, &query, query.group.into(), is_listened);
        Ok(())
    }

    /// RFC 3810 §6.2, §5.1.14.
    pub(super) fn input_group_query_v6(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        head: &HeadV6,
        mut packet: Packet,
    ) -> Result<(), DropReason> {
        let len = packet.len().min(28);
        let bytes = packet.contiguous(len, &self.copies).map_err(|_| DropReason::GroupQuery)?;
        let view = Icmpv6Packet::parse(bytes).map_err(|_| DropReason::GroupQuery)?;
        if head.header.hop_limit != 1 {
            return Err(DropReason::GroupQuery);
        }
        if let Ok((message, group)) = OldGroupMessage::parse_mld(&view) {
            self.groups.older.on_other(arrived.interface, group.into(), message);
            return Ok(());
        }
        let Ok(query) = GroupQuery::parse_mld(&view) else { return Err(DropReason::GroupQuery) };
        if !head.header.src.is_unicast_link_local() || !has_router_alert(head) {
            return Err(DropReason::GroupQuery);
        }
        let is_listened = query.group.is_unspecified() || self.is_told(arrived.interface, query.group.into());
        self.on_query(now, arrived.interface, &query, query.group.into(), is_listened);
        Ok(())
    }

    /// A router has asked, for a group that is listened to or not.
    fn on_query<A>(&mut self, now: Instant, id: InterfaceId, query: &GroupQuery<A>, group: IpAddr, is_listened: bool) {
        let is_v6 = group.is_ipv6();
        let mode = Mode::of(query.version, is_v6);
        if self.groups.older.on_query(now, id, is_v6, mode, group.is_unspecified(), query.max_response) {
            // RFC 3376 §7.2.1: what was to be said in another version is not said.
            self.groups.reports.retain(|report| (report.interface, report.is_v6) != (id, is_v6));
            self.groups.leaving.retain(|interface, group| (interface, group.is_ipv6()) != (id, is_v6));
        }
        if !is_listened || self.groups.handed.is_some() {
            return;
        }
        if self.groups.older.mode(now, id, is_v6) == Mode::Current {
            self.answer_query(now, id, is_v6, query.max_response);
            return;
        }
        let asked = if group.is_unspecified() { self.listened_groups(id, is_v6) } else { alloc::vec![group] };
        for group in asked {
            let delay = self.draw_delay(query.max_response);
            self.groups.older.schedule(id, group, now + delay, 1);
        }
    }

    /// At some moment before the time is over, so that not all answer at once.
    fn answer_query(&mut self, now: Instant, id: InterfaceId, is_v6: bool, max_response: Duration) {
        let delay = self.draw_delay(max_response);
        self.groups.schedule(id, is_v6, now + delay, 1);
    }

    fn draw_delay(&mut self, max_response: Duration) -> Duration {
        let most = u64::try_from(max_response.min(MAX_RESPONSE).as_micros()).unwrap_or(0);
        Duration::from_micros(self.secret.draw(&mut self.draws) % (most + 1))
    }
}

/// Whether a packet says that routers are to look at it, and why: multicast listeners (RFC 2711 §2.1).
fn has_router_alert(head: &HeadV6) -> bool {
    const OF_LISTENERS: [u8; 2] = [0, 0];

    let first = Ipv6Extensions::behind_fixed(head.header.next_header, &head.extensions).next();
    let Some(Ok(Ipv6Extension::HopByHop(mut options))) = first else { return false };
    options.any(|option| option.is_ok_and(|option| option.is_router_alert() && option.data == OF_LISTENERS))
}

/// Whether routers have anything to do with a group.
fn is_of_routers(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group != ALL_SYSTEMS,
        // RFC 4291 §2.7: the scope is in the last four bits, of which zero is reserved and one the interface itself.
        IpAddr::V6(group) => group != ALL_NODES && group.octets()[1] & 0xf > 1,
    }
}

/// The parts one behind the other, with room in front.
fn joined(parts: &[&[u8]]) -> Option<Packet> {
    let mut bytes = BufferMut::with_capacity(96, parts.iter().map(|part| part.len()).sum());
    for part in parts {
        bytes.extend_from_slice(part).ok()?;
    }
    Some(bytes.freeze().into())
}
