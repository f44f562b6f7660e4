//! What must not cross from shard to shard is refused by the compiler.

#![cfg(not(loom))]

#[test]
fn what_must_not_cross_is_refused() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
