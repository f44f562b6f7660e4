//! Planted bugs that are chosen when the tests run, so that one build has all of them.

/// Whether this bug is planted. The compiler knows that none is, unless the crate is built to have them.
#[cfg(not(planted = "chosen"))]
pub(crate) const fn is(_name: &str) -> bool {
    false
}

/// Whether this bug is planted: the environment names it.
#[cfg(planted = "chosen")]
pub(crate) fn is(name: &str) -> bool {
    extern crate std;
    static CHOSEN: std::sync::LazyLock<Option<std::ffi::OsString>> =
        std::sync::LazyLock::new(|| std::env::var_os("SUNSTAR_PLANTED"));
    CHOSEN.as_ref().is_some_and(|chosen| chosen == name)
}
