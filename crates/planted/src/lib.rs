//! Bugs planted on purpose, which the tests must find: `if planted::is("name") { … }`.
//!
//! They are in programs that are built with `--cfg planted`, and there the environment variable `SUNSTAR_PLANTED` names the one that
//! is active. Everywhere else the compiler knows that none is, and leaves nothing of them.
//!
//! ```
//! let units = 3 + u32::from(planted::is("one_too_many"));
//! assert_eq!(units, 3);
//! ```

#![no_std]
#![forbid(unsafe_code)]

/// Whether the bug of this name is active.
#[cfg(not(planted))]
#[must_use]
#[inline(always)]
pub const fn is(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is active.
#[cfg(planted)]
#[must_use]
pub fn is(name: &str) -> bool {
    extern crate std;
    static ACTIVE: std::sync::LazyLock<Option<std::ffi::OsString>> =
        std::sync::LazyLock::new(|| std::env::var_os("SUNSTAR_PLANTED"));
    ACTIVE.as_ref().is_some_and(|active| active == name)
}
