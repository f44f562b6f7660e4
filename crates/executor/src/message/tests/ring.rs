//! Rings: order, room, what becomes of messages that nobody takes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::super::inbox::Inbox;
use super::super::mesh::Mesh;
use super::super::ring::ring;
use super::super::slot::{Kind, Label, Message};

use super::{alive, tokens};

const REQUEST: Label = Label { group: 3, generation: 0, kind: Kind::Request };

#[test]
fn labels_survive_the_way() {
    let (mut producer, mut consumer) = ring(4);
    let labels = [
        REQUEST,
        Label { group: 15, generation: 0x8001, kind: Kind::Reply },
        Label { group: 255, generation: 0xffff, kind: Kind::Request },
    ];
    for label in labels {
        assert!(producer.push(label, || ()).is_ok());
    }
    producer.flush();
    let mut seen = Vec::new();
    consumer.drain(8, |arrival| seen.push(arrival.label()));
    assert_eq!(seen, labels);
}

#[test]
fn closures_of_every_size_run() {
    let (mut producer, mut consumer) = ring(8);
    let sum = Arc::new(AtomicUsize::new(0));
    #[repr(align(64))]
    struct Aligned(usize);

    let add = |n: usize| {
        let sum = Arc::clone(&sum);
        move || {
            sum.fetch_add(n, Ordering::Relaxed);
        }
    };
    let (small, large, aligned) = (add(1), add(10), add(100));
    let (fill, filled, aligned_value) = ([7_u8; 32], [7_u8; 33], Aligned(5));
    assert!(producer.push(REQUEST, small).is_ok());
    let fits = move || {
        assert_eq!(fill, [7; 32]);
        large();
    };
    assert_eq!(size_of_val(&fits), super::super::slot::INLINE_BYTES);
    assert!(producer.push(REQUEST, fits).is_ok());
    assert!(producer.push(REQUEST, move || assert_eq!(filled.len() + filled[32] as usize, 40)).is_ok());
    assert!(
        producer
            .push(REQUEST, move || {
                assert_eq!((&raw const aligned_value).addr() % 64, 0);
                assert_eq!(aligned_value.0, 5);
                aligned();
            })
            .is_ok()
    );
    producer.flush();
    assert_eq!(consumer.drain(8, |arrival| arrival.run()), 4);
    assert_eq!(sum.load(Ordering::Relaxed), 111);
}

#[test]
fn staged_messages_wait_for_the_flush() {
    let (mut producer, mut consumer) = ring(64);
    assert!(producer.push(REQUEST, || ()).is_ok());
    assert!(producer.push(REQUEST, || ()).is_ok());
    assert!(!consumer.has_messages());
    assert_eq!(consumer.drain(8, |arrival| arrival.run()), 0);
    assert!(producer.flush());
    assert!(!producer.flush());
    assert!(consumer.has_messages());
    assert_eq!(consumer.drain(8, |arrival| arrival.run()), 2);
}

#[test]
fn a_full_ring_gives_the_closure_back_and_publishes() {
    let (mut producer, mut consumer) = ring(4);
    for _ in 0..4 {
        assert!(producer.push(REQUEST, || ()).is_ok());
    }
    let (count, token) = tokens();
    let refused = producer.push(REQUEST, move || drop(token));
    assert_eq!(alive(&count), 1);
    assert_eq!(consumer.drain(1, |arrival| arrival.run()), 1);
    assert!(producer.push(REQUEST, refused.expect_err("the ring is full")).is_ok());
    producer.flush();
    assert_eq!(consumer.drain(9, |arrival| arrival.run()), 4);
    assert_eq!(alive(&count), 0);
}

#[test]
fn messages_that_nobody_takes_are_dropped() {
    let (count, token) = tokens();
    for consumer_first in [true, false] {
        let (mut producer, consumer) = ring(8);
        for n in 0..7 {
            let token = token.clone();
            assert!(producer.push(REQUEST, move || drop(token)).is_ok());
            if n == 3 {
                producer.flush();
            }
        }
        if consumer_first {
            drop(consumer);
            assert_eq!(alive(&count), 1 + 3, "the consumer's end takes the published ones along");
            producer.reclaim().expect("the consumer has gone").drop_messages();
            drop(producer);
        } else {
            drop(producer);
            assert_eq!(alive(&count), 1 + 7);
            drop(consumer);
        }
        assert_eq!(alive(&count), 1);
    }
}

#[test]
fn a_panic_of_the_receiver_loses_no_other_message() {
    let (mut producer, mut consumer) = ring(4);
    let (count, token) = tokens();
    for _ in 0..4 {
        let token = token.clone();
        assert!(producer.push(REQUEST, move || drop(token)).is_ok());
    }
    drop(token);
    producer.flush();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        consumer.drain(4, |arrival| {
            arrival.run();
            panic!("planned");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(alive(&count), 3);
    assert!(producer.has_room());
    assert_eq!(consumer.drain(4, |arrival| drop(arrival)), 3);
    assert_eq!(alive(&count), 0);
}

#[test]
fn an_inbox_keeps_order_while_it_grows() {
    let inbox = Inbox::default();
    let (mut sent, mut received) = (0, 0);
    for burst in 1..200 {
        for _ in 0..burst {
            let id = sent;
            inbox.push(Message::new(REQUEST, move || LAST.with(|last| last.set(id))));
            sent += 1;
        }
        for _ in 0..burst - 1 {
            assert!(inbox.run_oldest());
            assert_eq!(LAST.with(Cell::get), received);
            received += 1;
        }
    }
    assert_eq!(inbox.len(), 199);
    let (count, token) = tokens();
    inbox.push(Message::new(REQUEST, move || drop(token)));
    drop(inbox);
    assert_eq!(alive(&count), 0);
}

#[test]
fn a_running_message_may_add_to_its_inbox() {
    thread_local! {
        static INBOX: Inbox = Inbox::default();
    }
    fn spawner(left: u32) -> Message {
        let payload = [left; 8];
        Message::new(REQUEST, move || {
            INBOX.with(|inbox| (0..2).filter(|_| left > 0).for_each(|_| inbox.push(spawner(left - 1))));
            assert_eq!(payload, [left; 8]);
        })
    }
    INBOX.with(|inbox| {
        inbox.push(spawner(9));
        let mut ran = 0;
        while inbox.run_oldest() {
            ran += 1;
        }
        assert_eq!(ran, 1023);
    });
}

#[test]
fn a_mesh_has_smaller_rings_for_more_shards() {
    let links = Mesh::links(3);
    assert_eq!(links.iter().map(|links| links.id().index()).collect::<Vec<_>>(), [0, 1, 2]);
    let mut room = Vec::new();
    for shards in [2, 16, 17, 64, 200] {
        let mut links = Mesh::links(shards);
        assert!(links[1].producers[1].is_none());
        let producer = links[1].producers[0].as_mut().expect("0 and 1 are linked");
        room.push((0..1000).take_while(|_| producer.push(REQUEST, || ()).is_ok()).count());
    }
    assert_eq!(room, [256, 256, 128, 64, 32]);
}

proptest! {
    /// Whatever is pushed comes out in order, once, and what is left behind is dropped.
    #[test]
    fn rings_are_queues(steps in proptest::collection::vec((0_u8..4, 1_u32..12), 1..200)) {
        let (mut producer, mut consumer) = ring(8);
        let (count, token) = tokens();
        let (mut sent, mut received, mut published) = (0_u32, 0_u32, 0_u32);
        for (step, n) in steps {
            match step {
                0 | 1 => for _ in 0..n {
                    let (id, token) = (sent, token.clone());
                    match producer.push(REQUEST, move || { drop(token); LAST.with(|last| last.set(id)); }) {
                        Ok(()) => sent += 1,
                        Err(_) => prop_assert_eq!(sent - received, 8),
                    }
                },
                2 => { producer.flush(); published = sent; }
                _ => {
                    let took = consumer.drain(n, |arrival| {
                        arrival.take().run();
                        assert_eq!(LAST.with(Cell::get), received);
                        received += 1;
                    });
                    prop_assert!(took <= n);
                    prop_assert!(took == n || received >= published);
                }
            }
            prop_assert_eq!(alive(&count), 1 + (sent - received) as usize);
        }
        drop((producer, consumer));
        prop_assert_eq!(alive(&count), 1);
    }
}

std::thread_local! {
    static LAST: Cell<u32> = const { Cell::new(0) };
}

#[test]
fn threads_exchange_messages_in_order() {
    const MESSAGES: u32 = if cfg!(miri) { 300 } else { 100_000 };
    let (mut producer, mut consumer) = ring(64);
    let sender = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            let check = move || LAST.with(|last| assert_eq!(last.replace(n + 1), n));
            let mut message = Message::new(REQUEST, check);
            while let Err(refused) = producer.push_message(message) {
                message = refused;
                std::thread::yield_now();
            }
        }
    });
    let mut received = 0;
    while received < MESSAGES {
        let took = consumer.drain(u32::MAX, |arrival| arrival.run());
        received += took;
        if took == 0 {
            std::thread::yield_now();
        }
    }
    sender.join().expect("the sender has no reason to panic");
}

/// Panics when it is dropped, and counts that.
pub(super) struct Bomb(pub(super) Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("planned");
    }
}

#[test]
fn messages_that_panic_when_they_are_dropped_are_dropped_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    for published_before in 0..=3 {
        drops.store(0, Ordering::Relaxed);
        let (mut producer, consumer) = ring(8);
        for n in 0..3 {
            let bomb = Bomb(Arc::clone(&drops));
            assert!(producer.push(REQUEST, move || drop(bomb)).is_ok());
            if n + 1 == published_before {
                producer.flush();
            }
        }
        drop(consumer);
        assert_eq!(drops.load(Ordering::Relaxed), published_before);
        producer.reclaim().expect("the consumer has gone").drop_messages();
        assert_eq!(drops.load(Ordering::Relaxed), 3);
        let bomb = Bomb(Arc::clone(&drops));
        assert!(producer.push(REQUEST, move || drop(bomb)).is_ok());
        drop(producer);
        assert_eq!(drops.load(Ordering::Relaxed), 4, "by the ring itself");
    }
}

#[test]
fn what_finds_no_place_stays_with_all_behind_it() {
    let (mut producer, mut consumer) = ring(8);
    let other = Label { group: 4, ..REQUEST };
    for label in [REQUEST, other, REQUEST] {
        assert!(producer.push(label, || ()).is_ok());
    }
    producer.flush();
    let admit = |label| (label == REQUEST).then_some(());
    assert_eq!(consumer.drain_admitted(8, admit, |(), arrival| arrival.run()), 1);
    assert_eq!(consumer.drain_admitted(8, admit, |(), arrival| arrival.run()), 0);
    assert_eq!(consumer.drain(8, |arrival| arrival.run()), 2);
}
