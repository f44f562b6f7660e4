use std::cell::{Cell, RefCell};
use std::thread;
use std::time::Duration;

use super::*;

#[test]
fn a_ring_before_the_sleep_ends_it_at_once_and_only_it() {
    let platform = LinuxPlatform::new().expect("descriptors are free");
    platform.doorbell().ring();
    platform.doorbell().ring();
    platform.sleep(None);
    assert!(!platform.poll(), "whose bell it is looks by itself");
    let deadline = platform.now() + Duration::from_millis(2);
    platform.sleep(Some(deadline));
    assert!(platform.now() >= deadline, "the second sleep lasts, for the bell was not rung again");
}

#[test]
fn a_ring_from_another_thread_ends_a_sleep_without_deadline() {
    let platform = LinuxPlatform::new().expect("descriptors are free");
    let bell = platform.doorbell();
    let ringer = thread::spawn(move || bell.ring());
    platform.sleep(None);
    ringer.join().expect("no panic");
}

#[test]
fn a_deadline_in_the_past_does_not_sleep() {
    let platform = LinuxPlatform::new().expect("descriptors are free");
    platform.sleep(Some(Instant::ORIGIN));
}

#[test]
fn entropy_fills_every_byte() {
    let platform = LinuxPlatform::new().expect("descriptors are free");
    let mut seen = [0_u8; 1000];
    for _ in 0..20 {
        let mut bytes = [0_u8; 1000];
        platform.entropy(&mut bytes);
        seen.iter_mut().zip(bytes).for_each(|(seen, byte)| *seen |= byte);
    }
    // A byte that stays zero by chance in twenty draws has probability 2^-160.
    assert!(seen.iter().all(|&byte| byte != 0));
}

struct Counter {
    pending: Cell<u32>,
    handled: Cell<u32>,
    /// Until the test ends: the platform keeps its sources, which must not keep it.
    platform: RefCell<Option<LinuxPlatform>>,
    nested: Rc<EventBell>,
}

impl Source for Counter {
    fn is_pending(&self) -> bool {
        self.pending.get() > 0
    }

    fn handle(&self) {
        self.handled.set(self.handled.get() + self.pending.take());
        let another = Counter {
            pending: Cell::new(0),
            handled: Cell::new(0),
            platform: RefCell::new(None),
            nested: Rc::clone(&self.nested),
        };
        let bell = EventBell::new().expect("descriptors are free");
        let platform = self.platform.borrow();
        let platform = platform.as_ref().expect("the test goes on");
        platform.add_source(bell.as_fd(), Rc::new(another)).expect("an eventfd can be watched");
    }
}

#[test]
fn polls_ask_sources_that_may_add_others() {
    let platform = LinuxPlatform::new().expect("descriptors are free");
    let bell = Rc::new(EventBell::new().expect("descriptors are free"));
    let counter = Rc::new(Counter {
        pending: Cell::new(0),
        handled: Cell::new(0),
        platform: RefCell::new(Some(platform.clone())),
        nested: Rc::clone(&bell),
    });
    platform.add_source(bell.as_fd(), Rc::clone(&counter) as Rc<dyn Source>).expect("an eventfd can be watched");
    assert!(!platform.poll());
    counter.pending.set(3);
    bell.ring();
    platform.sleep(None);
    assert!(platform.poll());
    assert!(!platform.poll());
    assert_eq!(counter.handled.get(), 3);
    counter.platform.take();
}
