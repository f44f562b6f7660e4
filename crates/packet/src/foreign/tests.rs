use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use std::thread;

use crate::home::HomeOwner;
use crate::home::tests::Bell;
use crate::{Buffer, ForeignBuffer, ForeignPacket, Packet, Pool, PoolOptions};

fn home() -> HomeOwner {
    HomeOwner::new(Box::new(Bell::default()))
}

/// Bytes whose end is counted where they belong.
struct Counted(Vec<u8>, Rc<Cell<usize>>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
    }
}

fn counted(bytes: &[u8]) -> (Buffer, Rc<Cell<usize>>) {
    let ends = Rc::new(Cell::new(0));
    (Buffer::from_owner(Counted(bytes.to_vec(), Rc::clone(&ends))), ends)
}

#[test]
fn handles_that_cross_are_send_and_sync() {
    fn crosses<T: Send + Sync>() {}
    crosses::<ForeignBuffer>();
    crosses::<ForeignPacket>();
    #[cfg(not(feature = "accounting"))]
    assert_eq!(size_of::<ForeignBuffer>(), 24);
}

#[test]
fn dropped_abroad_the_memory_waits_at_home() {
    let (home, (buffer, ends)) = (home(), counted(b"abcdef"));
    let foreign = buffer.slice(2..4).into_foreign(&home);
    drop(buffer);
    assert_eq!(home.residents(), 1);
    thread::spawn(move || assert_eq!(*foreign, *b"cd")).join().expect("the bytes are readable abroad");
    assert_eq!((ends.get(), home.residents()), (0, 1));
    assert_eq!(home.drain(), 1);
    assert_eq!((ends.get(), home.residents()), (1, 0));
}

#[test]
fn dropped_at_home_it_takes_the_same_way() {
    let (home, (buffer, ends)) = (home(), counted(b"abc"));
    drop(buffer.into_foreign(&home));
    assert_eq!(ends.get(), 0);
    assert_eq!(home.drain(), 1);
    assert_eq!(ends.get(), 1);
}

#[test]
fn buffers_made_abroad_share_one_reference_at_home() {
    let (home, (buffer, ends)) = (home(), counted(b"abcdef"));
    let kept = buffer.clone();
    let foreign = buffer.into_foreign(&home);
    thread::spawn(move || {
        let mut whole = foreign.into_buffer();
        let front = whole.split_to(3);
        let copies: Vec<_> = (0..10).map(|_| front.slice(1..)).collect();
        drop(front);
        assert!(copies.iter().all(|copy| *copy == b"bc"));
        assert!(whole.try_into_mut().is_err(), "memory of another shard is never writable");
    })
    .join()
    .expect("nothing panics abroad");
    assert_eq!(home.drain(), 1, "one node, however many views there were");
    assert_eq!(ends.get(), 0);
    assert!(kept.is_unique());
    drop(kept);
    assert_eq!(ends.get(), 1);
}

#[test]
fn passed_on_whole_it_goes_straight_home() {
    let (first, second, (buffer, ends)) = (home(), home(), counted(b"abc"));
    let arrived = buffer.into_foreign(&first).into_buffer();
    let passed_on = arrived.into_foreign(&second);
    assert_eq!((first.residents(), second.residents()), (1, 0));
    drop(passed_on.into_buffer());
    assert_eq!((second.drain(), first.drain(), ends.get()), (0, 1, 1));
}

#[test]
fn passed_on_shared_it_goes_home_by_way_of_the_middle() {
    let (first, second, (buffer, ends)) = (home(), home(), counted(b"abc"));
    let arrived = buffer.into_foreign(&first).into_buffer();
    let passed_on = arrived.clone().into_foreign(&second);
    drop(arrived);
    drop(passed_on);
    assert_eq!((first.drain(), second.residents()), (0, 1));
    assert_eq!(second.drain(), 1);
    assert_eq!((first.drain(), ends.get()), (1, 1));
}

#[test]
fn static_bytes_cross_without_coming_home() {
    let home = home();
    let foreign = Buffer::from_static(b"for ever").into_foreign(&home);
    assert_eq!(home.residents(), 0);
    assert_eq!(foreign.into_buffer(), b"for ever");
    assert_eq!(home.drain(), 0);
}

#[test]
fn a_packet_crosses_with_its_metadata() {
    let (home, (buffer, ends)) = (home(), counted(b"payload"));
    let mut packet = Packet::from(buffer);
    packet.offload.rss_hash = Some(7);
    packet.prepend(b"header").expect("there is room in the chain");
    let foreign = packet.into_foreign(&home);
    assert_eq!((foreign.len(), foreign.buffers().len(), home.residents()), (13, 2, 2));
    thread::spawn(move || {
        let packet = foreign.into_packet();
        assert_eq!(packet.offload.rss_hash, Some(7));
        let mut bytes = [0; 13];
        packet.copy_to_slice(0, &mut bytes).expect("thirteen bytes");
        assert_eq!(bytes, *b"headerpayload");
    })
    .join()
    .expect("nothing panics abroad");
    assert_eq!((home.drain(), ends.get()), (2, 1));
}

#[test]
fn an_owner_that_panics_at_its_end_harms_nobody_else() {
    struct Bomb;

    impl AsRef<[u8]> for Bomb {
        fn as_ref(&self) -> &[u8] {
            b"tick"
        }
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }

    let (home, (buffer, ends)) = (home(), counted(b"abc"));
    drop(Buffer::from_owner(Bomb).into_foreign(&home));
    drop(buffer.into_foreign(&home));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| home.drain())).is_err());
    assert_eq!((home.residents(), ends.get()), (0, 1));
}

#[test]
fn what_is_retired_abroad_is_retired_at_home() {
    let home = home();
    let pool = Pool::new(PoolOptions { frame_bytes: 64, headroom_bytes: 0, limit_frames: 1 }).expect("it is small");
    let foreign = pool.take().expect("below the limit").freeze().into_foreign(&home);
    thread::spawn(move || foreign.into_buffer().retire()).join().expect("it is retired");
    assert_eq!(home.drain(), 1);
    assert!(pool.take().is_none());
}
