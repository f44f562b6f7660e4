//! What every handle carries for the accounting: nothing, unless the feature `accounting` is on.

use core::fmt;

/// The kinds of handles that are accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "accounting"), expect(unreachable_pub, reason = "the accounting exports it"))]
pub enum Kind {
    /// A [`Buffer`](crate::Buffer).
    Buffer,
    /// A [`BufferMut`](crate::BufferMut).
    BufferMut,
    /// A [`ForeignBuffer`](crate::ForeignBuffer).
    ForeignBuffer,
}

#[cfg(feature = "accounting")]
pub(crate) use on::Ticket;

#[cfg(not(feature = "accounting"))]
pub(crate) use off::Ticket;

#[cfg(feature = "accounting")]
mod on {
    use super::{Kind, fmt};
    use crate::accounting;

    /// The number under which a handle is registered; none for handles that hold no memory.
    pub(crate) struct Ticket(u64);

    impl Ticket {
        pub(crate) const NONE: Self = Self(0);

        /// Registers a handle made by the calling code.
        #[track_caller]
        pub(crate) fn new(kind: Kind) -> Self {
            Self(accounting::enter(kind, core::panic::Location::caller()))
        }

        /// Registers a copy of a handle, if the handle is registered itself.
        #[track_caller]
        pub(crate) fn copy(&self, kind: Kind) -> Self {
            if self.0 == 0 { Self::NONE } else { Self::new(kind) }
        }

        /// Notes that the calling code has turned the handle into another kind.
        #[track_caller]
        pub(crate) fn turn_into(self, kind: Kind) -> Self {
            if self.0 != 0 {
                accounting::turn_into(self.0, kind, core::panic::Location::caller());
            }
            self
        }

        pub(crate) fn hold(&self, holder: impl fmt::Display) {
            if self.0 != 0 {
                accounting::hold(self.0, holder);
            }
        }
    }

    impl Drop for Ticket {
        fn drop(&mut self) {
            if self.0 != 0 {
                accounting::leave(self.0);
            }
        }
    }
}

#[cfg(not(feature = "accounting"))]
mod off {
    use super::{Kind, fmt};

    /// Nothing.
    pub(crate) struct Ticket;

    impl Ticket {
        pub(crate) const NONE: Self = Self;

        #[inline(always)]
        pub(crate) fn new(_: Kind) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn copy(&self, _: Kind) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn turn_into(self, _: Kind) -> Self {
            self
        }

        #[inline(always)]
        pub(crate) fn hold(&self, _: impl fmt::Display) {}
    }
}
