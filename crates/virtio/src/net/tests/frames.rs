//! Frames that are in the ring: of which size, how many, and what becomes of them.

use super::*;

#[test]
fn large_frames_are_in_the_ring_while_most_packets_are_long() {
    let mut world = World::new();
    let (pool, large) = (world.pool(2_048, 1_000), world.pool(LARGE_FRAME_BYTES, 20));
    let (receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let mut receiver = receiver.with_large(large.clone());
    let long = pattern(1, LARGE_FROM_BYTES);
    let mut exchange = |sent: &[u8]| {
        let _ = receiver.publish();
        assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], sent), "there is always room");
        let mut packets = VecDeque::new();
        assert_eq!(receiver.receive(&mut packets, 32), Ok(1));
        assert!(packets[0].buffers().concat() == sent);
        packets[0].buffers().len()
    };
    for _ in 0..20 {
        assert_eq!((exchange(&long), exchange(b"short")), (9, 1), "half of them are not most");
    }
    assert_eq!(large.counters().high_water_frames, 0);
    let buffers: Vec<_> = (0..40).map(|_| exchange(&long)).collect();
    assert!(buffers.contains(&1), "{buffers:?}");
    assert_eq!(large.counters().high_water_frames, 20, "there are no more, and small ones are in the ring too");
    (0..300).for_each(|_| assert_eq!(exchange(b"short"), 1));
    assert_eq!(large.counters().in_use_frames, 0);
}

#[test]
fn frames_of_the_other_size_are_in_the_ring_where_there_are_none_of_the_right_one() {
    let mut world = World::new();
    let (pool, large) = (world.pool(2_048, 4), world.pool(LARGE_FRAME_BYTES, 3));
    let (receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let mut receiver = receiver.with_large(large.clone());
    receiver.fill();
    assert_eq!((pool.counters().in_use_frames, large.counters().in_use_frames), (4, 3), "nothing long has come");
    assert!(!receiver.is_starved(60_000), "it has room in few frames");
    let _ = receiver.publish();
    let mut packets = VecDeque::new();
    for _ in 0..6 {
        assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], b"kept"));
    }
    assert_eq!(receiver.receive(&mut packets, 32), Ok(6));
    assert_eq!(receiver.held_large_frames(), 2);
    assert!(!receiver.is_starved(LARGE_FRAME_BYTES) && receiver.is_starved(LARGE_FRAME_BYTES + 1));
    packets.clear();
    assert_eq!(receiver.held_large_frames(), 0);
}

#[test]
fn what_the_device_may_go_on_with_is_never_used_again() {
    let mut world = World::new();
    let pool = world.pool(2_048, 200);
    let (mut receiver, _rx) = world.receiver(PLAIN, 0, &pool);
    let (mut transmitter, _tx) = world.transmitter(PLAIN);
    let _ = receiver.publish();
    let (kept, elsewhere) = (inside(&pool, &pattern(1, 600)), Buffer::from_static(b"elsewhere"));
    let (place, mut sent) = (kept.as_ptr(), Packet::from(kept.clone()));
    sent.push_back(elsewhere).expect("there is room");
    transmitter.send(&mut sent).expect("there is room");
    assert_eq!(pool.counters().in_use_frames, usize::from(RING) + 1);
    let mut noted = Vec::new();
    receiver.retire(|start, len| noted.push((start, len)));
    assert!(noted.len() == usize::from(RING) && noted.iter().all(|(_, len)| *len == 2_048));
    noted.clear();
    transmitter.retire(|start, len| noted.push((start, len)));
    assert!(noted.contains(&(place, 600)) && noted.len() > 1, "what was copied was noted, too: {noted:?}");
    drop(kept);
    assert_eq!(pool.counters().in_use_frames, usize::from(RING) + 1, "who has it still can't bring it back");
    let left: Vec<_> = core::iter::from_fn(|| pool.take()).collect();
    assert_eq!(left.len(), 200 - usize::from(RING) - 1);
}

#[test]
fn a_receiver_without_frames_says_so_and_goes_on_when_there_are_some() {
    let mut world = World::new();
    let pool = world.pool(2_048, 4);
    let (mut receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    assert_eq!(receiver.counters().no_frames, 1);
    let _ = receiver.publish();
    for _ in 0..4 {
        assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], b"kept"));
    }
    let mut packets = VecDeque::new();
    assert_eq!(receiver.receive(&mut packets, 32), Ok(4));
    assert!(receiver.is_starved(1));
    packets.truncate(1);
    receiver.fill();
    assert!(
        !receiver.is_starved(3 * 2_048) && receiver.is_starved(3 * 2_048 + 1),
        "a packet of four frames can't come"
    );
    drop(packets);
    receiver.fill();
    assert!(!receiver.is_starved(4 * 2_048) && receiver.publish());
    // Frames of other memory are none.
    let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4 };
    let heap = Rc::new(Pool::new(options).expect("frames are small"));
    let (driver, _) = world.queue(PLAIN);
    assert!(Receiver::new(driver, RING, 0, world.shared.clone(), heap).is_err());
}

/// What the ring says of a chain that is not out would else be believed of the next frame that gets its number.
#[test]
fn a_broken_ring_gets_no_more_frames() {
    let mut world = World::new();
    let pool = world.pool(2_048, 1_000);
    let (mut receiver, mut rx) = world.receiver(PLAIN, features::MRG_RXBUF, &pool);
    let _ = receiver.publish();
    assert!(world.give_packet(&mut rx, [0; HEADER_BYTES], b"came"));
    // The first chain was used, and again.
    world.areas[2].write(4 + 8, &[0; 8]);
    world.areas[2].write(2, &2_u16.to_le_bytes());
    let mut packets = VecDeque::new();
    for _ in 0..2 {
        assert_eq!(receiver.receive(&mut packets, 32), Err(Broken::NotAvailable(0)));
        assert_eq!((packets.len(), pool.counters().in_use_frames), (1, usize::from(RING)));
    }
}
