//! The door for threads that are no shards.

mod answer;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::ptr::NonNull;

use sunstar_packet::HomeNode;

pub use self::answer::AlienFuture;
use crate::current;
use crate::group::SchedulingGroup;
use crate::message::{Contained, Kind, Label, Mesh, Message, NoEntry, ShardId, SubmitError, Ticket};
use crate::task::TaskBuilder;

/// Sends messages to shards from any thread.
///
/// At most [`MAX_ALIEN_MESSAGES`](crate::message::MAX_ALIEN_MESSAGES) are under way to one shard; further
/// ones are refused. They run in the main scheduling group.
#[derive(Clone, Debug)]
pub struct Alien {
    mesh: Arc<Mesh>,
}

/// Why a closure was not sent; it comes back.
#[derive(PartialEq, Eq)]
pub enum AlienError<F> {
    /// As many messages as may be are under way to the shard.
    Full(F),
    /// There is no such shard, it has not started, or it has stopped.
    NotRunning(F),
}

impl<F> AlienError<F> {
    /// The closure that was not sent.
    pub fn into_inner(self) -> F {
        match self {
            Self::Full(f) | Self::NotRunning(f) => f,
        }
    }
}

impl<F> fmt::Debug for AlienError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Full(_)) { "Full(..)" } else { "NotRunning(..)" })
    }
}

impl<F> fmt::Display for AlienError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "too many messages are under way to the shard",
            Self::NotRunning(_) => "the shard does not run",
        })
    }
}

impl<F> core::error::Error for AlienError<F> {}

impl Alien {
    /// A handle on the shards of a mesh.
    pub fn new(mesh: Arc<Mesh>) -> Self {
        Self { mesh }
    }

    /// Has `f` run on a shard. A panic of `f` is logged and counted there.
    ///
    /// A closure that was taken can still be dropped without being run, if the shard stops first.
    ///
    /// # Errors
    /// The closure comes back if too many messages are under way, or the shard does not run.
    pub fn post<F>(&self, shard: ShardId, f: F) -> Result<(), AlienError<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self.mesh.admit_alien(shard) {
            Ok(ticket) => {
                send(ticket, f);
                Ok(())
            }
            Err(NoEntry::Full) => Err(AlienError::Full(f)),
            Err(NoEntry::NotRunning) => Err(AlienError::NotRunning(f)),
        }
    }

    /// Runs `f` and the future that it makes on a shard, and answers a future of its output.
    ///
    /// That future can be awaited in any runtime, or waited for with `wait`. The request is under way
    /// when this function returns; dropping the future leaves it to go on and drops its output there.
    ///
    /// # Errors
    /// The closure comes back if too many messages are under way, or the shard does not run.
    pub fn submit_to<F, Fut>(&self, shard: ShardId, f: F) -> Result<AlienFuture<Fut::Output>, AlienError<F>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let ticket = match self.mesh.admit_alien(shard) {
            Ok(ticket) => ticket,
            Err(NoEntry::Full) => return Err(AlienError::Full(f)),
            Err(NoEntry::NotRunning) => return Err(AlienError::NotRunning(f)),
        };
        let (sender, future) = answer::pair();
        send(ticket, move || {
            let what = core::any::type_name::<F>();
            let serve = async move {
                let outcome = Contained::new(what, async move { f().await }).await;
                sender.send(outcome.map_err(SubmitError::Panicked));
            };
            current::with(|here| TaskBuilder::new().name(what).spawn_and_run(here, serve));
        });
        Ok(future)
    }
}

/// A message on the way home.
#[repr(C)]
struct Letter {
    travel: HomeNode,
    message: Message,
}

fn send(ticket: Ticket, f: impl FnOnce() + Send + 'static) {
    let mesh = Arc::clone(ticket.mesh());
    let shard = ticket.shard();
    let label = Label { group: SchedulingGroup::MAIN.index, kind: Kind::Request };
    let message = Message::new(label, move || {
        // Counted until here: what runs is bounded by other means.
        drop(ticket);
        f();
    });
    let letter = Box::new(Letter { travel: HomeNode::new(arrive), message });
    let home = mesh.home(shard).expect("a shard that admits messages has a home");
    // SAFETY: the mesh keeps the home. The letter is valid until it arrives, where it becomes a box again, and is
    // posted once. If it never arrives it is leaked.
    unsafe { home.post(NonNull::from(Box::leak(letter)).cast()) };
}

/// Called by the home list, at home.
unsafe fn arrive(travel: NonNull<HomeNode>) {
    // SAFETY: it came out of a box in `send` and was posted once.
    let letter = unsafe { Box::from_raw(travel.cast::<Letter>().as_ptr()) };
    let Letter { message, .. } = *letter;
    current::try_with(|shard| shard.groups.deliver(message.label().group, message));
}
