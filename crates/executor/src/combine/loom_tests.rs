//! Models of children's wakers on two threads, explored by loom.
//!
//! Run them with `cargo xtask loom`. The planted bugs `child_relaxed_wake` and `child_relaxed_drop` each fail one of them.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Wake, Waker};

use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::thread;

use super::child_waker::WakeGroup;

/// What the combinator wakes. Its letter is written before wakes and drops, and read after them.
struct Parent {
    woken: Notify,
    letter: UnsafeCell<u32>,
}

// SAFETY: the tests order all access by the wake or the last drop; loom reports where they do not.
unsafe impl Sync for Parent {}
// SAFETY: as above.
unsafe impl Send for Parent {}

impl Wake for Parent {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.notify();
    }
}

impl Parent {
    fn new() -> Arc<Self> {
        Arc::new(Self { woken: Notify::new(), letter: UnsafeCell::new(0) })
    }

    fn write(&self) {
        // SAFETY: see `Parent`.
        self.letter.with_mut(|letter| unsafe { *letter += 1 });
    }
}

/// Reads the letter when the last waker of the parent is gone, whichever thread that happens on.
impl Drop for Parent {
    fn drop(&mut self) {
        self.write();
    }
}

#[test]
fn loom_child_foreign_wake_is_not_lost() {
    loom::model(|| {
        let parent = Parent::new();
        let group = WakeGroup::new(Waker::from(Arc::clone(&parent)));
        let (local, foreign) = (group.waker(3).clone(), group.waker(5).clone());
        let writer = Arc::clone(&parent);
        let other = thread::spawn(move || {
            writer.write();
            foreign.wake();
        });
        local.wake();
        let mut woken = 0;
        while woken != 1 << 3 | 1 << 5 {
            parent.woken.wait();
            woken |= group.take_woken();
        }
        parent.write();
        drop(group);
        other.join().expect("no panic");
        assert_eq!(Arc::strong_count(&parent), 1, "the group is freed");
    });
}

#[test]
fn loom_child_group_is_freed_by_the_last_one() {
    loom::model(|| {
        let parent = Parent::new();
        let group = WakeGroup::new(Waker::from(Arc::clone(&parent)));
        let (local, foreign) = (group.waker(0).clone(), group.waker(1).clone());
        let other = thread::spawn(move || {
            let clone = foreign.clone();
            drop(foreign);
            clone.wake();
        });
        drop(group);
        drop(local);
        other.join().expect("no panic");
        assert_eq!(Arc::strong_count(&parent), 1, "the group is freed");
    });
}

#[test]
fn loom_child_waker_cloned_abroad_is_dropped_at_home() {
    loom::model(|| {
        let parent = Parent::new();
        let group = WakeGroup::new(Waker::from(Arc::clone(&parent)));
        let foreign = group.waker(0).clone();
        let (send, receive) = channel();
        let other = thread::spawn(move || {
            send.send(foreign.clone()).expect("home waits for it");
            drop(foreign);
        });
        let mut came_home = None;
        for _ in 0..2 {
            came_home = came_home.or_else(|| receive.try_recv().ok());
            thread::yield_now();
        }
        drop(came_home);
        drop(group);
        other.join().expect("no panic");
        drop(receive);
        assert_eq!(Arc::strong_count(&parent), 1, "the group is freed");
    });
}

#[test]
fn loom_child_what_others_did_happens_before_the_group_is_freed() {
    loom::model(|| {
        let parent = Parent::new();
        let group = WakeGroup::new(Waker::from(Arc::clone(&parent)));
        let foreign = group.waker(0).clone();
        let handle = Arc::downgrade(&parent);
        drop(parent);
        let other = thread::spawn(move || {
            handle.upgrade().expect("the waker holds it").write();
            drop(foreign);
        });
        drop(group);
        other.join().expect("no panic");
    });
}
