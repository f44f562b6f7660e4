//! What a shard knows of its listeners.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use sunstar_executor::local;
use sunstar_executor::sync::{Condvar, Semaphore};

use super::group::Group;
use super::member::Member;
use crate::address::Address;

/// The name of a group, which no other had before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupId(pub(super) u64);

/// The listeners of one shard. There are few, so they are searched from the front.
pub(crate) struct Spreading {
    /// One per group that this shard is a member of, until it is out of it.
    pub(super) members: RefCell<Vec<Rc<Member>>>,
    /// The groups that this shard owns.
    pub(super) groups: RefCell<Vec<Rc<Group>>>,
    /// Where sockets of this shard's own listen.
    pub(super) direct: RefCell<Vec<Address>>,
    /// Lets one bind at a time ask the registry.
    pub(super) binding: Semaphore,
    /// A member or a group is gone.
    pub(super) departed: Condvar,
}

impl Spreading {
    /// That of the current shard.
    pub(super) fn here() -> Rc<Self> {
        local::get().unwrap_or_else(|| {
            let spreading = Rc::new(Self {
                members: RefCell::default(),
                groups: RefCell::default(),
                direct: RefCell::default(),
                binding: Semaphore::new(1),
                departed: Condvar::new(),
            });
            local::set(Rc::clone(&spreading));
            spreading
        })
    }

    pub(super) fn member(&self, id: GroupId) -> Option<Rc<Member>> {
        self.members.borrow().iter().find(|member| member.id == id).cloned()
    }

    pub(super) fn group(&self, id: GroupId) -> Option<Rc<Group>> {
        self.groups.borrow().iter().find(|group| group.id == id).cloned()
    }

    pub(super) fn remove_member(&self, id: GroupId) {
        self.members.borrow_mut().retain(|member| member.id != id);
        self.departed.notify_all();
    }

    pub(super) fn remove_group(&self, id: GroupId) {
        self.groups.borrow_mut().retain(|group| group.id != id);
        self.departed.notify_all();
    }
}
