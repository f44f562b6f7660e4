//! When a shard gives memory back.
//!
//! What it keeps for reuse makes the next tasks and connections cheap. After a peak it is more than is needed again soon.

use std::time::Duration;

use sunstar_executor::Instant;

/// A shard into which nothing came for so long has no peak.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// One that is never quiet for that long gives memory back when it is idle and has kept it for this long.
const LONGEST_TIME: Duration = Duration::from_secs(60);

/// Knows when a shard is to give back what it keeps.
#[derive(Default)]
pub(super) struct Slack {
    /// A number that changes when something comes in, as it was seen last.
    input: u64,
    quiet_since: Instant,
    /// When something came in for the first time since memory was given back; none if nothing did.
    kept_since: Option<Instant>,
}

impl Slack {
    /// When memory is to be given back, if anything came in since the last time. Asked when the shard is idle.
    pub(super) fn due(&mut self, input: u64, now: Instant) -> Option<Instant> {
        if self.input != input {
            self.input = input;
            self.quiet_since = now;
            self.kept_since.get_or_insert(now);
        }
        self.kept_since.map(|since| (self.quiet_since + QUIET_TIME).min(since + LONGEST_TIME))
    }

    /// Notes that memory was given back.
    pub(super) fn freed(&mut self) {
        self.kept_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_each_peak() {
        let mut slack = Slack::default();
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        assert_eq!(slack.due(0, at(5)), None);
        assert_eq!(slack.due(1, at(10)), Some(at(11)));
        assert_eq!(slack.due(1, at(11)), Some(at(11)));
        slack.freed();
        assert_eq!(slack.due(1, at(12)), None);
        assert_eq!(slack.due(2, at(20)), Some(at(21)));
    }

    #[test]
    fn a_shard_that_is_never_quiet_keeps_memory_for_a_minute() {
        let mut slack = Slack::default();
        let at = |seconds| Instant::default() + Duration::from_secs(seconds);
        for second in 0..59 {
            assert_eq!(slack.due(second + 1, at(second)), Some(at(second + 1)));
        }
        assert_eq!(slack.due(100, at(59)), Some(at(60)));
        assert_eq!(slack.due(101, at(60)), Some(at(60)));
    }
}
