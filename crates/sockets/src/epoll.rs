//! epoll(7): a set of descriptors, and which of them something has happened to.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::descriptors::{Fd, ObjectId};
use crate::errno::Errno;
use crate::numbers::{epoll, ready};

/// Bits that are told without being asked for.
const ALWAYS: u32 = ready::ERR | ready::HUP;
/// Bits that are no events.
const MODES: u32 = epoll::EXCLUSIVE | epoll::WAKEUP | epoll::ONESHOT | epoll::ET;
/// With `EPOLLEXCLUSIVE` nothing else may be said (epoll_ctl(2)).
const EXCLUSIVE_OK: u32 =
    ready::IN | ready::OUT | ready::ERR | ready::HUP | epoll::WAKEUP | epoll::ET | epoll::EXCLUSIVE;

/// What is watched for, and what was found: `struct epoll_event`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    /// Bits of readiness, and how to watch.
    pub events: u32,
    /// The program's own.
    pub data: u64,
}

/// A descriptor and what is open behind it: both, since the number may mean something else later.
type Key = (Fd, ObjectId);

#[derive(Debug)]
struct Watch {
    events: u32,
    data: u64,
    /// Whether it is in the list of those that may be ready.
    is_listed: bool,
}

/// An epoll. Edges are those of Linux: a watch gets into a list when something happens to its socket, and is looked at when somebody
/// waits; who watches levels stays in the list.
#[derive(Debug, Default)]
pub(crate) struct Epoll {
    watches: BTreeMap<Key, Watch>,
    list: VecDeque<Key>,
}

impl Epoll {
    /// epoll_ctl(2). `readiness` is what the descriptor is ready for now.
    pub(crate) fn control(
        &mut self,
        operation: i32,
        key: Key,
        event: Option<EpollEvent>,
        readiness: u32,
    ) -> Result<(), Errno> {
        let exists = self.watches.contains_key(&key);
        match operation {
            epoll::CTL_ADD if exists => Err(Errno::EXIST),
            epoll::CTL_MOD | epoll::CTL_DEL if !exists => Err(Errno::NOENT),
            epoll::CTL_DEL => {
                self.watches.remove(&key);
                self.list.retain(|listed| *listed != key);
                Ok(())
            }
            epoll::CTL_ADD | epoll::CTL_MOD => {
                let EpollEvent { events, data } = event.ok_or(Errno::FAULT)?;
                let was_exclusive = self.watches.get(&key).is_some_and(|watch| watch.events & epoll::EXCLUSIVE != 0);
                let is_exclusive = events & epoll::EXCLUSIVE != 0;
                let is_mod = operation == epoll::CTL_MOD;
                if is_mod && (is_exclusive || was_exclusive) || is_exclusive && events & !EXCLUSIVE_OK != 0 {
                    return Err(Errno::INVAL);
                }
                let is_listed = self.watches.get(&key).is_some_and(|watch| watch.is_listed);
                self.watches.insert(key, Watch { events: events | ALWAYS, data, is_listed });
                self.on_ready(key.1, readiness);
                Ok(())
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Something has happened to a socket.
    pub(crate) fn on_ready(&mut self, object: ObjectId, mask: u32) {
        for (key, watch) in self.watches.iter_mut().filter(|(key, _)| key.1 == object) {
            let is_lost = watch.events & epoll::ET != 0 && planted::is("edge_lost");
            if watch.events & mask & !MODES != 0 && !watch.is_listed && !is_lost {
                watch.is_listed = true;
                self.list.push_back(*key);
            }
        }
    }

    /// A socket is closed.
    pub(crate) fn forget(&mut self, object: ObjectId) {
        self.watches.retain(|key, _| key.1 != object);
        self.list.retain(|key| key.1 != object);
    }

    /// Which sockets are in the list, and what they are watched for.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (ObjectId, u32)> {
        self.list.iter().filter_map(|key| Some((key.1, self.watches.get(key)?.events & !MODES)))
    }

    /// What is ready, at most `max`; `readiness` tells it of each socket.
    pub(crate) fn collect(&mut self, max: usize, mut readiness: impl FnMut(ObjectId) -> u32) -> Vec<EpollEvent> {
        let mut found = Vec::new();
        for _ in 0..self.list.len() {
            if found.len() == max {
                break;
            }
            let Some(key) = self.list.pop_front() else { break };
            let Some(watch) = self.watches.get_mut(&key) else { continue };
            watch.is_listed = false;
            let events = readiness(key.1) & watch.events & !MODES;
            if events == 0 {
                continue;
            }
            found.push(EpollEvent { events, data: watch.data });
            if watch.events & epoll::ONESHOT != 0 && !planted::is("one_shot_repeats") {
                // Until it is said anew.
                watch.events &= MODES;
            } else if watch.events & epoll::ET == 0 {
                watch.is_listed = true;
                self.list.push_back(key);
            }
        }
        found
    }
}
