//! The state machines of connections, which those that only wait have none of.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::{Deref, DerefMut};

use sunstar_executor::Instant;
use sunstar_http1::{Connection, Endpoint};

use crate::metrics::Unsent;
use crate::waits::Allowance;

/// So many state machines are kept for connections that wake; more are made only while as many are busy at once.
const SPARES: usize = 128;

/// Those of a shard that nobody uses. Each is as a new one.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they move between here and their connections")]
pub(crate) struct Spares(RefCell<Vec<Box<Busy>>>);

/// A connection's, while there is anything to say of it that is not the same for all that wait.
pub(crate) struct Machine(Option<Box<Busy>>);

/// What a connection has that does not only wait.
struct Busy {
    http: Connection,
    /// Requests whose responses were not handed to the stream.
    unsent: Unsent,
    allowance: Allowance,
    /// What is taken in when the server stops.
    last: LastInput,
}

/// What a connection takes in when its server stops: what comes until then, and what is there without waiting, up to so many bytes.
#[derive(Clone, Copy)]
pub(crate) struct LastInput {
    pub(crate) until: Instant,
    pub(crate) left_bytes: usize,
}

impl Busy {
    fn new(endpoint: &Endpoint) -> Self {
        let last = LastInput { until: Instant::FAR_FUTURE, left_bytes: 0 };
        Self { http: endpoint.accept(), unsent: Unsent::default(), allowance: Allowance::NONE, last }
    }

    fn is_as_new(&self) -> bool {
        self.http.is_as_new() && self.unsent.is_empty()
    }
}

impl Machine {
    /// That of a new connection.
    pub(crate) const RESTING: Self = Self(None);

    /// Whether it is needed no more than that of a new connection.
    pub(crate) fn is_resting(&self) -> bool {
        self.0.is_none()
    }

    /// Takes one up, unless it is there.
    #[inline]
    pub(crate) fn wake(&mut self, spares: &Spares, endpoint: &Endpoint) {
        if self.0.is_none() {
            let spare = spares.0.borrow_mut().pop();
            self.0 = Some(spare.unwrap_or_else(|| Box::new(Busy::new(endpoint))));
        }
    }

    /// Gives it to others if nothing is to be remembered.
    #[inline]
    pub(crate) fn rest(&mut self, spares: &Spares) {
        if let Some(mut machine) = self.0.take_if(|machine| machine.is_as_new()) {
            if !planted::is("body_time_shared") && !planted::is("response_time_shared") {
                machine.allowance = Allowance::NONE;
            }
            spares.put(machine);
        }
    }

    /// Gives it to others at the end of its connection.
    pub(crate) fn end(&mut self, spares: &Spares, endpoint: &Endpoint) {
        if let Some(mut machine) = self.0.take() {
            if machine.is_as_new() {
                machine.allowance = Allowance::NONE;
            } else {
                *machine = Busy::new(endpoint);
            }
            spares.put(machine);
        }
    }

    /// The requests whose responses were not handed to the stream.
    #[inline]
    pub(crate) fn unsent(&mut self) -> &mut Unsent {
        &mut self.0.as_deref_mut().expect(AWAKE).unsent
    }

    /// The time that the client has left for the request that is being served.
    #[inline]
    pub(crate) fn allowance(&mut self) -> &mut Allowance {
        &mut self.0.as_deref_mut().expect(AWAKE).allowance
    }

    /// What is taken in when the server stops, once it was set.
    pub(crate) fn last_input(&mut self) -> &mut LastInput {
        &mut self.0.as_deref_mut().expect(AWAKE).last
    }
}

impl Spares {
    #[inline]
    fn put(&self, machine: Box<Busy>) {
        let mut spares = self.0.borrow_mut();
        if spares.len() < SPARES {
            spares.push(machine);
        }
    }

    /// Lets all go.
    pub(crate) fn free(&self) {
        drop(self.0.take());
    }
}

impl Deref for Machine {
    type Target = Connection;

    #[inline]
    fn deref(&self) -> &Connection {
        &self.0.as_deref().expect(AWAKE).http
    }
}

impl DerefMut for Machine {
    #[inline]
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0.as_deref_mut().expect(AWAKE).http
    }
}

const AWAKE: &str = "a connection is woken before anything is done";

#[cfg(test)]
mod tests {
    use super::*;
    use sunstar_packet::Buffer;

    #[test]
    fn what_rests_is_used_by_the_next_one() {
        let (spares, endpoint) = (Spares::default(), Endpoint::default());
        let mut first = Machine::RESTING;
        first.wake(&spares, &endpoint);
        let place = &raw const *first;
        first.rest(&spares);
        assert!(first.is_resting());
        let mut second = Machine::RESTING;
        second.wake(&spares, &endpoint);
        assert_eq!(&raw const *second, place);
        // The beginning of a head is to be remembered.
        second.handle_input(Buffer::from("GET")).expect("there is room");
        assert!(second.poll_event().is_none());
        second.rest(&spares);
        assert!(!second.is_resting());
        second.end(&spares, &endpoint);
        first.wake(&spares, &endpoint);
        assert_eq!(&raw const *first, place);
        assert!(first.is_as_new());
    }

    #[test]
    fn what_a_connection_keeps_while_it_waits_is_small() {
        // With a byte more, its task takes eight lines of a cache rather than seven.
        assert!(size_of::<crate::connection::Connection>() <= 104);
    }

    #[test]
    fn few_are_kept() {
        let (spares, endpoint) = (Spares::default(), Endpoint::default());
        let mut machines: Vec<Machine> = (0..2 * SPARES).map(|_| Machine::RESTING).collect();
        machines.iter_mut().for_each(|machine| machine.wake(&spares, &endpoint));
        machines.iter_mut().for_each(|machine| machine.rest(&spares));
        assert!(machines.iter().all(Machine::is_resting));
        assert_eq!(spares.0.borrow().len(), SPARES);
        spares.free();
        assert_eq!(spares.0.borrow().capacity(), 0);
    }
}
