//! Who owns which address: kept on shard 0, asked by messages.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use sunstar_executor::sync::Condvar;
use sunstar_executor::{ShardId, local};

use super::direct::is_any_port;
use super::shard::GroupId;
use crate::address::Address;
use crate::error::Error;
use crate::listener::Spread;

/// Where the registry is.
pub(super) const REGISTRY: ShardId = ShardId::new(0);

/// What a shard that binds an address shall do.
#[derive(Debug)]
pub(super) enum Claim {
    /// Listen, and tell what came of it.
    Listen(GroupId),
    /// Register with the owner.
    Join { id: GroupId, owner: ShardId, local: Address },
}

/// What a shard wants to listen at.
pub(super) struct Wish {
    pub(super) address: Address,
    pub(super) spread: Spread,
    pub(super) shard: ShardId,
    /// The groups of which the shard is a member.
    pub(super) mine: Vec<GroupId>,
    /// A group whose end the shard has noticed.
    pub(super) ended: Option<GroupId>,
}

struct Entry {
    id: GroupId,
    /// The address that was asked for.
    requested: Address,
    /// The address that it listens at; none as long as the owner is about to.
    local: Option<Address>,
    spread: Spread,
    owner: ShardId,
}

#[derive(Default)]
struct Registry {
    entries: RefCell<Vec<Entry>>,
    last: Cell<u64>,
    changed: Condvar,
}

impl Registry {
    /// That of the program, if this is its shard.
    fn here() -> Rc<Self> {
        local::get().unwrap_or_else(|| {
            let registry = Rc::<Self>::default();
            local::set(Rc::clone(&registry));
            registry
        })
    }

    /// What to do for a wish, if that is known yet.
    fn try_claim(&self, wish: &Wish) -> Option<Result<Claim, Error>> {
        let is_any_port = is_any_port(&wish.address);
        let mut entries = self.entries.borrow_mut();
        let found = entries.iter().find(|entry| {
            if is_any_port {
                entry.requested == wish.address && entry.spread == wish.spread && !wish.mine.contains(&entry.id)
            } else {
                entry.requested == wish.address || entry.local.as_ref() == Some(&wish.address)
            }
        });
        let Some(entry) = found else {
            let id = GroupId(self.last.get() + 1);
            self.last.set(id.0);
            let (requested, spread) = (wish.address.clone(), wish.spread);
            entries.push(Entry { id, requested, local: None, spread, owner: wish.shard });
            return Some(Ok(Claim::Listen(id)));
        };
        if entry.spread != wish.spread || wish.mine.contains(&entry.id) {
            return Some(Err(Error::AddressInUse));
        }
        let local = entry.local.clone()?;
        Some(Ok(Claim::Join { id: entry.id, owner: entry.owner, local }))
    }

    fn retire(&self, id: GroupId) {
        self.entries.borrow_mut().retain(|entry| entry.id != id);
        self.changed.notify_all();
    }
}

/// Answers what a shard that binds an address shall do; waits for the outcome if another one is about to listen there.
pub(super) async fn claim(wish: Wish) -> Result<Claim, Error> {
    let registry = Registry::here();
    if let Some(id) = wish.ended {
        registry.retire(id);
    }
    loop {
        if let Some(claim) = registry.try_claim(&wish) {
            return claim;
        }
        registry.changed.wait().await.map_err(|_| Error::Stopped)?;
    }
}

/// Takes note where a group listens.
pub(super) fn listens(id: GroupId, local: Address) {
    let registry = Registry::here();
    if let Some(entry) = registry.entries.borrow_mut().iter_mut().find(|entry| entry.id == id) {
        entry.local = Some(local);
    }
    registry.changed.notify_all();
}

/// Takes note that a group has ended, or does not come about. Once is as good as twice.
pub(super) fn retire(id: GroupId) {
    Registry::here().retire(id);
}
