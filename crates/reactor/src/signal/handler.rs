//! The process's side: the signal handler, and the list of shards that listen.
//!
//! The handler may run on any thread at any instruction, so it only walks a list whose nodes are never freed,
//! sets bits and writes to eventfds that are never closed. Nodes are handed from runtime to runtime.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sunstar_packet::Doorbell;

use super::{STOP_SIGNALS, Signal};
use crate::bell::EventBell;

/// The newest node of the list.
static LISTENERS: AtomicPtr<Listener> = AtomicPtr::new(ptr::null_mut());

/// One node: a shard that listens, or room for one.
struct Listener {
    /// Written before the node is published, and never again.
    next: *const Listener,
    taken: AtomicBool,
    /// The signals that the shard wants, one bit each.
    wanted: AtomicU64,
    /// The signals that have arrived.
    pending: AtomicU64,
    bell: EventBell,
}

/// A shard's hold on a node.
pub(super) struct Ear(&'static Listener);

impl Ear {
    /// Takes a free node, or makes one.
    pub(super) fn new() -> io::Result<Self> {
        let free = |listener: &&Listener| !listener.taken.swap(true, Ordering::Acquire);
        if let Some(listener) = listeners().find(free) {
            listener.pending.store(0, Ordering::Relaxed);
            return Ok(Self(listener));
        }
        let listener = Box::leak(Box::new(Listener {
            next: ptr::null(),
            taken: AtomicBool::new(true),
            wanted: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            bell: EventBell::new()?,
        }));
        let mut head = LISTENERS.load(Ordering::Relaxed);
        loop {
            listener.next = head;
            match LISTENERS.compare_exchange_weak(head, listener, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(Self(listener)),
                Err(now) => head = now,
            }
        }
    }

    /// Listens to the signals whose bits are set, from now on.
    pub(super) fn listen_to(&self, signals: u64) {
        self.0.wanted.store(signals, Ordering::Relaxed);
    }

    /// Whether a signal has arrived.
    pub(super) fn is_pending(&self) -> bool {
        self.0.pending.load(Ordering::Relaxed) != 0
    }

    /// Takes the bits of the signals that have arrived.
    pub(super) fn take(&self) -> u64 {
        self.0.pending.swap(0, Ordering::Acquire)
    }

    /// The eventfd that is written to when a signal arrives.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.wanted.store(0, Ordering::Relaxed);
        self.0.taken.store(false, Ordering::Release);
    }
}

fn listeners() -> impl Iterator<Item = &'static Listener> {
    // SAFETY: nodes are published complete (released by the exchange, acquired here) and never freed.
    let head = unsafe { LISTENERS.load(Ordering::Acquire).cast_const().as_ref() };
    // SAFETY: as above; `next` leads to nodes that were published earlier.
    std::iter::successors(head, |listener| unsafe { listener.next.as_ref() })
}

extern "C" fn handle(number: libc::c_int) {
    // SAFETY: the location of this thread's `errno` is always valid. What was interrupted may be about to read it.
    let errno = unsafe { *libc::__errno_location() };
    if STOP_SIGNALS.contains(&Signal(number)) && LastResort::is_called_for() {
        // SAFETY: as below; the default action of these signals, taken when this handler returns, ends the process.
        unsafe {
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
        }
    }
    let bit = Signal(number).bit();
    for listener in listeners().filter(|listener| listener.wanted.load(Ordering::Relaxed) & bit != 0) {
        listener.pending.fetch_or(bit, Ordering::Release);
        listener.bell.ring();
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// How many tasks listen for stop signals, and how many such signals have come since there were any.
static STOP_LISTENERS: AtomicU32 = AtomicU32::new(0);
static STOP_SIGNALS_SEEN: AtomicU32 = AtomicU32::new(0);

/// While one exists, the third stop signal ends the process from within the handler: no shard need be able to act.
pub(crate) struct LastResort(());

impl LastResort {
    /// The first one begins to count anew.
    pub(crate) fn new() -> Self {
        if STOP_LISTENERS.fetch_add(1, Ordering::AcqRel) == 0 {
            STOP_SIGNALS_SEEN.store(0, Ordering::Release);
        }
        Self(())
    }

    /// Counts a stop signal. Called by the handler.
    fn is_called_for() -> bool {
        STOP_LISTENERS.load(Ordering::Acquire) > 0 && STOP_SIGNALS_SEEN.fetch_add(1, Ordering::AcqRel) >= 2
    }
}

impl Drop for LastResort {
    fn drop(&mut self) {
        STOP_LISTENERS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the process ignores `signal`.
pub(super) fn is_ignored(signal: Signal) -> bool {
    // SAFETY: as for any C structure that the system will fill.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: only asks, and the structure is writable.
    let answer = unsafe { libc::sigaction(signal.number(), ptr::null(), &raw mut action) };
    answer == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// What the process does on the signals that are listened to, and did before.
static INSTALLED: Mutex<Vec<Installed>> = Mutex::new(Vec::new());

struct Installed {
    signal: Signal,
    users: usize,
    before: libc::sigaction,
}

/// Keeps the handler of one signal installed. When the last of a signal is dropped, the process does on it what it
/// did before.
#[derive(Debug)]
pub(super) struct Installation(Signal);

impl Installation {
    pub(super) fn new(signal: Signal) -> io::Result<Self> {
        let mut table = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        match table.iter_mut().find(|installed| installed.signal == signal) {
            Some(installed) => installed.users += 1,
            None => {
                // SAFETY: all zeros is a valid action; an empty mask and no restorer among other things.
                let mut action: libc::sigaction = unsafe { mem::zeroed() };
                action.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
                action.sa_flags = libc::SA_RESTART;
                let before = replace_action(signal, &action)?;
                table.push(Installed { signal, users: 1, before });
            }
        }
        Ok(Self(signal))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let mut table = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        let index = table.iter().position(|installed| installed.signal == self.0);
        let index = index.expect("an installation keeps its signal in the table");
        table[index].users -= 1;
        if table[index].users == 0 {
            let installed = table.swap_remove(index);
            replace_action(self.0, &installed.before).expect("the system gave this action itself");
        }
    }
}

/// Sets what the process does on `signal` and answers what it did before.
fn replace_action(signal: Signal, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    // SAFETY: as for any C structure that the system will fill.
    let mut before: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: both structures are valid; the handler, if it is ours, only does what handlers may.
    let answer = unsafe { libc::sigaction(signal.number(), action, &raw mut before) };
    if answer == 0 { Ok(before) } else { Err(io::Error::last_os_error()) }
}
