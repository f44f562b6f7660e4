//! CUBIC: the window as a cubic function of the time since the last loss.

use core::time::Duration;

use super::{Ack, CongestionControl, SlowStart, Window};
use crate::time::Instant;

/// How steep the curve is, in segments per second cubed, RFC 9438 §5.
const C: f64 = 0.4;

/// What is left of the window at a loss is 7/10, RFC 9438 §4.6.
const BETA: (u32, u32) = (7, 10);

/// Growth per round trip, in segments, that gets as much as Reno does with a reduction by half, RFC 9438 §4.3.
const ALPHA: f64 = 3.0 * (1.0 - 0.7) / (1.0 + 0.7);

/// CUBIC, RFC 9438.
///
/// After a loss the window rises fast, slowly near the size at which the loss was, and fast again beyond. Where Reno would be
/// faster, because the round trip is short, the window is what Reno's would be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cubic {
    slow_start: SlowStart,
    epoch: Option<Epoch>,
    /// The window in segments at which the curve is flat; zero when nothing was lost that could tell.
    w_max: f64,
    /// The window in segments before the last reduction.
    cwnd_prior: f64,
}

/// A stretch of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Instant,
    last_ack: Instant,
    /// From its beginning to the flat part of the curve, in seconds.
    k: f64,
    /// Reno's window in segments.
    w_est: f64,
    /// What the window has earned, in bytes, beyond whole ones.
    fraction: f64,
}

impl Cubic {
    fn begin_epoch(&mut self, window: &Window, now: Instant) -> Epoch {
        let cwnd = segments(window.cwnd, window);
        // No loss has told where the curve is flat (slow start ended by HyStart++), or a timeout came: here, §4.8, §4.10.
        self.w_max = self.w_max.max(cwnd);
        Epoch { began: now, last_ack: now, k: cube_root((self.w_max - cwnd) / C), w_est: cwnd, fraction: 0.0 }
    }

    fn avoid_congestion(&mut self, window: &mut Window, ack: &Ack) {
        let mut epoch = self.epoch.unwrap_or_else(|| self.begin_epoch(window, ack.now));
        if ack.is_cwnd_limited {
            let cwnd = segments(window.cwnd, window);
            let acked = segments(ack.bytes, window);
            let elapsed = ack.now - epoch.began;
            // §4.3: once Reno has reached the size before the loss it grows like Reno that lost nothing.
            let alpha = if epoch.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
            epoch.w_est += alpha * acked / cwnd;
            let next = if self.w_cubic(&epoch, elapsed) < epoch.w_est {
                epoch.w_est.max(cwnd)
            } else {
                let target = self
                    .w_cubic(&epoch, elapsed + Duration::from_micros(ack.srtt_micros.into()))
                    .clamp(cwnd, 1.5 * cwnd);
                cwnd + (target - cwnd) / cwnd * acked
            };
            epoch.fraction += (next - cwnd) * f64::from(window.mss);
            let bytes = whole(epoch.fraction);
            epoch.fraction -= f64::from(bytes);
            window.grow(bytes);
        } else {
            // §4.2: time in which the window was not in use moves nobody along the curve.
            epoch.began = epoch.began + (ack.now - epoch.last_ack);
        }
        epoch.last_ack = ack.now;
        self.epoch = Some(epoch);
    }

    /// The window in segments after `elapsed`, §4.2, equation 1.
    fn w_cubic(&self, epoch: &Epoch, elapsed: Duration) -> f64 {
        let t = elapsed.as_secs_f64() - epoch.k;
        C * t * t * t + self.w_max
    }
}

impl CongestionControl for Cubic {
    fn on_ack(&mut self, window: &mut Window, ack: &Ack) {
        if window.is_in_slow_start() {
            self.slow_start.on_ack(window, ack);
        } else {
            self.avoid_congestion(window, ack);
        }
    }

    fn on_loss(&mut self, window: &mut Window) {
        self.slow_start.end();
        self.epoch = None;
        let cwnd = segments(window.cwnd, window);
        self.cwnd_prior = cwnd;
        // Fast convergence, §4.7: a window that did not get back to where it was leaves room for others.
        self.w_max =
            if cwnd < self.w_max && !planted::is("no_fast_convergence") { cwnd * (1.0 + 0.7) / 2.0 } else { cwnd };
        window.reduce(BETA.0, BETA.1);
    }

    fn on_timeout(&mut self, window: &mut Window) {
        self.on_loss(window);
        // §4.8: congestion avoidance begins anew on the flat part of the curve.
        self.w_max = 0.0;
        window.cwnd = window.mss;
    }
}

fn segments(bytes: u32, window: &Window) -> f64 {
    f64::from(bytes) / f64::from(window.mss)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and fractions are kept"
)]
fn whole(bytes: f64) -> u32 {
    bytes as u32
}

/// The cube root by Newton's method; zero for what is not positive.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    // From above the iteration falls until it has arrived.
    let mut root = x.max(1.0);
    loop {
        let next = (2.0 * root + x / (root * root)) / 3.0;
        if next >= root {
            return root;
        }
        root = next;
    }
}
