//! What a back end may answer.

use proptest::prelude::*;

use crate::vhost_user::front::fuzzed;

proptest! {
    #[test]
    fn session_random_back_ends_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        fuzzed::check(&bytes);
    }
}

#[test]
fn the_corpus_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/vhost_user_front");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.expect("it is readable").path();
        let bytes = std::fs::read(&path).expect("it is readable");
        assert!(std::panic::catch_unwind(|| fuzzed::check(&bytes)).is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count > 5, "the corpus is there");
}
