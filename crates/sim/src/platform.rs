//! The world of a simulated shard, as its executor sees it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use sunstar_executor::{Instant, Platform};
use sunstar_packet::Doorbell;

use crate::random::Random;
use crate::world::{ShardIo, Signal, World};

/// When every simulation begins: the day of the example in RFC 9110 §5.6.7.
const UNIX_TIME_AT_START: Duration = Duration::from_secs(784_111_777);

/// The platform of one simulated shard.
pub(crate) struct SimPlatform {
    pub(crate) world: Rc<World>,
    pub(crate) io: Rc<ShardIo>,
    pub(crate) entropy: RefCell<Random>,
}

impl Platform for SimPlatform {
    #[inline]
    fn now(&self) -> Instant {
        self.world.now()
    }

    /// The virtual clock, which starts at a time of day that is the same in every run.
    fn unix_time(&self) -> Duration {
        UNIX_TIME_AT_START + (self.now() - Instant::ORIGIN)
    }

    fn entropy(&self, bytes: &mut [u8]) {
        self.entropy.borrow_mut().fill(bytes);
    }

    fn poll(&self) -> bool {
        self.io.poll()
    }

    /// Does nothing: the scheduler does not drive shards that sleep.
    fn sleep(&self, _deadline: Option<Instant>) {}

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(Bell { shard: self.io.index, signals: self.world.sender() })
    }
}

/// Tells the scheduler that a shard is to be run.
struct Bell {
    shard: usize,
    signals: Sender<Signal>,
}

impl Doorbell for Bell {
    fn ring(&self) {
        // Once the world is gone nobody needs to know.
        let _gone = self.signals.send(Signal::Ring(self.shard));
    }
}
