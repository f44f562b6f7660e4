//! Metrics: what a program counts and measures, kept per shard and put together when somebody asks.
//!
//! Each shard has a [`Registry`]. A [`Counter`], [`Gauge`] or [`Histogram`] of it is a handle on plain memory of the shard:
//! counting is an addition, without atomics, locks or look-ups. What is counted elsewhere already is registered with a
//! closure that reads it ([`Registry::observe`]) and costs nothing until somebody asks.
//!
//! ```no_run
//! use sunstar_metrics::{Buckets, Family, Registry};
//!
//! const LOOKUPS: Family = Family::counter("shop_lookups_total", "Goods that were looked up.");
//! const LOOKUP_TIMES: Family =
//!     Family::histogram("shop_lookup_seconds", "How long it took to look goods up.", Buckets::LATENCY).summed();
//!
//! // On each shard, once:
//! let registry = Registry::here();
//! let lookups = registry.counter(LOOKUPS, &[("kind", "book")])?;
//! let times = registry.histogram(LOOKUP_TIMES, &[])?;
//! // … and whenever it happens:
//! lookups.add(1);
//! times.record_duration(std::time::Duration::from_micros(17));
//! # Ok::<(), sunstar_metrics::RegisterError>(())
//! ```
//!
//! A sample bears the number of its shard as the label `shard`, unless its family is [summed](Family::summed) over the shards.
//!
//! [`gather()`] asks every shard by one message and puts the answers together. [`prometheus`] writes them as text for
//! Prometheus, [`collectd`] sends them to a collectd server. What the executor, the messages, the timers and the listeners of a shard count is in each registry
//! from the start.
//!
//! # Bounds
//! A shard has at most [`MAX_SERIES`] series: more are refused when they are registered, and left out and counted
//! (`sunstar_metrics_left_out_total`) when an observer makes them up. One collection at a time runs for a shard that asks; others wait
//! for it, as many as there are unless they ask by [`gather_unless_busy`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod collectd;
mod distribution;
mod error;
mod executor;
mod family;
mod figure;
mod gather;
mod handle;
mod labels;
mod net;
mod number;
pub mod prometheus;
mod readings;
mod registry;
mod snapshot;
#[cfg(test)]
mod tests;

pub use distribution::{Buckets, Distribution, DistributionValue};
pub use error::{Refusal, RegisterError};
pub use family::{Family, Kind};
pub use figure::Figure;
pub use gather::{Gathered, MAX_WAITING, PATIENCE, Sample, Samples, gather, gather_unless_busy, gather_within};
pub use handle::{Counter, Gauge, Histogram};
pub use labels::Labels;
pub use number::{Number, Value};
pub use readings::Readings;
pub use registry::{MAX_SERIES, Registration, Registry};
