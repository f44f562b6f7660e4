//! What a server has left of its time.

use core::future::Future;
use core::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::lowres;

use super::error::{ClientError, Phase};
use crate::Pace;

/// How long a server may take for the next bytes of a response's body. The time passes only while somebody waits for them.
pub(super) struct Allowance {
    left: Duration,
    /// With its last bytes it had less than half of the time again: if that runs out, slowness is the matter rather than silence.
    is_slow: bool,
    pace: Pace,
}

/// A wait for bytes. When it ends or is given up, its time has passed.
struct Wait<'a> {
    left: &'a mut Duration,
    since: Instant,
}

impl Allowance {
    pub(super) const fn new(pace: Pace) -> Self {
        Self { left: pace.stall, is_slow: false, pace }
    }

    /// Waits for bytes, as long as they may take.
    pub(super) async fn wait<T>(
        &mut self,
        bytes: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let wait = Wait { left: &mut self.left, since: lowres::now() };
        let phase = if self.is_slow { Phase::BodyRate } else { Phase::Body };
        with_timeout(*wait.left, bytes).await.unwrap_or(Err(ClientError::TimedOut(phase)))
    }

    /// So many bytes have come.
    pub(super) fn on_bytes(&mut self, count: usize) {
        self.left = self.pace.next(self.left, count as u64);
        self.is_slow = self.left < self.pace.stall / 2;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        *self.left = self.left.saturating_sub(lowres::now().saturating_duration_since(self.since));
    }
}
