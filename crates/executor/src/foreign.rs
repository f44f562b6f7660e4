//! Objects that are carried to other shards as handles, and dropped at home.

#[cfg(all(test, not(loom)))]
mod tests;

use alloc::boxed::Box;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use sunstar_packet::{Buffer, ForeignBuffer, ForeignPacket, Home, HomeNode, Packet};

use crate::current;
use crate::message::{ShardId, SubmitError, contain, submit_to};

/// A handle on a `T` that stays on its shard, whether `T` is `Send` or not.
///
/// The handle can be sent anywhere. Only at home does it give access to the object, and only there the object is dropped:
/// a handle that is dropped elsewhere travels home, which needs no memory and can't fail. If the home shard has ended
/// by then, the object is leaked.
pub struct Foreign<T: 'static> {
    object: NonNull<Object<T>>,
}

/// The object and its way home in one allocation.
#[repr(C)]
struct Object<T> {
    travel: HomeNode,
    home: NonNull<Home>,
    shard: ShardId,
    value: T,
}

// SAFETY: other threads only read the constant fields of the object and post it home. The value is reached on the
// home's thread alone: a shard is entered on no other.
unsafe impl<T> Send for Foreign<T> {}

impl<T: 'static> Foreign<T> {
    /// Makes a handle on an object of the calling shard.
    ///
    /// # Panics
    /// Outside of any shard.
    #[track_caller]
    pub fn new(value: T) -> Self {
        let (home, shard) = current::with(|shard| {
            shard.home.add_resident();
            (shard.home_address(), shard.exchange.id())
        });
        let object = Box::new(Object { travel: HomeNode::new(arrive::<T>), home, shard, value });
        Self { object: NonNull::from(Box::leak(object)) }
    }

    /// The shard where the object lives.
    pub fn home(&self) -> ShardId {
        // SAFETY: the handle keeps the object, and this field is constant.
        unsafe { (*self.object.as_ptr()).shard }
    }

    /// Whether the calling code runs on the shard where the object lives.
    pub fn is_at_home(&self) -> bool {
        // SAFETY: the handle keeps the object, and this field is constant.
        let home = unsafe { (*self.object.as_ptr()).home };
        // A home lives (or is leaked) as long as the objects that it counts, so equal addresses mean the same home.
        current::try_with(|shard| shard.home_address() == home).unwrap_or(false)
    }

    /// The object, if the calling code runs on its shard.
    pub fn get(&self) -> Option<&T> {
        if !self.is_at_home() {
            return None;
        }
        // SAFETY: at home the value may be used. The reference can't leave the thread, since `Foreign` is not `Sync`
        // and so can neither be shared nor, while it is borrowed, be sent.
        Some(unsafe { &self.object.as_ref().value })
    }

    /// The object, if the calling code runs on its shard.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        if !self.is_at_home() {
            return None;
        }
        // SAFETY: as in `get`, and the handle, of which there is one, is borrowed uniquely.
        Some(unsafe { &mut self.object.as_mut().value })
    }

    /// Takes the object out of the handle.
    ///
    /// # Errors
    /// The handle comes back if the calling code does not run on the object's shard.
    pub fn into_inner(self) -> Result<T, Self> {
        if !self.is_at_home() {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: at home, and the handle, which is used up, was the only one.
        Ok(unsafe { take(this.object) })
    }

    /// Runs `f` with the object on its shard, and answers the handle and what `f` answered.
    ///
    /// Dropping the future drops the handle, now or after `f` has run.
    ///
    /// # Errors
    /// As for [`submit_to`]; then the handle was dropped.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn with_on_home<R, F>(self, f: F) -> Result<(Self, R), SubmitError>
    where
        F: FnOnce(&mut T) -> R + Send + 'static,
        R: Send + 'static,
    {
        let home = self.home();
        let run = async move || {
            let mut this = self;
            let answer = f(this.get_mut().expect("a request runs on the shard that it was sent to"));
            (this, answer)
        };
        submit_to(home, run).await
    }
}

/// Takes the value out of an object and frees the rest.
///
/// # Safety
/// Called at home, with the home's shard current, when nobody else knows the object.
unsafe fn take<T>(object: NonNull<Object<T>>) -> T {
    // SAFETY: it came out of a box in `new`, and nobody else knows it.
    let Object { value, .. } = *unsafe { Box::from_raw(object.as_ptr()) };
    // SAFETY: the object was counted in `new`, and is gone.
    current::with(|shard| unsafe { shard.home.remove_resident() });
    value
}

/// Called by the home list, at home.
unsafe fn arrive<T>(travel: NonNull<HomeNode>) {
    let object = travel.cast::<Object<T>>();
    // SAFETY: an object on its way home is valid, and its home is constant.
    let home = unsafe { (*object.as_ptr()).home };
    if current::try_with(|shard| shard.home_address() != home).unwrap_or(true) {
        // The shard has ended: what comes home now is leaked, since it may need the shard to be dropped.
        return;
    }
    // SAFETY: this is the home, and the handle that posted the object was the only one.
    let value = unsafe { take(object) };
    contain("dropping an object that came home", || drop(value));
}

impl<T> Drop for Foreign<T> {
    fn drop(&mut self) {
        if self.is_at_home() {
            // SAFETY: at home, and this was the only handle.
            drop(unsafe { take(self.object) });
        } else {
            // SAFETY: the object is valid until it arrives, and is counted as a resident, so its home is valid too.
            // This was the only handle, so it is posted once.
            unsafe { (*self.object.as_ptr()).home.as_ref().post(self.object.cast()) };
        }
    }
}

impl<T> fmt::Debug for Foreign<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("home", &self.home()).finish_non_exhaustive()
    }
}

/// Bytes that are readied for another shard on the one where they are.
pub trait IntoForeign {
    /// What can be sent to another shard.
    type Foreign: Send + 'static;

    /// Readies the bytes for another shard. The memory stays the calling shard's, and comes back when the last view
    /// of it there is gone.
    ///
    /// # Panics
    /// Outside of any shard.
    fn into_foreign_here(self) -> Self::Foreign;
}

impl IntoForeign for Buffer {
    type Foreign = ForeignBuffer;

    #[track_caller]
    fn into_foreign_here(self) -> ForeignBuffer {
        current::with(|shard| self.into_foreign(&shard.home))
    }
}

impl IntoForeign for Packet {
    type Foreign = ForeignPacket;

    #[track_caller]
    fn into_foreign_here(self) -> ForeignPacket {
        current::with(|shard| self.into_foreign(&shard.home))
    }
}
