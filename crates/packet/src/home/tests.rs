use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Doorbell, HomeNode, HomeOwner};
use crate::Buffer;

/// Counts how often it was rung.
#[derive(Clone, Default)]
pub(crate) struct Bell(Arc<AtomicUsize>);

impl Doorbell for Bell {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn silent() -> HomeOwner {
    HomeOwner::new(Box::new(Bell::default()))
}

type Log = Rc<RefCell<Vec<u32>>>;

/// Writes its number down when it arrives; number 13 panics.
#[repr(C)]
struct Traveller {
    node: HomeNode,
    number: u32,
    log: Log,
}

impl Traveller {
    fn post(owner: &HomeOwner, number: u32, log: &Log) {
        let traveller = Self { node: HomeNode::new(Self::arrive), number, log: Rc::clone(log) };
        let node = NonNull::from(Box::leak(Box::new(traveller))).cast();
        // SAFETY: the node is valid until it arrives, on this thread, and is posted once.
        unsafe { owner.home().post(node) };
    }

    unsafe fn arrive(node: NonNull<HomeNode>) {
        // SAFETY: only travellers have this function, and the node is their first field.
        let traveller = unsafe { Box::from_raw(node.cast::<Self>().as_ptr()) };
        assert_ne!(traveller.number, 13, "an unlucky number");
        traveller.log.borrow_mut().push(traveller.number);
    }
}

#[test]
fn arrivals_are_received_in_the_order_of_posting() {
    let (owner, log) = (silent(), Log::default());
    for number in 1..=5 {
        Traveller::post(&owner, number, &log);
    }
    assert!(owner.has_arrivals());
    assert_eq!(owner.drain(), 5);
    assert_eq!(*log.borrow(), [1, 2, 3, 4, 5]);
    assert!(!owner.has_arrivals());
    assert_eq!(owner.drain(), 0);
}

#[test]
fn the_bell_rings_for_the_first_post_to_a_sleeper_only() {
    let (bell, log) = (Bell::default(), Log::default());
    let owner = HomeOwner::new(Box::new(bell.clone()));
    Traveller::post(&owner, 1, &log);
    owner.home().notify();
    assert_eq!(bell.rung(), 0);

    owner.prepare_sleep();
    assert!(owner.has_arrivals(), "what was posted before the announcement is seen after it");
    assert_eq!(owner.drain(), 1);
    Traveller::post(&owner, 2, &log);
    assert_eq!(bell.rung(), 1, "draining does not take the announcement back");
    Traveller::post(&owner, 3, &log);
    owner.home().notify();
    assert_eq!(bell.rung(), 1);
    owner.end_sleep();

    owner.prepare_sleep();
    owner.home().notify();
    owner.home().notify();
    assert_eq!(bell.rung(), 2);
    owner.end_sleep();

    owner.prepare_sleep();
    owner.end_sleep();
    Traveller::post(&owner, 4, &log);
    assert_eq!(bell.rung(), 2);
    assert_eq!(owner.drain(), 3);
    assert_eq!(*log.borrow(), [1, 2, 3, 4]);
}

#[test]
fn a_panicking_arrival_does_not_keep_the_others() {
    let (owner, log) = (silent(), Log::default());
    for number in [1, 13, 2, 3] {
        Traveller::post(&owner, number, &log);
    }
    assert!(catch_unwind(AssertUnwindSafe(|| owner.drain())).is_err());
    assert_eq!(*log.borrow(), [1, 2, 3]);
    assert_eq!(owner.drain(), 0);
}

#[test]
fn ending_receives_what_arrivals_send_home_in_turn() {
    #[expect(dead_code, reason = "the fields are only dropped")]
    struct Nested(Option<crate::ForeignBuffer>, Rc<()>);

    impl AsRef<[u8]> for Nested {
        fn as_ref(&self) -> &[u8] {
            b"outer"
        }
    }

    let (owner, alive) = (silent(), Rc::new(()));
    let inner = Buffer::from_owner(Nested(None, Rc::clone(&alive))).into_foreign(&owner);
    let outer = Buffer::from_owner(Nested(Some(inner), Rc::clone(&alive)));
    drop(outer.into_foreign(&owner));
    assert_eq!((owner.residents(), Rc::strong_count(&alive)), (2, 3));
    let home = Arc::downgrade(owner.home());
    drop(owner);
    assert_eq!(Rc::strong_count(&alive), 1);
    assert!(home.upgrade().is_none(), "nothing was left that could come home");
}

#[test]
fn the_list_outlives_its_owner_while_something_may_come_home() {
    let owner = silent();
    let foreign = Buffer::copy_from_slice(b"late").into_foreign(&owner);
    // Reachable for ever, as leak detectors want it.
    let kept = Box::leak(Box::new(Arc::clone(owner.home())));
    static KEPT: core::sync::atomic::AtomicPtr<Arc<super::Home>> =
        core::sync::atomic::AtomicPtr::new(core::ptr::null_mut());
    KEPT.store(kept, Ordering::SeqCst);
    let home = Arc::downgrade(kept);
    drop(owner);
    assert_eq!(home.strong_count(), 2, "the test's reference and the one leaked on purpose");
    assert_eq!(*foreign, *b"late");
    drop(foreign);
}

#[test]
fn a_panic_while_ending_keeps_the_list_for_residents() {
    let (owner, log) = (silent(), Log::default());
    owner.add_resident();
    Traveller::post(&owner, 13, &log);
    let home = Arc::clone(owner.home());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(owner))).is_err());
    assert_eq!(Arc::strong_count(&home), 2);
    // SAFETY: this is the count that the ended owner has leaked, and the only resident was an invention.
    unsafe { Arc::decrement_strong_count(Arc::as_ptr(&home)) };
}

#[test]
fn many_threads_post_while_the_owner_sleeps_and_drains() {
    const THREADS: usize = 4;
    const PER_THREAD: usize = if cfg!(miri) { 20 } else { 2_000 };

    struct Park(std::thread::Thread);

    impl Doorbell for Park {
        fn ring(&self) {
            self.0.unpark();
        }
    }

    let owner = HomeOwner::new(Box::new(Park(std::thread::current())));
    let buffer = Buffer::copy_from_slice(b"to and fro");
    let mut loads: Vec<Vec<_>> =
        (0..THREADS).map(|_| (0..PER_THREAD).map(|_| buffer.clone().into_foreign(&owner)).collect()).collect();
    std::thread::scope(|scope| {
        for load in loads.drain(..) {
            scope.spawn(move || load.into_iter().for_each(|foreign| assert_eq!(*foreign, *b"to and fro")));
        }
        while owner.residents() > 0 {
            owner.prepare_sleep();
            if !owner.has_arrivals() {
                std::thread::park();
            }
            owner.end_sleep();
            owner.drain();
        }
    });
    assert!(buffer.is_unique());
}
