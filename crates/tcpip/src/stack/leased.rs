//! What the stack has from leases: the changes from one to the next.

use alloc::vec::Vec;

use super::Stack;
use crate::configuration::Change;
use crate::time::Instant;

impl Stack {
    /// Makes the changes from what the stack has of a lease to what is wanted, and notes what it has then. What does not fit is left out,
    /// and tried again the next time; what goes with an address of IPv4 is nothing without it.
    pub(super) fn remake(&mut self, now: Instant, made: &mut Vec<Change>, wanted: Vec<Change>) {
        // What is replaced stays until then: with an address connections would go.
        let (mut before, gone): (Vec<Change>, Vec<Change>) =
            core::mem::take(made).into_iter().partition(|old| wanted.iter().any(|new| is_in_place_of(new, old)));
        gone.iter().rev().for_each(|gone| self.undo(now, gone));
        for new in wanted {
            let old = before.iter().position(|old| is_in_place_of(&new, old)).map(|at| before.remove(at));
            let is_address = matches!(&new, Change::AddAddress { address, .. } if address.address().is_ipv4());
            let has = if old.as_ref() == Some(&new) || self.change(now, new.clone()) { Some(new) } else { old };
            if is_address && has.is_none() {
                break;
            }
            made.extend(has);
        }
        for gone in before.iter().rev() {
            self.undo(now, gone);
        }
    }

    fn undo(&mut self, now: Instant, change: &Change) {
        if let Some(undo) = undo(change) {
            self.change(now, undo);
        }
    }

    /// Answers whether it was made.
    fn change(&mut self, now: Instant, change: Change) -> bool {
        let is_made = self.configure(now, change).is_ok();
        self.counters.changes_refused += u64::from(!is_made);
        is_made
    }
}

/// Whether one change of a lease takes the place of another one.
fn is_in_place_of(new: &Change, old: &Change) -> bool {
    match (new, old) {
        (Change::AddAddress { address: new, .. }, Change::AddAddress { address: old, .. }) => {
            new.address() == old.address()
        }
        (Change::SetPreferred { address: new, .. }, Change::SetPreferred { address: old, .. }) => new == old,
        (Change::AddRoute(new), Change::AddRoute(old)) => new == old,
        _ => core::mem::discriminant(new) == core::mem::discriminant(old),
    }
}

/// What takes it back.
fn undo(change: &Change) -> Option<Change> {
    Some(match change {
        Change::AddAddress { interface, address } => {
            Change::RemoveAddress { interface: *interface, address: address.address() }
        }
        Change::SetPreferred { interface, address, is_preferred } => {
            Change::SetPreferred { interface: *interface, address: *address, is_preferred: !is_preferred }
        }
        Change::AddRoute(route) => Change::RemoveRoute(*route),
        Change::SetMtu { interface, origin, .. } => Change::SetMtu { interface: *interface, origin: *origin, mtu: 0 },
        Change::SetNameServers { interface, origin, .. } => {
            Change::SetNameServers { interface: *interface, origin: *origin, servers: Vec::new() }
        }
        Change::SetSearchDomains { interface, origin, .. } => {
            Change::SetSearchDomains { interface: *interface, origin: *origin, domains: Vec::new() }
        }
        Change::RemoveAddress { .. } | Change::RemoveRoute(_) | Change::SetLink { .. } => return None,
    })
}
