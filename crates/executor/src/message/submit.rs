//! Requests: closures whose futures run on another shard and whose outputs come back.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::type_name;
use core::future::Future;

use super::call::{self, Call, SubmitError};
use super::contained::Contained;
use super::exchange::Origin;
use super::post::request_label;
use super::sending::Sending;
use super::service::{LocalLimits, ServiceGroup};
use super::shard_id::ShardId;
use crate::combine::when_all_succeed;
use crate::current;
use crate::sync::Semaphore;
use crate::task::TaskBuilder;

/// Runs `f` and the future that it makes on a shard, and answers the future's output.
///
/// There the future is a task of the caller's scheduling group; it need not be `Send`. On the calling shard itself
/// it is part of the calling task. Nothing happens before the returned future is polled.
///
/// At most [`DEFAULT_MAX_IN_FLIGHT`](super::DEFAULT_MAX_IN_FLIGHT) requests are in flight from one shard to
/// another, further ones wait; see [`ServiceGroup`] on what that means for requests within requests.
///
/// The returned future stays on the calling shard:
///
/// ```compile_fail,E0277
/// use sunstar_executor::{ShardId, submit_to};
///
/// let request = submit_to(ShardId::new(1), async || 1);
/// std::thread::spawn(move || drop(request));
/// ```
///
/// Dropping the returned future is safe at any time. A request that was sent goes on, and its output is dropped on the
/// calling shard.
///
/// # Errors
/// [`SubmitError::Panicked`] if `f` or its future panicked, [`SubmitError::Stopped`] if the shard has stopped.
///
/// # Panics
/// Outside of any shard, and if there is no such shard. When the future is polled on another shard than the one
/// where it was made, which can happen where several executors live on one thread.
#[track_caller]
pub fn submit_to<F, Fut>(shard: ShardId, f: F) -> impl Future<Output = Result<Fut::Output, SubmitError>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    submit(way(shard, |limits| limits.default(shard)), f)
}

/// As [`submit_to`], with at most as many requests in flight as the service group allows.
///
/// # Errors
/// As for [`submit_to`].
///
/// # Panics
/// As for [`submit_to`].
#[track_caller]
pub fn submit_to_with<F, Fut>(
    group: &ServiceGroup,
    shard: ShardId,
    f: F,
) -> impl Future<Output = Result<Fut::Output, SubmitError>> + use<F, Fut>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    submit(way(shard, |limits| limits.of(group, shard)), f)
}

/// What a request needs to know of the place where it was made.
struct Way {
    origin: Origin,
    to: ShardId,
    /// The limit of what is in flight; none on the way to the calling shard itself.
    limit: Option<Rc<Semaphore>>,
}

/// # Panics
/// Outside of any shard, and if there is no such shard.
#[track_caller]
fn way(to: ShardId, limit: impl FnOnce(&LocalLimits) -> Rc<Semaphore>) -> Way {
    current::with(|here| {
        let leads_home = here.exchange.lane(to).leads_home();
        Way { origin: here.exchange.origin(), to, limit: (!leads_home).then(|| limit(&here.exchange.limits)) }
    })
}

async fn submit<F, Fut>(way: Way, f: F) -> Result<Fut::Output, SubmitError>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    current::with(|here| here.exchange.check_origin(way.origin));
    let Some(limit) = way.limit else { return Contained::new(f).await.map_err(SubmitError::Panicked) };
    let permit = match limit.try_acquire_owned(1) {
        Some(permit) => permit,
        None => {
            current::with(|here| here.counters.waits_for_service.add(1));
            limit.acquire_owned(1).await.map_err(|_| SubmitError::Stopped)?
        }
    };
    let (sending, reply) = current::with(|here| {
        here.exchange.check_origin(way.origin);
        let (call, reply) = call::begin(here, permit);
        (Sending::new(here, way.to, request_label(here), move || serve(call, f)), reply)
    });
    sending.await?;
    current::with(|here| here.exchange.hasten(here, way.to));
    reply.await
}

/// Runs a request where it was sent to. It is polled once at once: most requests are answered without waiting.
fn serve<F, Fut>(call: Call<Fut::Output>, f: F)
where
    F: FnOnce() -> Fut + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let task = TaskBuilder::new().name(type_name::<F>());
    let served = async move { call.reply(Contained::new(f).await.map_err(SubmitError::Panicked)) };
    current::with(|here| task.spawn_and_run(here, served));
}

/// Runs `f` and its future on all shards at once, this one included, and waits for all.
///
/// Dropping the returned future leaves those that were sent to go on.
///
/// # Errors
/// If one failed, the error of the lowest shard; by then all have ended. See [`submit_to`].
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn invoke_on_all<F, Fut>(f: F) -> impl Future<Output = Result<(), SubmitError>>
where
    F: FnOnce() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let calls = on_each(ShardId::all(current::shard_count()), f);
    async move { calls.await.map(drop) }
}

/// Runs `f` and its future on all shards but this one at once, and waits for all. Otherwise as [`invoke_on_all`].
///
/// # Errors
/// As for [`invoke_on_all`].
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn invoke_on_others<F, Fut>(f: F) -> impl Future<Output = Result<(), SubmitError>>
where
    F: FnOnce() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let here = current::shard_id();
    let calls = on_each(ShardId::all(current::shard_count()).filter(move |&shard| shard != here), f);
    async move { calls.await.map(drop) }
}

/// Runs `f` and its future on the given shards at once and answers the outputs in the same order.
#[track_caller]
pub(crate) fn on_each<F, Fut>(
    shards: impl Iterator<Item = ShardId>,
    f: F,
) -> impl Future<Output = Result<Vec<Fut::Output>, SubmitError>>
where
    F: FnOnce() -> Fut + Clone + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let calls: Vec<_> = shards.map(|shard| submit_to(shard, f.clone())).collect();
    when_all_succeed(calls)
}
