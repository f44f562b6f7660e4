//! How many frames wait to be received into.

use super::socket::RX_ENTRIES;

#[cfg(test)]
mod tests;

/// At least so many wait.
const FEWEST: u32 = 512;

/// So many bursts in which something came are looked back upon.
const BURSTS: u32 = 1_024;

/// Frames wait in a queue, so each is received into again only when all others were. Where few are used at a time, few should wait: their
/// memory is still in the processor's caches then, which makes a small packet cheaper by a tenth. As many as go wait as soon as half
/// of them were used at once, and until then at the beginning.
#[derive(Debug)]
pub(super) struct Posting {
    target: u32,
    /// The most that were used at once, in so many bursts.
    most_used: u32,
    bursts: u32,
}

impl Posting {
    pub(super) fn new() -> Self {
        Self { target: RX_ENTRIES, most_used: 0, bursts: 0 }
    }

    /// How many should wait, if the kernel has so many left that it has not received into.
    pub(super) fn target(&mut self, waiting: u32) -> u32 {
        let used = self.target.saturating_sub(waiting);
        if used > self.target / 2 {
            *self = Self::new();
        } else if used > 0 {
            self.most_used = self.most_used.max(used);
            self.bursts += 1;
        }
        if self.bursts == BURSTS {
            let target = (4 * self.most_used).next_power_of_two().clamp(FEWEST, RX_ENTRIES);
            *self = Self { target, ..Self::new() };
        }
        self.target
    }
}
