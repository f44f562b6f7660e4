//! What was expected is taken in as it would be by the way that all segments can take.

use alloc::collections::VecDeque;
use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_wire::Seq;

use crate::tcp::connection::{Connection, Options, Queues, Segment};
use crate::tcp::test_stream::data;
use crate::time::Instant;

/// A connection in two copies, and what is on the way to it. Of the copies one takes the short way where it can, and the other one
/// never.
struct End {
    quick: Connection,
    thorough: Connection,
    arriving: VecDeque<Segment>,
    sent: u32,
    /// Memory that the copies have given back.
    #[expect(clippy::vec_box, reason = "the boxes go to the connections")]
    spares: [Vec<Box<Queues>>; 2],
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Send(u16),
    Read,
    Close,
    /// What is under way needs no memory, if nothing is.
    Reclaim,
    /// It gets back what it has given.
    Lend,
    /// The application is no longer interested.
    LetGo,
    Pass(u16),
    /// The segment that was sent first arrives, or that behind it.
    Arrive(bool),
    Repeat,
    Lose,
}

fn step() -> impl Strategy<Value = (bool, Step)> {
    let step = prop_oneof![
        8 => (1..6_000_u16).prop_map(Step::Send),
        6 => Just(Step::Read),
        1 => Just(Step::Close),
        12 => Just(Step::Reclaim),
        4 => Just(Step::Lend),
        1 => Just(Step::LetGo),
        4 => (1..2_000_u16).prop_map(Step::Pass),
        30 => Just(Step::Arrive(false)),
        1 => Just(Step::Arrive(true)),
        1 => Just(Step::Repeat),
        1 => Just(Step::Lose),
    ];
    (any::<bool>(), step)
}

impl End {
    fn new(now: Instant, options: Options, iss: u32) -> Self {
        let connection = || Connection::connect(now, options.into(), Seq::new(iss), iss);
        Self {
            quick: connection(),
            thorough: connection(),
            arriving: VecDeque::new(),
            sent: 0,
            spares: Default::default(),
        }
    }

    fn both(&mut self) -> [&mut Connection; 2] {
        [&mut self.quick, &mut self.thorough]
    }

    fn reclaim(&mut self, now: Instant) {
        let given = self.both().map(|connection| connection.reclaim(now));
        assert_eq!(format!("{:?}", given[0]), format!("{:?}", given[1]));
        self.spares.iter_mut().zip(given).for_each(|(spares, given)| spares.extend(given));
    }

    fn lend(&mut self) {
        let [quick, thorough] = &mut self.spares;
        self.quick.lend(|| quick.pop());
        self.thorough.lend(|| thorough.pop());
    }

    fn send(&mut self, bytes: u32) {
        let at = self.sent;
        let [quick, thorough] = self.both().map(|connection| connection.send(data(at, bytes as usize)).is_ok());
        assert_eq!(quick, thorough);
        self.sent += if quick { bytes } else { 0 };
    }

    /// Takes in a segment; answers whether it was expected.
    fn take(&mut self, now: Instant, segment: &Segment) -> bool {
        let len = segment.payload.iter().map(|part| u32::try_from(part.len()).unwrap_or(0)).sum::<u32>();
        let count = self.quick.segments(len).max(1);
        for connection in self.both() {
            connection.totals.on_segments(count);
        }
        let (mut one, mut other) = (segment.clone(), segment.clone());
        let expected = self.quick.take_predicted(now, &mut one, len);
        if !expected {
            self.quick.take_unpredicted(now, &mut one);
        }
        self.thorough.take_unpredicted(now, &mut other);
        expected
    }

    /// What both copies send, which is the same.
    fn transmit(&mut self, now: Instant, max_len: u32) -> VecDeque<Segment> {
        let mut sent = VecDeque::new();
        loop {
            let [quick, thorough] = self.both().map(|connection| connection.poll_transmit(now, max_len));
            assert_eq!(format!("{quick:?}"), format!("{thorough:?}"));
            let Some(outgoing) = quick else { return sent };
            sent.push_back(Segment { header: outgoing.header, payload: outgoing.payload });
        }
    }

    fn check(&self) {
        assert_eq!(format!("{:?}", self.quick), format!("{:?}", self.thorough));
    }
}

/// Runs the steps; answers how many segments were expected.
fn run(steps: &[(bool, Step)], options: Options, max_len: u32) -> u32 {
    let mut now = Instant::from_micros(1_000_000);
    let mut ends = [End::new(now, options, u32::MAX - 9_000), End::new(now, options, 77)];
    let mut expected = 0;
    // Both open, and their SYNs cross.
    let opening = [(true, Step::Arrive(false)), (false, Step::Arrive(false))].repeat(3);
    for (side, step) in opening.iter().chain(steps) {
        let end = &mut ends[usize::from(*side)];
        match *step {
            Step::Send(bytes) => end.send(bytes.into()),
            Step::Read => drop(end.both().map(Connection::receive)),
            Step::Close => end.both().into_iter().for_each(Connection::close),
            Step::Reclaim => end.reclaim(now),
            Step::Lend => end.lend(),
            Step::LetGo => {
                for connection in end.both() {
                    connection.let_go(now);
                    connection.close();
                }
            }
            Step::Pass(micros) => now = now + Duration::from_micros(u64::from(micros) * u64::from(micros)),
            Step::Arrive(is_second) => {
                if let Some(segment) = end.arriving.remove(is_second.into()) {
                    expected += u32::from(end.take(now, &segment));
                }
            }
            Step::Repeat => end.arriving.extend(end.arriving.front().cloned()),
            Step::Lose => drop(end.arriving.pop_front()),
        }
        for side in [0, 1] {
            for connection in ends[side].both() {
                if connection.deadline().is_some_and(|deadline| deadline <= now) {
                    connection.handle_timeout(now);
                }
            }
            let sent = ends[side].transmit(now, max_len);
            ends[side].check();
            ends[1 - side].arriving.extend(sent);
        }
    }
    expected
}

proptest! {
    #[test]
    fn what_is_expected_changes_what_it_would_change_otherwise(
        steps in vec(step(), 0..200),
        offers_timestamps in any::<bool>(),
        offers_sack in any::<bool>(),
        is_no_delay in any::<bool>(),
        max_len in prop_oneof![Just(0_u32), Just(20_000)],
    ) {
        let options = Options { offers_timestamps, offers_sack, is_no_delay, ..Options::DEFAULT };
        run(&steps, options, max_len);
    }
}

#[test]
fn most_segments_are_expected() {
    let round =
        [(false, Step::Send(5_000)), (true, Step::Arrive(false)), (true, Step::Read), (false, Step::Arrive(false))];
    let rest = [(true, Step::Arrive(false)), (true, Step::Read), (false, Step::Arrive(false))];
    let steps = [round.repeat(20), rest.repeat(80)].concat();
    let segments = 20 * 5_000 / 1_448;
    let expected = run(&steps, Options::DEFAULT, 0);
    assert!(
        expected > segments,
        "{expected} of more than {segments}, which have data: half of the acknowledgements at least"
    );
}

/// Both end, one after the other, and hear that it was heard.
#[test]
fn ends_are_expected() {
    let settle = [(true, Step::Arrive(false)), (false, Step::Arrive(false))].repeat(3);
    let one_ends = [&[(false, Step::Close)], &settle[..]].concat();
    let other_ends = [&[(true, Step::Close)], &settle[..]].concat();
    let opened = run(&settle, Options::DEFAULT, 0);
    let one = run(&[&settle[..], &one_ends].concat(), Options::DEFAULT, 0);
    let both = run(&[&settle[..], &one_ends, &other_ends].concat(), Options::DEFAULT, 0);
    assert_eq!((one - opened, both - one), (2, 2));
}

/// What a connection without queues and one that was let go expect: data, and the other side's end.
#[test]
fn what_has_little_state_expects_as_much() {
    let settle = [(true, Step::Arrive(false)), (false, Step::Arrive(false))].repeat(3);
    let opened = [&settle[..], &[(false, Step::Reclaim), (true, Step::Reclaim)]].concat();
    let data = [(false, Step::Send(100)), (true, Step::Arrive(false))];
    let end = [(false, Step::Close), (true, Step::Arrive(false))];
    let let_go = [&[(true, Step::LetGo)], &settle[..], &[(true, Step::Reclaim)]].concat();
    let expected = |steps: &[&[(bool, Step)]]| run(&steps.concat(), Options::DEFAULT, 0);
    let before = expected(&[&opened]);
    assert_eq!([expected(&[&opened, &data]), expected(&[&opened, &end])], [before + 1; 2], "without queues");
    let before = expected(&[&opened, &let_go]);
    assert_eq!([expected(&[&opened, &let_go, &data]), expected(&[&opened, &let_go, &end])], [before + 1; 2], "let go");
}
