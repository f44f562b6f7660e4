//! The scheduling groups of one shard, and who runs next.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ptr::NonNull;
use core::time::Duration;

use super::run_queue::RunQueue;
use super::{GroupError, MAX_GROUPS, SchedulingGroup};
use crate::counter::Counter;
use crate::message::{Arrival, INBOX_MESSAGES, Inbox, Label, Message};
use crate::task::header::{AllTasks, Header};
use crate::time::Instant;

const MAIN_SHARES: u32 = 200;
const MAX_SHARES: u32 = 1000;
/// A group that wakes up may be behind the running ones by at most so many task quotas of its own time: enough to get
/// its share in spite of sleeps of some milliseconds, and no more than it may hold the others up by.
const CREDIT_QUOTAS: u32 = 16;

struct Group {
    /// `None` where no group is.
    name: RefCell<Option<Rc<str>>>,
    generation: Cell<u32>,
    shares: Cell<u32>,
    /// Nanoseconds that it ran, each worth `MAX_SHARES / shares`.
    virtual_run_time: Cell<u64>,
    queue: RunQueue,
    inbox: Inbox,
    run_time_ns: Counter,
    messages: Counter,
    turns: Counter,
}

/// What a scheduling group has done on a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStats {
    /// The group.
    pub group: SchedulingGroup,
    /// Its name.
    pub name: Rc<str>,
    /// Its shares.
    pub shares: u32,
    /// How long its tasks and messages ran.
    pub run_time: Duration,
    /// How often one of its tasks was polled.
    pub polls: u64,
    /// How many messages from other shards ran in it.
    pub messages: u64,
    /// How often it got a turn.
    pub turns: u64,
    /// Tasks that wait to run now.
    pub queued_tasks: usize,
    /// Messages that wait to run now.
    pub queued_messages: usize,
}

/// All scheduling groups of a shard.
pub(crate) struct Groups {
    groups: [Group; MAX_GROUPS],
    /// Bit set of the groups that have something to run.
    runnable: Cell<u16>,
    running: Cell<u8>,
    /// The virtual run time of the group whose turn began last; it never goes back.
    virtual_now: Cell<u64>,
    task_quota: Duration,
}

impl Groups {
    pub(crate) fn new(task_quota: Duration) -> Self {
        let groups = Self {
            groups: core::array::from_fn(|_| Group {
                name: RefCell::new(None),
                generation: Cell::new(0),
                shares: Cell::new(MAIN_SHARES),
                virtual_run_time: Cell::new(0),
                queue: RunQueue::default(),
                inbox: Inbox::default(),
                run_time_ns: Counter::default(),
                messages: Counter::default(),
                turns: Counter::default(),
            }),
            runnable: Cell::new(0),
            running: Cell::new(0),
            virtual_now: Cell::new(0),
            task_quota,
        };
        groups.groups[0].name.replace(Some("main".into()));
        groups
    }

    fn at(&self, index: u8) -> &Group {
        &self.groups[usize::from(index)]
    }

    fn find(&self, group: SchedulingGroup) -> Result<&Group, GroupError> {
        let found = self.at(group.index);
        let exists = found.generation.get() == group.generation && found.name.borrow().is_some();
        if exists { Ok(found) } else { Err(GroupError::Destroyed) }
    }

    /// The index of the group, or of the main group if it was destroyed.
    pub(crate) fn index_of(&self, group: SchedulingGroup) -> u8 {
        self.find(group).map_or(SchedulingGroup::MAIN.index, |_| group.index)
    }

    /// The index of the group that is running, or ran last.
    #[inline]
    pub(crate) fn running(&self) -> u8 {
        self.running.get()
    }

    /// The handle of the group that is running, or ran last.
    pub(crate) fn running_group(&self) -> SchedulingGroup {
        let index = self.running.get();
        SchedulingGroup { index, generation: self.at(index).generation.get() }
    }

    /// Runs `f` as if in `group`, or in the main group if that was destroyed: what it starts inherits the group.
    pub(crate) fn run_as<R>(&self, group: SchedulingGroup, f: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Groups, SchedulingGroup);

        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.running.set(self.0.index_of(self.1));
            }
        }

        let _restore = Restore(self, self.running_group());
        self.running.set(self.index_of(group));
        f()
    }

    pub(crate) fn check_shares(shares: u32) -> Result<(), GroupError> {
        if (1..=MAX_SHARES).contains(&shares) { Ok(()) } else { Err(GroupError::BadShares(shares)) }
    }

    /// Makes a group exist on this shard, under a handle that the process chose.
    pub(crate) fn install(&self, group: SchedulingGroup, name: &str, shares: u32) {
        let place = self.at(group.index);
        debug_assert!(place.name.borrow().is_none(), "two scheduling groups in one place");
        place.name.replace(Some(name.into()));
        place.generation.set(group.generation);
        place.shares.set(shares);
        place.virtual_run_time.set(self.virtual_now.get());
        place.queue.reset();
        for counter in [&place.run_time_ns, &place.messages, &place.turns] {
            counter.reset();
        }
    }

    /// Whether the group exists.
    pub(crate) fn check(&self, group: SchedulingGroup) -> Result<(), GroupError> {
        self.find(group).map(drop)
    }

    pub(crate) fn rename(&self, group: SchedulingGroup, name: &str) -> Result<(), GroupError> {
        self.find(group)?.name.replace(Some(name.into()));
        Ok(())
    }

    pub(crate) fn set_shares(&self, group: SchedulingGroup, shares: u32) -> Result<(), GroupError> {
        Self::check_shares(shares)?;
        self.find(group)?.shares.set(shares);
        Ok(())
    }

    /// Removes a group from this shard; its tasks and messages go on in the main group.
    pub(crate) fn remove(&self, group: SchedulingGroup, tasks: &AllTasks) -> Result<(), GroupError> {
        if group == SchedulingGroup::MAIN {
            return Err(GroupError::Main);
        }
        let place = self.find(group)?;
        place.name.replace(None);
        tasks.for_each(|task| {
            if task.group.get() == group.index {
                task.group.set(SchedulingGroup::MAIN.index);
            }
        });
        while let Some(task) = place.queue.pop() {
            // A task that has ended is on no list, but may still be queued.
            // SAFETY: queued tasks are not freed.
            unsafe { task.as_ref() }.group.set(SchedulingGroup::MAIN.index);
            self.enqueue(task, SchedulingGroup::MAIN.index);
        }
        while let Some(message) = place.inbox.pop() {
            self.deliver(SchedulingGroup::MAIN.index, message);
        }
        self.runnable.set(self.runnable.get() & !(1 << group.index));
        if self.running.get() == group.index {
            self.running.set(SchedulingGroup::MAIN.index);
        }
        Ok(())
    }

    /// Puts a task that has just been marked as scheduled into the queue of its group, which is this one.
    #[inline]
    pub(crate) fn enqueue(&self, task: NonNull<Header>, index: u8) {
        self.at(index).queue.push(task);
        self.see_runnable(index);
    }

    /// The place where messages with this label go: their group's, or the main group's if this shard does not know
    /// the group, or no more.
    #[inline]
    pub(crate) fn place_of(&self, label: Label) -> u8 {
        let is_it = |group: &Group| {
            let generation = u64::from(group.generation.get()) & u64::from(u16::MAX);
            generation == u64::from(label.generation) && group.name.borrow().is_some()
        };
        let known = self.groups.get(usize::from(label.group)).is_some_and(is_it);
        if known { label.group } else { SchedulingGroup::MAIN.index }
    }

    /// Whether the inbox of a place takes a message from another shard's ring, or from this one.
    #[inline]
    pub(crate) fn has_inbox_room(&self, place: u8) -> bool {
        self.at(place).inbox.len() < INBOX_MESSAGES
    }

    /// Puts a message into the inbox of a place that [`Groups::place_of`] answered.
    pub(crate) fn deliver(&self, index: u8, message: Message) {
        self.at(index).inbox.push(message);
        self.see_runnable(index);
    }

    /// As [`Groups::deliver`], for a message that lies in a ring.
    #[inline(always)]
    pub(crate) fn deliver_arrival(&self, index: u8, arrival: Arrival<'_>) {
        self.at(index).inbox.push_arrival(arrival);
        self.see_runnable(index);
    }

    /// Whether a message waits in the group's inbox.
    #[inline]
    pub(crate) fn has_message(&self, index: u8) -> bool {
        !self.at(index).inbox.is_empty()
    }

    /// Runs messages of a group, oldest first, until none is left, a task waits for its turn or `goes_on`, which is asked
    /// after each, says no. Their panics pass through.
    #[inline]
    pub(crate) fn run_messages(&self, index: u8, mut goes_on: impl FnMut() -> bool) {
        let group = self.at(index);
        while !group.inbox.is_empty() {
            group.messages.add(1);
            group.inbox.run_oldest();
            if !group.queue.is_empty() || !goes_on() {
                return;
            }
        }
    }

    /// Drops the messages of all inboxes; their panics are contained.
    pub(crate) fn drop_messages(&self) {
        self.groups.iter().for_each(|group| group.inbox.clear());
    }

    #[inline(always)]
    fn see_runnable(&self, index: u8) {
        if self.runnable.get() & (1 << index) == 0 {
            self.make_runnable(index);
        }
    }

    fn make_runnable(&self, index: u8) {
        self.runnable.set(self.runnable.get() | 1 << index);
        let group = self.at(index);
        let credit = group.virtual_of(self.task_quota.saturating_mul(CREDIT_QUOTAS));
        let earliest = self.virtual_now.get().saturating_sub(credit);
        group.virtual_run_time.set(group.virtual_run_time.get().max(earliest));
    }

    pub(crate) fn has_work(&self) -> bool {
        self.runnable.get() != 0
    }

    /// The group that has run least for its shares, among those with work; begins its turn.
    pub(crate) fn begin_turn(&self) -> Option<u8> {
        let mut left = self.runnable.get();
        let mut best: Option<(u64, u8)> = None;
        while left != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "a bit index below 16")]
            let index = left.trailing_zeros() as u8;
            left &= left - 1;
            let time = self.at(index).virtual_run_time.get();
            if best.is_none_or(|(least, _)| time < least) {
                best = Some((time, index));
            }
        }
        let (time, index) = best?;
        self.virtual_now.set(self.virtual_now.get().max(time));
        self.running.set(index);
        self.at(index).turns.add(1);
        Some(index)
    }

    /// The next task of a group, if it has one.
    #[inline]
    pub(crate) fn next_task(&self, index: u8) -> Option<NonNull<Header>> {
        self.at(index).queue.pop()
    }

    /// Whether `task` is what [`Groups::next_task`] answers next for a group.
    #[inline]
    pub(crate) fn is_next_task(&self, index: u8, task: NonNull<Header>) -> bool {
        self.at(index).queue.is_first(task)
    }

    #[inline]
    pub(crate) fn is_group_idle(&self, index: u8) -> bool {
        let group = self.at(index);
        group.queue.is_empty() && group.inbox.is_empty()
    }

    /// Charges the time of its turn to a group. A turn costs at least a nanosecond, so that turns
    /// alternate even on a clock that stands still.
    pub(crate) fn end_turn(&self, index: u8, began: Instant, now: Instant) {
        let group = self.at(index);
        let time = (now - began).max(Duration::from_nanos(1));
        group.run_time_ns.add(nanos(time));
        group.virtual_run_time.set(group.virtual_run_time.get().saturating_add(group.virtual_of(time)));
        if self.is_group_idle(index) {
            self.runnable.set(self.runnable.get() & !(1 << index));
        }
        self.running.set(SchedulingGroup::MAIN.index);
    }

    pub(crate) fn stats(&self) -> impl Iterator<Item = GroupStats> + '_ {
        (0_u8..).zip(&self.groups).filter_map(|(index, group)| {
            let name = group.name.borrow().clone()?;
            Some(GroupStats {
                group: SchedulingGroup { index, generation: group.generation.get() },
                name,
                shares: group.shares.get(),
                run_time: Duration::from_nanos(group.run_time_ns.value()),
                polls: group.queue.popped(),
                messages: group.messages.value(),
                turns: group.turns.value(),
                queued_tasks: usize::try_from(group.queue.len()).expect("queued tasks lie in memory"),
                queued_messages: group.inbox.len(),
            })
        })
    }
}

impl Group {
    fn virtual_of(&self, time: Duration) -> u64 {
        nanos(time).saturating_mul(u64::from(MAX_SHARES)) / u64::from(self.shares.get())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
