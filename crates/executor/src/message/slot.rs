//! A message: a closure and the scheduling group it runs under, in one cache line.

use alloc::boxed::Box;
use core::mem::{ManuallyDrop, MaybeUninit, align_of, size_of};

use crate::atomic::{AtomicU64, UnsafeCell};
use crate::group::SchedulingGroup;

/// Bytes of a closure that travel within the message; larger ones are boxed.
pub(crate) const INLINE_BYTES: usize = 48;

const WORDS: usize = INLINE_BYTES / size_of::<u64>();

type Payload = [MaybeUninit<u64>; WORDS];

/// What a message's function does with the closure in the payload; either way the payload is empty afterwards.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Run,
    Drop,
}

/// What the receiving shard does with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Runs in its turn, under its scheduling group.
    Request,
    /// Belongs to a call that started on the receiving shard, and runs as soon as it is seen.
    Reply,
}

/// How a message is to be handled; it travels in the upper half of the slot's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label {
    pub(crate) group: u8,
    /// The low half of the group's generation: tells a group that is gone from a later one in its place.
    pub(crate) generation: u16,
    pub(crate) kind: Kind,
}

impl Label {
    /// What belongs to a call that started where it goes.
    pub(crate) const REPLY: Self = Self { group: 0, generation: 0, kind: Kind::Reply };

    /// A request under a scheduling group.
    #[inline]
    pub(crate) const fn request(group: SchedulingGroup) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "only the low half travels")]
        let generation = group.generation as u16;
        Self { group: group.index, generation, kind: Kind::Request }
    }

    /// The header of a slot with this label that is full for the consumer at `position`.
    #[inline]
    pub(super) fn header(self, position: u32) -> u64 {
        let kind: u64 = match self.kind {
            Kind::Request => 0,
            Kind::Reply => 1 << 40,
        };
        u64::from(sequence(position)) | u64::from(self.group) << 32 | kind | u64::from(self.generation) << 48
    }

    #[inline]
    pub(super) fn of(header: u64) -> Self {
        let [_, _, _, _, group, kind, low, high] = header.to_le_bytes();
        let generation = u16::from_le_bytes([low, high]);
        Self { group, generation, kind: if kind == 0 { Kind::Request } else { Kind::Reply } }
    }
}

/// The sequence number of a slot that is full for the consumer at `position`.
#[inline]
fn sequence(position: u32) -> u32 {
    position.wrapping_add(1)
}

/// Whether a slot's header says that the slot holds the message of `position`.
#[inline]
pub(super) fn is_full(header: u64, position: u32) -> bool {
    header & 0xffff_ffff == u64::from(sequence(position))
}

/// The closure of a message, its type erased.
///
/// The payload comes first, so that copies of a body and reads of its payload cut it at the same places: processors
/// forward a store that is still under way only to loads that lie within it.
#[repr(C)]
pub(super) struct Body {
    payload: Payload,
    run: unsafe fn(*mut Payload, Action),
}

impl Body {
    /// Writes `f` as a body to `place`.
    ///
    /// # Safety
    /// `place` must be valid for a write. What it held is overwritten, not dropped.
    #[inline(always)]
    pub(super) unsafe fn write<F: FnOnce() + Send + 'static>(place: *mut Self, f: F) {
        // SAFETY: the caller says that `place` may be written. A closure that is stored inline fits the payload
        // in size and alignment, as `fits_inline` has found, and so does a box.
        unsafe {
            let payload = &raw mut (*place).payload;
            if fits_inline::<F>() {
                let f = ManuallyDrop::new(f);
                copy_by_words(&raw const *f, payload.cast::<F>());
                (&raw mut (*place).run).write(act_inline::<F>);
            } else {
                payload.cast::<Box<F>>().write(Box::new(f));
                (&raw mut (*place).run).write(act_boxed::<F>);
            }
        }
    }
}

/// Moves a value in pieces of eight bytes.
///
/// A closure has just been put together, mostly in such pieces, and processors forward a store that is still under way
/// only to loads that lie within it. A wider load waits until its stores are done, those before them included: the
/// stores to the slots of earlier messages, each as long as the way to the other core.
///
/// # Safety
/// As for [`core::ptr::copy_nonoverlapping`] with one value, which counts as moved.
#[inline(always)]
unsafe fn copy_by_words<T>(from: *const T, to: *mut T) {
    type Word = MaybeUninit<u64>;
    if align_of::<T>() < align_of::<Word>() {
        // SAFETY: as the caller says.
        unsafe { to.copy_from_nonoverlapping(from, 1) };
        return;
    }
    // The size is a multiple of the alignment.
    for word in 0..size_of::<T>() / size_of::<Word>() {
        // SAFETY: as the caller says, word by word. Volatile, since the compiler would merge the loads.
        unsafe { to.cast::<Word>().add(word).write_volatile(from.cast::<Word>().add(word).read()) };
    }
}

const fn fits_inline<F>() -> bool {
    size_of::<F>() <= INLINE_BYTES && align_of::<F>() <= align_of::<Payload>()
}

/// # Safety
/// The payload must hold an `F`, which is moved out of it.
unsafe fn act_inline<F: FnOnce()>(payload: *mut Payload, action: Action) {
    // SAFETY: the caller says that an `F` is there and that it may be taken.
    let f = unsafe { payload.cast::<F>().read() };
    match action {
        Action::Run => f(),
        Action::Drop => drop(f),
    }
}

/// # Safety
/// The payload must hold a `Box<F>`, which is moved out of it.
unsafe fn act_boxed<F: FnOnce()>(payload: *mut Payload, action: Action) {
    // SAFETY: the caller says that a `Box<F>` is there and that it may be taken.
    let f = unsafe { payload.cast::<Box<F>>().read() };
    match action {
        Action::Run => f(),
        Action::Drop => drop(f),
    }
}

/// A closure on its way to another shard. Dropping it drops the closure without running it.
#[repr(C)]
pub(crate) struct Message {
    body: ManuallyDrop<Body>,
    label: Label,
}

// SAFETY: the body holds a closure that is `Send`, and nothing else.
unsafe impl Send for Message {}

impl Message {
    /// Takes the message apart.
    pub(super) fn into_body(self) -> Body {
        let mut message = ManuallyDrop::new(self);
        // SAFETY: the message, which is forgotten, is not used after its body was taken.
        unsafe { ManuallyDrop::take(&mut message.body) }
    }

    /// Makes a message of `f`.
    #[inline]
    pub(crate) fn new<F: FnOnce() + Send + 'static>(label: Label, f: F) -> Self {
        let mut body = MaybeUninit::<Body>::uninit();
        // SAFETY: the place is a local of the right type, and `write` initialises what `run` reads. The rest of
        // the payload may stay uninitialised.
        let body = unsafe {
            Body::write(body.as_mut_ptr(), f);
            body.assume_init()
        };
        Self { label, body: ManuallyDrop::new(body) }
    }

    /// How the message is to be handled.
    #[inline]
    pub(crate) fn label(&self) -> Label {
        self.label
    }

    /// Runs the closure; its panics pass through.
    #[cfg(test)]
    pub(crate) fn run(self) {
        let mut message = MaybeUninit::new(self);
        // SAFETY: the place holds a message, which nobody uses afterwards.
        unsafe { Self::run_at(message.as_mut_ptr()) };
    }

    /// Runs the closure of the message at `place` and leaves the place uninitialised.
    ///
    /// The place is not used any more once the closure has begun to run.
    ///
    /// # Safety
    /// `place` must hold a message, which nobody uses afterwards.
    #[inline]
    pub(super) unsafe fn run_at(place: *mut Self) {
        // SAFETY: by the caller's promise the body is full and emptied only here. `ManuallyDrop` is transparent.
        unsafe {
            let body = (&raw mut (*place).body).cast::<Body>();
            ((*body).run)(&raw mut (*body).payload, Action::Run);
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the body is full: `run` forgets the message before it empties it.
        unsafe { (self.body.run)(&raw mut self.body.payload, Action::Drop) };
    }
}

/// A place for one message in a ring: one cache line, so that a message costs one transfer between cores.
///
/// All zero is the state of a slot that was never used.
#[repr(C, align(64))]
pub(super) struct Slot {
    /// The sequence number in the lower half, the label in the upper one.
    pub(super) header: AtomicU64,
    body: UnsafeCell<MaybeUninit<Body>>,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 64, "a slot must be one cache line");

impl Slot {
    /// A slot that was never used; loom's types have no valid all-zero state.
    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { header: AtomicU64::new(0), body: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Puts a closure into the slot.
    ///
    /// # Safety
    /// The caller must be the ring's producer, and the consumer must have told that it emptied the slot.
    #[inline(always)]
    pub(super) unsafe fn put<F: FnOnce() + Send + 'static>(&self, f: F) {
        // SAFETY: the caller has the slot for itself.
        self.body.with_mut(|body| unsafe { Body::write((*body).as_mut_ptr(), f) });
    }

    /// Puts a body into the slot that was written elsewhere; it counts as moved.
    ///
    /// # Safety
    /// As for [`Slot::put`]; `body` holds a body.
    #[inline(always)]
    pub(super) unsafe fn put_body(&self, body: *const Body) {
        // SAFETY: as the caller says.
        self.body.with_mut(|place| unsafe { copy_by_words(body, (*place).as_mut_ptr()) });
    }

    /// Puts a message that waited for room into the slot.
    ///
    /// # Safety
    /// As for [`Slot::put`].
    #[inline]
    pub(super) unsafe fn put_message(&self, message: Message) {
        let taken = message.into_body();
        // SAFETY: the caller has the slot for itself.
        self.body.with_mut(|body| unsafe { (*body).write(taken) });
    }

    /// What the slot holds, given the `header` that has shown it to be full.
    ///
    /// # Safety
    /// The caller must be the ring's consumer, must have read `header` from the slot by an acquiring load, asks
    /// once per lap, and tells the producer that it is past the slot only after the arrival is gone.
    #[inline]
    pub(super) unsafe fn arrival(&self, header: u64) -> Arrival<'_> {
        Arrival { slot: self, header }
    }
}

/// A message that is still in its slot. Dropping it drops the closure without running it.
pub(crate) struct Arrival<'a> {
    slot: &'a Slot,
    header: u64,
}

impl Arrival<'_> {
    /// How the message is to be handled.
    #[inline]
    pub(crate) fn label(&self) -> Label {
        Label::of(self.header)
    }

    /// Moves the message out of the slot.
    #[cfg(test)]
    pub(crate) fn take(self) -> Message {
        let mut place = MaybeUninit::uninit();
        self.move_to(&mut place);
        // SAFETY: the message was moved there.
        unsafe { place.assume_init() }
    }

    /// Moves the message out of the slot to a place, without a stop on the way.
    #[inline(always)]
    pub(crate) fn move_to(self, place: &mut MaybeUninit<Message>) {
        let label = self.label();
        let slot = ManuallyDrop::new(self).slot;
        let place = place.as_mut_ptr();
        // SAFETY: the place is a message's. By the contract of `Slot::arrival` the slot is full and ours, and this
        // arrival, which is used up here, is the only one for it. `ManuallyDrop` is transparent.
        slot.body.with(|body| unsafe {
            let to = (&raw mut (*place).body).cast::<Body>();
            to.copy_from_nonoverlapping((*body).as_ptr(), 1);
            (&raw mut (*place).label).write(label);
        });
    }

    /// Runs the closure from where it lies; its panics pass through.
    #[inline]
    pub(crate) fn run(self) {
        ManuallyDrop::new(self).act(Action::Run);
    }

    #[inline]
    fn act(&self, action: Action) {
        // SAFETY: by the contract of `Slot::arrival` the slot is full and ours; both callers use the arrival up.
        self.slot.body.with_mut(|body| unsafe {
            let body = (*body).as_mut_ptr();
            ((*body).run)(&raw mut (*body).payload, action);
        });
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.act(Action::Drop);
    }
}
