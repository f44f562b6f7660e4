//! The door for threads that are no shards.

mod answer;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::type_name;
use core::fmt;
use core::future::Future;
use core::ptr::NonNull;

use sunstar_packet::{Home, HomeNode};

pub use self::answer::AlienFuture;
use crate::current;
use crate::group::SchedulingGroup;
use crate::message::{Contained, Label, Mesh, Message, NoEntry, ShardId, SubmitError, Ticket, contain};
use crate::task::TaskBuilder;

/// Sends messages to shards from any thread.
///
/// At most [`MAX_ALIEN_MESSAGES`](crate::message::MAX_ALIEN_MESSAGES) are under way to one shard, those that run there
/// included; further ones are refused. They run in the main scheduling group.
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

    /// A handle on the shards of the calling shard's mesh, to give to other threads.
    ///
    /// # Panics
    /// Outside of any shard.
    #[track_caller]
    pub fn of_current() -> Self {
        Self::new(current::with(|shard| Arc::clone(shard.exchange.mesh())))
    }

    /// How many messages and requests to a shard were refused with [`AlienError::Full`], by all handles.
    pub fn refused(&self, shard: ShardId) -> usize {
        self.mesh.refused_aliens(shard)
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
                send(ticket, |ticket| {
                    f();
                    drop(ticket);
                });
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
        send(ticket, move |ticket| {
            let serve = async move {
                let outcome = Contained::new(f).await;
                // Who learns of the outcome may send the next request.
                drop(ticket);
                sender.send(outcome.map_err(SubmitError::Panicked));
            };
            current::with(|here| TaskBuilder::new().name(type_name::<F>()).spawn_and_run(here, serve));
        });
        Ok(future)
    }
}

/// A message on the way home.
#[repr(C)]
struct Letter {
    travel: HomeNode,
    /// Where it goes; the message keeps the mesh, and with it the home.
    home: NonNull<Home>,
    message: Message,
}

/// Sends `f`, which is given the ticket when it runs.
fn send(mut ticket: Ticket, f: impl FnOnce(Ticket) + Send + 'static) {
    let mesh = Arc::clone(ticket.mesh());
    let shard = ticket.shard();
    let message = Message::new(Label::request(SchedulingGroup::MAIN), move || {
        ticket.arrive();
        f(ticket);
    });
    let home = mesh.home(shard).expect("a shard that admits messages has a home");
    let letter = Box::new(Letter { travel: HomeNode::new(arrive), home: NonNull::from(home), message });
    // SAFETY: the mesh keeps the home. The letter is valid until it arrives, where it becomes a box again, and is
    // posted once. If it never arrives it is leaked.
    unsafe { home.post(NonNull::from(Box::leak(letter)).cast()) };
}

/// Called by the home list, at home.
unsafe fn arrive(travel: NonNull<HomeNode>) {
    // SAFETY: it came out of a box in `send` and was posted once.
    let letter = unsafe { Box::from_raw(travel.cast::<Letter>().as_ptr()) };
    let Letter { home, message, .. } = *letter;
    let mut message = Some(message);
    // The way home can be emptied when its shard has ended, while another one is current.
    current::try_with(|shard| {
        if shard.home_address() == home
            && let Some(message) = message.take()
        {
            shard.groups.deliver(SchedulingGroup::MAIN.index, message);
        }
    });
    contain("dropping a message to a shard that has ended", || drop(message));
}
