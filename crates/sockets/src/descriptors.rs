//! Which number stands for which open socket.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use crate::errno::Errno;

/// The number of a descriptor.
pub type Fd = i32;

/// Who gives out numbers: in a kernel the least that is free; in a process beside another kernel whoever asks that for some, so that
/// no number means two things.
pub trait Numbers {
    /// A number that nobody has; none if there is none left ([`Errno::MFILE`]).
    fn take(&mut self) -> Option<Fd>;

    /// The same, but none below `least`.
    fn take_from(&mut self, least: Fd) -> Option<Fd> {
        let mut below = Vec::new();
        let taken = loop {
            match self.take() {
                Some(fd) if fd < least => below.push(fd),
                taken => break taken,
            }
        };
        below.into_iter().for_each(|fd| self.give_back(fd));
        taken
    }

    /// Nobody has that number any more.
    fn give_back(&mut self, fd: Fd);
}

/// The least number that is free, from 3 on: what POSIX wants.
#[derive(Debug, Default)]
pub struct LeastFree {
    next: Fd,
    free: BTreeSet<Fd>,
}

/// Input, output and errors have the numbers before.
const FIRST: Fd = 3;

impl Numbers for LeastFree {
    fn take(&mut self) -> Option<Fd> {
        if let Some(free) = self.free.pop_first() {
            return Some(free);
        }
        let next = self.next.max(FIRST);
        self.next = next.checked_add(1)?;
        Some(next)
    }

    fn give_back(&mut self, fd: Fd) {
        self.free.insert(fd);
    }
}

/// Names an open socket or epoll, whatever descriptors it has. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectId(pub(crate) u64);

#[derive(Clone, Copy, Debug)]
struct Descriptor {
    object: ObjectId,
    closes_on_exec: bool,
}

/// All descriptors.
pub(crate) struct Descriptors {
    numbers: Box<dyn Numbers>,
    open: BTreeMap<Fd, Descriptor>,
}

impl fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptors").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Descriptors {
    pub(crate) fn new(numbers: Box<dyn Numbers>) -> Self {
        Self { numbers, open: BTreeMap::new() }
    }

    /// A number for something that is open. `limit` is how many there may be.
    pub(crate) fn add(&mut self, object: ObjectId, closes_on_exec: bool, limit: usize) -> Result<Fd, Errno> {
        if self.open.len() >= limit {
            return Err(Errno::MFILE);
        }
        let fd = self.numbers.take().ok_or(Errno::MFILE)?;
        self.open.insert(fd, Descriptor { object, closes_on_exec });
        Ok(fd)
    }

    /// Another number, none below `least`, for what `fd` stands for.
    pub(crate) fn duplicate(&mut self, fd: Fd, least: Fd, closes_on_exec: bool, limit: usize) -> Result<Fd, Errno> {
        let object = self.get(fd)?;
        let bound = Fd::try_from(limit).unwrap_or(Fd::MAX);
        if !(0..bound).contains(&least) {
            return Err(Errno::INVAL);
        }
        if self.open.len() >= limit {
            return Err(Errno::MFILE);
        }
        let other = self.numbers.take_from(least).ok_or(Errno::MFILE)?;
        self.open.insert(other, Descriptor { object, closes_on_exec });
        Ok(other)
    }

    pub(crate) fn get(&self, fd: Fd) -> Result<ObjectId, Errno> {
        self.open.get(&fd).map(|descriptor| descriptor.object).ok_or(Errno::BADF)
    }

    pub(crate) fn closes_on_exec(&self, fd: Fd) -> Result<bool, Errno> {
        self.open.get(&fd).map(|descriptor| descriptor.closes_on_exec).ok_or(Errno::BADF)
    }

    pub(crate) fn set_closes_on_exec(&mut self, fd: Fd, closes: bool) -> Result<(), Errno> {
        let descriptor = self.open.get_mut(&fd).ok_or(Errno::BADF)?;
        descriptor.closes_on_exec = closes;
        Ok(())
    }

    /// Removes a number; answers what it stood for, and whether that was the last one.
    pub(crate) fn remove(&mut self, fd: Fd) -> Result<(ObjectId, bool), Errno> {
        let removed = self.open.remove(&fd).ok_or(Errno::BADF)?;
        self.numbers.give_back(fd);
        let is_last = !self.open.values().any(|other| other.object == removed.object);
        Ok((removed.object, is_last))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Fd> {
        self.open.keys().copied()
    }
}
