//! What waits for its time on few hosts, and seldom there: a usual host asks once for all of it.

use super::{Stack, earliest};
use crate::time::Instant;

impl Stack {
    /// Whether something is under way that mostly is not.
    pub(super) fn has_rare_deadlines(&self) -> bool {
        let has_none = self.tentative.is_empty()
            && self.autoconf.is_empty()
            && self.groups.has_no_reports()
            && self.dhcpv4.is_empty()
            && self.dhcpv6.is_empty()
            && self.reassembly.deadline().is_none();
        !has_none
    }

    /// When something rare is due.
    #[inline(never)]
    pub(super) fn rare_deadline(&self) -> Option<Instant> {
        let v6 = earliest(self.tentative_deadline(), self.autoconf_deadline());
        let others = earliest(self.group_deadline(), earliest(self.reassembly.deadline(), self.dhcpv4_deadline()));
        earliest(earliest(v6, self.dhcpv6_deadline()), others)
    }

    /// Time has passed, and [something rare](Self::has_rare_deadlines) may be due.
    #[inline(never)]
    pub(super) fn handle_rare_timeouts(&mut self, now: Instant) {
        self.adopt_tentative(now);
        self.age_autoconf(now);
        self.send_reports(now);
        self.handle_dhcpv4_timeout(now);
        self.handle_dhcpv6_timeout(now);
        while let Some(expired) = self.reassembly.poll_expired(now, &mut self.drops) {
            self.on_expired(now, expired);
        }
    }
}
