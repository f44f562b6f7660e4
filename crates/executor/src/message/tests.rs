//! Rings: order, room, what becomes of messages that nobody takes.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::inbox::{Inbox, run_oldest};
use super::mesh::Mesh;
use super::ring::ring;
use super::slot::{Kind, Label, Message};

const REQUEST: Label = Label { group: 3, kind: Kind::Request };

/// Counts how many of its clones are alive, so that a leaked or twice dropped message shows.
#[derive(Clone)]
struct Token(#[expect(dead_code, reason = "its count is what is looked at")] Arc<()>);

fn tokens() -> (Arc<()>, Token) {
    let count = Arc::new(());
    (Arc::clone(&count), Token(count))
}

fn alive(count: &Arc<()>) -> usize {
    Arc::strong_count(count) - 1
}

#[test]
fn labels_survive_the_way() {
    let (mut producer, mut consumer) = ring(4);
    let labels = [REQUEST, Label { group: 15, kind: Kind::Reply }, Label { group: 255, kind: Kind::Request }];
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
        move || drop(sum.fetch_add(n, Ordering::Relaxed))
    };
    let (small, large, aligned) = (add(1), add(10), add(100));
    let (fill, filled, aligned_value) = ([7_u8; 32], [7_u8; 33], Aligned(5));
    assert!(producer.push(REQUEST, small).is_ok());
    let fits = move || {
        assert_eq!(fill, [7; 32]);
        large();
    };
    assert_eq!(size_of_val(&fits), super::slot::INLINE_BYTES);
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
            assert!(producer.reclaim());
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
fn an_inbox_keeps_order_while_it_grows_and_is_added_to() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let inbox = Box::into_raw(Box::<Inbox>::default());
    // SAFETY: the box is freed at the end, and each borrow ends with its statement.
    unsafe {
        let log = Arc::new(AtomicUsize::new(0));
        let mut next = 0;
        for burst in 1..200 {
            for _ in 0..burst {
                let (n, log) = (next, Arc::clone(&log));
                (*inbox).push(Message::new(REQUEST, move || log.store(n, Ordering::Relaxed)));
                next += 1;
            }
            for _ in 0..burst - 1 {
                assert!(run_oldest(inbox));
                order.borrow_mut().push(log.load(Ordering::Relaxed));
            }
        }
        assert_eq!((*inbox).len(), 199);
        while run_oldest(inbox) {
            order.borrow_mut().push(log.load(Ordering::Relaxed));
        }
        assert!((*inbox).is_empty());
        drop(Box::from_raw(inbox));
    }
    let order = order.borrow();
    assert!(order.iter().copied().eq(0..order.len()));
}

#[test]
fn a_mesh_has_smaller_rings_for_more_shards() {
    let links = Mesh::links(3);
    assert_eq!(links.iter().map(|links| links.id()).collect::<Vec<_>>(), [0, 1, 2]);
    let mut room = Vec::new();
    for shards in [2, 16, 17, 64, 200] {
        let mut links = Mesh::links(shards);
        assert!(links[1].producer(1).is_none());
        let producer = links[1].producer(0).expect("0 and 1 are linked");
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
                        assert_eq!(LAST.with(core::cell::Cell::get), received);
                        received += 1;
                    });
                    prop_assert!(took <= n);
                    prop_assert!(took == n || received >= published);
                }
            }
            prop_assert_eq!(alive(&count) as u32, 1 + sent - received);
        }
        drop((producer, consumer));
        prop_assert_eq!(alive(&count), 1);
    }
}

std::thread_local! {
    static LAST: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

#[test]
fn threads_exchange_messages_in_order() {
    const MESSAGES: usize = if cfg!(miri) { 300 } else { 100_000 };
    let (mut producer, mut consumer) = ring(64);
    let sender = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            let check = move || LAST.with(|last| assert_eq!(last.replace(n as u32 + 1), n as u32));
            let mut message = Message::new(REQUEST, check);
            while let Err(refused) = producer.push_message(message) {
                message = refused;
                std::thread::yield_now();
            }
        }
    });
    let mut received = 0;
    while received < MESSAGES as u32 {
        let took = consumer.drain(u32::MAX, |arrival| arrival.run());
        received += took;
        if took == 0 {
            std::thread::yield_now();
        }
    }
    sender.join().expect("the sender has no reason to panic");
}
