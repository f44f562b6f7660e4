//! The inputs that the fuzz target has found worth keeping.

use super::naive;
use crate::tests::fuzzed::replay;

#[test]
fn the_corpus_holds() {
    replay("router", naive::check);
}
