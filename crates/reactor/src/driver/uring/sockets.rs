//! The sockets of a driver, and how their operations are told apart.
//!
//! A socket has a slot from when it is made until its last operation has completed and its descriptor is closed. The slot
//! holds it, and with it all that the kernel reads or writes meanwhile.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode, squeue};
use sunstar_net::Error;

use super::UringDriver;

/// How many bits of a token say which operation of a socket it is.
const OPERATION_BITS: u32 = 8;

/// How many bits of a token say which user of its slot a socket is.
const GENERATION_BITS: u32 = 24;

/// The slot of completions that concern no socket.
const NOBODY: u32 = u32::MAX;

/// Where a socket is in the table. It never becomes another socket's, as far as the generations reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    slot: u32,
    generation: u32,
}

impl Place {
    /// For what concerns no socket.
    pub(super) const NOBODY: Self = Self::nobody(0);

    /// For what concerns no socket, with a number below 2^24.
    pub(super) const fn nobody(number: u32) -> Self {
        Self { slot: NOBODY, generation: number }
    }

    /// The number, if this concerns no socket.
    pub(super) fn number(self) -> Option<u32> {
        (self.slot == NOBODY).then_some(self.generation)
    }

    /// Names one of the socket's operations to the kernel.
    pub(super) fn token(self, operation: u8) -> u64 {
        u64::from(self.slot) << (OPERATION_BITS + GENERATION_BITS)
            | u64::from(self.generation) << OPERATION_BITS
            | u64::from(operation)
    }

    /// The socket and the operation that a token names.
    pub(super) fn of_token(token: u64) -> (Self, u8) {
        let slot = u32::try_from(token >> (OPERATION_BITS + GENERATION_BITS)).expect("32 bits are left");
        let generation = u32::try_from(token >> OPERATION_BITS & GENERATION_MASK).expect("24 bits are left");
        let [operation, ..] = token.to_le_bytes();
        (Self { slot, generation }, operation)
    }
}

const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// What the kernel says of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// What the system call of that name would return, or the error's number.
    pub(super) result: Result<u32, i32>,
    flags: u32,
}

impl Completion {
    pub(super) fn of(entry: &cqueue::Entry) -> Self {
        let result = u32::try_from(entry.result()).map_err(|_| entry.result().wrapping_neg());
        Self { result, flags: entry.flags() }
    }

    /// Whether the operation goes on.
    pub(super) fn has_more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether it tells that sent memory is free again.
    pub(super) fn is_notification(&self) -> bool {
        cqueue::notif(self.flags)
    }

    /// The frame that was taken.
    pub(super) fn frame(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// What the driver asks of sockets.
pub(super) trait Socket {
    /// What every socket has.
    fn base(&self) -> &Base;

    /// Starts what was asked for since the last call.
    fn start(&self, driver: &UringDriver);

    /// Takes in a completion.
    fn complete(&self, driver: &UringDriver, operation: u8, completion: Completion);

    /// Takes in what has come, if it is asked by calls. Answers whether it is to be asked again.
    fn receive_by_call(&self, _driver: &UringDriver) -> bool {
        false
    }

    /// Lets the kernel tell of what comes, if it was asked by calls.
    fn receive_by_ring(&self, _driver: &UringDriver) {}

    /// Whether nobody has it any more, but it has something left to send.
    fn lingers(&self) -> bool {
        false
    }

    /// Drops what is to be done, and cancels what is under way: the driver ends.
    fn stop(&self, driver: &UringDriver);
}

/// What every socket has.
pub(super) struct Base {
    place: Place,
    descriptor: Cell<RawFd>,
    /// Operations that have not completed for the last time.
    in_flight: Cell<u32>,
    /// Whether the socket is on the list of those that have something to start.
    is_dirty: Cell<bool>,
    /// Whether the socket is on the list of those that found no frame.
    is_starved: Cell<bool>,
}

/// In the place of a descriptor that was given away.
const NO_DESCRIPTOR: RawFd = -1;

impl Base {
    pub(super) fn new(place: Place, descriptor: OwnedFd) -> Self {
        Self {
            place,
            descriptor: Cell::new(descriptor.into_raw_fd()),
            in_flight: Cell::new(0),
            is_dirty: Cell::new(false),
            is_starved: Cell::new(false),
        }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Calls `f` with the descriptor.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if it was given away, and what `f` answers.
    pub(super) fn with_descriptor<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<R, Error>) -> Result<R, Error> {
        let raw = self.descriptor.get();
        if raw == NO_DESCRIPTOR {
            return Err(Error::NotConnected);
        }
        // SAFETY: the number came from an `OwnedFd`, which only `take_descriptor` makes again; `f` does not get at that.
        f(unsafe { BorrowedFd::borrow_raw(raw) })
    }

    /// The descriptor as entries take it.
    pub(super) fn fd(&self) -> Fd {
        Fd(self.descriptor.get())
    }

    /// Whether an operation is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    /// Lets the driver call [`Socket::start`] before it calls the kernel for the next time.
    pub(super) fn touch(&self, driver: &UringDriver) {
        if !self.is_dirty.replace(true) {
            driver.dirty.borrow_mut().push(self.place);
        }
    }

    /// Lets the driver call [`Socket::start`] when it is this socket's turn to receive, since there was no frame for it.
    pub(super) fn starve(&self, driver: &UringDriver) {
        if !self.is_starved.replace(true) {
            driver.starved.borrow_mut().push_back(self.place);
        }
    }

    /// Whether it is not the socket's turn to receive.
    pub(super) fn is_starved(&self) -> bool {
        self.is_starved.get()
    }

    /// Notes that it is.
    pub(super) fn feed(&self, driver: &UringDriver) {
        self.is_starved.set(false);
        self.touch(driver);
    }

    /// Notes that [`Socket::start`] is being called.
    pub(super) fn begin_start(&self) {
        self.is_dirty.set(false);
    }

    /// Starts an operation.
    ///
    /// # Safety
    /// What the entry points to belongs to the socket or to the driver's frames, stays in its place, and is left alone until
    /// the operation has completed for the last time.
    pub(super) unsafe fn submit(&self, driver: &UringDriver, operation: u8, entry: squeue::Entry) {
        self.in_flight.set(self.in_flight.get() + 1);
        // SAFETY: the table holds the socket until its last completion, and the driver its frames until then.
        unsafe { driver.ring.push(&entry.user_data(self.place.token(operation))) };
    }

    /// Notes a completion, which is the last one of its operation unless it says otherwise.
    pub(super) fn note(&self, completion: &Completion) {
        if !completion.has_more() {
            self.in_flight.set(self.in_flight.get() - 1);
        }
    }

    /// Asks the kernel to end an operation, whose completion tells of it. Nobody hears whether it was found.
    pub(super) fn cancel(&self, driver: &UringDriver, operation: u8) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(self.place.token(operation))).build();
        let entry = entry.user_data(Place::NOBODY.token(NOTHING)).flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the entry points to nothing.
        unsafe { driver.ring.push(&entry) };
    }

    /// Takes the descriptor off the socket.
    pub(super) fn take_descriptor(&self) -> Option<OwnedFd> {
        let raw = self.descriptor.replace(NO_DESCRIPTOR);
        // SAFETY: the number came from an `OwnedFd`, and is taken but once.
        (raw != NO_DESCRIPTOR).then(|| unsafe { OwnedFd::from_raw_fd(raw) })
    }

    /// Closes the descriptor and gives up the slot.
    ///
    /// # Panics
    /// If an operation is under way.
    pub(super) fn close(&self, driver: &UringDriver) {
        assert!(!self.is_busy(), "a socket is closed after its last completion");
        if let Some(descriptor) = self.take_descriptor() {
            close(driver, descriptor);
        }
        // The socket may be dropped here, and with it what tells others.
        drop(driver.sockets.remove(self.place));
    }
}

/// The operation of completions that nobody waits for.
pub(super) const NOTHING: u8 = 0;

/// Closes a descriptor, together with whatever else is submitted next.
pub(super) fn close(driver: &UringDriver, descriptor: OwnedFd) {
    let entry = opcode::Close::new(Fd(descriptor.as_raw_fd())).build();
    let entry = entry.user_data(Place::NOBODY.token(NOTHING)).flags(squeue::Flags::SKIP_SUCCESS);
    // The kernel closes it, whatever it answers.
    let _ = descriptor.into_raw_fd();
    // SAFETY: the entry points to nothing.
    unsafe { driver.ring.push(&entry) };
}

/// The table of sockets.
#[derive(Default)]
pub(super) struct Sockets {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
}

struct Slot {
    generation: u32,
    socket: Option<Rc<dyn Socket>>,
}

impl Sockets {
    /// Adds the socket that `make` makes for its place.
    ///
    /// # Panics
    /// With more than four thousand million sockets.
    pub(super) fn insert<S: Socket + 'static>(&self, make: impl FnOnce(Place) -> S) -> Rc<S> {
        let free = self.free.borrow_mut().pop();
        let slot = free.unwrap_or_else(|| {
            let mut slots = self.slots.borrow_mut();
            slots.push(Slot { generation: 0, socket: None });
            u32::try_from(slots.len() - 1).expect("descriptors are fewer")
        });
        let generation = self.slots.borrow()[slot as usize].generation;
        let socket = Rc::new(make(Place { slot, generation }));
        self.slots.borrow_mut()[slot as usize].socket = Some(Rc::clone(&socket) as Rc<dyn Socket>);
        socket
    }

    /// The socket at a place, if it is still there.
    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<Rc<dyn Socket>> {
        let slots = self.slots.borrow();
        let slot = slots.get(place.slot as usize).filter(|slot| slot.generation == place.generation)?;
        slot.socket.clone()
    }

    fn remove(&self, place: Place) -> Option<Rc<dyn Socket>> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(place.slot as usize).filter(|slot| slot.generation == place.generation)?;
        slot.generation = (slot.generation + 1) & u32::try_from(GENERATION_MASK).expect("24 bits");
        self.free.borrow_mut().push(place.slot);
        slot.socket.take()
    }

    /// How many sockets there are.
    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len() - self.free.borrow().len()
    }

    /// All sockets, at this moment.
    pub(super) fn all(&self) -> Vec<Rc<dyn Socket>> {
        self.slots.borrow().iter().filter_map(|slot| slot.socket.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_place_and_operation() {
        for (slot, generation, operation) in [(0, 0, 0), (7, 9, 3), (u32::MAX, (1 << 24) - 1, u8::MAX)] {
            let place = Place { slot, generation };
            assert_eq!(Place::of_token(place.token(operation)), (place, operation));
        }
    }
}
