use std::task::Wake;

use super::*;

/// Counts how often somebody is called.
#[derive(Default)]
struct Calls(AtomicU32);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn marks_are_found_as_often_as_they_were_made() {
    let beside = Beside::new(8 * 2_048, 2_048);
    assert!(!beside.note(0), "there is nobody who could have sent it");
    beside.expect_senders();
    assert!(!beside.note(8 * 2_048) && !beside.note(u64::MAX), "it is not in the memory");
    assert!(beside.note(2_048) && beside.note(4_095) && beside.note(0));
    // Where in the frame it was does not matter.
    assert_eq!(
        [2_100, 2_048, 2_048, 100, 0, 4_096].map(|address| beside.find(address)),
        [true, true, false, true, false, false]
    );
    assert!(!beside.find(u64::MAX));
}

#[test]
fn a_keeper_is_called_once_each_time_that_he_sleeps() {
    let beside = Beside::new(2_048, 2_048);
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(Arc::clone(&calls));
    let cx = Context::from_waker(&waker);
    assert!(!beside.keep(&cx), "nobody could call");
    beside.call();
    assert_eq!(calls.0.load(Ordering::Relaxed), 0);
    beside.expect_senders();
    for round in 1..4 {
        assert!(beside.keep(&cx) && beside.keep(&cx));
        beside.call();
        beside.call();
        assert_eq!(calls.0.load(Ordering::Relaxed), round);
    }
}
