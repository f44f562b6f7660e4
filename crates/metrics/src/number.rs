//! Values as they are handed on.

use core::fmt;
use core::ops::AddAssign;
use core::time::Duration;

use crate::distribution::DistributionValue;

/// A number of a counter or gauge.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Number {
    /// A whole number.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl Number {
    /// As a floating-point number, which is rounded from 2^53 on.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<Duration> for Number {
    /// In seconds.
    fn from(time: Duration) -> Self {
        Self::Real(time.as_secs_f64())
    }
}

impl AddAssign for Number {
    /// Whole numbers wrap around.
    fn add_assign(&mut self, other: Self) {
        *self = match (*self, other) {
            (Self::Whole(one), Self::Whole(other)) => Self::Whole(one.wrapping_add(other)),
            (one, other) => Self::Real(one.as_f64() + other.as_f64()),
        };
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Real(real) if real.is_nan() => f.write_str("NaN"),
            Self::Real(real) if real.is_infinite() => f.write_str(if *real > 0.0 { "+Inf" } else { "-Inf" }),
            Self::Real(real) => real.fmt(f),
        }
    }
}

/// What a series shows.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(Number),
    /// Of a histogram.
    Distribution(DistributionValue),
}

impl Value {
    /// Adds another value of the same series; answers false if they don't go together.
    pub(crate) fn add(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(sum), Self::Number(other)) => {
                *sum += *other;
                true
            }
            (Self::Distribution(sum), Self::Distribution(other)) => sum.add(other),
            _ => false,
        }
    }
}
