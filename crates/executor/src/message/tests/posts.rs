//! One-way messages among shards on one thread.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use super::super::{INBOX_MESSAGES, Label, Message, ShardId, Stopped, TryPostError, post, try_post};
use super::{alive, tokens};
use crate::panic::catch;
use crate::testing::{TestWorld, rounds, run_among, settle_all};
use crate::{Executor, Round, SchedulingGroup, current, spawn, spawn_in};

const ONE: ShardId = ShardId::new(1);

fn two() -> Vec<Executor> {
    TestWorld::default().executors(2)
}

/// Fills the ring from the first to the second shard and answers how many fitted.
fn fill(shards: &[Executor]) -> usize {
    shards[0].enter(|| (0..).take_while(|_| try_post(ONE, || ()).is_ok()).count())
}

#[test]
fn messages_run_in_order_on_their_shard() {
    let shards = two();
    let log = Arc::new(Mutex::new(Vec::new()));
    shards[0].enter(|| {
        for n in 0..100 {
            let log = Arc::clone(&log);
            let entry = move || log.lock().unwrap().push((current::shard_id(), n));
            assert!(try_post(ONE, entry).is_ok());
        }
    });
    settle_all(&shards);
    assert!(log.lock().unwrap().iter().copied().eq((0..100).map(|n| (ONE, n))));
    assert_eq!(shards[0].stats().sent_messages, 100);
    assert_eq!(shards[1].stats().received_messages, 100);
}

#[test]
fn messages_to_the_own_shard_run_later() {
    let shards = TestWorld::default().executors(1);
    run_among(&shards, async {
        let (count, token) = tokens();
        post(ShardId::new(0), move || drop(token)).await.expect("the shard runs");
        assert_eq!(alive(&count), 1);
        crate::yield_now().await;
        crate::yield_now().await;
        assert_eq!(alive(&count), 0);
    });
}

#[test]
fn messages_carry_the_group_of_their_sender() {
    let shards = two();
    let known = SchedulingGroup { index: 3, generation: 1 };
    let unknown = SchedulingGroup { index: 4, generation: 1 };
    for shard in &shards {
        shard.shard().groups.install(known, "known", 100);
    }
    shards[0].shard().groups.install(unknown, "unknown there", 100);
    let seen = Arc::new(Mutex::new(Vec::new()));
    shards[0].enter(|| {
        for group in [known, unknown] {
            let seen = Arc::clone(&seen);
            let look = move || seen.lock().unwrap().push(current::scheduling_group());
            drop(spawn_in(group, async move { post(ONE, look).await }));
        }
    });
    settle_all(&shards);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_by_key(|group| group.index);
    assert_eq!(seen, [SchedulingGroup::MAIN, known]);
    let stats = shards[1].group_stats();
    assert_eq!(stats.iter().map(|group| (group.messages, group.queued_messages)).collect::<Vec<_>>(), [(1, 0), (1, 0)]);
}

#[test]
fn a_removed_group_leaves_its_messages_to_the_main_one() {
    let shards = two();
    let group = SchedulingGroup { index: 3, generation: 1 };
    let shard = shards[0].shard();
    shard.groups.install(group, "short-lived", 100);
    let (count, token) = tokens();
    shards[0].enter(|| drop(spawn_in(group, async { post(ShardId::new(0), move || drop(token)).await })));
    shards[0].enter(|| {
        let task = shard.groups.next_task(group.index).expect("just spawned");
        shard.groups.begin_turn();
        // SAFETY: it came from the run queue.
        unsafe { crate::task::raw::run(task, shard) };
        shard.groups.remove(group, &shard.tasks).expect("it was installed");
    });
    assert_eq!(alive(&count), 1);
    settle_all(&shards);
    assert_eq!(alive(&count), 0);
}

#[test]
fn a_full_ring_gives_the_closure_back() {
    let shards = two();
    assert_eq!(fill(&shards), 256);
    let (count, token) = tokens();
    let refused = shards[0].enter(|| try_post(ONE, move || drop(token)));
    assert!(refused.as_ref().is_err_and(TryPostError::is_full));
    assert_eq!(alive(&count), 1);
    settle_all(&shards);
    let f = refused.expect_err("it was refused").into_inner();
    assert!(shards[0].enter(|| try_post(ONE, f)).is_ok());
    settle_all(&shards);
    assert_eq!(alive(&count), 0);
}

#[test]
fn who_finds_no_room_waits_in_order_and_ahead_of_newcomers() {
    let shards = two();
    fill(&shards);
    let log = Arc::new(Mutex::new(Vec::new()));
    for n in 0..700 {
        let log = Arc::clone(&log);
        drop(shards[0].spawn(async move { post(ONE, move || log.lock().unwrap().push(n)).await }));
    }
    assert_eq!(shards[0].round(), Round::Busy, "nobody wakes a shard that waits for room");
    assert_eq!(shards[0].round(), Round::Busy);
    assert!(!shards[0].prepare_sleep().is_idle());
    shards[0].end_sleep();
    shards[1].round();
    assert!(shards[0].enter(|| try_post(ONE, || ())).is_err_and(|error| error.is_full()), "others came first");
    settle_all(&shards);
    assert!(log.lock().unwrap().iter().copied().eq(0..700));
    assert_eq!(shards[0].stats().waits_for_room, 700);
}

#[test]
fn a_post_that_is_dropped_while_it_waits_makes_way() {
    let shards = two();
    fill(&shards);
    let (count, token) = tokens();
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let token = token.clone();
            shards[0].spawn(async move { post(ONE, move || drop(token)).await })
        })
        .collect();
    drop(token);
    shards[0].round();
    shards[0].enter(|| handles[0].abort());
    shards[0].enter(|| handles[1].abort());
    assert_eq!(alive(&count), 1);
    settle_all(&shards);
    assert_eq!(alive(&count), 0);
    assert!(handles[2].is_finished());
    assert_eq!(shards[1].group_stats()[0].messages, 257);
}

#[test]
fn inboxes_are_bounded() {
    let shards = TestWorld::default().executors(1);
    let own = ShardId::new(0);
    let posted = shards[0].enter(|| (0..).take_while(|_| try_post(own, || ()).is_ok()).count());
    assert_eq!(posted, INBOX_MESSAGES);
    let late = shards[0].spawn(post_later(own));
    settle_all(&shards);
    assert!(late.is_finished());

    let shards = TestWorld::default().executors(18);
    let posted: usize = shards[1..]
        .iter()
        .map(|shard| shard.enter(|| (0..).take_while(|_| try_post(own, || ()).is_ok()).count()))
        .sum();
    let more = shards[0].enter(|| (0..INBOX_MESSAGES).take_while(|_| try_post(own, || ()).is_ok()).count());
    shards[1..].iter().for_each(|shard| rounds(shard, 1));
    shards[0].enter(|| shards[0].shard().exchange.receive(shards[0].shard()));
    assert_eq!(shards[0].group_stats()[0].queued_messages, INBOX_MESSAGES);
    settle_all(&shards);
    assert_eq!(shards[0].group_stats()[0].messages, (posted + more) as u64);
}

async fn post_later(shard: ShardId) {
    post(shard, || ()).await.expect("the shard runs");
}

#[test]
fn a_panicking_message_ends_only_itself() {
    let shards = two();
    let (count, token) = tokens();
    shards[0].enter(|| {
        assert!(try_post(ONE, || panic!("planned")).is_ok());
        assert!(try_post(ONE, move || drop(token)).is_ok());
    });
    settle_all(&shards);
    assert_eq!(alive(&count), 0);
    assert_eq!(shards[1].stats().panicked_messages, 1);
}

#[test]
fn a_message_rings_the_bell_of_a_sleeping_shard_once() {
    let world = TestWorld::default();
    let shards = world.executors(2);
    settle_all(&shards);
    assert!(shards[1].prepare_sleep().is_idle());
    shards[0].enter(|| (0..20).for_each(|_| assert!(try_post(ONE, || ()).is_ok())));
    assert_eq!(world.rings(), 0, "published, but not announced before the round ends");
    shards[0].round();
    assert_eq!(world.rings(), 1);
    shards[1].end_sleep();
    assert!(!shards[1].prepare_sleep().is_idle(), "the messages are seen");
    shards[1].end_sleep();
    settle_all(&shards);
    assert!(shards[1].prepare_sleep().is_idle());
    assert_eq!(world.rings(), 1);
}

#[test]
fn what_is_sent_outside_of_a_round_goes_out_before_sleep() {
    let world = TestWorld::default();
    let shards = world.executors(2);
    settle_all(&shards);
    assert!(shards[1].prepare_sleep().is_idle());
    shards[0].enter(|| assert!(try_post(ONE, || ()).is_ok()));
    assert!(shards[0].prepare_sleep().is_idle());
    assert_eq!(world.rings(), 1);
}

#[test]
#[should_panic(expected = "there is no shard 2: the program has 2")]
fn an_unknown_shard_is_a_mistake_of_the_program() {
    let shards = two();
    shards[0].enter(|| drop(try_post(ShardId::new(2), || ())));
}

#[test]
fn tasks_and_messages_of_a_group_take_turns() {
    let shards = TestWorld::default().executors(1);
    let order = Rc::new(RefCell::new(Vec::new()));
    let messages = Arc::new(Mutex::new(0));
    shards[0].enter(|| {
        for _ in 0..3 {
            let (seen, order) = (Arc::clone(&messages), Rc::clone(&order));
            let count = Arc::clone(&messages);
            assert!(try_post(ShardId::new(0), move || *count.lock().unwrap() += 1).is_ok());
            drop(spawn(async move { order.borrow_mut().push(*seen.lock().unwrap()) }));
        }
    });
    settle_all(&shards);
    assert_eq!(*order.borrow(), [0, 1, 2]);
}

#[test]
fn posting_to_a_shard_that_is_gone_fails() {
    let mut shards = two();
    drop(shards.pop());
    shards[0].round();
    let (count, token) = tokens();
    let refused = shards[0].enter(|| try_post(ONE, move || drop(token)));
    assert!(matches!(refused, Err(TryPostError::Stopped(_))));
    drop(refused);
    assert_eq!(alive(&count), 0);
    assert_eq!(run_among(&shards, async { post(ONE, || ()).await }), Err(Stopped));
}

#[test]
fn a_message_to_a_group_that_was_replaced_runs_in_the_main_one() {
    let shards = two();
    let old = SchedulingGroup { index: 3, generation: 0x1_0001 };
    let new = SchedulingGroup { index: 3, generation: 0x1_0002 };
    shards[0].shard().groups.install(old, "old", 100);
    shards[1].shard().groups.install(new, "new", 100);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = {
        let seen = Arc::clone(&seen);
        move || seen.lock().unwrap().push(current::scheduling_group())
    };
    shards[0].enter(|| drop(spawn_in(old, async move { post(ONE, look).await })));
    settle_all(&shards);
    assert_eq!(*seen.lock().unwrap(), [SchedulingGroup::MAIN]);
}

#[test]
fn a_full_inbox_of_one_group_holds_up_neither_other_groups_nor_replies() {
    let shards = TestWorld::default().executors(3);
    let full = SchedulingGroup { index: 3, generation: 1 };
    shards.iter().for_each(|shard| shard.shard().groups.install(full, "full", 100));
    let request = shards[0].spawn(submit_from(&shards[0]));
    shards[0].round();
    rounds(&shards[1], 2);
    let own = shards[0].shard();
    let label = Label::request(full);
    for _ in 0..INBOX_MESSAGES {
        own.groups.deliver(own.groups.place_of(label), Message::new(label, || ()));
    }
    shards[2].enter(|| {
        let lane = shards[2].shard().exchange.lane(ShardId::new(0));
        for group in [SchedulingGroup::MAIN, full, full] {
            assert!(lane.try_send(shards[2].shard(), Label::request(group), || ()).is_ok());
        }
    });
    rounds(&shards[2], 1);
    shards[0].enter(|| own.exchange.receive(own));
    let waiting: Vec<_> = shards[0].group_stats().iter().map(|group| group.queued_messages).collect();
    assert_eq!(waiting, [1, INBOX_MESSAGES], "the main group's message has passed");
    assert_eq!(shards[0].stats().held_rings, 1);
    assert_eq!(shards[0].group_stats()[0].queued_tasks, 1, "woken by the reply");
    settle_all(&shards);
    assert!(request.is_finished());
    assert_eq!(shards[0].group_stats()[1].messages, INBOX_MESSAGES as u64 + 2);
}

fn submit_from(shard: &Executor) -> impl Future<Output = ()> + use<> {
    let request = shard.enter(|| crate::submit_to(ONE, async || ()));
    async { request.await.expect("it is served") }
}

#[test]
fn who_waits_and_is_not_polled_holds_nobody_up() {
    let shards = two();
    fill(&shards);
    let (count, token) = tokens();
    let mut idle = shards[0].enter(|| Box::pin(post(ONE, move || drop(token))));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(shards[0].enter(|| idle.as_mut().poll(&mut cx)).is_pending());
    let behind = shards[0].spawn(async { post(ONE, || ()).await });
    settle_all(&shards);
    assert!(behind.is_finished());
    assert_eq!(alive(&count), 0, "sent in its turn");
    assert!(shards[0].enter(|| try_post(ONE, || ())).is_ok());
    assert_eq!(shards[0].enter(|| idle.as_mut().poll(&mut cx)), Poll::Ready(Ok(())));
}

#[test]
fn futures_are_refused_on_other_shards_than_their_own() {
    let (here, there) = (two(), two());
    for elsewhere in [&there[0], &here[1]] {
        let mut posted = here[0].enter(|| Box::pin(post(ONE, || ())));
        let mut asked = here[0].enter(|| Box::pin(crate::submit_to(ONE, async || ())));
        let mut own = here[0].enter(|| Box::pin(crate::submit_to(ShardId::new(0), async || ())));
        let mut cx = Context::from_waker(Waker::noop());
        let refused = |poll: &mut dyn FnMut()| {
            let panic = catch(|| elsewhere.enter(poll)).expect_err("it was made elsewhere");
            assert!(panic.message().contains("another shard"), "{panic}");
        };
        refused(&mut || assert!(posted.as_mut().poll(&mut cx).is_pending()));
        refused(&mut || drop(asked.as_mut().poll(&mut cx)));
        refused(&mut || drop(own.as_mut().poll(&mut cx)));
        assert_eq!(elsewhere.stats().sent_messages, 0);
        assert_eq!(elsewhere.residents(), 0);
    }
}

#[test]
fn shards_tell_their_statistics_from_inside() {
    let shards = two();
    run_among(&shards, async {
        post(ONE, || ()).await.expect("the shard runs");
        assert_eq!(current::stats().sent_messages, 1);
        assert_eq!(&*current::group_stats()[0].name, "main");
    });
}
