//! A platform whose rounds are driven, and whose clock is moved, by hand. Nobody sleeps, so nobody is woken.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::{Instant, Platform};
use sunstar_packet::Doorbell;

/// A platform at the time that its cell has.
#[derive(Clone, Default)]
pub(crate) struct ByHand {
    pub(crate) now: Rc<Cell<Instant>>,
}

impl Platform for ByHand {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn unix_time(&self) -> Duration {
        Duration::ZERO
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn poll(&self) -> bool {
        false
    }

    fn sleep(&self, _deadline: Option<Instant>) {
        unreachable!("rounds are driven by hand");
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(Silent)
    }
}

struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}
