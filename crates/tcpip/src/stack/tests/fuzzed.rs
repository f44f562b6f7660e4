//! What the fuzz target runs, with bytes by chance and with those that it found worth keeping.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::driven;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn property_stacks_survive(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        driven::check(&bytes);
    }
}

#[test]
fn the_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tcpip");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is in the tree") {
        driven::check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 5, "the corpus is there");
}
