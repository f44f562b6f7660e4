//! How long a DHCP client waits.

use core::time::Duration;

use crate::chance::Chance;
use crate::time::Instant;

/// So often an offered address is asked for (RFC 2131 §4.4.1 leaves it open).
pub(super) const MAX_REQUESTS: u32 = 3;
/// And so often the address that there was before, of which nobody may know any more.
pub(super) const MAX_REBOOT_REQUESTS: u32 = 2;

/// So often others are looked for before a server is chosen again whose offer came to nothing.
pub(super) const SHUNNED_DISCOVERS: u32 = 3;

/// RFC 2131 §3.1, 5: so long after an address was declined.
pub(super) const DECLINE_WAIT: Duration = Duration::from_secs(10);

/// After a lease of less the client does not begin at once.
pub(super) const LONG_LEASE: Duration = Duration::from_secs(60);

/// RFC 5227 §1.1: an address is probed so often. The times between are shorter than there, since a server that starts waits for them: the
/// longer ones are for addresses that nobody gives out.
pub(super) const PROBES: u32 = 3;
const PROBE_MICROS: u32 = 250_000;

/// RFC 2131 §4.1: the first wait and the longest one, and by how much they vary.
const FIRST_SECONDS: u64 = 4;
const LONGEST_SECONDS: u64 = 64;
const VARIATION_MICROS: u32 = 1_000_000;

/// RFC 2131 §4.4.5: a lease is not asked for more often, but for short ones.
const MIN_PROLONG_WAIT: Duration = Duration::from_secs(60);

/// How long it waits by chance.
#[derive(Debug)]
pub(super) struct Timing(Chance);

impl Timing {
    pub(super) fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    /// Some number.
    pub(super) fn draw(&mut self) -> u32 {
        self.0.draw()
    }

    /// How long to wait for an answer that was asked for `tries` times before: 4 s, 8 s and so on up to 64 s, give or take one.
    pub(super) fn back_off(&mut self, tries: u32) -> Duration {
        let doubled = FIRST_SECONDS.checked_shl(tries.min(8)).unwrap_or(LONGEST_SECONDS);
        let tries_forever = planted::is("dhcp_no_backoff");
        let base = Duration::from_secs(if tries_forever { FIRST_SECONDS } else { doubled.min(LONGEST_SECONDS) });
        base - Duration::from_micros(VARIATION_MICROS.into()) + self.up_to(2 * VARIATION_MICROS)
    }

    /// How long to wait for those who have an address, give or take a fifth.
    pub(super) fn probe_interval(&mut self) -> Duration {
        Duration::from_micros((PROBE_MICROS / 5 * 4).into()) + self.up_to(PROBE_MICROS / 5 * 2)
    }

    fn up_to(&mut self, micros: u32) -> Duration {
        Duration::from_micros(self.0.up_to(micros).into())
    }
}

/// When a lease is asked for again: half of the way to what comes next, not too often.
pub(super) fn half_way(now: Instant, next: Instant, lease: Duration) -> Instant {
    let least = MIN_PROLONG_WAIT.min(lease / 16).max(Duration::from_secs(1));
    let asked = now + ((next - now) / 2).max(least);
    if planted::is("dhcp_asks_past_the_end") {
        return asked;
    }
    asked.min(next.max(now + Duration::from_micros(1)))
}
