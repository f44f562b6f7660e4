//! A shard's part of a listener that several shards share.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use sunstar_executor::message::Stopped;
use sunstar_executor::{ShardId, current, post};

use super::group::{self, GroupCounters};
use super::intake::attach;
use super::shard::{GroupId, Spreading};
use super::tally::Tally;
use crate::address::Address;
use crate::error::Error;
use crate::listener::ListenerStats;
use crate::socket::{Accepted, Detached};
use crate::stream::Stream;

/// One shard's membership in a group.
///
/// The application's listener and the member's task share it: the listener only leaves notes here, and the task sends what
/// is to be sent. So a listener can be dropped anywhere, and nothing that must be sent depends on who polls.
pub(super) struct Member {
    pub(super) id: GroupId,
    owner: ShardId,
    address: Address,
    /// Connections that wait to be accepted; the owner sees to the bound.
    queue: RefCell<VecDeque<Detached>>,
    pub(super) tally: Rc<Tally>,
    /// What the owner counts, on its own shard.
    pub(super) counters: Option<Rc<GroupCounters>>,
    /// The next errands of the task.
    notes: Notes,
    /// No connection can come any more.
    is_finished: Cell<bool>,
    /// Who waits for a connection.
    acceptor: RefCell<Option<Waker>>,
    task: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Notes {
    wants_close: Cell<bool>,
    /// The application's listener is gone.
    has_left: Cell<bool>,
    /// The owner was told so.
    has_said: Cell<bool>,
    /// All connections that will ever come are here.
    is_dismissed: Cell<bool>,
    /// The owner waits until fewer connections wait here.
    room_below: Cell<Option<usize>>,
}

/// What the task of a member sends next.
enum Errand {
    Close,
    Room,
    Leave,
    /// Sends back what waits, and ends.
    Return(Vec<Detached>),
    End,
}

impl Member {
    pub(super) fn new(id: GroupId, owner: ShardId, address: Address, counters: Option<Rc<GroupCounters>>) -> Rc<Self> {
        Rc::new(Self {
            id,
            owner,
            address,
            queue: RefCell::default(),
            tally: Tally::new(),
            counters,
            notes: Notes::default(),
            is_finished: Cell::new(false),
            acceptor: RefCell::default(),
            task: RefCell::default(),
        })
    }

    /// Whether the application's listener is gone and the membership about to end.
    pub(super) fn has_left(&self) -> bool {
        self.notes.has_left.get()
    }

    pub(super) fn listens_at(&self, address: &Address) -> bool {
        self.address == *address
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        loop {
            let Some(connection) = ({ self.queue.borrow_mut().pop_front() }) else { break };
            let live = self.tally.take();
            self.look_for_room();
            if let Some(stream) = attach(Accepted::Detached(connection), &self.tally, live) {
                return Poll::Ready(Ok(stream));
            }
        }
        if self.is_finished.get() {
            return Poll::Ready(Err(Error::Stopped));
        }
        *self.acceptor.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn push(&self, connection: Detached) {
        self.queue.borrow_mut().push_back(connection);
        wake(&self.acceptor);
    }

    fn has_room(&self) -> bool {
        self.notes.room_below.get().is_some_and(|below| self.queue.borrow().len() < below)
    }

    fn look_for_room(&self) {
        if self.has_room() {
            wake(&self.task);
        }
    }

    fn errand(&self) -> Option<Errand> {
        let notes = &self.notes;
        if self.is_finished.get() {
            return Some(Errand::End);
        }
        if notes.is_dismissed.get() {
            if planted::is("forgotten_return") {
                self.queue.borrow_mut().clear();
            }
            return Some(Errand::Return(self.queue.take().into()));
        }
        if notes.wants_close.take() {
            return Some(Errand::Close);
        }
        if notes.has_left.get() && !notes.has_said.replace(true) {
            return Some(Errand::Leave);
        }
        if self.has_room() {
            notes.room_below.set(None);
            return Some(Errand::Room);
        }
        None
    }

    fn poll_errand(&self, cx: &mut Context<'_>) -> Poll<Errand> {
        let Some(errand) = self.errand() else {
            *self.task.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(errand)
    }
}

fn wake(place: &RefCell<Option<Waker>>) {
    let waker = place.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The task of a member. It ends when no connection can come any more.
pub(super) async fn serve(member: Rc<Member>, spreading: Rc<Spreading>) {
    // That the owner's shard has stopped means that the program ends, and with it all that is left to do.
    let _ = run_errands(&member).await;
    member.is_finished.set(true);
    wake(&member.acceptor);
    spreading.remove_member(member.id);
}

async fn run_errands(member: &Member) -> Result<(), Stopped> {
    let (id, owner, here) = (member.id, member.owner, current::shard_id());
    loop {
        match poll_fn(|cx| member.poll_errand(cx)).await {
            Errand::Close => post(owner, move || group::close(id)).await?,
            Errand::Room => post(owner, move || group::has_room(id)).await?,
            Errand::Leave => post(owner, move || group::leave(id, here)).await?,
            Errand::Return(connections) => return post(owner, move || group::take_back(id, here, connections)).await,
            Errand::End => return Ok(()),
        }
    }
}

/// A connection from the owner arrives at its shard.
pub(super) fn deliver(id: GroupId, connection: Detached) {
    // The owner sends connections to members only.
    let Some(member) = Spreading::here().member(id) else { return };
    member.tally.take_over();
    member.push(connection);
}

/// The owner wants to know when fewer than `below` connections wait.
pub(super) fn ask_for_room(id: GroupId, below: usize) {
    if let Some(member) = Spreading::here().member(id) {
        member.notes.room_below.set(Some(below));
        member.look_for_room();
    }
}

/// The owner sends no connection any more, because the member has left.
pub(super) fn dismiss(id: GroupId) {
    if let Some(member) = Spreading::here().member(id) {
        member.notes.is_dismissed.set(true);
        wake(&member.task);
    }
}

/// The owner sends no connection any more, because there will be none.
pub(super) fn finish(id: GroupId) {
    if let Some(member) = Spreading::here().member(id) {
        member.is_finished.set(true);
        wake(&member.acceptor);
        wake(&member.task);
    }
}

/// The application's hold on a membership: dropping it leaves the group.
pub(crate) struct Membership(pub(super) Rc<Member>);

impl Membership {
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        self.0.poll_accept(cx)
    }

    pub(crate) fn close(&self) {
        self.0.notes.wants_close.set(true);
        wake(&self.0.task);
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    pub(crate) fn stats(&self) -> ListenerStats {
        let mut stats = self.0.tally.stats();
        stats.waiting = self.0.queue.borrow().len() as u64;
        if let Some(counters) = &self.0.counters {
            counters.add_to(&mut stats);
        }
        stats
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.notes.has_left.set(true);
        wake(&self.0.task);
    }
}
