//! What the fuzz targets run, with bytes by chance and with those that it found worth keeping.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::{driven, told};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn property_stacks_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        driven::check(&bytes);
    }

    #[test]
    fn property_stations_survive_what_they_are_told(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        told::check(&bytes);
    }
}

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.unwrap().path();
        let checked = std::panic::catch_unwind(|| check(&fs::read(&path).unwrap()));
        assert!(checked.is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count > 20, "the corpus is there");
}

#[test]
fn the_corpora_hold() {
    replay("tcpip", driven::check);
    replay("told", told::check);
}
