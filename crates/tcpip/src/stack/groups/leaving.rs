//! Groups that nobody here listens to any more: told so often that a router hears of it though packets get lost (RFC 3376 §5.1, RFC 3810
//! §6.1).

use alloc::vec::Vec;
use core::net::IpAddr;

use sunstar_wire::GroupRecord;

use super::{MAX_GROUPS, Mode, ROBUSTNESS, Stack, UNSOLICITED, is_of_routers};
use crate::interface::InterfaceId;
use crate::time::Instant;

/// A group that was left.
#[derive(Clone, Copy, Debug)]
struct Leave {
    interface: InterfaceId,
    group: IpAddr,
    due: Instant,
    /// How often it is to be said.
    left: u8,
}

/// What is to be said again; of more than [`MAX_GROUPS`] it is said once.
#[derive(Debug, Default)]
pub(super) struct Leaving(Vec<Leave>);

impl Leaving {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|leave| leave.due).min()
    }

    /// Forgets those for which `keeps` says no.
    pub(super) fn retain(&mut self, keeps: impl Fn(InterfaceId, IpAddr) -> bool) {
        self.0.retain(|leave| keeps(leave.interface, leave.group));
    }
}

impl Stack {
    /// Leaves what sockets of any shard have joined, since the host ends: shards that end tell each other nothing any more. Answers whether
    /// there was something to be told.
    pub(in crate::stack) fn leave_groups(&mut self, now: Instant) -> bool {
        if self.groups.handed.is_some() {
            return false;
        }
        let left = core::mem::take(&mut self.groups.members);
        left.iter().for_each(|member| self.tell_leave(now, member.interface, member.group));
        !left.is_empty()
    }

    /// No socket listens to a group any more. That is told, unless routers were not told of it, or it is listened to all the same.
    pub(super) fn tell_leave(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) {
        if !is_of_routers(group) || self.is_told(interface, group) {
            return;
        }
        match self.groups.older.mode(now, interface, group.is_ipv6()) {
            Mode::Current => self.begin_leaving(now, interface, group),
            mode => self.leave_as_of_old(now, interface, group, mode),
        }
    }

    /// Tells that nobody here listens to a group any more, now and a little later.
    fn begin_leaving(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) {
        self.send_records(now, interface, &[group], GroupRecord::Leaves);
        if self.groups.leaving.0.len() < MAX_GROUPS {
            let due = now + UNSOLICITED;
            self.groups.leaving.0.push(Leave { interface, group, due, left: ROBUSTNESS - 1 });
        }
    }

    /// Tells again what is due, all of a moment in one report.
    pub(super) fn send_leaves(&mut self, now: Instant) {
        while let Some(first) = self.groups.leaving.0.iter().find(|leave| leave.due <= now).copied() {
            let is_it = |leave: &Leave| {
                leave.due <= now && (leave.interface, leave.group.is_ipv6()) == (first.interface, first.group.is_ipv6())
            };
            let mut groups = Vec::new();
            for leave in self.groups.leaving.0.iter_mut().filter(|leave| is_it(leave)) {
                groups.push(leave.group);
                (leave.due, leave.left) = (now + UNSOLICITED, leave.left - 1);
            }
            self.groups.leaving.0.retain(|leave| leave.left > 0);
            // An address may have come meanwhile that listens there as well.
            groups.retain(|group| !self.is_told(first.interface, *group));
            self.send_records(now, first.interface, &groups, GroupRecord::Leaves);
        }
    }
}
