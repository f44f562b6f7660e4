//! What a disturbed device does, and how that is written on a command line.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::time::Duration;

use super::random::Random;

/// How likely something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probability(
    /// In 2⁵³ cases.
    u64,
);

impl Probability {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1 << 53);

    /// A probability from 0 to 1, or nothing if the number is another one.
    pub fn new(probability: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "both are numbers from 0 to 2⁵³, which either type holds"
        )]
        (0.0..=1.0).contains(&probability).then(|| Self((probability * Self::ALWAYS.0 as f64).round() as u64))
    }

    /// Draws whether it happens.
    pub(super) const fn happens(self, random: &mut Random) -> bool {
        random.next() >> 11 < self.0
    }
}

/// How a device is to be disturbed. The default is: not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultOptions {
    /// From this everything follows that is drawn.
    pub seed: u64,
    /// Packets that are lost.
    pub drop: Probability,
    /// Packets that come twice.
    pub duplicate: Probability,
    /// Packets that come later than those behind them, by `reorder_by`.
    pub reorder: Probability,
    /// How much later those come.
    pub reorder_by: Duration,
    /// Packets in which one bit is wrong.
    pub corrupt: Probability,
    /// How long every packet takes.
    pub delay: Duration,
    /// How much longer a packet may take; it does not overtake others by that.
    pub jitter: Duration,
    /// How many bits pass in a second, if not any number.
    pub rate_bits: Option<NonZero<u64>>,
    /// How many packets may be under way in a direction; what is more is lost.
    pub limit_packets: usize,
    /// Whether what is received is disturbed.
    pub rx: bool,
    /// Whether what is sent is disturbed.
    pub tx: bool,
}

impl Default for FaultOptions {
    /// Both directions, 1,000 packets under way, and reordering by a millisecond: all else is zero.
    fn default() -> Self {
        Self {
            seed: 0,
            drop: Probability::NEVER,
            duplicate: Probability::NEVER,
            reorder: Probability::NEVER,
            reorder_by: Duration::from_millis(1),
            corrupt: Probability::NEVER,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_bits: None,
            limit_packets: 1000,
            rx: true,
            tx: true,
        }
    }
}

/// Reads a list such as `drop=0.01,delay=10ms,rate=100Mbit,seed=7`.
///
/// Probabilities are numbers from 0 to 1 (`drop`, `duplicate`, `reorder`, `corrupt`), durations have a unit: `ns`, `us`, `ms` or `s`
/// (`delay`, `jitter`, `reorder-by`), so has the `rate`: `bit`, `kbit`, `Mbit` or `Gbit`, per second. `limit` is a number of packets,
/// `seed` a number, `direction` one of `rx`, `tx` and `both`.
impl FromStr for FaultOptions {
    type Err = FaultOptionError;

    fn from_str(text: &str) -> Result<Self, FaultOptionError> {
        let mut options = Self::default();
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(FaultOptionError::NoValue { option: part.to_owned() });
            };
            let expected = options.set(name, value);
            expected.map_err(|expected| match expected {
                Some(expected) => {
                    FaultOptionError::Value { option: name.to_owned(), value: value.to_owned(), expected }
                }
                None => FaultOptionError::Unknown { option: name.to_owned() },
            })?;
        }
        Ok(options)
    }
}

impl FaultOptions {
    /// Sets one option; else says what it expects, or nothing if there is no such option.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Option<&'static str>> {
        const PROBABILITY: &str = "a probability from 0 to 1";
        const DURATION: &str = "a duration such as 10ms (units: ns, us, ms, s)";
        let probability = || value.parse().ok().and_then(Probability::new).ok_or(Some(PROBABILITY));
        let duration = || duration(value).ok_or(Some(DURATION));
        match name {
            "drop" => self.drop = probability()?,
            "duplicate" => self.duplicate = probability()?,
            "reorder" => self.reorder = probability()?,
            "corrupt" => self.corrupt = probability()?,
            "delay" => self.delay = duration()?,
            "jitter" => self.jitter = duration()?,
            "reorder-by" => self.reorder_by = duration()?,
            "rate" => {
                self.rate_bits =
                    Some(rate(value).ok_or(Some("a rate above 0 such as 100Mbit (units: bit, kbit, Mbit, Gbit)"))?);
            }
            "limit" => self.limit_packets = value.parse().map_err(|_| Some("a number of packets"))?,
            "seed" => self.seed = value.parse().map_err(|_| Some("a number of 64 bits"))?,
            "direction" => {
                (self.rx, self.tx) = match value {
                    "rx" => (true, false),
                    "tx" => (false, true),
                    "both" => (true, true),
                    _ => return Err(Some("rx, tx or both")),
                }
            }
            _ => return Err(None),
        }
        Ok(())
    }
}

/// Splits a whole number and its unit.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit))
}

fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = split_unit(text)?;
    match unit {
        "ns" => Some(Duration::from_nanos(number)),
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

fn rate(text: &str) -> Option<NonZero<u64>> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "bit" => 1,
        "kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        _ => return None,
    };
    NonZero::new(number.checked_mul(factor)?)
}

/// What is wrong with a list of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultOptionError {
    /// A part is not of the form `option=value`.
    NoValue {
        /// The part.
        option: String,
    },
    /// There is no such option.
    Unknown {
        /// The name.
        option: String,
    },
    /// The value is none of this option's.
    Value {
        /// The name.
        option: String,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl fmt::Display for FaultOptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const OPTIONS: &str =
            "drop, duplicate, reorder, reorder-by, corrupt, delay, jitter, rate, limit, seed and direction";
        match self {
            Self::NoValue { option } => write!(f, "{option:?} is no fault: faults are written as option=value"),
            Self::Unknown { option } => write!(f, "there is no fault {option:?}; there are {OPTIONS}"),
            Self::Value { option, value, expected } => write!(f, "{option}={value}: expected {expected}"),
        }
    }
}

impl std::error::Error for FaultOptionError {}
