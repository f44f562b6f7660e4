//! Sunstar's stack and lwIP, with a wire between them on a virtual clock: what is tried with smoltcp is tried here too.

mod host;
#[path = "../../../../crates/tcpip/tests/peers/ours.rs"]
mod ours;
#[path = "../../../../crates/tcpip/tests/peers/scenarios.rs"]
mod scenarios;
#[path = "../../../../crates/tcpip/tests/peers/world.rs"]
mod world;

use sunstar_tcpip::time::Instant;

use host::LwipHost;
use ours::Ours;
use scenarios::BAD;
use world::{Faults, Version, World};

const CALM: Faults = Faults { lost: 0, duplicated: 0, late: 0, damaged: 0 };

fn make(version: Version, faults: Faults) -> World {
    World::new(Box::new(Ours::new(Instant::from_micros(0), version)), Box::new(LwipHost::new(version)), faults)
}

#[test]
fn streams_cross() {
    scenarios::streams_cross(&make, CALM, 10 << 20);
}

#[test]
fn streams_cross_a_bad_line() {
    scenarios::streams_cross(&make, BAD, 2 << 20);
}

#[test]
fn streams_follow_each_other() {
    scenarios::streams_follow_each_other(&make, 2 << 20);
}

#[test]
fn questions_are_answered() {
    scenarios::questions_are_answered(&make, CALM, 300);
    scenarios::questions_are_answered(&make, BAD, 300);
}

#[test]
fn ends_come_in_any_order() {
    scenarios::ends_come_in_any_order(&make, CALM);
    scenarios::ends_come_in_any_order(&make, BAD);
}

#[test]
fn ends_wait_for_their_data() {
    scenarios::ends_wait_for_their_data(&make, CALM);
    scenarios::ends_wait_for_their_data(&make, BAD);
}

#[test]
fn resets_are_heard() {
    scenarios::resets_are_heard(&make);
}

#[test]
fn both_may_connect_at_once() {
    scenarios::both_may_connect_at_once(&make, CALM);
    scenarios::both_may_connect_at_once(&make, BAD);
}

#[test]
fn strangers_are_refused() {
    scenarios::strangers_are_refused(&make);
}

#[test]
fn windows_close_and_open() {
    scenarios::windows_close_and_open(&make, CALM);
    scenarios::windows_close_and_open(&make, BAD);
}
