use super::super::socket::RX_ENTRIES;
use super::{BURSTS, FEWEST, Posting};

/// Bursts in each of which so many are used, and as many posted as should be.
fn run(posting: &mut Posting, waiting: &mut u32, bursts: u32, used: u32) {
    for _ in 0..bursts {
        *waiting = waiting.saturating_sub(used);
        *waiting = (*waiting).max(posting.target(*waiting));
    }
}

#[test]
fn few_wait_after_a_while_in_which_few_were_used() {
    let (mut posting, mut waiting) = (Posting::new(), RX_ENTRIES);
    run(&mut posting, &mut waiting, BURSTS - 1, 20);
    assert_eq!(waiting, RX_ENTRIES);
    run(&mut posting, &mut waiting, 1, 20);
    assert_eq!(posting.target(waiting), FEWEST);
    // Those that are there stay until they are used.
    run(&mut posting, &mut waiting, 100, 20);
    assert_eq!(waiting, FEWEST);
    run(&mut posting, &mut waiting, 10 * BURSTS, 20);
    assert_eq!(waiting, FEWEST);
}

#[test]
fn many_wait_at_once_when_many_are_used() {
    let (mut posting, mut waiting) = (Posting::new(), RX_ENTRIES);
    run(&mut posting, &mut waiting, 2 * BURSTS, 20);
    assert_eq!(waiting, FEWEST);
    run(&mut posting, &mut waiting, 1, FEWEST / 2);
    assert_eq!(waiting, FEWEST, "half is no more than half");
    run(&mut posting, &mut waiting, 1, FEWEST / 2 + 1);
    assert_eq!(waiting, RX_ENTRIES);
}

#[test]
fn four_times_as_many_wait_as_were_used() {
    let (mut posting, mut waiting) = (Posting::new(), RX_ENTRIES);
    run(&mut posting, &mut waiting, 2 * BURSTS, 200);
    assert_eq!(waiting, 1_024);
    run(&mut posting, &mut waiting, BURSTS, 300);
    assert_eq!(waiting, RX_ENTRIES);
}

#[test]
fn bursts_without_anything_do_not_count() {
    let mut posting = Posting::new();
    for _ in 0..10 * BURSTS {
        assert_eq!(posting.target(RX_ENTRIES), RX_ENTRIES);
    }
}
