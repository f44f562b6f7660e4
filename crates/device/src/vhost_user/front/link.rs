//! What lasts when back ends come and go: the thread that waits for them, and how queues learn of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::error::FrontError;
use super::place::{Place, SocketFile, is_readable};
use super::session::{Pair, Session, Wanted};
use crate::shared_memory::SharedMemory;

/// The device's thread ends when this goes, which all queues keep.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    /// The process may end before its threads do.
    _file: Option<SocketFile>,
}

/// What queues and the thread have in common.
#[derive(Debug)]
struct Shared {
    /// Becomes readable when the thread shall look at `breaks`, or end.
    wake: OwnedFd,
    /// How often a queue has found that what the back end writes makes no sense; `END` and more if nobody is interested any more.
    breaks: AtomicU64,
}

const END: u64 = 1 << 63;

/// A pair of rings on its way to its queue, replaced when another back end comes.
#[derive(Debug)]
pub(super) struct Slot {
    /// What the back end writes to, and the thread: the shard waits for it.
    pub(super) call: OwnedFd,
    /// How often the pair has changed.
    generation: AtomicU64,
    pair: Mutex<Option<Pair>>,
}

impl Slot {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let call = event()?;
        Ok(Self { call, generation: AtomicU64::new(0), pair: Mutex::new(None) })
    }

    /// How often the pair has changed.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The rings, if they are there and nobody has taken them.
    pub(super) fn take(&self) -> Option<Pair> {
        // Nobody panics with the lock.
        self.pair.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, pair: Option<Pair>) {
        *self.pair.lock().unwrap_or_else(PoisonError::into_inner) = pair;
        self.generation.fetch_add(1, Ordering::Release);
        ring(&self.call);
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
        mut place: Place,
        session: Session,
        pairs: Vec<Pair>,
        wanted: Wanted,
        memory: Arc<SharedMemory>,
        slots: Vec<Arc<Slot>>,
    ) -> io::Result<Arc<Self>> {
        let wake = event()?;
        let file = place.take_file();
        let shared = Arc::new(Shared { wake, breaks: AtomicU64::new(0) });
        let keeper = Keeper { place, wanted, memory, slots, shared: Arc::clone(&shared) };
        keeper.publish(pairs);
        std::thread::Builder::new().name("vhost-user".to_owned()).spawn(move || keeper.run(session))?;
        Ok(Arc::new(Self { shared, _file: file }))
    }

    /// Has the session end, since a ring is broken.
    pub(super) fn break_off(&self) {
        self.shared.breaks.fetch_add(1, Ordering::Release);
        ring(&self.shared.wake);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.breaks.fetch_or(END, Ordering::Release);
        ring(&self.shared.wake);
    }
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
        while self.wait(&session) {
            log::warn!("the back end at {path} is gone; packets are lost until there is one again");
            self.slots.iter().for_each(|slot| slot.put(None));
            drop(session);
            let Some((next, pairs)) = self.reconnect() else { return };
            session = next;
            self.publish(pairs);
            log::info!("there is a back end at {path} again");
        }
    }

    fn publish(&self, pairs: Vec<Pair>) {
        for (slot, pair) in self.slots.iter().zip(pairs) {
            slot.put(Some(pair));
        }
    }

    fn is_ended(&self) -> bool {
        self.shared.breaks.load(Ordering::Acquire) >= END
    }

    /// Waits for the end of a session; answers whether there is to be another one.
    fn wait(&self, session: &Session) -> bool {
        let is_broken = is_readable(self.shared.wake.as_fd(), Some(session.socket()), None);
        if is_broken && !self.is_ended() {
            log::error!("what the back end at {} writes into a ring makes no sense", self.place.path().display());
        }
        !self.is_ended()
    }

    /// A session with the next back end; nothing if the device ends before.
    fn reconnect(&self) -> Option<(Session, Vec<Pair>)> {
        let mut told = String::new();
        loop {
            // What was told of rings that are gone is of no interest.
            drain(&self.shared.wake);
            if self.is_ended() {
                return None;
            }
            let Some(opened) = self.place.reopen(self.shared.wake.as_fd()) else { continue };
            let calls: Vec<_> = self.slots.iter().map(|slot| slot.call.as_fd()).collect();
            let new = |stream| {
                Session::new(stream, self.wanted, &self.memory, &calls)
                    .map_err(|error| FrontError::Session { path: self.place.path().to_owned(), error })
            };
            match opened.and_then(new) {
                Ok(session) => return Some(session),
                // As long as it does not listen there is nothing to tell.
                Err(FrontError::NoSocket { .. } | FrontError::Stale { .. }) => {}
                Err(error) => {
                    let error = error.to_string();
                    if error != told {
                        log::warn!("{error}");
                        told = error;
                    }
                }
            }
        }
    }
}
