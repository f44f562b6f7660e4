//! A request under way: the node at home that waits for its reply.
//!
//! The node lives on the calling shard. Two know it: the [`Reply`] that the caller awaits, and the [`Call`] that
//! travels, which brings the outcome or, if it is dropped on the way or abroad, sends the node home without one. The
//! node is freed when both are done with it, always at home. All fields but the way home are touched at home only.

use alloc::alloc::Layout;
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::future::Future;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

use sunstar_packet::{Home, HomeNode};

use super::contained::contain;
use super::lane::Stopped;
use super::shard_id::ShardId;
use super::slot::Label;
use crate::current;
use crate::panic::Panic;
use crate::shard::Shard;
use crate::sync::OwnedPermit;

/// Why a request has no output.
#[derive(Debug)]
pub enum SubmitError {
    /// The closure or its future panicked. This was logged where it happened.
    Panicked(Panic),
    /// The shard has stopped. The request may have run in part.
    Stopped,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "the request panicked: {panic}"),
            Self::Stopped => Stopped.fmt(f),
        }
    }
}

impl core::error::Error for SubmitError {}

impl From<Stopped> for SubmitError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// What a request ends with.
pub(crate) type Outcome<T> = Result<T, SubmitError>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The call is under way and its caller waits.
    Waiting,
    /// The call is under way and its caller has given up.
    Abandoned,
    /// The outcome is here.
    Answered,
    /// The outcome is gone; the node travels home to be freed.
    Finished,
}

#[repr(C)]
struct Node<T> {
    travel: HomeNode,
    home: NonNull<Home>,
    state: Cell<State>,
    waker: Cell<Option<Waker>>,
    /// One unit of the service group, for as long as the call is under way.
    permit: Cell<Option<OwnedPermit>>,
    /// Written when the state becomes `Answered`.
    outcome: UnsafeCell<MaybeUninit<Outcome<T>>>,
}

/// Makes the node for a request and answers its two ends. Called at home, which is `shard`.
pub(crate) fn begin<T: Send>(shard: &Shard, permit: OwnedPermit) -> (Call<T>, Reply<T>) {
    let node = shard.recycler.allocate(Layout::new::<Node<T>>()).cast::<Node<T>>();
    // SAFETY: fresh memory of the right layout.
    unsafe {
        node.write(Node {
            travel: HomeNode::new(arrive::<T>),
            home: shard.home_address(),
            state: Cell::new(State::Waiting),
            waker: Cell::new(None),
            permit: Cell::new(Some(permit)),
            outcome: UnsafeCell::new(MaybeUninit::uninit()),
        });
    }
    shard.home.add_resident();
    (Call { node, origin: shard.exchange.id() }, Reply { node: Some(node) })
}

/// The end of a call that travels with the request and with the reply. Dropping it ends the call as stopped.
pub(crate) struct Call<T: Send> {
    node: NonNull<Node<T>>,
    origin: ShardId,
}

// SAFETY: abroad the pointer is only carried, and posted home; the outcome that it brings is `Send`.
unsafe impl<T: Send> Send for Call<T> {}

impl<T: Send + 'static> Call<T> {
    /// Sends the outcome back to the caller. Called on the shard that ran the request.
    pub(crate) fn reply(self, outcome: Outcome<T>) {
        current::with(|shard| {
            let to = self.origin;
            shard.exchange.lane(to).reply(shard, Label::REPLY, move || self.complete(outcome));
            shard.exchange.hasten(shard, to);
        });
    }

    /// Hands the outcome to the caller. Called at home.
    fn complete(self, outcome: Outcome<T>) {
        let node = ManuallyDrop::new(self).node;
        // SAFETY: replies run on the shard that they were sent to, which is the node's home. The node is ours until
        // the call is finished, which happens here.
        unsafe { finish(node, outcome) };
    }
}

impl<T: Send> Drop for Call<T> {
    fn drop(&mut self) {
        // SAFETY: a node under way is valid, and counted as a resident, so its home is too. It is posted once: by
        // its call, which ends here; or later by its reply, in a state that only comes after the call has ended.
        unsafe { self.node.as_ref().home.as_ref().post(self.node.cast()) };
    }
}

/// Ends a call with its outcome.
///
/// # Safety
/// Called on the thread of the node's home, for a call under way, which counts as ended afterwards.
unsafe fn finish<T>(node: NonNull<Node<T>>, outcome: Outcome<T>) {
    // SAFETY: a node under way is valid, and all shared references to it are on this thread.
    let this = unsafe { node.as_ref() };
    let permit = this.permit.take();
    if this.state.get() == State::Waiting {
        // SAFETY: nobody looks at the outcome in this state.
        unsafe { (*this.outcome.get()).write(outcome) };
        this.state.set(State::Answered);
        // Waking may run anything, so the node is not used after it.
        let waker = this.waker.take();
        drop(permit);
        if let Some(waker) = waker {
            waker.wake();
        }
    } else {
        // SAFETY: the caller has given up and the call has ended.
        unsafe { free(node) };
        drop(permit);
        discard(outcome);
    }
}

/// Drops an outcome that nobody awaits.
fn discard<T>(outcome: Outcome<T>) {
    contain("dropping the output of a request", || drop(outcome));
}

/// Called by the home list, at home.
unsafe fn arrive<T>(travel: NonNull<HomeNode>) {
    let node = travel.cast::<Node<T>>();
    // SAFETY: a posted node is valid until it is freed here or later.
    match unsafe { node.as_ref() }.state.get() {
        // SAFETY: this is the node's home, and the call, which was dropped, is under way until here.
        State::Waiting | State::Abandoned => unsafe { finish(node, Err(SubmitError::Stopped)) },
        // SAFETY: both ends are gone.
        State::Answered | State::Finished => unsafe { free(node) },
    }
}

/// Gives the node's memory back. If its shard has ended, the memory is leaked with the shard's way home.
///
/// # Safety
/// Called on the home's thread, when nobody will use the node any more and the outcome was taken or never written.
unsafe fn free<T>(node: NonNull<Node<T>>) {
    // SAFETY: the node is still valid.
    let home = unsafe { node.as_ref() }.home;
    current::try_with(|shard| {
        if shard.home_address() == home {
            // SAFETY: the node came from this recycler with this layout, and was counted as a resident once. Waker
            // and permit were taken out before.
            unsafe {
                shard.recycler.release(node.cast(), Layout::new::<Node<T>>());
                shard.home.remove_resident();
            }
        }
    });
}

/// The future by which a caller awaits the outcome.
///
/// Dropping it gives the outcome up: it is dropped at home when it arrives.
pub(crate) struct Reply<T> {
    /// None once the outcome was handed out.
    node: Option<NonNull<Node<T>>>,
}

// The outcome is not pinned: it is moved out of the node.
impl<T> Unpin for Reply<T> {}

impl<T> Reply<T> {
    /// Takes the outcome, if it is here, out of the node.
    fn take(node: NonNull<Node<T>>) -> Option<Outcome<T>> {
        // SAFETY: the reply's node is valid until the reply gives it up, and this is its thread.
        let this = unsafe { node.as_ref() };
        if this.state.get() != State::Answered {
            return None;
        }
        this.state.set(State::Finished);
        // SAFETY: the state says that an outcome was written, and now that it is gone.
        Some(unsafe { (*this.outcome.get()).assume_init_read() })
    }
}

impl<T> Future for Reply<T> {
    type Output = Outcome<T>;

    /// Polled again after it was ready, it answers that the shard has stopped.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(node) = self.node else { return Poll::Ready(Err(SubmitError::Stopped)) };
        if let Some(outcome) = Self::take(node) {
            self.give_up();
            return Poll::Ready(outcome);
        }
        // SAFETY: as in `take`.
        let this = unsafe { node.as_ref() };
        let waker = match this.waker.take() {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        this.waker.set(Some(waker));
        Poll::Pending
    }
}

impl<T> Reply<T> {
    /// Leaves the node to the call, or frees it if the call has ended.
    fn give_up(&mut self) {
        let Some(node) = self.node.take() else { return };
        // SAFETY: the reply's node is valid until here, and this is its thread.
        let this = unsafe { node.as_ref() };
        let waker = this.waker.take();
        match this.state.get() {
            State::Waiting => this.state.set(State::Abandoned),
            _ if current::try_with(|shard| shard.home_address() == this.home).unwrap_or(false) => {
                // SAFETY: the call has ended, the outcome was taken, and this was the other end.
                unsafe { free(node) };
            }
            // Dropped while the shard is not entered: the node waits in the home list until it is.
            // SAFETY: a node is a resident; the call has ended, so it is not posted by that.
            _ => unsafe { this.home.as_ref().post(node.cast()) },
        }
        // Dropping a waker may run anything, so it comes last.
        drop(waker);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let outcome = self.node.and_then(Self::take);
        self.give_up();
        drop(outcome);
    }
}
