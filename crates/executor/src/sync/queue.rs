//! A bounded queue.

use alloc::collections::VecDeque;
use core::cell::{Cell, RefCell};
use core::fmt;

use super::wait_list::{WaitList, Waitable, Waiter};

/// The queue was closed or aborted; the error of a [`Queue`] unless it names its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueClosed;

impl fmt::Display for QueueClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was closed")
    }
}

impl core::error::Error for QueueClosed {}

/// An item that was not taken, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rejected<T, E> {
    /// What was to be pushed.
    pub item: T,
    /// Why it was not.
    pub error: E,
}

impl<T, E: fmt::Debug> fmt::Debug for Rejected<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T, E: fmt::Display> fmt::Display for Rejected<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T, E: core::error::Error> core::error::Error for Rejected<T, E> {}

/// Why nothing can be pushed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TryPushError<E> {
    /// The queue is full, or others wait for room.
    Full,
    /// The queue was closed or aborted with this error.
    Ended(E),
}

impl<E: fmt::Display> fmt::Display for TryPushError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full"),
            Self::Ended(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for TryPushError<E> {}

/// Why nothing can be popped now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TryPopError<E> {
    /// The queue is empty, or what it holds is meant for others who waited.
    Empty,
    /// The queue was aborted, or closed and emptied, with this error.
    Ended(E),
}

impl<E: fmt::Display> fmt::Display for TryPopError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the queue is empty"),
            Self::Ended(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for TryPopError<E> {}

/// A bounded queue: who pushes waits for room, who pops waits for items.
///
/// A waiter is granted a *reservation*, of room or of an item that stays in the queue until the waiter takes it.
/// So a waiter that goes away loses no item and changes no order. A pushed item enters the queue when the push
/// is ready, and not if its future is dropped before.
pub struct Queue<T, E = QueueClosed> {
    items: RefCell<VecDeque<T>>,
    capacity: Cell<usize>,
    end: RefCell<Option<E>>,
    /// Room that was granted to pushers who have not filled it yet.
    reserved_room: Cell<usize>,
    /// Items that were granted to poppers who have not taken them yet.
    reserved_items: Cell<usize>,
    pushers: WaitList<(), Turn>,
    poppers: WaitList<(), Turn>,
}

/// What a waiter is told: it has a reservation, or there will be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Reserved,
    Ended,
}

const SOMEBODY_WAITS: &str = "the list was found not empty";

/// Marks the list of those who push.
struct Push;
/// Marks the list of those who pop.
struct Pop;

impl<T, E: Clone> Queue<T, E> {
    /// An empty queue with room for `capacity` items.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a queue without room would hold up everybody for ever");
        Self {
            items: RefCell::new(VecDeque::new()),
            capacity: Cell::new(capacity),
            end: RefCell::new(None),
            reserved_room: Cell::new(0),
            reserved_items: Cell::new(0),
            pushers: WaitList::new(),
            poppers: WaitList::new(),
        }
    }

    /// Waits for room and appends `item`. If the future is dropped before it is ready, the item is dropped with it.
    ///
    /// # Errors
    /// The item and the error once the queue was closed or aborted.
    pub async fn push(&self, item: T) -> Result<(), Rejected<T, E>> {
        let turn = Waiter::<Self, Push>::new(self, ()).await;
        // A queue that ended since the grant has no reservations any more.
        if let Some(error) = self.ended() {
            return Err(Rejected { item, error });
        }
        debug_assert!(turn == Turn::Reserved, "who pushes is turned away by a queue that ended only");
        self.reserved_room.set(self.reserved_room.get() - 1);
        self.insert(item);
        Ok(())
    }

    /// Appends `item` if there is room that nobody waits for.
    ///
    /// # Errors
    /// The item, with [`TryPushError::Full`] or the error of a queue that was closed or aborted.
    pub fn try_push(&self, item: T) -> Result<(), Rejected<T, TryPushError<E>>> {
        if let Some(error) = self.ended() {
            return Err(Rejected { item, error: TryPushError::Ended(error) });
        }
        if !self.pushers.is_empty() || !self.has_room() {
            return Err(Rejected { item, error: TryPushError::Full });
        }
        self.insert(item);
        Ok(())
    }

    /// Waits for an item and takes it.
    ///
    /// Dropping the future loses no item: one that was meant for it goes to the next who pops.
    ///
    /// # Errors
    /// The error of a queue that was aborted, or closed and emptied.
    #[expect(clippy::missing_panics_doc, reason = "the state in which it would panic does not occur")]
    pub async fn pop(&self) -> Result<T, E> {
        if Waiter::<Self, Pop>::new(self, ()).await == Turn::Reserved
            && let Some(item) = self.take_reserved()
        {
            return Ok(item);
        }
        Err(self.ended().expect("a queue without an end keeps its reservations"))
    }

    /// Takes an item, if there is one that nobody waits for.
    ///
    /// # Errors
    /// [`TryPopError::Empty`], or the error of a queue that was aborted, or closed and emptied.
    pub fn try_pop(&self) -> Result<T, TryPopError<E>> {
        if self.poppers.is_empty() && self.has_items() {
            return self.remove().ok_or(TryPopError::Empty);
        }
        match self.ended() {
            Some(error) if self.is_empty() => Err(TryPopError::Ended(error)),
            _ => Err(TryPopError::Empty),
        }
    }

    /// Ends the queue at once: drops its items; all who wait and all who come get `error`. The first end counts.
    pub fn abort(&self, error: E) {
        self.set_end(error);
        self.reserved_items.set(0);
        let items = self.items.take();
        self.pushers.grant_all(Turn::Ended);
        self.poppers.grant_all(Turn::Ended);
        drop(items);
    }

    /// Ends the queue at its tail: who pushes gets `error`, who pops gets it after the last item. The first end counts.
    pub fn close(&self, error: E) {
        self.set_end(error);
        self.pushers.grant_all(Turn::Ended);
        self.serve();
    }

    /// Whether the queue was closed or aborted.
    pub fn is_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// How many items it holds, those included that are reserved for poppers.
    pub fn len(&self) -> usize {
        self.items.borrow().len()
    }

    /// Whether it holds no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity.get()
    }

    /// Changes the capacity, in items. Items beyond it stay; who pushes waits until there is room.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn set_capacity(&self, capacity: usize) {
        assert!(capacity > 0, "a queue without room would hold up everybody for ever");
        self.capacity.set(capacity);
        self.serve();
    }

    /// How many wait to push.
    pub fn pushers(&self) -> usize {
        self.pushers.len()
    }

    /// How many wait to pop.
    pub fn poppers(&self) -> usize {
        self.poppers.len()
    }

    /// Puts an item back to the front, beyond the capacity if need be.
    pub(super) fn unpop(&self, item: T) {
        self.items.borrow_mut().push_front(item);
        self.serve();
    }

    fn ended(&self) -> Option<E> {
        self.end.borrow().clone()
    }

    fn set_end(&self, error: E) {
        self.reserved_room.set(0);
        let mut end = self.end.borrow_mut();
        if end.is_none() {
            *end = Some(error);
        }
    }

    fn has_room(&self) -> bool {
        self.len() + self.reserved_room.get() < self.capacity.get()
    }

    fn has_items(&self) -> bool {
        self.len() > self.reserved_items.get()
    }

    fn insert(&self, item: T) {
        self.items.borrow_mut().push_back(item);
        self.serve();
    }

    fn remove(&self) -> Option<T> {
        let item = self.items.borrow_mut().pop_front();
        self.serve();
        item
    }

    /// The item of a reservation; none if the queue was aborted since.
    fn take_reserved(&self) -> Option<T> {
        self.reserved_items.set(self.reserved_items.get().checked_sub(1)?);
        self.remove()
    }

    /// Grants what can be granted to those who wait.
    fn serve(&self) {
        while !self.poppers.is_empty() && self.has_items() {
            self.reserved_items.set(self.reserved_items.get() + 1);
            self.poppers.grant_front(Turn::Reserved).expect(SOMEBODY_WAITS);
        }
        if !self.is_ended() {
            while !self.pushers.is_empty() && self.has_room() {
                self.reserved_room.set(self.reserved_room.get() + 1);
                self.pushers.grant_front(Turn::Reserved).expect(SOMEBODY_WAITS);
            }
        } else if self.is_empty() {
            self.poppers.grant_all(Turn::Ended);
        }
    }
}

impl<T, E: Clone> Waitable<Push> for Queue<T, E> {
    type Request = ();
    type Grant = Turn;

    fn list(&self) -> &WaitList<(), Turn> {
        &self.pushers
    }

    fn try_grant(&self, (): &()) -> Option<Turn> {
        if self.is_ended() {
            return Some(Turn::Ended);
        }
        (self.pushers.is_empty() && self.has_room()).then(|| {
            self.reserved_room.set(self.reserved_room.get() + 1);
            Turn::Reserved
        })
    }

    fn returned(&self, (): &(), turn: Turn) {
        if turn == Turn::Reserved && !self.is_ended() {
            self.reserved_room.set(self.reserved_room.get() - 1);
            self.serve();
        }
    }
}

impl<T, E: Clone> Waitable<Pop> for Queue<T, E> {
    type Request = ();
    type Grant = Turn;

    fn list(&self) -> &WaitList<(), Turn> {
        &self.poppers
    }

    fn try_grant(&self, (): &()) -> Option<Turn> {
        if self.poppers.is_empty() && self.has_items() {
            self.reserved_items.set(self.reserved_items.get() + 1);
            return Some(Turn::Reserved);
        }
        (self.is_ended() && self.is_empty()).then_some(Turn::Ended)
    }

    fn returned(&self, (): &(), turn: Turn) {
        // An aborted queue has no reservations any more.
        if turn == Turn::Reserved && self.reserved_items.get() > 0 {
            self.reserved_items.set(self.reserved_items.get() - 1);
            self.serve();
        }
    }
}

impl<T, E> fmt::Debug for Queue<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.items.borrow().len())
            .field("capacity", &self.capacity)
            .field("pushers", &self.pushers.len())
            .field("poppers", &self.poppers.len())
            .finish_non_exhaustive()
    }
}
