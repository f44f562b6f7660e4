//! The shard in which something was made.

#[cfg(loom)]
pub(super) use model::Origin;
#[cfg(not(loom))]
pub(super) use real::Origin;

#[cfg(not(loom))]
mod real {
    use alloc::sync::Arc;
    use core::ptr;

    use sunstar_packet::Home;

    use crate::current;

    /// Knows whether the shard that was current when it was made is current again; never, if there was none.
    ///
    /// It holds the shard's home list, so that no other shard can come to have the same address.
    pub(in crate::combine) struct Origin(Option<Arc<Home>>);

    impl Origin {
        pub(in crate::combine) fn here() -> Self {
            Self(current::try_with(|shard| Arc::clone(shard.home.home())))
        }

        pub(in crate::combine) fn is_current(&self) -> bool {
            let Some(home) = &self.0 else { return false };
            current::try_with(|shard| ptr::eq(shard.home_address().as_ptr(), Arc::as_ptr(home))).unwrap_or(false)
        }
    }
}

#[cfg(loom)]
mod model {
    use loom::thread::{self, ThreadId};

    /// In models each thread stands for a shard: a whole one is too large for their stacks.
    pub(in crate::combine) struct Origin(ThreadId);

    impl Origin {
        pub(in crate::combine) fn here() -> Self {
            Self(thread::current().id())
        }

        pub(in crate::combine) fn is_current(&self) -> bool {
            thread::current().id() == self.0
        }
    }
}
