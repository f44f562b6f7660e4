//! Routers that speak older versions: IGMPv1 and IGMPv2 (RFC 3376 §7.2), MLDv1 (RFC 3810 §8.2). They are answered group by group.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use sunstar_wire::{GroupRecord, OldGroupMessage};

use super::{ROBUSTNESS, Stack};
use crate::interface::InterfaceId;
use crate::stack::earliest;
use crate::time::Instant;

/// For so long, and the time that answers take, a router is there that was heard: robustness times the interval of queries (RFC 3376 §8.12,
/// RFC 3810 §9.12).
const PRESENT: Duration = Duration::from_secs(ROBUSTNESS as u64 * 125);

/// Between the reports of who has joined (RFC 2236 §8.10, RFC 2710 §7.10).
const UNSOLICITED: Duration = Duration::from_secs(10);

/// To whom who leaves says so: all routers of the link (RFC 2236 §9, RFC 2710 §9).
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const ALL_ROUTERS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Which version is spoken (the host compatibility mode of RFC 3376 §7.2.1 and RFC 3810 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// IGMPv3, MLDv2.
    Current,
    /// IGMPv2, MLDv1.
    Older,
    /// IGMPv1.
    Oldest,
}

impl Mode {
    /// That of a router's version.
    pub(super) fn of(version: u8, is_v6: bool) -> Self {
        match (version, is_v6) {
            (1, false) => Self::Oldest,
            (2, false) | (1, true) => Self::Older,
            _ => Self::Current,
        }
    }
}

/// Until when routers of older versions are taken to be there.
#[derive(Debug)]
struct Present {
    interface: InterfaceId,
    is_v6: bool,
    older: Option<Instant>,
    oldest: Option<Instant>,
}

/// A group of which a router is to be told.
#[derive(Debug)]
struct Due {
    interface: InterfaceId,
    group: IpAddr,
    at: Instant,
    left: u8,
}

/// What is known of older routers, and what is to be told to them: bounded by the interfaces and by the groups.
#[derive(Debug, Default)]
pub(super) struct Older {
    present: Vec<Present>,
    due: Vec<Due>,
}

impl Older {
    pub(super) fn mode(&self, now: Instant, interface: InterfaceId, is_v6: bool) -> Mode {
        let same = |other: &&Present| (other.interface, other.is_v6) == (interface, is_v6);
        let Some(present) = self.present.iter().find(same) else { return Mode::Current };
        let is_there = |until: Option<Instant>| until.is_some_and(|until| until > now);
        match (is_there(present.oldest), is_there(present.older)) {
            (true, _) => Mode::Oldest,
            (_, true) => Mode::Older,
            _ => Mode::Current,
        }
    }

    /// A router has asked for a group or for all. Answers whether another version is spoken from now on.
    pub(super) fn on_query(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        is_v6: bool,
        mode: Mode,
        is_general: bool,
        max_response: Duration,
    ) -> bool {
        let before = self.mode(now, interface, is_v6);
        // RFC 3376 §7.2.1: any query of version 1, general ones of version 2.
        if mode == Mode::Current || mode == Mode::Older && !is_general {
            return false;
        }
        let same = |other: &Present| (other.interface, other.is_v6) == (interface, is_v6);
        let at = self.present.iter().position(same).unwrap_or_else(|| {
            self.present.push(Present { interface, is_v6, older: None, oldest: None });
            self.present.len() - 1
        });
        let until = Some(now + PRESENT + max_response);
        match mode {
            Mode::Oldest => self.present[at].oldest = until,
            _ => self.present[at].older = until,
        }
        let has_changed = self.mode(now, interface, is_v6) != before;
        if has_changed {
            self.due.retain(|due| (due.interface, due.group.is_ipv6()) != (interface, is_v6));
        }
        has_changed
    }

    /// Somebody else has told of a group: a router need not hear it from us (RFC 2236 §3, RFC 2710 §4).
    pub(super) fn on_other(&mut self, interface: InterfaceId, group: IpAddr, message: OldGroupMessage) {
        if message != OldGroupMessage::Leave {
            self.due.retain(|due| (due.interface, due.group) != (interface, group));
        }
    }

    /// Has a group told of at some time, or before if that is due anyhow (RFC 2236 §3).
    pub(super) fn schedule(&mut self, interface: InterfaceId, group: IpAddr, at: Instant, left: u8) {
        match self.due.iter_mut().find(|due| (due.interface, due.group) == (interface, group)) {
            Some(due) => {
                due.at = due.at.min(at);
                due.left = due.left.max(left);
            }
            None => self.due.push(Due { interface, group, at, left }),
        }
    }

    fn cancel(&mut self, interface: InterfaceId, group: IpAddr) {
        self.due.retain(|due| (due.interface, due.group) != (interface, group));
    }

    pub(super) fn forget(&mut self, interface: InterfaceId) {
        self.due.retain(|due| due.interface != interface);
        self.present.retain(|present| present.interface != interface);
    }

    /// Whether nothing is to be told.
    pub(super) const fn has_no_reports(&self) -> bool {
        self.due.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.iter().map(|due| due.at).fold(None, |first, at| earliest(first, Some(at)))
    }
}

impl Stack {
    /// RFC 2236 §3, RFC 2710 §4: told at once, and again.
    pub(super) fn join_as_of_old(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) {
        self.groups.older.schedule(interface, group, now + UNSOLICITED, ROBUSTNESS - 1);
        self.send_old_report(now, interface, group);
    }

    /// RFC 2236 §6, RFC 2710 §4: who has told of it last says that he leaves; who does not remember may always do. IGMPv1 knows none of it.
    pub(super) fn leave_as_of_old(&mut self, now: Instant, interface: InterfaceId, group: IpAddr, mode: Mode) {
        self.groups.older.cancel(interface, group);
        if mode == Mode::Older {
            self.send_old_message(now, interface, group, OldGroupMessage::Leave);
        }
    }

    /// Tells of the groups that are due.
    pub(super) fn send_old_reports(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(due) = self.groups.older.due.get_mut(at) {
            if due.at > now {
                at += 1;
                continue;
            }
            let (interface, group) = (due.interface, due.group);
            due.left = due.left.saturating_sub(1);
            due.at = now + UNSOLICITED;
            if due.left == 0 {
                self.groups.older.due.swap_remove(at);
            } else {
                at += 1;
            }
            self.send_old_report(now, interface, group);
        }
    }

    /// Tells of a group in the version that is spoken now.
    pub(super) fn send_old_report(&mut self, now: Instant, interface: InterfaceId, group: IpAddr) {
        match self.groups.older.mode(now, interface, group.is_ipv6()) {
            Mode::Current => self.send_records(now, interface, &[group], GroupRecord::IsListening),
            Mode::Older => self.send_old_message(now, interface, group, OldGroupMessage::Report),
            Mode::Oldest => self.send_old_message(now, interface, group, OldGroupMessage::ReportV1),
        }
    }

    fn send_old_message(&mut self, now: Instant, id: InterfaceId, group: IpAddr, message: OldGroupMessage) {
        if self.network.interface(id).is_none_or(|interface| interface.mac().is_none()) {
            return;
        }
        let is_leave = message == OldGroupMessage::Leave;
        match group {
            IpAddr::V4(group) => {
                let dst = if is_leave { ALL_ROUTERS } else { group };
                self.send_igmp_message(now, id, dst, &[&message.igmp_bytes(group)]);
            }
            IpAddr::V6(group) => {
                let dst = if is_leave { ALL_ROUTERS_V6 } else { group };
                self.send_mld_message(now, id, dst, message.mld_header(), &group.octets());
            }
        }
    }
}
