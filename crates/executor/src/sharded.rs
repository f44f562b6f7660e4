//! Services with one instance per shard.

#[cfg(all(test, not(loom)))]
mod tests;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;

use crate::current;
use crate::message::{ShardId, SubmitError, on_each, submit_to};

/// What a [`Sharded`] service does when it is stopped.
pub trait Service: 'static {
    /// Ends what the instance has going on; called once on its shard, before the instance is dropped.
    fn stop(&self) -> impl Future<Output = ()> {
        async {}
    }
}

/// The instances of a shard, by their services' numbers.
#[derive(Default)]
pub(crate) struct Services(RefCell<Vec<Option<Rc<dyn Any>>>>);

impl Services {
    fn find(&self, number: usize) -> Option<Rc<dyn Any>> {
        self.0.borrow().get(number)?.clone()
    }

    fn insert(&self, number: usize, instance: Rc<dyn Any>) {
        let mut services = self.0.borrow_mut();
        if services.len() <= number {
            services.resize(number + 1, None);
        }
        services[number] = Some(instance);
    }

    fn remove(&self, number: usize) -> Option<Rc<dyn Any>> {
        self.0.borrow_mut().get_mut(number)?.take()
    }

    /// Drops all instances that are still there, because the shard ends.
    pub(crate) fn clear(&self) {
        drop(self.0.take());
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

impl<T: 'static> Sharded<T> {
    /// Starts the service: makes an instance on every shard with `make`.
    ///
    /// Dropping the future leaves the instances that were made to their shards.
    ///
    /// # Errors
    /// If `make` panicked on a shard or a shard has stopped; then the instances that were made are dropped again.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn start<F, Fut>(make: F) -> Result<Self, SubmitError>
    where
        F: FnOnce() -> Fut + Clone + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let service = Self::numbered();
        let made = on_each(ShardId::all(current::shard_count()), move || service.make(make)).await;
        if let Err(error) = made {
            on_each(ShardId::all(current::shard_count()), async move || service.drop_local()).await?;
            return Err(error);
        }
        Ok(service)
    }

    /// Starts the service with one instance, on the calling shard.
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

    fn numbered() -> Self {
        let number = current::with(|shard| shard.exchange.mesh().next_service());
        Self { number, _instances: PhantomData }
    }

    async fn make<Fut: Future<Output = T>>(self, make: impl FnOnce() -> Fut) {
        let instance = Rc::new(make().await);
        current::with(|shard| shard.services.insert(self.number, instance));
    }

    fn drop_local(self) {
        // The instance is dropped after the table's borrow has ended.
        drop(current::with(|shard| shard.services.remove(self.number)));
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
        Some(instance.downcast().expect("a number names a service of one type"))
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

    /// Stops the service: on each shard that has an instance [`Service::stop`] is awaited, then the instance is dropped,
    /// which waits for nobody who still has it from [`Sharded::local`].
    ///
    /// # Errors
    /// If stopping an instance panicked, or a shard has stopped; the others are stopped nevertheless.
    ///
    /// # Panics
    /// Outside of any shard.
    pub async fn stop(self) -> Result<(), SubmitError>
    where
        T: Service,
    {
        let stop = async move || {
            if let Some(instance) = self.try_local() {
                instance.stop().await;
            }
        };
        let stopped = on_each(ShardId::all(current::shard_count()), stop).await;
        let dropped = on_each(ShardId::all(current::shard_count()), async move || self.drop_local()).await;
        stopped.and(dropped).map(drop)
    }
}
