//! Foreign objects among shards on one thread, and on real threads.

use alloc::rc::Rc;
use core::cell::Cell;
use std::thread;

use sunstar_packet::{Buffer, Packet};

use super::{Foreign, IntoForeign};
use crate::testing::{TestWorld, run_among, settle_all};
use crate::{ShardId, SubmitError, submit_to};

const ONE: ShardId = ShardId::new(1);

#[test]
fn an_object_is_reached_at_home_only() {
    let shards = TestWorld::default().executors(2);
    let mut foreign = shards[0].enter(|| Foreign::new(Rc::new(Cell::new(1))));
    assert_eq!(shards[0].residents(), 1);
    assert!(foreign.get().is_none(), "outside of any shard");
    assert!(shards[1].enter(|| foreign.get().is_none() && foreign.get_mut().is_none()));
    shards[0].enter(|| foreign.get_mut().expect("at home").set(2));
    assert_eq!(shards[0].enter(|| foreign.get().expect("at home").get()), 2);
    let foreign = shards[1].enter(|| foreign.into_inner()).expect_err("abroad");
    assert_eq!(foreign.home(), ShardId::new(0));
    assert_eq!(shards[0].enter(|| foreign.into_inner()).expect("at home").get(), 2);
    assert_eq!(shards[0].residents(), 0);
}

#[test]
fn what_is_dropped_abroad_is_dropped_at_home() {
    let shards = TestWorld::default().executors(2);
    let object = Rc::new(());
    let foreign = shards[0].enter(|| Foreign::new(Rc::clone(&object)));
    let another = shards[0].enter(|| Foreign::new(Rc::clone(&object)));
    thread::spawn(move || drop(foreign)).join().expect("no panic");
    shards[1].enter(|| drop(another));
    assert_eq!(Rc::strong_count(&object), 3);
    settle_all(&shards);
    assert_eq!(Rc::strong_count(&object), 1);
    assert_eq!(shards[0].residents(), 0);
    let third = shards[0].enter(|| Foreign::new(Rc::clone(&object)));
    shards[0].enter(|| drop(third));
    assert_eq!(Rc::strong_count(&object), 1, "at home at once");
}

#[test]
fn a_visit_home_gives_the_handle_back() {
    let shards = TestWorld::default().executors(2);
    let object = Rc::new(Cell::new(5));
    let foreign = shards[0].enter(|| Foreign::new(Rc::clone(&object)));
    let answer = run_among(&shards, async move {
        submit_to(ONE, async move || {
            let (foreign, before) = foreign.with_on_home(|object| object.replace(6)).await?;
            assert!(foreign.get().is_none());
            Ok::<_, SubmitError>(before)
        })
        .await
    });
    assert_eq!(answer.expect("it is served").expect("it is served"), 5);
    assert_eq!(object.get(), 6);
    settle_all(&shards);
    assert_eq!(Rc::strong_count(&object), 1);
}

#[test]
fn a_visit_that_panics_drops_the_object() {
    let shards = TestWorld::default().executors(2);
    let object = Rc::new(());
    let foreign = shards[0].enter(|| Foreign::new(Rc::clone(&object)));
    let answer = run_among(&shards, async move {
        submit_to(ONE, async move || foreign.with_on_home(|_| panic!("planned")).await.map(drop)).await
    });
    assert!(matches!(answer.expect("it is served"), Err(SubmitError::Panicked(_))));
    settle_all(&shards);
    assert_eq!(Rc::strong_count(&object), 1);
}

#[test]
fn a_panic_in_a_drop_at_home_ends_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("planned");
        }
    }
    let shards = TestWorld::default().executors(2);
    let foreign = shards[0].enter(|| Foreign::new(Bomb));
    shards[1].enter(|| drop(foreign));
    settle_all(&shards);
    assert_eq!(shards[0].residents(), 0);
}

#[test]
fn an_object_may_outlive_its_shard() {
    let mut shards = TestWorld::default().executors(2);
    let object = Rc::new(());
    let foreign = shards[0].enter(|| Foreign::new(Rc::clone(&object)));
    drop(shards.remove(0));
    shards[0].enter(|| assert!(foreign.get().is_none()));
    drop(foreign);
    assert_eq!(Rc::strong_count(&object), 2, "leaked");
}

#[test]
fn bytes_are_lent_to_another_shard_and_their_memory_comes_home() {
    struct Bytes(#[expect(dead_code, reason = "its count is what is looked at")] Rc<()>);

    impl AsRef<[u8]> for Bytes {
        fn as_ref(&self) -> &[u8] {
            b"GET / HTTP/1.1"
        }
    }

    let shards = TestWorld::default().executors(2);
    let alive = Rc::new(());
    let bytes = Bytes(Rc::clone(&alive));
    let method = run_among(&shards, async move {
        let buffer = Buffer::from_owner(bytes);
        let mut packet = Packet::from(buffer.slice(..3));
        packet.push_back(buffer.slice(4..5)).expect("there is room");
        let (lent, packet) = (buffer.into_foreign_here(), packet.into_foreign_here());
        submit_to(ONE, async move || {
            let (buffer, packet) = (lent.into_buffer(), packet.into_packet());
            assert_eq!((buffer.len(), packet.len()), (14, 4));
            let method = buffer.slice(..3);
            drop(buffer);
            method.to_vec()
        })
        .await
    });
    assert_eq!(method.expect("it is served"), b"GET");
    settle_all(&shards);
    assert_eq!(Rc::strong_count(&alive), 1, "dropped at home");
    assert_eq!(shards[0].residents(), 0);
}
