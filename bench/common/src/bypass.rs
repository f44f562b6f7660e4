//! What the two ends of `cargo xtask bench bypass` agree upon, on Sunstar's stack and on the kernel's: ports, and what is told.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// Where a server tells how it has spent its time: for any byte, a [`Usage`].
pub const CONTROL_PORT: u16 = 6_999;
/// Where messages are echoed. So many that the local ports of one are not used up by what lingers in TIME-WAIT.
pub const PORTS: Range<u16> = 7_000..7_064;
/// Where streams of the [pattern](crate::tcp::Pattern) are read and compared.
pub const STREAM_PORT: u16 = 7_064;
/// Bytes of a [`Usage`] on its way.
pub const USAGE_BYTES: usize = 24;
/// Of so many operations the latency of one is noted: looking at the clock costs as much as a part of an operation.
pub const SAMPLE_EVERY: u64 = 8;
/// So many latencies are kept; later ones are left out.
const MOST_LATENCIES: usize = 1 << 20;

/// How an end has spent its time since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of it.
    pub up: Duration,
    /// That in which there was something to do.
    pub busy: Duration,
    /// That in which a processor ran it, spinning included.
    pub cpu: Duration,
}

impl Usage {
    /// The form in which it is told.
    pub fn to_bytes(self) -> [u8; USAGE_BYTES] {
        let mut bytes = [0; USAGE_BYTES];
        for (place, time) in [self.up, self.busy, self.cpu].into_iter().enumerate() {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            bytes[place * 8..place * 8 + 8].copy_from_slice(&nanos.to_le_bytes());
        }
        bytes
    }

    /// What was told.
    pub fn from_bytes(bytes: [u8; USAGE_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks();
        let [up, busy, cpu] = [0, 1, 2].map(|place| Duration::from_nanos(u64::from_le_bytes(words[place])));
        Self { up, busy, cpu }
    }

    /// What was added since an earlier time.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            up: self.up.saturating_sub(earlier.up),
            busy: self.busy.saturating_sub(earlier.busy),
            cpu: self.cpu.saturating_sub(earlier.cpu),
        }
    }

    fn busy_share(self) -> f64 {
        self.busy.as_secs_f64() / self.up.as_secs_f64().max(1e-9)
    }
}

/// Times from questions to answers.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// Notes one.
    pub fn add(&mut self, time: Duration) {
        if self.0.len() < MOST_LATENCIES {
            self.0.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// The time below which so many of a thousand lie, in microseconds; zero if there is none.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn per_mille(&mut self, per_mille: usize) -> f64 {
        let place = (self.0.len() * per_mille / 1_000).min(self.0.len().saturating_sub(1));
        if self.0.is_empty() {
            return 0.0;
        }
        *self.0.select_nth_unstable(place).1 as f64 / 1e3
    }
}

/// What was counted until some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were opened, used and closed.
    pub connections: u64,
    /// Messages that were echoed, or requests that were answered.
    pub messages: u64,
    /// Bytes of a stream that were handed over. What the other end has read is at most some buffers less.
    pub bytes: u64,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How long was measured.
    pub time: Duration,
    /// What was done in it.
    pub counts: Counts,
    /// Times of operations.
    pub latencies: Latencies,
    /// What this end did meanwhile.
    pub client: Usage,
    /// What the other end did, if it is another process.
    pub server: Option<Usage>,
}

impl Outcome {
    /// One line of JSON: rates per second, latencies in microseconds, shares of the time in which the ends were busy, and the processor
    /// time of each in seconds.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn line(&mut self) -> String {
        let per_second = |count: u64| count as f64 / self.time.as_secs_f64();
        let Counts { connections, messages, bytes } = self.counts;
        let (connections, messages, bytes) = (per_second(connections), per_second(messages), per_second(bytes));
        let (median, p99) = (self.latencies.per_mille(500), self.latencies.per_mille(990));
        let server = self.server.unwrap_or_default();
        format!(
            r#"{{"seconds":{:.3},"connections":{connections:.1},"messages":{messages:.1},"bytes":{bytes:.1},"median_us":{median:.2},"p99_us":{p99:.2},"client_busy":{:.4},"server_busy":{:.4},"client_cpu_s":{:.3},"server_cpu_s":{:.3}}}"#,
            self.time.as_secs_f64(),
            self.client.busy_share(),
            server.busy_share(),
            self.client.cpu.as_secs_f64(),
            server.cpu.as_secs_f64(),
        )
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, bytes } = self;
        write!(f, "{connections} connections, {messages} messages, {bytes} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::{Latencies, Usage};
    use std::time::Duration;

    #[test]
    fn usage_arrives_as_it_was_told() {
        let [up, busy, cpu] = [9_000_000_000, 2_000_000_001, 1].map(Duration::from_nanos);
        let usage = Usage { up, busy, cpu };
        assert_eq!(Usage::from_bytes(usage.to_bytes()), usage);
    }

    #[test]
    fn latencies_have_a_middle() {
        let mut latencies = Latencies::default();
        assert!(latencies.per_mille(500).abs() < 1e-9);
        (0..1_001).for_each(|micros| latencies.add(Duration::from_micros(micros)));
        assert!((latencies.per_mille(500) - 500.0).abs() < 1e-9);
        assert!((latencies.per_mille(1_000) - 1_000.0).abs() < 1e-9);
    }
}
