//! Service groups: how many requests of a kind may be in flight.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;

use super::shard_id::ShardId;
use crate::sync::Semaphore;

/// Requests that may be in flight from one shard to another, of those that name no service group.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 4096;

/// Caps the requests in flight of one kind: so many from each shard to each other one. Further ones wait in order.
///
/// The cap is what bounds the memory of requests and replies. It counts from the moment when a request is sent until its
/// reply is back, also if the caller has given up meanwhile.
///
/// A request that, while it is served, makes requests of the *same* group can deadlock: when all that may be in
/// flight wait for nested ones, the nested ones wait for them. So each level of nesting needs a group of its own.
/// Requests without a group share one of [`DEFAULT_MAX_IN_FLIGHT`], for which this holds too.
///
/// The handle is the same on all shards; clone it to where it is needed.
#[derive(Clone, Debug)]
pub struct ServiceGroup(Arc<Cap>);

#[derive(Debug)]
struct Cap {
    max_in_flight: usize,
}

impl ServiceGroup {
    /// A group that allows `max_in_flight` requests from each shard to each other one.
    ///
    /// # Panics
    /// If that is zero: then no request would ever be sent.
    pub fn new(max_in_flight: usize) -> Self {
        assert!(max_in_flight > 0, "a service group must allow a request");
        Self(Arc::new(Cap { max_in_flight }))
    }

    /// How many requests may be in flight from each shard to each other one.
    pub fn max_in_flight(&self) -> usize {
        self.0.max_in_flight
    }
}

/// A semaphore for each destination.
type Limits = Box<[Rc<Semaphore>]>;

/// What a shard may still send, by service group and destination.
pub(crate) struct LocalLimits {
    default: Limits,
    /// They know the groups weakly: a group is gone when the program has no handle on it any more.
    groups: RefCell<Vec<(Weak<Cap>, Limits)>>,
}

impl LocalLimits {
    pub(super) fn new(shards: usize) -> Self {
        Self { default: limits(shards, DEFAULT_MAX_IN_FLIGHT), groups: RefCell::default() }
    }

    /// How many groups are known here.
    #[cfg(all(test, not(loom)))]
    pub(super) fn groups(&self) -> usize {
        self.groups.borrow().len()
    }

    /// The limit of requests to a shard that name no group.
    #[inline]
    pub(super) fn default(&self, to: ShardId) -> Rc<Semaphore> {
        Rc::clone(&self.default[to.index()])
    }

    /// The limit of a group's requests to a shard.
    pub(super) fn of(&self, group: &ServiceGroup, to: ShardId) -> Rc<Semaphore> {
        let mut groups = self.groups.borrow_mut();
        if let Some((_, limits)) = groups.iter().find(|(known, _)| core::ptr::eq(known.as_ptr(), Arc::as_ptr(&group.0)))
        {
            return Rc::clone(&limits[to.index()]);
        }
        groups.retain(|(known, _)| known.strong_count() > 0);
        let limits = limits(self.default.len(), group.max_in_flight());
        let limit = Rc::clone(&limits[to.index()]);
        groups.push((Arc::downgrade(&group.0), limits));
        limit
    }
}

fn limits(shards: usize, max_in_flight: usize) -> Limits {
    (0..shards).map(|_| Rc::new(Semaphore::new(max_in_flight))).collect()
}
