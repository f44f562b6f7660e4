//! Models of the way home: every interleaving and every outcome of weak memory that loom can find.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p sunstar-packet --lib loom_
//! ```
//!
//! Without `LOOM_MAX_PREEMPTIONS` that is complete; a bound must not be below two, as the models check that
//! they meet every outcome that is possible.
//!
//! Each of these planted bugs makes the models named beside it fail, e.g.
//!
//! ```text
//! cargo xtask planted missing_barrier
//! ```
//!
//! | planted | what it breaks | found by |
//! |---|---|---|
//! | `missing_barrier` | the fences of `notify` and `prepare_sleep` | `loom_notify_wakes_the_sleeper` |
//! | `relaxed_post` | the release of the push | `loom_two_posters_and_a_drain`, `loom_foreign_dropped_abroad_while_home_drains` |
//! | `freed_twice` | the reference of a crossing is given up twice | `loom_foreign_keeps_what_home_still_holds` |
//! | `touch_after_post` | a poster uses the list after its node is on it | `loom_list_ends_after_the_last_arrival` |

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::fmt::Debug;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
// Instruments of the tests, of which loom shall know nothing.
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread;
use std::sync::Mutex;

use crate::home::{Doorbell, HomeNode, HomeOwner};
use crate::{Buffer, ForeignBuffer};

/// Runs a model in all its executions, and checks that the outcomes are those that are expected: all of them, so that
/// a model which explores too little is found out.
fn explore<T: Ord + Debug + Send + 'static>(
    expected: impl IntoIterator<Item = T>,
    model: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let found = Arc::clone(&seen);
    loom::model(move || {
        let outcome = model();
        found.lock().expect("no panic while it is locked").insert(outcome);
    });
    let seen = core::mem::take(&mut *seen.lock().expect("no panic while it is locked"));
    assert_eq!(seen, expected.into_iter().collect());
}

/// A word that one side reads and the other one changes, so that loom tries either order of what they do around it.
///
/// Loom remembers only the last access to an atomic: it does not notice that a thread's load conflicts with another
/// thread's exchange if that thread has loaded the word itself before. The word orders nothing.
#[derive(Clone)]
struct Race(Arc<AtomicU32>);

impl Race {
    fn new() -> Self {
        Self(Arc::new(AtomicU32::new(0)))
    }

    fn before(&self) {
        self.0.load(Relaxed);
    }

    fn after(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Counts how often it was rung.
#[derive(Clone, Default)]
struct Bell(Arc<AtomicUsize>);

impl Doorbell for Bell {
    fn ring(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Posted by value: its payload is written abroad and read at home.
#[repr(C)]
struct Parcel {
    node: HomeNode,
    payload: UnsafeCell<usize>,
    received: Arc<AtomicUsize>,
}

impl Parcel {
    fn new(received: &Arc<AtomicUsize>) -> Box<Self> {
        let node = HomeNode::new(Self::arrive);
        Box::new(Self { node, payload: UnsafeCell::new(0), received: Arc::clone(received) })
    }

    unsafe fn arrive(node: NonNull<HomeNode>) {
        // SAFETY: only parcels have this function, and the node is their first field.
        let parcel = unsafe { Box::from_raw(node.cast::<Self>().as_ptr()) };
        if std::thread::panicking() {
            return;
        }
        // SAFETY: the list gave the parcel up; loom checks that.
        let payload = parcel.payload.with(|payload| unsafe { *payload });
        parcel.received.fetch_add(payload, Relaxed);
    }

    fn post(self: Box<Self>, home: &crate::Home, payload: usize) {
        // SAFETY: the parcel is not posted yet.
        self.payload.with_mut(|place| unsafe { *place = payload });
        // SAFETY: the caller keeps the home; the parcel is given up until it arrives.
        unsafe { home.post(NonNull::from(Box::leak(self)).cast()) };
    }
}

fn drain_until(owner: &HomeOwner, is_done: impl Fn() -> bool) {
    while !is_done() {
        if owner.drain() == 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn loom_two_posters_and_a_drain() {
    explore([0, 1, 2], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let (received, race) = (Arc::new(AtomicUsize::new(0)), Race::new());
        let posters = [1, 10].map(|payload| {
            let (home, parcel, race) = (Arc::clone(owner.home()), Parcel::new(&received), race.clone());
            thread::spawn(move || {
                parcel.post(&home, payload);
                race.after();
            })
        });
        race.before();
        let first_drained = owner.drain();
        for poster in posters {
            poster.join().expect("a poster does not panic");
        }
        assert_eq!(first_drained + owner.drain(), 2);
        assert_eq!(received.load(Relaxed), 11);
        first_drained
    });
}

#[test]
fn loom_post_wakes_the_sleeper() {
    explore([(false, 0), (false, 1), (true, 1)], || {
        let bell = Bell::default();
        let owner = HomeOwner::new(Box::new(bell.clone()));
        let (received, race) = (Arc::new(AtomicUsize::new(0)), Race::new());
        let (home, parcel, raced) = (Arc::clone(owner.home()), Parcel::new(&received), race.clone());
        let poster = thread::spawn(move || {
            parcel.post(&home, 1);
            raced.after();
        });
        owner.prepare_sleep();
        race.before();
        let sleeps = !owner.has_arrivals();
        poster.join().expect("the poster does not panic");
        assert!(!sleeps || bell.rung() == 1, "a lost wake");
        owner.end_sleep();
        assert_eq!(owner.drain(), 1);
        (sleeps, bell.rung())
    });
}

#[test]
fn loom_notify_wakes_the_sleeper() {
    explore([(false, 0), (false, 1), (true, 1)], || {
        let bell = Bell::default();
        let owner = HomeOwner::new(Box::new(bell.clone()));
        let work = Arc::new(AtomicBool::new(false));
        let (home, offered) = (Arc::clone(owner.home()), Arc::clone(&work));
        let poster = thread::spawn(move || {
            offered.store(true, Relaxed);
            home.notify();
        });
        owner.prepare_sleep();
        let sleeps = !work.load(Relaxed);
        poster.join().expect("the poster does not panic");
        assert!(!sleeps || bell.rung() == 1, "a lost wake");
        owner.end_sleep();
        (sleeps, bell.rung())
    });
}

#[test]
fn loom_sleeper_is_rung_once_and_drain_keeps_the_announcement() {
    explore([(0, 1), (1, 0), (1, 1)], || {
        let bell = Bell::default();
        let owner = HomeOwner::new(Box::new(bell.clone()));
        let (received, race) = (Arc::new(AtomicUsize::new(0)), Race::new());
        let (home, parcel, raced) = (Arc::clone(owner.home()), Parcel::new(&received), race.clone());
        let poster = thread::spawn(move || {
            parcel.post(&home, 1);
            raced.after();
        });
        let home = Arc::clone(owner.home());
        let notifier = thread::spawn(move || home.notify());
        owner.prepare_sleep();
        race.before();
        let drained = owner.drain();
        poster.join().expect("the poster does not panic");
        notifier.join().expect("the notifier does not panic");
        assert!(bell.rung() <= 1);
        assert!(drained == 1 || bell.rung() == 1, "a lost wake");
        owner.end_sleep();
        owner.home().notify();
        let rung = bell.rung();
        assert!(rung <= 1, "rung while awake");
        assert_eq!(drained + owner.drain(), 1);
        (drained, rung)
    });
}

/// Bytes whose readers loom knows.
struct Bytes(UnsafeCell<[u8; 4]>);

// SAFETY: loom reports accesses that race.
unsafe impl Sync for Bytes {}

/// Owns bytes; loom sees who reads them and that freeing them comes after.
struct Watched {
    bytes: Arc<Bytes>,
    freed: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: nobody writes the bytes; freeing is only a write for loom.
        self.bytes.0.with(|bytes| unsafe { &*bytes })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.freed.fetch_add(1, Relaxed);
        // A second finding while the first one unwinds would end the process before it is reported.
        if !std::thread::panicking() {
            self.bytes.0.with_mut(|_| ());
        }
    }
}

/// What a model needs to look at watched bytes and at their end.
#[derive(Clone)]
struct Watch {
    bytes: Arc<Bytes>,
    freed: Arc<AtomicUsize>,
}

impl Watch {
    fn read(&self, seen: &[u8]) {
        self.bytes.0.with(|_| assert_eq!(seen, b"star"));
    }

    fn freed(&self) -> usize {
        self.freed.load(Relaxed)
    }
}

fn watched() -> (Watch, Buffer) {
    let watch = Watch { bytes: Arc::new(Bytes(UnsafeCell::new(*b"star"))), freed: Arc::default() };
    let owner = Watched { bytes: Arc::clone(&watch.bytes), freed: Arc::clone(&watch.freed) };
    (watch, Buffer::from_owner(owner))
}

fn read_and_drop(watch: &Watch, foreign: ForeignBuffer, race: &Race) -> thread::JoinHandle<()> {
    let (watch, race) = (watch.clone(), race.clone());
    thread::spawn(move || {
        watch.read(&foreign);
        drop(foreign);
        race.after();
    })
}

#[test]
fn loom_list_ends_after_the_last_arrival() {
    explore([0, 1], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let ((watch, buffer), race) = (watched(), Race::new());
        // The thread has no `Arc` of the home, only the crossing's plain pointer.
        let abroad = read_and_drop(&watch, buffer.into_foreign(&owner), &race);
        race.before();
        let first_drained = owner.drain();
        drain_until(&owner, || owner.residents() == 0);
        drop(owner);
        assert_eq!(watch.freed(), 1);
        abroad.join().expect("nothing panics abroad");
        first_drained
    });
}

#[test]
fn loom_list_of_a_sleeper_ends_after_the_last_arrival() {
    explore([(0, 1), (1, 0), (1, 1)], || {
        let bell = Bell::default();
        let owner = HomeOwner::new(Box::new(bell.clone()));
        let ((watch, buffer), race) = (watched(), Race::new());
        let abroad = read_and_drop(&watch, buffer.into_foreign(&owner), &race);
        owner.prepare_sleep();
        race.before();
        let first_drained = owner.drain();
        drain_until(&owner, || owner.residents() == 0);
        drop(owner);
        abroad.join().expect("nothing panics abroad");
        assert_eq!(watch.freed(), 1);
        (first_drained, bell.rung())
    });
}

#[test]
fn loom_foreign_dropped_abroad_while_home_drains() {
    explore([0, 1, 2], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let ((watch, buffer), race) = (watched(), Race::new());
        let second = buffer.slice(..).into_foreign(&owner);
        let first = buffer.into_foreign(&owner);
        let abroad = [first, second].map(|foreign| read_and_drop(&watch, foreign, &race));
        race.before();
        let first_drained = owner.drain();
        assert_eq!(watch.freed(), usize::from(first_drained == 2));
        for thread in abroad {
            thread.join().expect("nothing panics abroad");
        }
        owner.drain();
        assert_eq!((watch.freed(), owner.residents()), (1, 0));
        first_drained
    });
}

#[test]
fn loom_foreign_keeps_what_home_still_holds() {
    explore([0, 1], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let ((watch, buffer), race) = (watched(), Race::new());
        // Not dropped if an assertion fails: then the memory may be gone.
        let kept = ManuallyDrop::new(buffer.clone());
        let abroad = read_and_drop(&watch, buffer.into_foreign(&owner), &race);
        race.before();
        let first_drained = owner.drain();
        drain_until(&owner, || owner.residents() == 0);
        assert_eq!(watch.freed(), 0, "released a reference that home still holds");
        watch.read(&kept);
        abroad.join().expect("nothing panics abroad");
        drop(ManuallyDrop::into_inner(kept));
        assert_eq!(watch.freed(), 1);
        first_drained
    });
}

#[test]
fn loom_foreign_dropped_abroad_while_home_ends() {
    explore([0, 1], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let ((watch, buffer), race) = (watched(), Race::new());
        let abroad = read_and_drop(&watch, buffer.into_foreign(&owner), &race);
        race.before();
        drop(owner);
        let freed_in_time = watch.freed();
        abroad.join().expect("nothing panics abroad");
        assert_eq!(watch.freed(), freed_in_time, "freed by another thread than home");
        freed_in_time
    });
}

#[test]
fn loom_buffers_abroad_share_one_way_home() {
    explore([0, 1], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let ((watch, buffer), race) = (watched(), Race::new());
        let (foreign, seen, raced) = (buffer.into_foreign(&owner), watch.clone(), race.clone());
        let abroad = thread::spawn(move || {
            let arrived = foreign.into_buffer();
            let part = arrived.slice(1..3);
            drop(arrived.clone());
            drop(arrived);
            seen.bytes.0.with(|_| assert_eq!(part, b"ta"));
            drop(part);
            raced.after();
        });
        race.before();
        let first_drained = owner.drain();
        drain_until(&owner, || owner.residents() == 0);
        assert_eq!(watch.freed(), 1);
        abroad.join().expect("nothing panics abroad");
        first_drained
    });
}

#[test]
fn loom_foreign_passed_on_to_a_third_shard() {
    explore([0, 1], || {
        let owner = HomeOwner::new(Box::new(Bell::default()));
        let ((watch, buffer), race) = (watched(), Race::new());
        let (foreign, seen, raced) = (buffer.into_foreign(&owner), watch.clone(), race.clone());
        let second = thread::spawn(move || {
            let home = HomeOwner::new(Box::new(Bell::default()));
            let passed_on = foreign.into_buffer().into_foreign(&home);
            assert_eq!(home.residents(), 0, "the same crossing goes on");
            read_and_drop(&seen, passed_on, &raced).join().expect("nothing panics on the third shard");
        });
        race.before();
        let first_drained = owner.drain();
        drain_until(&owner, || owner.residents() == 0);
        assert_eq!(watch.freed(), 1);
        second.join().expect("nothing panics on the second shard");
        first_drained
    });
}
