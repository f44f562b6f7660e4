//! Sunstar's stack and smoltcp, with a wire between them on a virtual clock.

mod ours;
mod scenarios;
mod smoltcp_host;
mod world;

use smoltcp::socket::tcp::CongestionControl;
use sunstar_tcpip::time::Instant;

use ours::Ours;
use scenarios::BAD;
use smoltcp_host::Smoltcp;
use world::{Faults, Version, World};

const CALM: Faults = Faults { lost: 0, duplicated: 0, late: 0, damaged: 0 };

fn make_with(version: Version, faults: Faults, congestion: CongestionControl) -> World {
    let now = Instant::from_micros(0);
    World::new(Box::new(Ours::new(now, version)), Box::new(Smoltcp::new(now, version, congestion)), faults)
}

fn make(version: Version, faults: Faults) -> World {
    make_with(version, faults, CongestionControl::None)
}

#[test]
fn streams_cross() {
    scenarios::streams_cross(&make, CALM, 10 << 20);
}

#[test]
fn streams_cross_a_bad_line() {
    scenarios::streams_cross(&make, BAD, 2 << 20);
}

/// smoltcp slows down when it loses something.
#[test]
fn streams_cross_a_bad_line_carefully() {
    let reno = |version, faults| make_with(version, faults, CongestionControl::Reno);
    scenarios::streams_cross(&reno, BAD, 2 << 20);
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
