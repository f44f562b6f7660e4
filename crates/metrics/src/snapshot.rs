//! What a shard shows at one moment.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use crate::family::Family;
use crate::labels::Labels;
use crate::number::Value;
use crate::registry::MAX_SERIES;

/// The values of one shard, on their way to another one.
#[derive(Default, Debug)]
pub(crate) struct Snapshot {
    pub(crate) families: BTreeMap<&'static str, (Family, BTreeMap<Labels, Value>)>,
    pub(crate) series: usize,
    /// Values that found no room, or did not go with others.
    pub(crate) left_out: u64,
}

impl Snapshot {
    /// Adds a value, to another one of the same family and labels if there is one.
    pub(crate) fn add(&mut self, family: &Family, labels: Labels, value: Value) {
        let has_room = self.series < MAX_SERIES;
        let (known, samples) = self.families.entry(family.name).or_insert_with(|| (*family, BTreeMap::new()));
        let is_taken = *known == *family
            && match samples.entry(labels) {
                Entry::Occupied(mut same) => same.get_mut().add(&value),
                Entry::Vacant(free) if has_room => {
                    free.insert(value);
                    self.series += 1;
                    true
                }
                Entry::Vacant(_) => false,
            };
        self.left_out += u64::from(!is_taken);
    }
}
