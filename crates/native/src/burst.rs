//! How many packets a round takes in.

use std::time::Duration;

use sunstar_executor::Instant;

/// Packets that are taken from a queue in a round at most. Few, since answers leave at the round's end: two hosts that take all that there is
/// would take turns, and one of them would always wait for the other.
pub const RX_BURST: usize = 32;

/// However long they take, no fewer packets are taken in while more wait.
const MIN_RX_BURST: usize = 4;

/// What the packets of a round bring about may take so long. What is done first in a round is not sent before its end; where
/// requests take long, fewer of them belong to one.
const ROUND_TIME: Duration = Duration::from_micros(50);

/// The packets that the next round takes in from each queue.
#[derive(Debug)]
pub(crate) struct Burst {
    packets: usize,
    /// When the last round began, if it left packets behind: it was full, and the shard has not slept since.
    full_since: Option<Instant>,
}

impl Burst {
    pub(crate) const fn new() -> Self {
        Self { packets: RX_BURST, full_since: None }
    }

    /// A round begins; answers how many packets it may take.
    pub(crate) fn begin(&mut self, now: Instant) -> usize {
        if let Some(since) = self.full_since.take() {
            let took = now.saturating_duration_since(since);
            if took > ROUND_TIME {
                self.packets = (self.packets / 2).max(MIN_RX_BURST);
            } else if took < ROUND_TIME / 2 {
                self.packets = (self.packets * 2).min(RX_BURST);
            }
        }
        self.packets
    }

    /// The round that has begun leaves packets behind.
    pub(crate) fn leave_behind(&mut self, now: Instant) {
        self.full_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rounds take after `rounds` full ones of so many microseconds for each packet.
    fn after(burst: &mut Burst, rounds: usize, packet_micros: u64) -> usize {
        let mut now = Instant::ORIGIN;
        for _ in 0..rounds {
            let packets = burst.begin(now);
            burst.leave_behind(now);
            now += Duration::from_micros(packet_micros) * u32::try_from(packets).expect("few");
        }
        burst.begin(now)
    }

    #[test]
    fn rounds_take_as_much_as_can_be_answered_soon() {
        let mut burst = Burst::new();
        assert_eq!(after(&mut burst, 9, 1), RX_BURST);
        assert_eq!(after(&mut burst, 9, 5), RX_BURST / 4, "40 microseconds");
        assert_eq!(after(&mut burst, 9, 1_000), MIN_RX_BURST);
        assert_eq!(after(&mut burst, 9, 0), RX_BURST, "as in a simulation, where work takes no time");
    }

    #[test]
    fn time_that_was_slept_or_waited_away_says_nothing() {
        let mut burst = Burst::new();
        for second in 0..9 {
            assert_eq!(burst.begin(Instant::ORIGIN + Duration::from_secs(second)), RX_BURST);
        }
    }
}
