//! Panics of tasks: caught with `std`, the end of the program without.

use alloc::boxed::Box;
use alloc::string::String;
use core::any::Any;
use core::fmt;

/// What a task panicked with.
///
/// Dropping it never panics, whatever the payload does when it is dropped.
pub struct Panic(Option<Box<dyn Any + Send>>);

impl Panic {
    /// The message, where the payload is a string, as it is for `panic!`.
    pub fn message(&self) -> &str {
        let Some(payload) = self.0.as_deref() else { return "" };
        payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a payload that is no string")
    }

    /// The payload itself, for example to continue the panic elsewhere with `std::panic::resume_unwind`.
    pub fn into_payload(mut self) -> Box<dyn Any + Send> {
        self.0.take().unwrap_or_else(|| Box::new(()))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        let payload = self.0.take();
        if let Err(mut second) = catch(|| drop(payload)) {
            // What panics again and again is leaked.
            core::mem::forget(second.0.take());
        }
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Runs `f` and answers what it panicked with, if it did.
///
/// What `f` leaves behind half-done must not be looked at afterwards: callers drop it.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|payload| Panic(Some(payload)))
}

/// Runs `f`; without `std` a panic does not come back.
#[cfg(not(feature = "std"))]
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    Ok(f())
}
