//! What lies in memory, byte by byte, and what a hostile other side may write there.

use crate::queue::{Broken, Chain, ChainError, DriverQueue, QueueOptions, Segment, Taken, Used};
use crate::testing::{DATA, Pair, pair};

const RING: usize = 0;

fn new(size: u16, options: QueueOptions) -> Pair {
    pair(true, QueueOptions { size, ..options })
}

fn descriptor(pair: &Pair, index: usize) -> (u64, u32, u16, u16) {
    let mut bytes = [0; 16];
    pair.areas[RING].read(16 * index, &mut bytes);
    let word = u64::from_le_bytes(bytes[8..].try_into().expect("eight bytes"));
    let part = |shift: u32| u16::try_from(word >> shift & 0xffff).expect("16 bits");
    let address = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    (address, u32::try_from(word & 0xffff_ffff).expect("32 bits"), part(32), part(48))
}

/// Writes a descriptor: address, length, number, flags.
fn describe(pair: &Pair, index: usize, (address, len, id, flags): (u64, u32, u16, u16)) {
    let rest = u64::from(len) | u64::from(id) << 32 | u64::from(flags) << 48;
    pair.areas[RING].write(16 * index, &[address.to_le_bytes(), rest.to_le_bytes()].concat());
}

fn word(pair: &Pair, area: usize) -> u32 {
    let mut bytes = [0; 4];
    pair.areas[area].read(0, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn take(pair: &mut Pair) -> Result<Taken, Broken> {
    pair.device.take(&pair.map, &mut Chain::default())
}

#[test]
fn memory_is_as_virtio_1_2_section_2_8_says() {
    let mut pair = new(3, QueueOptions { has_event_index: true, ..QueueOptions::default() });
    let segment = |offset, len| Segment { address: DATA + offset, len };
    let mut chain = Chain::default();
    // The second time round the flags mean the opposite.
    for (first, available, used) in [(0, 0x80, 0x8080), (2, 0x80, 0x8080), (1, 0x8000, 0)] {
        assert!(!pair.device.enable_notifications());
        let round = if available == 0x80 { 0x8000 } else { 0 };
        assert_eq!(word(&pair, 2), 0x2_0000 | round | u32::try_from(first).expect("small"), "where the device waits");
        let token = pair.driver.add(&[segment(0x10, 5)], &[segment(0x20, 6)]).expect("there is room");
        assert_ne!(descriptor(&pair, first).3 & 0x8080, available, "not yet");
        let _ = pair.driver.publish();
        assert_eq!(descriptor(&pair, first), (DATA + 0x10, 5, token, 1 | available), "NEXT");
        let second = (first + 1) % 3;
        let available = if second == 0 { available ^ 0x8080 } else { available };
        assert_eq!(descriptor(&pair, second), (DATA + 0x20, 6, token, 2 | available), "WRITE");
        assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain));
        pair.device.put_used(chain.id(), 6);
        let _ = pair.device.publish();
        assert_eq!(descriptor(&pair, first), (DATA + 0x10, 6, token, 2 | used), "WRITE, used");
        assert_eq!(pair.driver.take_used(), Ok(Some(Used { token, written: Some(6) })));
    }
}

#[test]
fn chains_that_break_a_rule_are_refused_whole() {
    const AVAILABLE: u16 = 0x80;
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    let options = QueueOptions { has_indirect: true, ..QueueOptions::default() };
    for (first, error) in [
        ((DATA, 1, 9, NEXT | WRITE), ChainError::Order),
        ((0, 1, 9, NEXT), ChainError::NotMapped),
        ((DATA, 16, 9, NEXT | INDIRECT), ChainError::Indirect),
    ] {
        let mut pair = new(4, options);
        let (address, len, id, flags) = first;
        describe(&pair, 1, (DATA, 1, 9, AVAILABLE));
        describe(&pair, 2, (DATA, 1, 5, AVAILABLE));
        describe(&pair, 0, (address, len, id, flags | AVAILABLE));
        assert_eq!(take(&mut pair), Ok(Taken::Refused(error)));
        let mut chain = Chain::default();
        assert_eq!(pair.device.take(&pair.map, &mut chain), Ok(Taken::Chain), "it goes on behind the chain");
        assert_eq!(chain.id().id, 5);
    }
}

#[test]
fn a_driver_that_writes_nonsense_breaks_the_ring() {
    let mut pair = new(4, QueueOptions::default());
    for index in 0..4 {
        describe(&pair, index, (DATA, 1, 0, 0x81));
    }
    assert_eq!(take(&mut pair), Err(Broken::Endless));
    // All descriptors are out, and are made available for the next round all the same.
    let mut pair = new(2, QueueOptions::default());
    for (flags, expected) in [(0x80, Ok(Taken::Chain)), (0x8000, Err(Broken::Index))] {
        describe(&pair, 0, (DATA, 1, 0, flags));
        describe(&pair, 1, (DATA, 1, 1, flags));
        assert_eq!(take(&mut pair), expected);
        assert_eq!(take(&mut pair), expected);
    }
}

#[test]
fn a_device_that_writes_nonsense_breaks_the_ring() {
    for id in [1, 4, 0xffff] {
        let mut pair = new(4, QueueOptions::default());
        assert!(pair.driver.add(&[Segment { address: DATA, len: 1 }], &[]).is_ok_and(|token| token != id));
        let _ = pair.driver.publish();
        describe(&pair, 0, (DATA, 0, id, 0x8080));
        assert_eq!(pair.driver.take_used(), Err(Broken::NotAvailable(id.into())));
    }
}

#[test]
fn one_descriptor_may_tell_of_several_chains_in_order() {
    let mut pair = new(4, QueueOptions { is_in_order: true, ..QueueOptions::default() });
    let DriverQueue::Packed(driver) = &mut pair.driver else { unreachable!("it is packed") };
    let tokens = [(); 3].map(|()| driver.add(&[Segment { address: DATA, len: 1 }], &[]).expect("there is room"));
    let _ = driver.publish();
    let rest = 7_u64 | u64::from(tokens[2]) << 32 | 0x8082 << 48_u64;
    pair.areas[RING].write(8, &rest.to_le_bytes());
    for (nth, token) in tokens.into_iter().enumerate() {
        let written = (nth == 2).then_some(7);
        assert_eq!(driver.take_used(), Ok(Some(Used { token, written })));
    }
    assert_eq!(driver.take_used(), Ok(None));
    assert_eq!(driver.free(), 4);
}

#[test]
fn a_base_outside_of_the_ring_is_refused() {
    let pair = new(4, QueueOptions::default());
    let [descriptors, driver_events, device_events] = pair.areas;
    let areas = super::Areas { descriptors, driver_events, device_events };
    let options = QueueOptions { size: 4, ..QueueOptions::default() };
    assert!(super::Device::new(&areas, options, super::NEW | 3).is_ok());
    assert!(super::Device::new(&areas, options, super::NEW | 4).is_err());
    assert!(super::Driver::new(&areas, QueueOptions { size: 5, ..options }, None).is_err(), "the ring has four");
}
