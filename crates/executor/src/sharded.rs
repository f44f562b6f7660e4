//! Services with one instance per shard.

#[cfg(all(test, not(loom)))]
mod tests;

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;

use crate::current;
use crate::message::{Mesh, ShardId, SubmitError, contain, on_each, submit_to};
use crate::sync::promise::promise;
use crate::task::spawn;

/// What a [`Sharded`] service does when it is stopped.
pub trait Service: 'static {
    /// Ends what the instance has going on; called once on its shard, before the instance is dropped.
    fn stop(&self) -> impl Future<Output = ()> {
        async {}
    }
}

/// How far an instance is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// [`Service::stop`] was called.
    Stopping,
    /// It has ended, or was dropped before.
    Stopped,
}

/// An instance in its shard's table.
struct Entry {
    number: usize,
    phase: Phase,
    instance: Rc<dyn Any>,
}

/// The instances of a shard, in the order in which they were made. There are few.
#[derive(Default)]
pub(crate) struct Services(RefCell<Vec<Entry>>);

impl Services {
    fn find(&self, number: usize) -> Option<Rc<dyn Any>> {
        let entries = self.0.borrow();
        Some(Rc::clone(&entries.iter().find(|entry| entry.number == number)?.instance))
    }

    fn insert(&self, number: usize, instance: Rc<dyn Any>) {
        self.0.borrow_mut().push(Entry { number, phase: Phase::Running, instance });
    }

    /// Moves an instance to its next phase; answers it if it was in the phase before.
    fn advance(&self, number: usize, before: Phase, after: Phase) -> Option<Rc<dyn Any>> {
        let mut entries = self.0.borrow_mut();
        let entry = entries.iter_mut().find(|entry| entry.number == number && entry.phase == before)?;
        entry.phase = after;
        Some(Rc::clone(&entry.instance))
    }

    /// Takes an instance that has stopped out of the table.
    fn remove_stopped(&self, number: usize) -> Option<Rc<dyn Any>> {
        let mut entries = self.0.borrow_mut();
        let at = entries.iter().position(|entry| entry.number == number && entry.phase == Phase::Stopped)?;
        Some(entries.remove(at).instance)
    }

    /// Drops all instances that are still there, because the shard ends: the last one first, since it may rely on those
    /// that were made before it and finds them all the while. Panics are contained.
    pub(crate) fn clear(&self) {
        loop {
            let Some(entry) = self.0.borrow_mut().pop() else { return };
            contain("dropping the instance of a service", || drop(entry));
        }
    }
}

/// A handle on a service that has an instance of `T` on every shard, or on one.
///
/// The instances belong to their shards: `T` is neither `Send` nor `Sync`, most often. The handle is both, and
/// can be cloned; it does not keep the instances. They live until [`Sharded::stop`] or until their shards end.
pub struct Sharded<T> {
    number: usize,
    _instances: PhantomData<fn() -> T>,
}

impl<T> Clone for Sharded<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Sharded<T> {}

impl<T> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<T: Service> Sharded<T> {
    /// Starts the service: makes an instance on every shard with `make`.
    ///
    /// Dropping the future undoes the start: the instances that were made, or still are, are stopped.
    ///
    /// # Errors
    /// If `make` panicked on a shard or a shard has stopped; by then the instances that were made are stopped.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn start<F, Fut>(make: F) -> Result<Self, SubmitError>
    where
        F: FnOnce() -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let service = Self::numbered();
        let mesh = current::with(|shard| Arc::clone(shard.exchange.mesh()));
        let (promise, started) = promise();
        // A task of its own: it goes on to where it can be undone if nobody awaits it any more.
        drop(spawn(async move {
            let made = on_each(ShardId::all(current::shard_count()), move || service.make(make)).await;
            let outcome = match made {
                Ok(_) => Ok(Unclaimed { service: Some(service), mesh }),
                Err(error) => {
                    // What can't be stopped has ended with its shard, or was logged.
                    let _stopped = service.stop_all().await;
                    Err(error)
                }
            };
            // Given back, a service that nobody claims is stopped.
            drop(promise.resolve(outcome));
        }));
        started.await.unwrap_or(Err(SubmitError::Stopped)).map(Unclaimed::claim)
    }

    /// Starts the service with one instance, on the calling shard.
    ///
    /// Dropping the future drops what `make` has made so far.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn start_single<Fut>(make: impl FnOnce() -> Fut) -> Self
    where
        Fut: Future<Output = T>,
    {
        let service = Self::numbered();
        service.make(make).await;
        service
    }

    /// Stops the service: on each shard that has an instance [`Service::stop`] is awaited, and when all have ended the
    /// instances are dropped, which waits for nobody who still has them from [`Sharded::local`].
    ///
    /// Dropping the future lets the stop go on. A second stop is for those instances only that no other has begun to
    /// stop, so it does nothing, most often.
    ///
    /// # Errors
    /// If stopping an instance panicked, or a shard has stopped; the others are stopped nevertheless.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn stop(self) -> Result<(), SubmitError> {
        spawn(self.stop_all()).await.unwrap_or(Err(SubmitError::Stopped))
    }

    async fn stop_all(self) -> Result<(), SubmitError> {
        let shards = || ShardId::all(current::shard_count());
        let stopped = on_each(shards(), async move || self.stop_local().await).await;
        let dropped = on_each(shards(), async move || self.drop_local()).await;
        stopped.and(dropped).map(drop)
    }

    /// Stops the instance of this shard, if there is one and nobody else does. It stays in the table, so that it and
    /// others find it until all are stopped.
    async fn stop_local(self) {
        struct Stopped(usize);

        impl Drop for Stopped {
            fn drop(&mut self) {
                current::try_with(|shard| shard.services.advance(self.0, Phase::Stopping, Phase::Stopped));
            }
        }

        let begun = current::with(|shard| shard.services.advance(self.number, Phase::Running, Phase::Stopping));
        if let Some(instance) = begun {
            let _stopped = Stopped(self.number);
            Self::typed(instance).stop().await;
        }
    }

    fn drop_local(self) {
        // The instance is dropped after the table's borrow has ended.
        drop(current::with(|shard| shard.services.remove_stopped(self.number)));
    }
}

impl<T: 'static> Sharded<T> {
    fn numbered() -> Self {
        let number = current::with(|shard| shard.exchange.mesh().next_service());
        Self { number, _instances: PhantomData }
    }

    async fn make<Fut: Future<Output = T>>(self, make: impl FnOnce() -> Fut) {
        let instance = Rc::new(make().await);
        current::with(|shard| shard.services.insert(self.number, instance));
    }

    /// The instance of the calling shard.
    ///
    /// # Panics
    /// If there is none: the service was started on another shard alone, or was stopped. Outside of any shard.
    #[track_caller]
    pub fn local(&self) -> Rc<T> {
        self.try_local().expect("the service has no instance on this shard")
    }

    /// The instance of the calling shard, if there is one.
    ///
    /// # Panics
    /// Outside of any shard.
    #[track_caller]
    pub fn try_local(&self) -> Option<Rc<T>> {
        let instance = current::with(|shard| shard.services.find(self.number))?;
        Some(Self::typed(instance))
    }

    fn typed(instance: Rc<dyn Any>) -> Rc<T> {
        instance.downcast().expect("a number names a service of one type")
    }

    /// Runs `f` with a shard's instance there, and answers its output; see [`submit_to`].
    ///
    /// # Errors
    /// As for [`submit_to`]. That the shard has no instance counts as a panic.
    ///
    /// # Panics
    /// As for [`submit_to`].
    #[track_caller]
    pub fn invoke_on<F, Fut>(
        &self,
        shard: ShardId,
        f: F,
    ) -> impl Future<Output = Result<Fut::Output, SubmitError>> + use<T, F, Fut>
    where
        F: FnOnce(Rc<T>) -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let service = *self;
        submit_to(shard, move || f(service.local()))
    }

    /// Runs `f` with every shard's instance at once, and waits for all.
    ///
    /// # Errors
    /// If one failed, the error of the lowest shard; by then all have ended.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn invoke_on_all<F, Fut>(&self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(Rc<T>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.map(f).await.map(drop)
    }

    /// Runs `f` with the instances of all shards but this one at once, and waits for all.
    ///
    /// # Errors
    /// As for [`Sharded::invoke_on_all`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn invoke_on_others<F, Fut>(&self, f: F) -> Result<(), SubmitError>
    where
        F: FnOnce(Rc<T>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let (service, here) = (*self, current::shard_id());
        let others = ShardId::all(current::shard_count()).filter(|&shard| shard != here);
        on_each(others, move || f(service.local())).await.map(drop)
    }

    /// Runs `f` with every shard's instance at once, and answers the outputs in the order of the shards.
    ///
    /// # Errors
    /// As for [`Sharded::invoke_on_all`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn map<F, Fut>(&self, f: F) -> Result<Vec<Fut::Output>, SubmitError>
    where
        F: FnOnce(Rc<T>) -> Fut + Clone + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let service = *self;
        on_each(ShardId::all(current::shard_count()), move || f(service.local())).await
    }

    /// Runs `map` with every shard's instance at once, and combines the outputs here, in the order of the shards.
    ///
    /// # Errors
    /// As for [`Sharded::invoke_on_all`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn map_reduce<F, Fut, A>(
        &self,
        map: F,
        initial: A,
        reduce: impl FnMut(A, Fut::Output) -> A,
    ) -> Result<A, SubmitError>
    where
        F: FnOnce(Rc<T>) -> Fut + Clone + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        Ok(self.map(map).await?.into_iter().fold(initial, reduce))
    }
}

/// A started service on its way to the caller of [`Sharded::start`]. If it does not get there, it is stopped.
struct Unclaimed<T: Service> {
    /// None once claimed.
    service: Option<Sharded<T>>,
    mesh: Arc<Mesh>,
}

impl<T: Service> Unclaimed<T> {
    fn claim(mut self) -> Sharded<T> {
        self.service.take().expect("a service is claimed once")
    }
}

impl<T: Service> Drop for Unclaimed<T> {
    fn drop(&mut self) {
        // Outside of its mesh there is nobody to stop it; it ends with its shards.
        let is_inside = current::try_with(|shard| Arc::ptr_eq(shard.exchange.mesh(), &self.mesh));
        if let Some(service) = self.service.take()
            && is_inside == Some(true)
        {
            drop(spawn(service.stop_all()));
        }
    }
}
