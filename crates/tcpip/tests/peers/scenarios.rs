//! What is tried with every peer. A scenario gets its world from whoever has the peer.

use std::sync::LazyLock;
use std::time::Duration;

use super::world::{Faults, OURS, THEIRS, VERSIONS, Version, World};

/// A world with a peer.
pub(crate) type Make<'a> = &'a dyn Fn(Version, Faults) -> World;

/// Where somebody listens, and from where somebody connects.
const PORT: u16 = 80;
const CLIENT_PORT: u16 = 49_152;

pub(crate) const BAD: Faults = Faults { lost: 10, duplicated: 10, late: 20, damaged: 2 };

/// Which of the hosts opens the connection.
const OPENERS: [usize; 2] = [OURS, THEIRS];

/// Bytes of a stream, of which any [`CHUNK`] lies in one piece. It begins again after a prime, so no packet and no buffer is as long as
/// a whole number of them.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |at: usize| (at % PERIOD / 251 + at % PERIOD * 7).to_le_bytes()[0];
    (0..PERIOD + CHUNK).map(byte).collect()
});
const PERIOD: usize = 65_521;
const CHUNK: usize = 32 * 1024;

/// Bytes of a stream, from a place on, [`CHUNK`] at most; each direction has its own.
fn pattern(from: usize, begin: usize, len: usize) -> &'static [u8] {
    let begin = (begin + 10_007 * from) % PERIOD;
    &PATTERN[begin..begin + len]
}

/// Tries something with each version of IP, opened from each side.
pub(crate) fn each(make: Make<'_>, faults: Faults, scenario: impl Fn(World, usize)) {
    for version in VERSIONS {
        for opener in OPENERS {
            println!("{version:?}, opened by {}", ["us", "the peer"][opener]);
            scenario(connected(make(version, faults), opener), opener);
        }
    }
}

/// Opens a connection.
fn connected(mut world: World, opener: usize) -> World {
    // An address of IPv6 is ours when nobody has said for a second that it is his.
    world.run_for(Duration::from_secs(3));
    world.host(1 - opener).listen(PORT);
    let now = world.now;
    world.host(opener).connect(now, CLIENT_PORT, PORT);
    world.run_until("the connection opens", |world| OPENERS.into_iter().all(|host| world.host(host).is_open()));
    world
}

/// What one host sends to the other.
struct Flow {
    from: usize,
    sent: usize,
    came: usize,
    goal: usize,
}

impl Flow {
    fn new(from: usize, goal: usize) -> Self {
        Self { from, sent: 0, came: 0, goal }
    }

    fn send(&mut self, world: &mut World) {
        while self.sent < self.goal {
            let chunk = pattern(self.from, self.sent, CHUNK.min(self.goal - self.sent));
            let took = world.host(self.from).send(chunk);
            self.sent += took;
            if took < chunk.len() {
                break;
            }
        }
    }

    fn receive(&mut self, world: &mut World) {
        let mut bytes = Vec::new();
        world.host(1 - self.from).receive(&mut bytes);
        for part in bytes.chunks(CHUNK) {
            assert!(part == pattern(self.from, self.came, part.len()), "at {}", self.came);
            self.came += part.len();
        }
        assert!(self.came <= self.sent, "more came than was sent");
    }

    fn is_done(&self) -> bool {
        self.came == self.goal
    }
}

/// Carries streams until all has come.
fn carry(world: &mut World, flows: &mut [Flow]) {
    world.run_until("all bytes come", |world| {
        for flow in &mut *flows {
            flow.send(world);
            flow.receive(world);
        }
        flows.iter().all(Flow::is_done)
    });
}

/// Both end; `first` does so first, and the other one when it has heard of it.
fn end_in_order(world: &mut World, first: usize) {
    let now = world.now;
    world.host(first).end(now);
    world.run_until("the end is heard", |world| world.host(1 - first).has_ended());
    let now = world.now;
    world.host(1 - first).end(now);
    both_end(world);
}

fn both_end(world: &mut World) {
    world.run_until("both ends are heard", |world| OPENERS.into_iter().all(|host| world.host(host).has_ended()));
    world.run_until("both are over", |world| OPENERS.into_iter().all(|host| world.host(host).is_over()));
    assert!(!OPENERS.into_iter().any(|host| world.host(host).is_reset()), "nobody has reset it");
}

/// So many bytes each way at the same time.
pub(crate) fn streams_cross(make: Make<'_>, faults: Faults, bytes: usize) {
    each(make, faults, |mut world, opener| {
        carry(&mut world, &mut [Flow::new(OURS, bytes), Flow::new(THEIRS, bytes)]);
        end_in_order(&mut world, opener);
    });
}

/// One direction after the other, so that acknowledgements come without data.
pub(crate) fn streams_follow_each_other(make: Make<'_>, bytes: usize) {
    each(make, Faults::default(), |mut world, opener| {
        for from in [OURS, THEIRS] {
            carry(&mut world, &mut [Flow::new(from, bytes)]);
        }
        end_in_order(&mut world, 1 - opener);
    });
}

/// Little messages, each when the one before has come.
pub(crate) fn questions_are_answered(make: Make<'_>, faults: Faults, count: usize) {
    each(make, faults, |mut world, opener| {
        let (mut asked, mut answered) = (Flow::new(opener, 0), Flow::new(1 - opener, 0));
        for number in 0..count {
            for flow in [&mut asked, &mut answered] {
                flow.goal += 1 + number * 13 % 700;
                carry(&mut world, std::slice::from_mut(flow));
            }
        }
        end_in_order(&mut world, opener);
    });
}

/// Either side ends first, or both at once, with data before; and one that has ended goes on to receive.
pub(crate) fn ends_come_in_any_order(make: Make<'_>, faults: Faults) {
    const BYTES: usize = 100_000;
    for first in OPENERS {
        each(make, faults, |mut world, _| {
            carry(&mut world, &mut [Flow::new(OURS, BYTES), Flow::new(THEIRS, BYTES)]);
            end_in_order(&mut world, first);
        });
        // Half of the connection.
        each(make, faults, |mut world, _| {
            let (mut one, mut other) = (Flow::new(first, BYTES), Flow::new(1 - first, BYTES));
            carry(&mut world, std::slice::from_mut(&mut one));
            let now = world.now;
            world.host(first).end(now);
            world.run_until("the end is heard", |world| world.host(1 - first).has_ended());
            carry(&mut world, std::slice::from_mut(&mut other));
            let now = world.now;
            world.host(1 - first).end(now);
            both_end(&mut world);
        });
    }
    each(make, faults, |mut world, _| {
        carry(&mut world, &mut [Flow::new(OURS, BYTES), Flow::new(THEIRS, BYTES)]);
        let now = world.now;
        OPENERS.into_iter().for_each(|host| world.host(host).end(now));
        both_end(&mut world);
    });
}

/// An end right behind data that nobody has read yet.
pub(crate) fn ends_wait_for_their_data(make: Make<'_>, faults: Faults) {
    for first in OPENERS {
        each(make, faults, |mut world, _| {
            let mut flow = Flow::new(first, 50_000);
            flow.send(&mut world);
            assert_eq!(flow.sent, flow.goal, "there is room");
            let now = world.now;
            world.host(first).end(now);
            world.run_for(Duration::from_secs(20));
            assert!(!world.host(1 - first).has_ended(), "there is more to be read");
            carry(&mut world, std::slice::from_mut(&mut flow));
            world.run_until("the end is heard", |world| world.host(1 - first).has_ended());
            let now = world.now;
            world.host(1 - first).end(now);
            both_end(&mut world);
        });
    }
}

/// Either side resets, with data under way both ways.
pub(crate) fn resets_are_heard(make: Make<'_>) {
    for first in OPENERS {
        each(make, Faults::default(), |mut world, _| {
            let mut flows = [Flow::new(OURS, 1 << 20), Flow::new(THEIRS, 1 << 20)];
            world.run_until("some bytes come", |world| {
                for flow in &mut flows {
                    flow.send(world);
                    flow.receive(world);
                }
                flows.iter().all(|flow| flow.came > 100_000)
            });
            let now = world.now;
            world.host(first).abort(now);
            world.run_until("the reset is heard", |world| world.host(1 - first).is_reset());
            world.run_until("both are over", |world| OPENERS.into_iter().all(|host| world.host(host).is_over()));
        });
    }
}

/// Both connect, from the port to which the other one does, so that their SYNs cross (RFC 9293 §3.5).
pub(crate) fn both_may_connect_at_once(make: Make<'_>, faults: Faults) {
    for version in VERSIONS {
        for first in OPENERS {
            let mut world = make(version, faults);
            world.run_for(Duration::from_secs(3));
            let now = world.now;
            for host in [first, 1 - first] {
                let ports = [PORT, CLIENT_PORT];
                world.host(host).connect(now, ports[host], ports[1 - host]);
            }
            world.run_until("the connection opens", |world| OPENERS.into_iter().all(|host| world.host(host).is_open()));
            carry(&mut world, &mut [Flow::new(OURS, 100_000), Flow::new(THEIRS, 100_000)]);
            end_in_order(&mut world, first);
        }
    }
}

/// Where nobody listens.
pub(crate) fn strangers_are_refused(make: Make<'_>) {
    for version in VERSIONS {
        for opener in OPENERS {
            let mut world = make(version, Faults::default());
            world.run_for(Duration::from_secs(3));
            let now = world.now;
            world.host(opener).connect(now, CLIENT_PORT, PORT);
            world.run_until("it is refused", |world| world.host(opener).is_reset());
        }
    }
}

/// Who does not read closes the window, for longer than the other side's patience with a lost acknowledgement, and opens it again.
pub(crate) fn windows_close_and_open(make: Make<'_>, faults: Faults) {
    const BYTES: usize = 1 << 20;
    each(make, faults, |mut world, opener| {
        for from in [OURS, THEIRS] {
            let mut flow = Flow::new(from, BYTES);
            for _ in 0..3 {
                for _ in 0..100 {
                    flow.send(&mut world);
                    world.run_for(Duration::from_millis(200));
                }
                let is_first = flow.came == 0;
                flow.receive(&mut world);
                // Windows grow with what is read.
                assert!(!is_first || flow.came < BYTES / 4, "the window is closed");
            }
            carry(&mut world, std::slice::from_mut(&mut flow));
        }
        end_in_order(&mut world, opener);
    });
}
