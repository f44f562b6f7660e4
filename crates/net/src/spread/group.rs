//! The owner's part: accepting from the network, and handing out.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use sunstar_executor::message::Stopped;
use sunstar_executor::{ShardId, current, maybe_yield, post};

use super::choice::{Phase, Rows};
use super::intake::Intake;
use super::member;
use super::registry::{self, REGISTRY};
use super::shard::{GroupId, Spreading};
use super::tally::{Report, add};
use crate::listener::{ListenerOptions, ListenerStats};
use crate::socket::{Detached, ListenSocket};

/// A listening socket and those who share its connections.
pub(super) struct Group {
    pub(super) id: GroupId,
    intake: Intake,
    rows: RefCell<Rows>,
    /// Connections to hand out before the network's: from members that left, and one for which there was no room.
    returned: RefCell<VecDeque<Detached>>,
    /// No member had room; one will tell.
    is_held_back: Cell<bool>,
    /// A member wanted no more connections to be let in.
    is_closing: Cell<bool>,
    /// The network has no more connections.
    is_drained: Cell<bool>,
    counters: Rc<GroupCounters>,
    task: RefCell<Option<Waker>>,
}

/// What the owner counts.
#[derive(Default)]
pub(super) struct GroupCounters {
    handed_over_to: Cell<u64>,
    rerouted: Cell<u64>,
    held_back: Cell<u64>,
    failures: Cell<u64>,
}

impl GroupCounters {
    pub(super) fn add_to(&self, stats: &mut ListenerStats) {
        stats.handed_over_to = self.handed_over_to.get();
        stats.rerouted = self.rerouted.get();
        stats.held_back = self.held_back.get();
        stats.failures = self.failures.get();
    }
}

/// What the owner's task does next.
enum Step {
    HandOut(Detached),
    /// Tells a member that nothing comes any more, as it asked for.
    Dismiss(ShardId),
    /// All connections are handed out, and there will be no more.
    Finish,
    /// No member is left.
    End,
}

impl Group {
    pub(super) fn new(id: GroupId, socket: Rc<dyn ListenSocket>, options: &ListenerOptions) -> Rc<Self> {
        Rc::new(Self {
            id,
            intake: Intake::new(socket),
            rows: RefCell::new(Rows::new(options.spread, options.accept_queue)),
            returned: RefCell::default(),
            is_held_back: Cell::new(false),
            is_closing: Cell::new(false),
            is_drained: Cell::new(false),
            counters: Rc::default(),
            task: RefCell::default(),
        })
    }

    pub(super) fn counters(&self) -> Rc<GroupCounters> {
        Rc::clone(&self.counters)
    }

    /// Adds a member; answers false if the shard is one already.
    pub(super) fn add(&self, shard: ShardId, report: Arc<Report>) -> bool {
        let is_new = self.rows.borrow_mut().add(shard, report);
        self.look_again();
        is_new
    }

    /// Something has changed that may give the task something to do.
    fn look_again(&self) {
        self.is_held_back.set(false);
        let task = self.task.borrow_mut().take();
        if let Some(task) = task {
            task.wake();
        }
    }

    fn poll_step(&self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.rows.borrow().is_empty() {
            return Poll::Ready(Step::End);
        }
        if let Some(row) = self.rows.borrow_mut().first_mut(Phase::Leaving) {
            row.phase = if planted::is("given_after_goodbye") { Phase::Listening } else { Phase::Left };
            return Poll::Ready(Step::Dismiss(row.shard));
        }
        if let Some(connection) = self.next_connection(cx) {
            return Poll::Ready(Step::HandOut(connection));
        }
        let is_done = self.is_drained.get() && self.returned.borrow().is_empty();
        // Who has left may send connections back.
        if is_done && self.rows.borrow_mut().first_mut(Phase::Left).is_none() {
            return Poll::Ready(Step::Finish);
        }
        *self.task.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A connection to hand out, if there is one and some member had room.
    fn next_connection(&self, cx: &mut Context<'_>) -> Option<Detached> {
        if self.is_held_back.get() {
            return None;
        }
        let returned = self.returned.borrow_mut().pop_front();
        if returned.is_some() || self.is_drained.get() {
            return returned;
        }
        let next = self.intake.poll_next(cx);
        self.counters.failures.set(self.intake.failures());
        match next {
            Poll::Ready(Some(connection)) => return Some(connection),
            Poll::Ready(None) => self.is_drained.set(true),
            Poll::Pending => {}
        }
        None
    }

    /// Gives a connection to a member, or keeps it until one has room.
    async fn hand_out(&self, connection: Detached) -> Result<(), Stopped> {
        let port = connection.peer().and_then(|peer| peer.inet()).map(|peer| peer.port());
        let choice = self.rows.borrow_mut().assign(port);
        let Some(choice) = choice else {
            self.returned.borrow_mut().push_front(connection);
            return self.wait_for_room().await;
        };
        if choice.is_rerouted {
            add(&self.counters.rerouted);
        }
        let id = self.id;
        if choice.shard == current::shard_id() {
            if let Some(member) = Spreading::here().member(id) {
                member.push(connection);
            }
            return Ok(());
        }
        add(&self.counters.handed_over_to);
        post(choice.shard, move || member::deliver(id, connection)).await
    }

    /// Stops taking connections, and asks the members to tell when they have room.
    async fn wait_for_room(&self) -> Result<(), Stopped> {
        self.is_held_back.set(true);
        let (id, below) = (self.id, self.rows.borrow().room_below());
        let listening = self.listening();
        if !listening.is_empty() {
            add(&self.counters.held_back);
        }
        for shard in listening {
            post(shard, move || member::ask_for_room(id, below)).await?;
        }
        Ok(())
    }

    fn listening(&self) -> Vec<ShardId> {
        self.rows.borrow().listening().map(|row| row.shard).collect()
    }

    async fn run(&self) -> Result<(), Stopped> {
        let id = self.id;
        loop {
            match poll_fn(|cx| self.poll_step(cx)).await {
                Step::HandOut(connection) => self.hand_out(connection).await?,
                Step::Dismiss(shard) => post(shard, move || member::dismiss(id)).await?,
                Step::Finish => {
                    for shard in self.listening() {
                        post(shard, move || member::finish(id)).await?;
                    }
                    return Ok(());
                }
                Step::End => return Ok(()),
            }
            maybe_yield().await;
        }
    }
}

/// The task of a group: it accepts for as long as the group has members.
pub(super) async fn serve(group: Rc<Group>, spreading: Rc<Spreading>) {
    // That a member's shard has stopped means that the program ends.
    let _ = group.run().await;
    let id = group.id;
    // Who comes now is told to ask the registry again, and finds the address free.
    spreading.remove_group(id);
    drop(group);
    let _ = post(REGISTRY, move || registry::retire(id)).await;
}

/// What an owner answers to a shard that registers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Registered {
    Member,
    /// It accepts what is established, and then the address is free.
    Closing,
    /// The group is gone.
    Ended,
}

/// A shard registers with the owner, to be a member.
pub(super) async fn register(id: GroupId, shard: ShardId, report: Arc<Report>) -> Registered {
    let spreading = Spreading::here();
    loop {
        match spreading.group(id) {
            None => return Registered::Ended,
            Some(group) if group.is_closing.get() => return Registered::Closing,
            Some(group) if group.add(shard, Arc::clone(&report)) => return Registered::Member,
            Some(_) => {}
        }
        // What the shard sent when it left is still under way.
        let _ = spreading.departed.wait().await;
    }
}

/// A member wants no more connections to be let in.
pub(super) fn close(id: GroupId) {
    if let Some(group) = Spreading::here().group(id) {
        group.is_closing.set(true);
        group.intake.socket.close();
        group.look_again();
    }
}

/// A member has room again.
pub(super) fn has_room(id: GroupId) {
    if let Some(group) = Spreading::here().group(id) {
        group.look_again();
    }
}

/// A member wants to leave.
pub(super) fn leave(id: GroupId, shard: ShardId) {
    if let Some(group) = Spreading::here().group(id) {
        if let Some(row) = group.rows.borrow_mut().of_mut(shard) {
            row.phase = Phase::Leaving;
        }
        group.look_again();
    }
}

/// A member is gone; what waited there is handed out anew.
pub(super) fn take_back(id: GroupId, shard: ShardId, connections: Vec<Detached>) {
    if let Some(group) = Spreading::here().group(id) {
        group.rows.borrow_mut().remove(shard);
        group.returned.borrow_mut().extend(connections);
        group.look_again();
        Spreading::here().departed.notify_all();
    }
}
