//! Puts the metrics of all shards together.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use sunstar_executor::combine::{when_all, with_timeout};
use sunstar_executor::{ShardId, current, submit_to_with};

use crate::family::Family;
use crate::labels::Labels;
use crate::number::Value;
use crate::registry::Registry;
use crate::snapshot::Snapshot;

/// How long [`gather`] waits for the shards.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How many collections may wait for their turn on a shard when [`gather_unless_busy`] begins another one.
pub const MAX_WAITING: usize = 16;

/// The metrics of a program at about one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gathered {
    /// By family, ordered by name.
    pub families: Vec<Samples>,
    /// The shards that did not answer in time, or panicked. Their values are left out, and so are all sums over the shards.
    pub missing: Vec<ShardId>,
}

/// All series of one family, ordered by their labels and then by shard.
#[derive(Clone, PartialEq, Debug)]
pub struct Samples {
    /// What they mean.
    pub family: Family,
    /// The series.
    pub samples: Vec<Sample>,
}

/// A series' value.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// The labels that were registered.
    pub labels: Labels,
    /// The shard whose value it is; none if it is a sum over all of them.
    pub shard: Option<ShardId>,
    /// The value.
    pub value: Value,
}

/// Asks every shard for its metrics and puts them together, as [`gather_within`] the time of [`PATIENCE`].
///
/// # Panics
/// Outside of any shard.
pub async fn gather() -> Gathered {
    gather_within(PATIENCE).await
}

/// As [`gather`], for whoever asks on behalf of others: none if [`MAX_WAITING`] collections wait for their turn on this shard already,
/// which is counted.
///
/// # Panics
/// Outside of any shard.
pub async fn gather_unless_busy() -> Option<Gathered> {
    let registry = Registry::here();
    if registry.turn.waiters() >= MAX_WAITING {
        registry.count_refused();
        return None;
    }
    Some(gather().await)
}

/// Asks every shard for its metrics by one message each, and puts together what comes within `limit`. What was left out is
/// counted by this shard's registry.
///
/// One such collection at a time is under way for a shard, further ones wait their turn. Dropping the future lets the shards
/// answer for nothing.
///
/// # Panics
/// Outside of any shard.
pub async fn gather_within(limit: Duration) -> Gathered {
    let registry = Registry::here();
    let Ok(_turn) = registry.turn.acquire(1).await else { return Gathered::default() };
    let shards: Vec<ShardId> = ShardId::all(current::shard_count()).collect();
    let asked = shards.iter().map(|&shard| {
        let snapshot = submit_to_with(&registry.requests, shard, || async { Registry::here().snapshot() });
        with_timeout(limit, snapshot)
    });
    let answers = when_all(asked.collect::<Vec<_>>()).await;
    let mut merging = Merging::default();
    let mut missing = Vec::new();
    for (shard, answer) in shards.into_iter().zip(answers) {
        match answer {
            Ok(Ok(snapshot)) => merging.add(shard, snapshot),
            Ok(Err(_)) | Err(_) => missing.push(shard),
        }
    }
    registry.count_missing(missing.len() as u64);
    registry.count_left_out(merging.left_out);
    if !missing.is_empty() {
        merging.leave_out_sums();
    }
    Gathered { families: merging.families(), missing }
}

/// The values of a family by labels and shard.
type Series = BTreeMap<(Labels, Option<ShardId>), Value>;

#[derive(Default)]
struct Merging {
    families: BTreeMap<&'static str, (Family, Series)>,
    left_out: u64,
}

impl Merging {
    fn add(&mut self, shard: ShardId, snapshot: Snapshot) {
        for (name, (family, samples)) in snapshot.families {
            let (known, series) = self.families.entry(name).or_insert_with(|| (family, Series::new()));
            if *known != family {
                // Two shards that mean something else by one name: the first one counts.
                self.left_out += samples.len() as u64;
                continue;
            }
            let shard = (!family.is_summed).then_some(shard);
            for (labels, value) in samples {
                match series.get_mut(&(labels.clone(), shard)) {
                    // Equal families have equal buckets.
                    Some(sum) => self.left_out += u64::from(!sum.add(&value)),
                    None => drop(series.insert((labels, shard), value)),
                }
            }
        }
    }

    /// Without one of the shards a sum would be too small, and a counter that fell would be taken for one that began anew.
    fn leave_out_sums(&mut self) {
        self.families.retain(|_, (family, _)| !family.is_summed);
    }

    fn families(self) -> Vec<Samples> {
        let sample = |((labels, shard), value)| Sample { labels, shard, value };
        let samples =
            |(family, series): (Family, Series)| Samples { family, samples: series.into_iter().map(sample).collect() };
        self.families.into_values().map(samples).collect()
    }
}
