//! Tests of the wheel: scripts for what is known to be delicate, and a model for the rest.

mod model;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::pin::Pin;

use super::{Node, Wheel};

type Waiting<T> = Pin<Box<Node<T>>>;

fn node<T>() -> Waiting<T> {
    Box::pin(Node::new(0))
}

fn armed<T>(wheel: &Wheel<T>, deadline: u64, payload: T) -> Waiting<T> {
    let node = node();
    assert!(node.as_ref().arm(wheel, deadline, payload).is_none());
    node
}

/// Advances and answers what fired, with its deadlines.
fn fire<T>(wheel: &Wheel<T>, now: u64) -> Vec<(u64, T)> {
    wheel.advance(now);
    core::iter::from_fn(|| wheel.pop()).collect()
}

/// Both sides of every bit's boundary, as seen from `start`.
fn boundaries(start: u64) -> Vec<u64> {
    let mut deadlines: Vec<u64> = (0..64)
        .flat_map(|bit| {
            let next = (start >> bit).checked_add(1).and_then(|digits| digits.checked_shl(bit)).unwrap_or(u64::MAX);
            [next.saturating_sub(1), next, next.saturating_add(1), start.saturating_add(1 << bit)]
        })
        .filter(|deadline| *deadline > start)
        .collect();
    deadlines.sort_unstable();
    deadlines.dedup();
    deadlines
}

#[test]
fn fires_on_the_tick_across_every_boundary() {
    for start in [0, 1, 63, 64, 4095, 1 << 35, (1 << 36) - 1, 0x0123_4567_89ab_cdef, u64::MAX - 5000] {
        for deadline in boundaries(start) {
            let wheel = Wheel::new(start);
            let _node = armed(&wheel, deadline, ());
            assert_eq!(wheel.next_deadline(), Some(deadline));
            assert_eq!(fire(&wheel, deadline - 1), [], "{deadline} fires early after {start}");
            assert_eq!(wheel.next_deadline(), Some(deadline));
            assert_eq!(fire(&wheel, deadline), [(deadline, ())], "{deadline} fires late after {start}");
            assert_eq!(wheel.next_deadline(), None);
        }
    }
}

#[test]
fn a_deadline_just_out_of_a_level_s_reach_does_not_wrap_around() {
    for bit in 1..57 {
        let (span, start) = (1_u64 << bit, (1_u64 << bit) - 1);
        let wheel = Wheel::new(start);
        let (near, far) = (start + 33 * span, start + 64 * span - 1);
        let _nodes = [armed(&wheel, far, 'f'), armed(&wheel, near, 'n')];
        assert_eq!(wheel.next_deadline(), Some(near));
        assert_eq!(fire(&wheel, near), [(near, 'n')]);
        assert_eq!(fire(&wheel, far - 1), []);
        assert_eq!(fire(&wheel, far), [(far, 'f')]);
    }
}

#[test]
fn fires_across_all_levels_in_exact_order() {
    let start = 0x0123_4567_89ab_cdef;
    let deadlines = boundaries(start);
    let wheel = Wheel::new(start);
    let nodes: Vec<_> = deadlines.iter().rev().map(|deadline| armed(&wheel, *deadline, *deadline)).collect();
    for deadline in deadlines {
        assert_eq!(wheel.next_deadline(), Some(deadline));
        assert_eq!(fire(&wheel, deadline), [(deadline, deadline)]);
    }
    assert!(nodes.iter().all(|node| node.has_fired()));
}

#[test]
fn one_advance_over_everything_keeps_the_order() {
    let deadlines = boundaries(7);
    let wheel = Wheel::new(7);
    let _nodes: Vec<_> = deadlines.iter().rev().map(|deadline| armed(&wheel, *deadline, ())).collect();
    let fired: Vec<u64> = fire(&wheel, u64::MAX).into_iter().map(|(deadline, ())| deadline).collect();
    assert_eq!(fired, deadlines);
}

#[test]
fn ties_fire_in_the_order_of_arming_wherever_they_wait() {
    let deadline = (5 << 30) + 3;
    let wheel = Wheel::new(0);
    let nodes: Vec<_> = [0, 1 << 28, 5 << 30, (5 << 30) + 1, (5 << 30) + 2]
        .into_iter()
        .enumerate()
        .map(|(index, now)| {
            assert_eq!(fire(&wheel, now), []);
            armed(&wheel, deadline, index)
        })
        .collect();
    nodes[1].as_ref().reset(deadline);
    let order: Vec<usize> = fire(&wheel, deadline).into_iter().map(|(_, index)| index).collect();
    assert_eq!(order, [0, 2, 3, 4, 1]);
}

#[test]
fn what_has_passed_fires_at_the_next_advance_and_in_order() {
    let wheel = Wheel::new(100);
    let _nodes = [armed(&wheel, 100, 'c'), armed(&wheel, 7, 'a'), armed(&wheel, 101, 'd'), armed(&wheel, 99, 'b')];
    assert_eq!(wheel.next_deadline(), Some(7));
    assert_eq!(fire(&wheel, 101), [(7, 'a'), (99, 'b'), (100, 'c'), (101, 'd')]);
}

#[test]
fn the_end_of_time_can_be_reached() {
    let wheel = Wheel::new(0);
    let _nodes = [armed(&wheel, u64::MAX, 2), armed(&wheel, u64::MAX - 1, 1)];
    assert_eq!(fire(&wheel, u64::MAX - 1), [(u64::MAX - 1, 1)]);
    assert_eq!(wheel.next_deadline(), Some(u64::MAX));
    assert_eq!(fire(&wheel, u64::MAX), [(u64::MAX, 2)]);
    let _late = armed(&wheel, u64::MAX, 3);
    assert_eq!(fire(&wheel, u64::MAX), [(u64::MAX, 3)]);
}

#[test]
fn time_does_not_go_back() {
    let wheel = Wheel::new(1000);
    let _node = armed(&wheel, 1500, ());
    assert_eq!(fire(&wheel, 10), []);
    assert_eq!(wheel.now(), 1000);
    assert_eq!(fire(&wheel, 1500), [(1500, ())]);
}

#[test]
fn a_due_node_can_be_cancelled_reset_and_dropped() {
    let wheel = Wheel::new(0);
    let [first, second, third, fourth, fifth] = [0, 1, 2, 3, 4].map(|index| armed(&wheel, 10 + index % 2, index));
    wheel.advance(11);
    assert_eq!(wheel.pop(), Some((10, 0)));
    assert!(first.has_fired());
    assert_eq!(third.cancel(), Some(2));
    drop(fourth);
    fifth.as_ref().reset(11);
    assert_eq!(wheel.pop(), Some((11, 1)));
    assert_eq!(wheel.pop(), None, "what was armed during an advance waits for the next one");
    assert!(second.has_fired() && fifth.is_armed() && !third.is_armed());
    assert_eq!(fire(&wheel, 11), [(11, 4)]);
}

#[test]
fn an_interrupted_advance_is_finished_by_the_next_one() {
    let wheel = Wheel::new(0);
    let _nodes: Vec<_> = [5, 1, 3].into_iter().map(|deadline| armed(&wheel, deadline, ())).collect();
    wheel.advance(5);
    assert_eq!(wheel.pop(), Some((1, ())));
    let _past = armed(&wheel, 2, ());
    assert_eq!(wheel.next_deadline(), Some(2));
    assert_eq!(fire(&wheel, 5), [(2, ()), (3, ()), (5, ())]);
}

#[test]
fn an_emptied_slot_hides_no_other() {
    let wheel = Wheel::new(0);
    let early = armed(&wheel, 100, 1);
    let _late = armed(&wheel, 1000, 2);
    assert_eq!(early.cancel(), Some(1));
    assert_eq!(wheel.next_deadline(), Some(1000));
    assert_eq!(fire(&wheel, 1000), [(1000, 2)]);
}

#[test]
fn arming_an_armed_node_gives_back_what_it_held() {
    let (one, other) = (Wheel::new(0), Wheel::new(0));
    let node = armed(&one, 10, 1);
    assert_eq!(node.as_ref().arm(&other, 20, 2), Some(1));
    assert_eq!((one.len(), other.len()), (0, 1));
    assert_eq!(fire(&other, 20), [(20, 2)]);
}

#[test]
fn nodes_outlive_their_wheel() {
    let wheel = Wheel::new(0);
    let payload = Rc::new(());
    let nodes = [armed(&wheel, 10, Rc::clone(&payload)), armed(&wheel, 10, Rc::clone(&payload))];
    drop(wheel);
    assert!(nodes[0].is_armed());
    nodes[0].as_ref().reset(3);
    assert!(nodes[0].cancel().is_some());
    drop(nodes);
    assert_eq!(Rc::strong_count(&payload), 1);
}

#[test]
fn dropping_a_wheel_after_its_nodes_frees_it() {
    let wheel = Wheel::new(0);
    let core = Rc::downgrade(&wheel.core);
    let node = armed(&wheel, 10, ());
    drop(wheel);
    assert_eq!(core.strong_count(), 1);
    drop(node);
    assert_eq!(core.strong_count(), 0);
}

#[test]
fn the_space_of_a_large_advance_is_given_back() {
    let wheel = Wheel::new(0);
    let count = 4 * super::run::KEPT;
    let _nodes: Vec<_> = (0..count).map(|index| armed(&wheel, (1 << 36) + index as u64, ())).collect();
    assert_eq!(fire(&wheel, 1 << 40).len(), count);
    assert!(wheel.core.runs.borrow().capacity() <= (super::LEVELS + 1) * super::run::KEPT);
}

#[test]
fn counts_what_happens() {
    let wheel = Wheel::new(0);
    let nodes: Vec<_> = (0..4).map(|index| armed(&wheel, 10 + index, ())).collect();
    nodes[0].cancel();
    nodes[1].as_ref().reset(20);
    fire(&wheel, 12);
    let counters = wheel.counters();
    assert_eq!(vec![counters.armed, counters.fired, counters.cancelled], [5, 1, 2]);
    assert_eq!(wheel.len(), 2);
}
