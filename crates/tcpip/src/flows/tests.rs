use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Flows, Full};

#[test]
fn finds_what_was_inserted() {
    let mut flows = Flows::new(10);
    assert_eq!(flows.find(1, |_| true), None);
    flows.insert(1, 100).expect("there is room");
    flows.insert(1, 101).expect("there is room");
    assert_eq!(flows.find(1, |place| place == 101), Some(101));
    assert_eq!(flows.find(1, |_| false), None, "the same hash, another key");
    assert_eq!(flows.find(2, |_| true), None);
    assert!(flows.remove(1, 100));
    assert!(!flows.remove(1, 100));
    assert_eq!((flows.find(1, |_| true), flows.len()), (Some(101), 1));
}

#[test]
fn long_probes_are_told() {
    let mut flows = Flows::new(100);
    for place in 0..10 {
        flows.insert(7, place).expect("there is room");
        assert_eq!(flows.longest_probe(), place as usize);
    }
    flows.insert(40, 10).expect("there is room");
    flows.remove(7, 3);
    assert_eq!(flows.longest_probe(), 9, "the longest that ever was");
}

#[test]
fn refuses_more_than_its_limit() {
    let mut flows = Flows::new(2);
    assert_eq!([flows.insert(1, 1), flows.insert(2, 2), flows.insert(3, 3)], [Ok(()), Ok(()), Err(Full)]);
    assert_eq!(flows.find(3, |_| true), None);
    flows.remove(1, 1);
    assert_eq!(flows.insert(3, 3), Ok(()));
}

/// No insertion moves more than a few entries, and the old table is gone before the new one is full.
#[test]
fn grows_a_little_at_a_time() {
    let mut flows = Flows::new(100_000);
    for place in 0..100_000_u32 {
        let before = flows.old.used;
        flows.insert(place.wrapping_mul(0x9e37_79b9), place).expect("there is room");
        assert!(before.saturating_sub(flows.old.used) <= 8);
        assert!(flows.old.used == 0 || !flows.slots.is_crowded());
    }
    assert!(
        (0..100_000_u32)
            .all(|place| flows.find(place.wrapping_mul(0x9e37_79b9), |other| other == place) == Some(place))
    );
}

#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    Remove,
    Replace,
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Change(Change, usize),
}

proptest! {
    /// Beside a model, with hashes that collide often and lie around the end of the table.
    #[test]
    fn behaves_like_a_map(
        hashes in prop::collection::vec(prop_oneof![0..4u32, 61..67u32, any::<u32>()], 1..400),
        changes in prop::collection::vec((0..3_usize, any::<usize>()), 400),
    ) {
        let mut flows = Flows::new(300);
        let mut model = BTreeMap::new();
        let steps = hashes.into_iter().zip(changes).flat_map(|(hash, (change, which))| {
            [Step::Insert(hash), Step::Change([Change::None, Change::Remove, Change::Replace][change], which)]
        });
        for (place, step) in (0_u32..).zip(steps) {
            match step {
                Step::Insert(hash) => {
                    let result = flows.insert(hash, place);
                    prop_assert_eq!(result.is_ok(), model.len() < 300);
                    if result.is_ok() {
                        model.insert(place, hash);
                    }
                }
                Step::Change(change, which) => {
                    let places: Vec<u32> = model.keys().copied().collect();
                    let Some(old) = which.checked_rem(places.len()).map(|at| places[at]) else { continue };
                    match change {
                        Change::None => {}
                        Change::Remove => {
                            prop_assert!(flows.remove(model[&old], old));
                            model.remove(&old);
                        }
                        Change::Replace => {
                            prop_assert!(flows.replace(model[&old], old, place));
                            prop_assert!(!flows.replace(model[&old], old, place));
                            let hash = model.remove(&old).expect("it was there");
                            model.insert(place, hash);
                        }
                    }
                }
            }
            prop_assert_eq!(flows.len(), model.len());
        }
        for (&place, &hash) in &model {
            prop_assert_eq!(flows.find(hash, |other| other == place), Some(place));
        }
    }
}

#[test]
fn a_table_shrinks_to_what_is_left() {
    let mut flows = Flows::new(usize::MAX);
    let hash = |place: u32| place.wrapping_mul(0x9e37_79b1);
    (0..10_000).for_each(|place| flows.insert(hash(place), place).expect("there is room"));
    (100..10_000).for_each(|place| assert!(flows.remove(hash(place), place)));
    flows.shrink();
    assert_eq!((flows.slots.slots.len(), flows.old.slots.capacity(), flows.len()), (256, 0, 100));
    assert!((0..100).all(|place| flows.find(hash(place), |other| other == place).is_some()));
    (100..1_000).for_each(|place| flows.insert(hash(place), place).expect("there is room"));
    assert!((0..1_000).all(|place| flows.find(hash(place), |other| other == place).is_some()));
    (0..1_000).for_each(|place| assert!(flows.remove(hash(place), place)));
    flows.shrink();
    assert_eq!(flows.slots.slots.capacity(), 0);
    flows.insert(1, 1).expect("there is room");
    assert_eq!(flows.find(1, |_| true), Some(1));
}
