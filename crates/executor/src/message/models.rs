//! Loom models of the rings: all interleavings, and all that the memory model allows.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::mesh::Mesh;
use super::ring::ring;
use super::shard_id::ShardId;
use super::slot::Label;
use crate::group::SchedulingGroup;
use alloc::boxed::Box;
use alloc::sync::Arc;
use sunstar_packet::{Doorbell, HomeOwner};

const REQUEST: Label = Label::request(SchedulingGroup::MAIN);

/// Counts drops, and holds memory that must have been published before it is read.
struct Token {
    value: usize,
    dropped: loom::sync::Arc<AtomicUsize>,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Three messages through two slots: the producer waits for room, slots are used again.
#[test]
fn loom_ring_wraps_around() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2);
        let dropped = loom::sync::Arc::new(AtomicUsize::new(0));
        let token = |value| Token { value, dropped: loom::sync::Arc::clone(&dropped) };
        let tokens = [token(0), token(1), token(2)];
        let sender = thread::spawn(move || {
            for token in tokens {
                let mut closure = move || drop(token);
                while let Err(refused) = producer.push(REQUEST, closure) {
                    closure = refused;
                    thread::yield_now();
                }
                producer.flush();
            }
        });
        let mut received = 0;
        while received < 3 {
            received += consumer.drain(2, |arrival| arrival.take().run());
            thread::yield_now();
        }
        sender.join().expect("no panic");
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

/// What is staged is seen by nobody, what is flushed is seen whole and in order.
#[test]
fn loom_ring_publishes_batches() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(4);
        let sum = loom::sync::Arc::new(AtomicUsize::new(0));
        let sender = thread::spawn({
            let sum = loom::sync::Arc::clone(&sum);
            move || {
                for value in [1, 10] {
                    let token = Token { value, dropped: loom::sync::Arc::clone(&sum) };
                    let run = move || {
                        token.dropped.fetch_add(token.value, Ordering::Relaxed);
                    };
                    assert!(producer.push(REQUEST, run).is_ok());
                }
                producer.flush();
                producer
            }
        });
        let took = consumer.drain(4, |arrival| arrival.run());
        assert!(took <= 2);
        let producer = sender.join().expect("no panic");
        assert_eq!(took + consumer.drain(4, |arrival| arrival.run()), 2);
        assert_eq!(sum.load(Ordering::Relaxed), 11 + 2);
        drop(producer);
    });
}

/// Each end goes at any time: every message is dropped or run once.
#[test]
fn loom_ring_dropped_while_full() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2);
        let dropped = loom::sync::Arc::new(AtomicUsize::new(0));
        let sender = thread::spawn({
            let dropped = loom::sync::Arc::clone(&dropped);
            move || {
                for value in 0..2 {
                    let token = Token { value, dropped: loom::sync::Arc::clone(&dropped) };
                    assert!(producer.push(REQUEST, move || drop(token)).is_ok());
                    producer.flush();
                }
                if let Some(left) = producer.reclaim() {
                    left.drop_messages();
                }
            }
        });
        consumer.drain(1, |arrival| arrival.run());
        drop(consumer);
        sender.join().expect("no panic");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// A message for a shard that is just starting: the shard sees it, or its bell is rung.
#[test]
fn loom_first_message_is_seen_or_rings() {
    struct Bell(loom::sync::Arc<AtomicUsize>);

    impl Doorbell for Bell {
        fn ring(&self) {
            self.0.store(1, Ordering::Relaxed);
        }
    }

    loom::model(|| {
        let mut links = Mesh::links(2).into_iter();
        let (Some(mut sender), Some(mut receiver)) = (links.next(), links.next()) else { unreachable!() };
        let rung = loom::sync::Arc::new(AtomicUsize::new(0));
        let sending = thread::spawn(move || {
            let producer = sender.producers[1].as_mut().expect("two shards");
            assert!(producer.push(REQUEST, || ()).is_ok());
            producer.flush();
            sender.mesh().notify(ShardId::new(1));
            sender
        });
        let owner = HomeOwner::new(Box::new(Bell(loom::sync::Arc::clone(&rung))));
        receiver.mesh().open(ShardId::new(1), Arc::clone(owner.home()));
        owner.prepare_sleep();
        let seen = receiver.consumers[0].has_messages();
        let sender = sending.join().expect("no panic");
        assert!(seen || rung.load(Ordering::Relaxed) == 1, "the shard sleeps on a message");
        assert_eq!(receiver.consumers[0].drain(1, |arrival| arrival.run()), 1);
        drop(sender);
    });
}
