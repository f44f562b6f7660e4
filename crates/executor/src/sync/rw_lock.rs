//! A lock for many readers or one writer, held across waits.

use alloc::rc::Rc;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use super::semaphore::Semaphore;

/// What a writer takes: all there is. A reader takes one.
const ALL: usize = usize::MAX / 2;

/// A value that many may read or one may write, with waits in between.
///
/// What doesn't wait while it looks at the value needs no lock on a shard: a `RefCell` does.
///
/// It is fair: readers who come while a writer waits queue behind it, so neither starves. Hence a task must not ask
/// for a second read lock while it holds one: a writer between the two would wait for ever.
pub struct RwLock<T> {
    units: Semaphore,
    value: UnsafeCell<T>,
}

impl<T> RwLock<T> {
    /// An unlocked value.
    pub const fn new(value: T) -> Self {
        Self { units: Semaphore::new(ALL), value: UnsafeCell::new(value) }
    }

    /// Waits until the value may be read.
    ///
    /// Dropping the future gives up its place in the queue.
    pub async fn read(&self) -> ReadGuard<T, &Self> {
        self.lock(1).await;
        ReadGuard { hold: Hold::new(self, 1) }
    }

    /// Waits until the value may be written.
    ///
    /// Dropping the future gives up its place in the queue.
    pub async fn write(&self) -> WriteGuard<T, &Self> {
        self.lock(ALL).await;
        WriteGuard { hold: Hold::new(self, ALL) }
    }

    /// Like [`read`](Self::read), with a guard that keeps the lock alive.
    pub async fn read_owned(self: Rc<Self>) -> OwnedReadGuard<T> {
        self.lock(1).await;
        ReadGuard { hold: Hold::new(self, 1) }
    }

    /// Like [`write`](Self::write), with a guard that keeps the lock alive.
    pub async fn write_owned(self: Rc<Self>) -> OwnedWriteGuard<T> {
        self.lock(ALL).await;
        WriteGuard { hold: Hold::new(self, ALL) }
    }

    /// A read lock, if it is to be had at once and nobody waits.
    pub fn try_read(&self) -> Option<ReadGuard<T, &Self>> {
        self.units.try_acquire(1)?.forget();
        Some(ReadGuard { hold: Hold::new(self, 1) })
    }

    /// A write lock, if it is to be had at once and nobody waits.
    pub fn try_write(&self) -> Option<WriteGuard<T, &Self>> {
        self.units.try_acquire(ALL)?.forget();
        Some(WriteGuard { hold: Hold::new(self, ALL) })
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.units.waiters()
    }

    /// The value, which nobody else can be looking at.
    pub fn value_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, unlocked for good.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    async fn lock(&self, units: usize) {
        self.units.acquire(units).await.expect("a lock never closes its semaphore").forget();
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RwLock");
        match self.try_read() {
            Some(guard) => debug.field("value", &&*guard),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.finish_non_exhaustive()
    }
}

/// Units of a lock's semaphore, given back when dropped. Who holds one has read access, who holds all, write access.
struct Hold<T, L: Deref<Target = RwLock<T>>> {
    lock: L,
    units: usize,
    _value: PhantomData<T>,
}

impl<T, L: Deref<Target = RwLock<T>>> Hold<T, L> {
    fn new(lock: L, units: usize) -> Self {
        Self { lock, units, _value: PhantomData }
    }
}

impl<T, L: Deref<Target = RwLock<T>>> Drop for Hold<T, L> {
    fn drop(&mut self) {
        self.lock.units.add_units(self.units);
    }
}

/// Read access to the value of a [`RwLock`] while it is alive.
///
/// `L` is `&RwLock<T>`, or `Rc<RwLock<T>>` for an [`OwnedReadGuard`].
#[must_use = "the lock is given back as soon as the guard is dropped"]
pub struct ReadGuard<T, L: Deref<Target = RwLock<T>>> {
    hold: Hold<T, L>,
}

/// Write access to the value of a [`RwLock`] while it is alive.
///
/// `L` is `&RwLock<T>`, or `Rc<RwLock<T>>` for an [`OwnedWriteGuard`].
#[must_use = "the lock is given back as soon as the guard is dropped"]
pub struct WriteGuard<T, L: Deref<Target = RwLock<T>>> {
    hold: Hold<T, L>,
}

/// A read guard that keeps its lock alive.
pub type OwnedReadGuard<T> = ReadGuard<T, Rc<RwLock<T>>>;

/// A write guard that keeps its lock alive.
pub type OwnedWriteGuard<T> = WriteGuard<T, Rc<RwLock<T>>>;

impl<T, L: Deref<Target = RwLock<T>>> WriteGuard<T, L> {
    /// Turns write into read access without letting another writer in between.
    pub fn downgrade(mut self) -> ReadGuard<T, L>
    where
        L: Clone,
    {
        let lock = self.hold.lock.clone();
        self.hold.units = ALL - 1;
        ReadGuard { hold: Hold::new(lock, 1) }
    }
}

impl<T, L: Deref<Target = RwLock<T>>> Deref for ReadGuard<T, L> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard holds a unit of the lock, so no `WriteGuard`, which holds all, exists. Only this
        // module makes guards, and only with `&RwLock` and `Rc`, which always lead to the same lock.
        unsafe { &*self.hold.lock.value.get() }
    }
}

impl<T, L: Deref<Target = RwLock<T>>> Deref for WriteGuard<T, L> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: as in `deref_mut`; the borrow of the guard keeps its `&mut` away.
        unsafe { &*self.hold.lock.value.get() }
    }
}

impl<T, L: Deref<Target = RwLock<T>>> DerefMut for WriteGuard<T, L> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds all units of the lock, so it is the only guard, and it is borrowed uniquely.
        unsafe { &mut *self.hold.lock.value.get() }
    }
}

impl<T: fmt::Debug, L: Deref<Target = RwLock<T>>> fmt::Debug for ReadGuard<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: fmt::Debug, L: Deref<Target = RwLock<T>>> fmt::Debug for WriteGuard<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
