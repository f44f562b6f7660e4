//! The link by which something waits in a wheel.

use alloc::rc::Rc;
use core::cell::Cell;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr;

use super::{Core, Wheel};

/// The place of a node that is in no wheel and has not fired since it was last armed.
const IDLE: usize = usize::MAX;
/// The place of a node that is in no wheel because it fired.
pub(super) const FIRED: usize = usize::MAX - 1;

/// A timer's place in a wheel, and what the wheel hands out when the time has come.
///
/// It lives in whatever waits, pinned: that is what lets a wheel hold plain pointers. An armed node keeps the
/// memory of its wheel alive, so it may be cancelled or dropped under any current shard, and after its
/// wheel's owner is gone. Then it never fires.
pub(crate) struct Node<T> {
    pub(super) next: Cell<*const Node<T>>,
    pub(super) prev: Cell<*const Node<T>>,
    pub(super) deadline: Cell<u64>,
    /// Orders nodes of one deadline: the number of this arming.
    pub(super) sequence: Cell<u64>,
    /// Present while armed.
    pub(super) payload: Cell<Option<T>>,
    /// Present while armed.
    pub(super) wheel: Cell<Option<Rc<Core<T>>>>,
    /// A slot or a run of the wheel, or one of the places above.
    pub(super) place: Cell<usize>,
    _pinned: PhantomPinned,
}

impl<T> Node<T> {
    /// A node in no wheel that remembers `deadline` for its owner.
    pub(crate) const fn new(deadline: u64) -> Self {
        Self {
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
            deadline: Cell::new(deadline),
            sequence: Cell::new(0),
            payload: Cell::new(None),
            wheel: Cell::new(None),
            place: Cell::new(IDLE),
            _pinned: PhantomPinned,
        }
    }

    /// Whether it waits in a wheel.
    pub(crate) fn is_armed(&self) -> bool {
        self.place.get() < FIRED
    }

    /// Whether it fired since it was last armed.
    pub(crate) fn has_fired(&self) -> bool {
        self.place.get() == FIRED
    }

    /// The deadline that it was last given.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.get()
    }

    /// Takes it out of its wheel, if it is in one, and gives back what it would have handed out.
    pub(crate) fn cancel(&self) -> Option<T> {
        let wheel = self.wheel.take()?;
        wheel.remove(self);
        self.place.set(IDLE);
        self.payload.take()
    }

    /// Gives it another deadline: in the wheel that it waits in, else for its owner to read.
    pub(crate) fn reset(self: Pin<&Self>, deadline: u64) {
        match self.wheel.take() {
            Some(wheel) => {
                wheel.remove(&self);
                Core::insert(&wheel, self, deadline);
                self.wheel.set(Some(wheel));
            }
            None => {
                self.deadline.set(deadline);
                self.place.set(IDLE);
            }
        }
    }

    /// Notes that its time has come without its having waited in a wheel.
    pub(crate) fn settle(&self) {
        debug_assert!(!self.is_armed(), "an armed node is fired by its wheel");
        self.place.set(FIRED);
    }

    /// Changes what an armed node will hand out.
    pub(crate) fn update(&self, change: impl FnOnce(&mut T)) {
        if let Some(mut payload) = self.payload.take() {
            change(&mut payload);
            self.payload.set(Some(payload));
        }
    }

    /// Puts it into `wheel` and gives back what it held, if it was armed there or elsewhere.
    pub(crate) fn arm(self: Pin<&Self>, wheel: &Wheel<T>, deadline: u64, payload: T) -> Option<T> {
        let replaced = if self.is_armed() { self.cancel() } else { None };
        self.payload.set(Some(payload));
        Core::insert(&wheel.core, self, deadline);
        self.wheel.set(Some(Rc::clone(&wheel.core)));
        replaced
    }
}

impl<T> Drop for Node<T> {
    fn drop(&mut self) {
        drop(self.cancel());
    }
}
