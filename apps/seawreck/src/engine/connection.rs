//! The life of a place for a connection: connect, converse, and connect again.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sunstar::executor::Instant;
use sunstar::executor::sync::OwnedPermit;
use sunstar::executor::timer::{lowres, sleep};

use super::conversation::{Conversation, Ending};
use super::link::Link;
use super::{Load, Phase};
use crate::fault::Fault;
use crate::protocol::Protocol;

/// How long one waits after failures in a row, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Keeps a connection until the load ends. The permit is given back after the first attempt to connect.
pub(super) async fn run<P: Protocol>(load: &Load<P>, number: usize, permit: OwnedPermit) {
    let mut permit = Some(permit);
    let mut pause = FIRST_PAUSE;
    // A request that is due, and was not sent.
    let mut carried = None;
    loop {
        if load.plan.requests_per_connection.is_some() {
            permit = None;
            // What it takes to connect is part of the latency.
            if carried.is_none() {
                carried = next_request(load, number).await;
            }
            if carried.is_none() {
                return;
            }
        }
        let begun = lowres::now();
        let connected = connect(load, number, begun).await;
        // What waits while nobody can be connected to has all the time that it may take; what a connection was given when it ends has not.
        let has_expired = matches!(connected, Some(Err(_)));
        permit = permit.and(None);
        let ending = match connected {
            Some(Ok(link)) => {
                if load.phase.get() == Phase::Opening || load.is_measured(lowres::now()) {
                    load.tally.borrow_mut().connected(lowres::now() - begun);
                }
                load.open.set(load.open.get() + 1);
                let ending = Conversation::new(load, number, link, carried.take()).run().await;
                load.open.set(load.open.get() - 1);
                ending
            }
            Some(Err(fault)) => {
                load.tally.borrow_mut().unconnect(fault);
                Ending { fault: Some(fault), given: carried.take() }
            }
            // Nobody will know what would have come of it.
            None => return load.give_up(number, carried),
        };
        let slot = &load.slots[number];
        slot.wait_until(None);
        slot.is_idle.set(false);
        slot.take_overdue();
        // What was given to a connection that has just ended is still to be sent, by the next one. It was given no more than that.
        carried = ending.given.or_else(|| slot.given.take());
        match ending.fault {
            _ if load.is_done(number) && carried.is_none() => return,
            None => pause = FIRST_PAUSE,
            Some(fault) => {
                if let Some(due) = carried.take() {
                    load.fail(fault, due, has_expired);
                }
                if unless_over(load, number, sleep(pause)).await.is_none() {
                    return load.give_up(number, None);
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Waits for a request to send; nothing if there will be none.
async fn next_request<P: Protocol>(load: &Load<P>, number: usize) -> Option<Instant> {
    let slot = &load.slots[number];
    let since = lowres::now();
    std::future::poll_fn(|cx| {
        slot.keep_waker(cx);
        let given = slot.given.take().map(|due| (due, Instant::ORIGIN));
        if let Some((due, since)) = given.or_else(|| Some((load.take_request(number, lowres::now())?, since))) {
            // From then on it waits for a connection, and that is the server's.
            load.depart(due, since);
            return Poll::Ready(Some(due));
        }
        if load.has_ended() {
            return Poll::Ready(None);
        }
        load.wait_for_request(number);
        Poll::Pending
    })
    .await
}

/// Connects, in time; nothing if the load is over before.
async fn connect<P: Protocol>(load: &Load<P>, number: usize, begun: Instant) -> Option<Result<Link, Fault>> {
    let slot = &load.slots[number];
    slot.wait_until(Some(begun + load.plan.connect_timeout));
    let mut opening = pin!(Link::open(load.plan.transport, load.plan.from(number), load.plan.target));
    let connected = std::future::poll_fn(|cx| {
        slot.keep_waker(cx);
        if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
            return Poll::Ready(Some(opened.map_err(Fault::from)));
        }
        if slot.take_overdue() {
            return Poll::Ready(Some(Err(Fault::TimedOut)));
        }
        if load.phase.get() == Phase::Over { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    slot.wait_until(None);
    connected
}

/// Waits for something, unless the load sends no more.
async fn unless_over<P: Protocol, F: Future>(load: &Load<P>, number: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        load.slots[number].keep_waker(cx);
        if load.is_done(number) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
