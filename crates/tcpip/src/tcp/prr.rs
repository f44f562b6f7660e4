//! How fast to send while lost data are sent again.

use super::congestion::Window;

#[cfg(test)]
mod tests;

/// Proportional rate reduction, RFC 9937.
///
/// From the beginning of a recovery to its end the flight shrinks (or grows) to `ssthresh`, in proportion to what is delivered
/// meanwhile: neither does the sender fall silent for half a round trip, nor does it send a burst when much is acknowledged at
/// once. Lives for one recovery.
#[derive(Clone, Copy, Debug)]
pub struct Prr {
    /// Bytes that were in the network when the recovery began.
    recover_fs: u32,
    /// Bytes that were delivered since then.
    delivered: u64,
    /// Bytes that were sent since then.
    out: u64,
}

impl Prr {
    /// A recovery begins, with `recover_fs` bytes in the network: what lies between `snd_una` as it was and `snd_nxt`, without
    /// what had been selectively acknowledged before this acknowledgement (§6.2).
    pub fn new(recover_fs: u32) -> Self {
        Self { recover_fs: recover_fs.max(1), delivered: 0, out: 0 }
    }

    /// An acknowledgement came that says for the first time that `delivered` bytes have arrived, by number or selectively; the
    /// one with which the recovery begins is the first. `in_flight` bytes are in the network afterwards. It is safe if it moves
    /// `snd_una` and tells of no further loss. Sets `cwnd`.
    pub fn on_ack(&mut self, window: &mut Window, delivered: u32, in_flight: u32, is_safe: bool) {
        if delivered == 0 {
            return;
        }
        self.delivered += u64::from(delivered);
        let mss = u64::from(window.mss);
        let mut limit = if in_flight > window.ssthresh {
            let share = u128::from(self.delivered) * u128::from(window.ssthresh);
            let share = share.div_ceil(u128::from(self.recover_fs));
            u64::try_from(share).unwrap_or(u64::MAX).saturating_sub(self.out)
        } else {
            let conserved = self.delivered.saturating_sub(self.out).max(u64::from(delivered));
            let grown = if is_safe { conserved + mss } else { conserved };
            grown.min(u64::from(window.ssthresh - in_flight))
        };
        // The segment that is known to be lost goes out, whatever else holds.
        if self.out == 0 {
            limit = limit.max(mss);
        }
        window.cwnd = in_flight.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX));
    }

    /// So many bytes were sent, new or again.
    pub fn on_sent(&mut self, bytes: u32) {
        self.out += u64::from(bytes);
    }

    /// The recovery is over: everything is acknowledged that had been sent when it began.
    pub fn end(self, window: &mut Window) {
        window.cwnd = window.ssthresh;
    }
}
