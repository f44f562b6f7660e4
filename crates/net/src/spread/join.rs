//! How a shard comes to be a member.

use alloc::rc::Rc;

use sunstar_executor::{ShardId, current, spawn, submit_to};

use super::direct::listen_options;
use super::group::{self, Group, GroupCounters, Registered};
use super::member::{self, Member, Membership};
use super::registry::{self, Claim, REGISTRY, Wish};
use super::shard::{GroupId, Spreading};
use crate::address::Address;
use crate::error::Error;
use crate::listener::ListenerOptions;
use crate::socket::Stack;

/// Makes the current shard a member of the group at an address, and its owner if there is none.
///
/// It must not be dropped before its end.
pub(crate) async fn join(
    stack: Rc<dyn Stack>,
    address: Address,
    options: ListenerOptions,
) -> Result<Membership, Error> {
    let spreading = Spreading::here();
    // One bind at a time, so that what this shard is a member of does not change under the registry's answer.
    let turn = spreading.binding.acquire(1).await;
    let bind = Bind { spreading: &spreading, stack, address, options };
    let member = bind.run().await;
    drop(turn);
    member
}

struct Bind<'a> {
    spreading: &'a Rc<Spreading>,
    stack: Rc<dyn Stack>,
    address: Address,
    options: ListenerOptions,
}

impl Bind<'_> {
    async fn run(&self) -> Result<Membership, Error> {
        let mut ended = None;
        loop {
            self.wait_for_departures().await?;
            let wish = self.wish(ended);
            match ask(REGISTRY, move || registry::claim(wish)).await?? {
                Claim::Listen(id) => return self.listen(id).await,
                Claim::Join { id, owner, local } => {
                    if let Some(member) = self.register(id, owner, local).await? {
                        return Ok(member);
                    }
                    ended = Some(id);
                }
            }
        }
    }

    /// Waits until no listener that was dropped is still a member at the address.
    async fn wait_for_departures(&self) -> Result<(), Error> {
        let is_clear = || {
            let members = self.spreading.members.borrow();
            !members.iter().any(|member| member.has_left() && member.listens_at(&self.address))
        };
        self.spreading.departed.wait_until(is_clear).await.map_err(|_| Error::Stopped)
    }

    fn wish(&self, ended: Option<GroupId>) -> Wish {
        let mine = self.spreading.members.borrow().iter().map(|member| member.id).collect();
        let (address, spread) = (self.address.clone(), self.options.spread);
        Wish { address, spread, shard: current::shard_id(), mine, ended }
    }

    /// Listens as the owner of a new group.
    async fn listen(&self, id: GroupId) -> Result<Membership, Error> {
        let socket = self.stack.listen(&self.address, &listen_options(&self.options));
        let bound = socket.and_then(|socket| socket.local_address().map(|local| (socket, local)));
        let (socket, local) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                ask(REGISTRY, move || async move { registry::retire(id) }).await?;
                return Err(error);
            }
        };
        let group = Group::new(id, socket, &self.options);
        let member = self.add(id, current::shard_id(), local.clone(), Some(group.counters()));
        group.add(current::shard_id(), member.tally.report());
        self.spreading.groups.borrow_mut().push(Rc::clone(&group));
        drop(spawn(group::serve(group, Rc::clone(self.spreading))));
        let membership = self.start(member);
        ask(REGISTRY, move || async move { registry::listens(id, local) }).await?;
        Ok(membership)
    }

    /// Registers with the owner of a group; none if it has ended.
    async fn register(&self, id: GroupId, owner: ShardId, local: Address) -> Result<Option<Membership>, Error> {
        let counters = self.spreading.group(id).map(|group| group.counters());
        // A connection may arrive before the answer.
        let member = self.add(id, owner, local, counters);
        let (here, report) = (current::shard_id(), member.tally.report());
        let answer = ask(owner, move || group::register(id, here, report)).await;
        if let Ok(Registered::Member) = answer {
            return Ok(Some(self.start(member)));
        }
        self.spreading.remove_member(id);
        match answer? {
            Registered::Closing => Err(Error::AddressInUse),
            _ => Ok(None),
        }
    }

    fn add(&self, id: GroupId, owner: ShardId, local: Address, counters: Option<Rc<GroupCounters>>) -> Rc<Member> {
        let member = Member::new(id, owner, local, counters);
        self.spreading.members.borrow_mut().push(Rc::clone(&member));
        member
    }

    fn start(&self, member: Rc<Member>) -> Membership {
        drop(spawn(member::serve(Rc::clone(&member), Rc::clone(self.spreading))));
        Membership(member)
    }
}

/// Asks another shard; that it has stopped means that the program ends.
async fn ask<F, Fut>(shard: ShardId, question: F) -> Result<Fut::Output, Error>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    submit_to(shard, question).await.map_err(|_| Error::Stopped)
}
