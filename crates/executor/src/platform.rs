//! What the executor needs from the world: a clock, a way to sleep and be woken, entropy, and I/O to poll.

use alloc::boxed::Box;
use core::time::Duration;
use sunstar_packet::Doorbell;

use crate::time::Instant;

/// The world of one shard. The Linux reactor, the simulator and the unikernel implement it.
///
/// Every method but the doorbell's is called on the shard's own thread, from within
/// [`Executor::round`](crate::Executor::round) or the functions of this crate that read the clock.
pub trait Platform {
    /// The monotonic clock. Called a few times per round, never per task.
    fn now(&self) -> Instant;

    /// The time since the Unix epoch, for what people and protocols call the time of day. It may jump; nothing is measured by
    /// it. Called about once per second.
    fn unix_time(&self) -> Duration;

    /// Fills `bytes` with entropy; a simulator draws them from its seed.
    fn entropy(&self, bytes: &mut [u8]);

    /// Polls I/O without blocking and wakes the tasks concerned; answers whether anything was found.
    fn poll(&self) -> bool;

    /// Waits for the doorbell, for I/O or until `deadline` (for ever, if there is none).
    ///
    /// It may return early. A doorbell rung before the call ends it at once.
    fn sleep(&self, deadline: Option<Instant>);

    /// A doorbell that ends [`Platform::sleep`] from any thread.
    fn doorbell(&self) -> Box<dyn Doorbell>;
}
