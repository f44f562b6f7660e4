use std::future::{pending, ready};
use std::rc::Rc;

use crate::sync::test_executor::{TestTask, block_on};
use crate::sync::{Gate, GateClosed};

#[test]
fn closing_waits_for_those_inside() {
    let gate = Gate::new();
    let (first, second) = (gate.enter().unwrap(), gate.enter().unwrap());
    let closing = TestTask::waiting(gate.close());
    drop(first);
    assert!(!closing.is_woken());
    drop(second);
    closing.finish();
}

#[test]
fn a_gate_closes_at_the_call_not_at_the_poll() {
    let gate = Gate::new();
    let closing = gate.close();
    assert!(gate.is_closed() && gate.try_enter().is_none());
    assert_eq!(gate.enter().unwrap_err(), GateClosed);
    assert_eq!(gate.check(), Err(GateClosed));
    drop(closing);
    assert!(gate.is_closed());
}

#[test]
fn an_empty_gate_closes_at_once_and_as_often_as_one_likes() {
    let gate = Gate::new();
    block_on(gate.close());
    block_on(gate.close());
}

#[test]
fn all_who_close_are_told() {
    let gate = Gate::new();
    let holder = gate.enter().unwrap();
    let (first, second) = (TestTask::waiting(gate.close()), TestTask::waiting(gate.close()));
    drop(holder);
    first.finish();
    second.finish();
}

#[test]
fn a_clone_keeps_a_closed_gate_waiting() {
    let gate = Rc::new(Gate::new());
    let holder = gate.enter_owned().unwrap();
    let closing = TestTask::waiting(gate.close());
    let clone = holder.clone();
    drop(holder);
    assert_eq!((gate.holders(), closing.is_woken()), (1, false));
    drop(clone);
    closing.finish();
}

#[test]
fn a_future_runs_inside() {
    let gate = Gate::new();
    let runs = TestTask::waiting(gate.run(pending::<()>()));
    assert_eq!(gate.holders(), 1);
    drop(runs);
    assert_eq!(gate.holders(), 0);
    assert_eq!(block_on(gate.run(ready(1))), Ok(1));
    block_on(gate.close());
    assert_eq!(block_on(gate.run(ready(1))), Err(GateClosed));
}
