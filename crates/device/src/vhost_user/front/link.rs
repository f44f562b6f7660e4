//! What lasts when back ends come and go: the thread that waits for them, and how queues learn of it.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

use super::error::{FrontError, SessionError};
use super::place::{Place, is_readable};
use super::session::{Pair, Session, Wanted};
use crate::shared_memory::{SharedMemory, Withheld};
use crate::vhost_user::socket::SocketError;

/// The device's thread ends with this, which all queues keep.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    /// Until somebody waits for its end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What queues and the thread have in common.
#[derive(Debug)]
struct Shared {
    /// Becomes readable when the thread shall look at `breaks`, and at who leaves, or end.
    wake: OwnedFd,
    /// How often in this session a queue has found that what the back end writes makes no sense; `END` and more if nobody is interested any
    /// more.
    breaks: AtomicU64,
    /// The connection to a back end while it is agreed with: whoever ends the device cuts it, and does not wait for answers.
    agreeing: Mutex<Option<UnixStream>>,
}

impl Shared {
    fn agreeing(&self) -> MutexGuard<'_, Option<UnixStream>> {
        // Nobody panics with the lock.
        self.agreeing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const END: u64 = 1 << 63;

/// A pair of rings on its way to its queue, replaced when another back end comes.
#[derive(Debug)]
pub(super) struct Slot<P = Pair> {
    /// What the back end writes to, and the thread: the shard waits for it.
    pub(super) call: OwnedFd,
    /// How often the pair has changed, which it does with the lock.
    generation: AtomicU64,
    contents: Mutex<Contents<P>>,
    /// With `contents`, each time that it changes.
    changed: Condvar,
    /// How many back ends have come with which no session came about. Of the first pair only, for the device.
    refused: AtomicU64,
}

#[derive(Debug)]
struct Contents<P> {
    pair: Option<P>,
    /// Whether the queue has gone, for which no back end needs the pair any more.
    is_gone: bool,
    /// Whether the queue that has taken the pair goes, and waits until the back end leaves its rings alone.
    is_leaving: bool,
    /// The number under which the pair was there that was taken last, if the back end may still be working on it, since it was alive and did not
    /// say that it leaves it alone; 0 otherwise.
    not_left: u64,
    /// What was in such a pair whose session goes on, until it ends.
    withheld: Vec<Withheld>,
}

impl<P> Contents<P> {
    /// Notes whether the back end leaves alone what is there under a number, if somebody has taken it. Nobody else has ever worked with it.
    fn note(&mut self, generation: u64, is_left: bool) {
        if !is_left && self.pair.is_none() {
            self.not_left = generation;
        } else if is_left && self.not_left == generation {
            self.not_left = 0;
        }
    }
}

impl<P> Slot<P> {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let call = event()?;
        let contents = Contents { pair: None, is_gone: false, is_leaving: false, not_left: 0, withheld: Vec::new() };
        let contents = Mutex::new(contents);
        let (generation, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { call, generation, contents, changed: Condvar::new(), refused })
    }

    /// How often the pair has changed. The session of those before has ended.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The rings, if they are there and nobody has taken them, and how often the pair had changed by then.
    pub(super) fn take(&self) -> (u64, Option<P>) {
        let mut contents = self.contents();
        (self.generation(), contents.pair.take())
    }

    fn contents(&self) -> MutexGuard<'_, Contents<P>> {
        // Nobody panics with the lock.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue goes, of which `tell` tells the thread. Waits until it has seen to what was taken under a number, if anything was, or that has
    /// changed.
    fn leave(&self, taken: Option<u64>, tell: impl FnOnce()) {
        let mut contents = self.contents();
        contents.is_gone = true;
        contents.is_leaving = taken == Some(self.generation());
        tell();
        while contents.is_leaving {
            contents = self.changed.wait(contents).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps from being used what was taken under a number, if a back end may still be working on it: until its session ends in order, and for ever
    /// if it has ended otherwise. `withhold` does that.
    pub(super) fn withhold_unless_left(&self, generation: u64, withhold: impl FnOnce() -> Vec<Withheld>) {
        let mut contents = self.contents();
        if contents.not_left == generation {
            let withheld = withhold();
            if self.generation() == generation {
                contents.withheld.extend(withheld);
            }
        }
    }

    /// Does something if what was taken under a number is still there, which does not change meanwhile.
    fn if_current(&self, generation: u64, does: impl FnOnce()) {
        let contents = self.contents();
        if self.generation() == generation {
            does();
        }
        drop(contents);
    }

    fn is_gone(&self) -> bool {
        self.contents().is_gone
    }

    /// Whoever leaves need not wait any more. `is_left` is whether the back end leaves alone what was taken.
    fn let_go(&self, is_left: bool) {
        let mut contents = self.contents();
        contents.note(self.generation(), is_left || planted::is("vhost_user_disabled_is_stopped"));
        contents.is_leaving = false;
        drop(contents);
        self.changed.notify_all();
    }

    /// How many back ends there were, since the first one, with which no session came about.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Replaces the pair. `is_left` is whether the back end leaves alone what was there before; then this answers with what nobody need keep from
    /// being used any more.
    fn put(&self, new: Option<P>, is_left: bool) -> Vec<Withheld> {
        let mut contents = self.contents();
        let withheld = std::mem::take(&mut contents.withheld);
        contents.note(self.generation(), is_left);
        (contents.pair, contents.is_leaving) = (new, false);
        self.generation.fetch_add(1, Ordering::Release);
        drop(contents);
        self.changed.notify_all();
        ring(&self.call);
        if is_left && !planted::is("vhost_user_withheld_for_ever") { withheld } else { Vec::new() }
    }
}

fn event() -> rustix::io::Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Makes an event readable. It fails if that has been done more often than it can count, and so is readable.
pub(super) fn ring(event: &OwnedFd) {
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

/// Makes an event unreadable.
pub(super) fn drain(event: &OwnedFd) {
    let _ = rustix::io::read(event, &mut [0; 8]);
}

impl Link {
    /// Hands the first rings to their queues, and has a thread wait for the end of the session.
    pub(super) fn start(
        place: Place,
        session: Session,
        pairs: Vec<Pair>,
        wanted: Wanted,
        memory: Arc<SharedMemory>,
        slots: Vec<Arc<Slot>>,
    ) -> io::Result<Arc<Self>> {
        let wake = event()?;
        let shared = Arc::new(Shared { wake, breaks: AtomicU64::new(0), agreeing: Mutex::new(None) });
        let keeper = Keeper { place, wanted, memory, slots, shared: Arc::clone(&shared) };
        keeper.publish(pairs);
        let thread = std::thread::Builder::new().name("vhost-user".to_owned()).spawn(move || keeper.run(session))?;
        Ok(Arc::new(Self { shared, thread: Mutex::new(Some(thread)) }))
    }

    /// Has the session end to which rings belong that were taken under a number, since one of them is broken.
    pub(super) fn break_off(&self, slot: &Slot, generation: u64) {
        slot.if_current(generation, || {
            self.shared.breaks.fetch_add(1, Ordering::Release);
        });
        ring(&self.shared.wake);
    }

    /// A queue goes: this back end uses its rings no more, nor does the next one. Waits until it says so or its session has ended if rings
    /// were taken, under a number: a second at most for each answer. [`Slot::withhold_unless_left`] knows what came of it.
    pub(super) fn leave(&self, slot: &Slot, taken: Option<u64>) {
        slot.leave(taken, || ring(&self.shared.wake));
    }

    /// Ends the device, and waits for that.
    pub(super) fn end(&self) {
        self.shared.breaks.fetch_or(END, Ordering::Release);
        ring(&self.shared.wake);
        // If it has not put the connection there yet, it sees that it is to end when it does.
        self.shared.agreeing().iter().for_each(cut_off);
        // It takes the socket with it.
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = thread.map(JoinHandle::join);
        debug_assert!(!matches!(ended, Some(Err(_))), "the thread has panicked");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

/// A pair that somebody has, or is about to have: when it goes, the back end uses the pair no more, nor does the next one. The session ends with the
/// last one who has the link.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) slot: Arc<Slot>,
    pub(super) link: Arc<Link>,
    has_left: bool,
}

impl Seat {
    pub(super) fn new(slot: Arc<Slot>, link: Arc<Link>) -> Self {
        Self { slot, link, has_left: false }
    }

    /// Waits until the back end has been told, if rings were taken, under a number, as [`Link::leave`] does.
    pub(super) fn leave(&mut self, taken: Option<u64>) {
        let has_left = std::mem::replace(&mut self.has_left, true);
        if has_left {
            return;
        }
        if Arc::strong_count(&self.link) > 1 {
            self.link.leave(&self.slot, taken);
        } else if taken.is_some() {
            self.link.end();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave(None);
    }
}

/// Has all that waits for the other side find that it has gone.
fn cut_off(stream: &UnixStream) {
    // One that is not connected any more is as good.
    let _ = stream.shutdown(Shutdown::Both);
}

/// What the thread has.
struct Keeper {
    place: Place,
    wanted: Wanted,
    memory: Arc<SharedMemory>,
    slots: Vec<Arc<Slot>>,
    shared: Arc<Shared>,
}

impl Keeper {
    fn run(self, mut session: Session) {
        let path = self.place.path().display();
        loop {
            let is_left = self.serve(&mut session);
            if !self.is_ended() {
                log::warn!("the back end at {path} is gone; packets are lost until there is one again");
            }
            // First, so that nobody lets go of rings that a back end has still got.
            if is_left {
                drop(session);
            } else {
                session.forget(&self.memory);
            }
            let left = self.slots.iter().flat_map(|slot| slot.put(None, is_left));
            left.for_each(|withheld| self.memory.restore(withheld));
            let Some((next, pairs)) = self.reconnect() else { return };
            session = next;
            self.publish(pairs);
            log::info!("there is a back end at {path} again");
        }
    }

    fn publish(&self, pairs: Vec<Pair>) {
        // What was found in rings that are gone is of no interest.
        self.shared.breaks.fetch_and(END, Ordering::AcqRel);
        for (slot, pair) in self.slots.iter().zip(pairs) {
            let left = slot.put(Some(pair), true);
            debug_assert!(left.is_empty(), "the last session has ended before");
        }
    }

    fn is_ended(&self) -> bool {
        self.shared.breaks.load(Ordering::Acquire) >= END
    }

    /// Does for queues what they want of the back end, until the session ends; answers whether the back end leaves all rings alone then: it
    /// has said so, or is gone.
    fn serve(&self, session: &mut Session) -> bool {
        let path = self.place.path().display();
        let result = loop {
            let is_told = is_readable(self.shared.wake.as_fd(), Some(session.socket()), None);
            // First, so that what is told behind this makes it readable again.
            drain(&self.shared.wake);
            let breaks = self.shared.breaks.load(Ordering::Acquire);
            if is_told && breaks == 0 {
                match self.let_go(session) {
                    Ok(()) => continue,
                    Err(error) => break Err(error),
                }
            }
            if (1..END).contains(&breaks) {
                log::error!("what the back end at {path} writes into a ring makes no sense");
            }
            // It also is alive if it says what nobody has asked for.
            break session.stop();
        };
        match result {
            Ok(()) | Err(SessionError::Closed) => true,
            Err(error) => {
                log::warn!("the back end at {path} is to stop: {error}; its packets' memory is never used again");
                false
            }
        }
    }

    /// Lets queues go that want to.
    fn let_go(&self, session: &mut Session) -> Result<(), SessionError> {
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.is_gone()) {
            if let Some(is_left) = session.leave(index)? {
                slot.let_go(is_left);
            }
        }
        Ok(())
    }

    /// A session with the next back end; nothing if the device ends before.
    fn reconnect(&self) -> Option<(Session, Vec<Pair>)> {
        let mut told = String::new();
        loop {
            drain(&self.shared.wake);
            if self.is_ended() {
                return None;
            }
            let opened = self.place.reopen(self.shared.wake.as_fd()).transpose();
            let Some(opened) = opened else { continue };
            match opened.and_then(|stream| self.agree(stream)) {
                Ok(session) => return Some(session),
                Err(_) if self.is_ended() => return None,
                // As long as it does not listen there is nothing to tell.
                Err(FrontError::NoSocket { .. } | FrontError::Stale { .. }) => {}
                Err(error) => {
                    if let (FrontError::Session { .. }, Some(first)) = (&error, self.slots.first()) {
                        first.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    let error = error.to_string();
                    if error != told {
                        log::warn!("{error}");
                        told = error;
                    }
                    self.place.rest(self.shared.wake.as_fd());
                }
            }
        }
    }

    fn agree(&self, stream: UnixStream) -> Result<(Session, Vec<Pair>), FrontError> {
        let path = || self.place.path().to_owned();
        let twin = stream.try_clone().map_err(|error| SocketError::System { path: path(), error })?;
        *self.shared.agreeing() = Some(twin);
        if self.is_ended() {
            cut_off(&stream);
        }
        let calls: Vec<_> = self.slots.iter().map(|slot| slot.call.as_fd()).collect();
        let is_used = |index: usize| !self.slots[index].is_gone() || planted::is("vhost_user_gone_is_enabled");
        let session = Session::new(stream, self.wanted, &self.memory, &calls, is_used, || self.is_ended());
        *self.shared.agreeing() = None;
        session.map_err(|error| FrontError::Session { path: path(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_never_taken_under_the_number_of_the_one_before() {
        const TIMES: u64 = 100_000;

        let slot = Arc::new(Slot::new().expect("a descriptor"));
        let to = Arc::clone(&slot);
        let thread = std::thread::spawn(move || (1..=TIMES).for_each(|number| drop(to.put(Some(number), true))));
        let mut generation = 0;
        while generation < TIMES {
            if slot.generation() != generation {
                let (taken, number) = slot.take();
                assert_eq!(number, Some(taken), "what is new is there");
                generation = taken;
            }
        }
        thread.join().expect("the thread ends");
    }

    #[test]
    fn what_was_taken_is_withheld_if_its_own_session_does_not_leave_it() {
        type Step = fn(&Slot<()>);
        let begin: Step = |slot| drop(slot.put(Some(()), true));
        let disable: Step = |slot| slot.let_go(false);
        let end: Step = |slot| drop(slot.put(None, true));
        let hang: Step = |slot| drop(slot.put(None, false));
        // What comes of later sessions, of which the queue has seen nothing, changes nothing.
        for (number, (steps, expected)) in [
            (&[disable][..], true),
            (&[hang], true),
            (&[disable, hang], true),
            (&[end], false),
            (&[disable, end], false),
            (&[end, begin, hang], false),
            (&[end, begin, disable], false),
            (&[hang, begin, end], true),
            (&[hang, begin, hang], true),
            (&[hang, begin, disable, end], true),
        ]
        .into_iter()
        .enumerate()
        {
            let slot = Slot::new().expect("a descriptor");
            begin(&slot);
            let (taken, _) = slot.take();
            steps.iter().for_each(|step| step(&slot));
            let mut is_withheld = false;
            slot.withhold_unless_left(taken, || {
                is_withheld = true;
                Vec::new()
            });
            assert_eq!(is_withheld, expected, "case {number}");
        }
    }
}
