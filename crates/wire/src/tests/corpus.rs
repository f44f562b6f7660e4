//! The inputs that the fuzz target has found worth keeping.

use std::fs;
use std::path::Path;

use super::views;

#[test]
fn the_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/wire");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is in the tree") {
        views::check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 5, "the corpus is there");
}
