//! How a simulated world behaves. Everything here can be drawn from the seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::random::Random;

/// How likely something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Chance(u32);

impl Chance {
    /// It never happens.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1_000_000);

    /// So many times out of a million; more than that is always.
    pub const fn per_million(times: u32) -> Self {
        Self(if times > 1_000_000 { 1_000_000 } else { times })
    }

    /// So many times out of a hundred; more than that is always.
    pub const fn per_cent(times: u32) -> Self {
        Self::per_million(times.saturating_mul(10_000))
    }

    /// Whether it happens this time. Nothing is drawn for what never or always happens.
    pub(crate) fn happens(self, random: &mut Random) -> bool {
        match self {
            Self::NEVER => false,
            Self::ALWAYS => true,
            Self(times) => random.below(1_000_000) < u64::from(times),
        }
    }
}

/// How the simulated network behaves between hosts. Within a host nothing is lost, refused or reset.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetworkOptions {
    /// How long a segment or datagram is under way between hosts.
    pub latency: RangeInclusive<Duration>,
    /// How long it is under way within a host.
    pub local_latency: RangeInclusive<Duration>,
    /// How often a segment or datagram is held up.
    pub hold_up: Chance,
    /// By how much longer it is under way then.
    pub hold_up_time: RangeInclusive<Duration>,
    /// The longest segment in bytes.
    pub segment_bytes: usize,
    /// How often a segment is cut at a random place.
    pub split: Chance,
    /// How often bytes that arrived apart are read together.
    pub merge: Chance,
    /// Bytes of a stream's direction that have left the send queue and were not read yet, at most.
    pub window_bytes: usize,
    /// How often a segment resets its connection instead of arriving.
    pub reset: Chance,
    /// How often a connection is refused although somebody listens.
    pub refuse: Chance,
    /// How often a datagram is lost.
    pub datagram_loss: Chance,
    /// How often a datagram arrives twice.
    pub datagram_duplication: Chance,
    /// Datagrams that wait to be received on a socket at most; further ones are dropped and counted.
    pub datagram_queue: usize,
}

impl Default for NetworkOptions {
    /// A local network on a good day: nothing is lost, refused or reset.
    fn default() -> Self {
        Self {
            latency: micros(50)..=micros(500),
            local_latency: micros(5)..=micros(30),
            hold_up: Chance::per_million(1000),
            hold_up_time: micros(1000)..=micros(40_000),
            segment_bytes: 16 * 1024,
            split: Chance::per_cent(10),
            merge: Chance::per_cent(50),
            window_bytes: 64 * 1024,
            reset: Chance::NEVER,
            refuse: Chance::NEVER,
            datagram_loss: Chance::NEVER,
            datagram_duplication: Chance::NEVER,
            datagram_queue: 256,
        }
    }
}

impl NetworkOptions {
    /// Options drawn at random, from a quiet network to a hostile one: each fault is absent every other time.
    pub fn drawn(random: &mut Random) -> Self {
        let latency_us = 1 << random.between(0, 14);
        let spread = random.between(1, 20);
        let fault = |random: &mut Random, largest_per_million: u64| {
            let is_present = random.below(2) == 0;
            let times = random.between(1, largest_per_million);
            Chance::per_million(if is_present { u32::try_from(times).unwrap_or(u32::MAX) } else { 0 })
        };
        Self {
            latency: micros(latency_us)..=micros(latency_us * spread),
            local_latency: micros(1)..=micros(random.between(1, 100)),
            hold_up: fault(random, 50_000),
            // Longer ones make worlds that do little else than wait.
            hold_up_time: micros(latency_us)..=micros((latency_us * random.between(1, 1000)).min(1_000_000)),
            segment_bytes: 1 << random.between(4, 16),
            split: fault(random, 1_000_000),
            merge: fault(random, 1_000_000),
            window_bytes: 1 << random.between(8, 18),
            reset: fault(random, 5_000),
            refuse: fault(random, 200_000),
            datagram_loss: fault(random, 300_000),
            datagram_duplication: fault(random, 100_000),
            datagram_queue: 1 << random.between(0, 8),
        }
    }
}

/// How a simulated world behaves, and what is too much.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimOptions {
    /// The network.
    pub network: NetworkOptions,
    /// Virtual time that a round takes in which its shard did something. Other shards run meanwhile.
    pub round_cost: RangeInclusive<Duration>,
    /// How long a shard may run tasks in one round; see [`ExecutorConfig`](sunstar_executor::ExecutorConfig). While a
    /// round goes on the clock stands still.
    pub task_quota: Duration,
    /// A world that lives longer has failed. One hour unless it is set.
    pub time_limit: Duration,
    /// So many rounds while nothing arrives are too many, unless they take a minute of virtual time: somebody turns in circles.
    pub futile_rounds: u64,
    /// How long after the end of its main function a host's tasks may still run before they count as leaked.
    pub linger: Duration,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            network: NetworkOptions::default(),
            round_cost: micros(1)..=micros(10),
            task_quota: micros(500),
            time_limit: Duration::from_secs(3600),
            futile_rounds: 1_000_000,
            linger: Duration::from_secs(1),
        }
    }
}

impl SimOptions {
    /// Options drawn from the seed, so that a range of seeds tries many kinds of worlds.
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::stream(seed, OPTIONS_STREAM);
        let cost_us = random.below(50);
        Self {
            network: NetworkOptions::drawn(&mut random),
            round_cost: micros(random.between(0, cost_us))..=micros(cost_us),
            ..Self::default()
        }
    }
}

/// The stream of random numbers from which options are drawn.
const OPTIONS_STREAM: u64 = 1;
/// The one from which the order of shards and the cost of rounds are drawn.
pub(crate) const SCHEDULER_STREAM: u64 = 2;
/// The one from which the network draws.
pub(crate) const NETWORK_STREAM: u64 = 3;
/// The first of those from which links draw.
pub(crate) const LINK_STREAMS: u64 = 1 << 40;
/// The first of those from which shards get their entropy.
pub(crate) const ENTROPY_STREAMS: u64 = 1 << 32;

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// A time out of a range.
pub(crate) fn draw_time(random: &mut Random, range: &RangeInclusive<Duration>) -> Duration {
    let nanos = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.between(nanos(range.start()), nanos(range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_what_they_say() {
        let mut random = Random::new(0);
        let happened = (0..10_000).filter(|_| Chance::per_cent(25).happens(&mut random)).count();
        assert!((2350..2650).contains(&happened), "{happened}");
        assert!(Chance::ALWAYS.happens(&mut random) && Chance::per_cent(101).happens(&mut random));
        assert!(!Chance::NEVER.happens(&mut random));
    }

    #[test]
    fn a_seed_draws_the_same_options_and_others_draw_others() {
        let shown = |seed| format!("{:?}", SimOptions::drawn(seed));
        assert_eq!(shown(5), shown(5));
        assert_ne!(shown(5), shown(6));
        let resets = (0..100).filter(|&seed| SimOptions::drawn(seed).network.reset != Chance::NEVER).count();
        assert!((30..70).contains(&resets), "each fault is absent every other time: {resets}");
    }
}
