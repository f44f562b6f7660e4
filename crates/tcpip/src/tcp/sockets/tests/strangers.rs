//! Those who ask for a connection and take their time to confirm it.

use core::time::Duration;

use super::{Limits, Two};
use crate::tcp::connection::{Segment, State};

/// Whoever is heard asking again just before he is forgotten finds, with his confirmation, what has answered him still there.
#[test]
fn who_asks_at_the_last_moment_can_confirm() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    let client = two.connect();
    let (flow, syn) = two.stacks[0].poll_transmit(two.now, 1_000).expect("it asks");
    let syn = || Segment { header: syn.header, ..Segment::default() };
    two.stacks[1].handle_segment(two.now, flow, syn());
    // All answers are lost.
    let last = two.now + Duration::from_millis(62_900);
    while let Some(deadline) = two.stacks[1].deadline().filter(|deadline| *deadline < last) {
        two.stacks[1].handle_timeout(deadline);
        while two.stacks[1].poll_transmit(deadline, 1_000).is_some() {}
    }
    two.now = last;
    two.stacks[1].handle_segment(two.now, flow, syn());
    assert!(two.carry(1), "the answer");
    two.now = last + Duration::from_millis(200);
    two.stacks[1].handle_timeout(two.now);
    two.run();
    let server = two.stacks[1].accept(listener).expect("it is open");
    assert_eq!((two.state(0, client), two.state(1, server)), (State::Established, State::Established));
}
