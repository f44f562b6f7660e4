//! How applications end on signals.

use rustix::process::Signal;

use super::Running;

#[test]
fn main_functions_that_wait_for_the_stop_end_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = Running::start(&["--play", "wait", "--log-level", "warn"]);
        running.signal(signal);
        assert_eq!(running.end(), (Some(0), String::new()));
    }
}

#[test]
fn main_functions_that_have_nothing_to_finish_end_with_0() {
    let running = Running::start(&["--play", "deaf", "--log-level", "warn"]);
    running.signal(Signal::TERM);
    assert_eq!(running.end(), (Some(0), String::new()));
}

#[test]
fn a_deadline_that_passes_ends_with_1() {
    let mut running = Running::start(&["--play", "linger", "--stop-timeout-s", "0.02", "--log-level", "warn"]);
    running.signal(Signal::TERM);
    running.expect("told");
    let (code, errors) = running.end();
    assert_eq!(code, Some(1));
    let line = "fixture: error: stopped on request; the main function had not returned within ";
    assert!(errors.starts_with(line) && errors.matches('\n').count() == 1, "{errors}");
}

#[test]
fn a_second_signal_cuts_the_time_short() {
    let mut running = Running::start(&["--play", "linger", "--stop-timeout-s", "86400"]);
    running.signal(Signal::TERM);
    running.expect("told");
    running.signal(Signal::INT);
    assert_eq!(running.end().0, Some(1));
}
