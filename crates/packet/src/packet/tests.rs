use alloc::vec::Vec;
use proptest::prelude::*;

use super::{ChainFull, CopyCounter, MAX_BUFFERS, Packet, TooManyBuffers};
use crate::buffer::Buffer;
use crate::buffer_mut::{BufferMut, TooShort};
use crate::offload::{Checksum, Offload, Segmentation, SegmentationKind, VlanTag};

fn packet(parts: &[&'static [u8]]) -> Packet {
    let mut packet = Packet::new();
    for part in parts {
        packet.push_back(Buffer::from_static(part)).expect("a short chain");
    }
    packet
}

fn bytes(packet: &Packet) -> Vec<u8> {
    packet.buffers().iter().flat_map(|buffer| buffer.iter().copied()).collect()
}

#[test]
fn what_is_behind_headers_is_taken_out_if_it_lies_in_one_buffer() {
    for parts in [&[&b"head"[..], b"body"][..], &[b"headbody"]] {
        let mut packet = packet(parts);
        assert_eq!(packet.take_behind(4), Some(Buffer::from_static(b"body")));
        assert!(packet.is_empty() && packet.buffers().is_empty());
    }
    let mut one = packet(&[b"head"]);
    assert_eq!((one.take_behind(4), one.len()), (None, 4), "there is nothing behind");
    let mut several = packet(&[b"he", b"ad", b"body"]);
    assert_eq!((several.take_behind(4), several.len()), (None, 8));
    let mut cut = packet(&[b"headb", b"ody"]);
    assert_eq!((cut.take_behind(4), cut.len()), (None, 8));
}

#[test]
fn a_view_within_the_first_buffer_copies_nothing() {
    let copies = CopyCounter::default();
    let mut packet = packet(&[b"header", b"payload"]);
    let place = packet.buffers()[0].as_ptr();
    assert_eq!(packet.contiguous(6, &copies).expect("six bytes").as_ptr(), place);
    assert_eq!(packet.contiguous(0, &copies).expect("no bytes"), b"");
    assert_eq!((copies.copies(), copies.bytes()), (0, 0));
    assert_eq!(packet.contiguous(14, &copies), Err(TooShort { len_bytes: 13 }));
    assert_eq!(Packet::new().contiguous(0, &copies).expect("no bytes"), b"");
}

#[test]
fn a_view_over_several_buffers_is_copied_once_and_counted() {
    let copies = CopyCounter::default();
    let mut packet = packet(&[b"he", b"ad", b"er|payload"]);
    for _ in 0..3 {
        assert_eq!(packet.contiguous(6, &copies).expect("six bytes"), b"header");
    }
    assert_eq!((copies.copies(), copies.bytes()), (1, 6));
    assert_eq!((packet.len(), packet.buffers().len()), (14, 2));
    assert_eq!(bytes(&packet), b"header|payload");
    assert_eq!(packet.into_buffer(&copies), b"header|payload");
    assert_eq!((copies.copies(), copies.bytes()), (2, 20));
}

#[test]
fn a_full_chain_hands_the_buffer_back() {
    let mut packet = Packet::new();
    for _ in 0..MAX_BUFFERS {
        packet.push_back(Buffer::from_static(b"x")).expect("below the limit");
    }
    let ChainFull(back) = packet.push_back(Buffer::from_static(b"y")).expect_err("at the limit");
    assert_eq!(back, b"y");
    let ChainFull(back) = packet.push_front(Buffer::from_static(b"z")).expect_err("at the limit");
    assert_eq!(back, b"z");
    let ChainFull(back) = packet.prepend(b"header").expect_err("at the limit");
    assert_eq!(back, b"header");
    packet.push_back(Buffer::new()).expect("an empty buffer needs no place");
    let mut tail = Packet::from(Buffer::from_static(b"w"));
    assert_eq!(packet.append(&mut tail), Err(TooManyBuffers));
    assert_eq!((tail.len(), packet.len()), (1, MAX_BUFFERS));
    let copies = CopyCounter::default();
    packet.contiguous(2, &copies).expect("two bytes");
    packet.push_back(Buffer::from_static(b"y")).expect("a contiguous view has made room");
}

#[test]
fn headers_go_into_head_room_that_nobody_else_sees() {
    let mut payload = BufferMut::with_capacity(16, 8);
    payload.extend_from_slice(b"payload").expect("seven of eight bytes");
    let mut packet = Packet::from(payload.freeze());
    packet.prepend(b"tcp ").expect("four of sixteen bytes");
    packet.prepend(b"ip ").expect("three more");
    assert_eq!(packet.buffers().len(), 1);

    let kept_for_retransmission = packet.buffers()[0].clone();
    packet.prepend(b"eth ").expect("a second buffer");
    packet.prepend(b"vlan ").expect("in the head room of the second");
    assert_eq!(packet.buffers().len(), 2);
    assert_eq!(bytes(&packet), b"vlan eth ip tcp payload");
    assert_eq!(kept_for_retransmission, b"ip tcp payload");
}

#[test]
fn positions_follow_what_happens_in_front() {
    let tso = Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: false, gso_size: 1460, hdr_len: 20 };
    let mut packet = packet(&[b"twenty bytes of tcp.payload"]);
    packet.offload.checksum = Checksum::Partial { csum_start: 0, csum_offset: 16 };
    packet.offload.segmentation = Some(tso);
    packet.prepend(&[0; 20]).expect("an IP header");
    packet.push_front(Buffer::from_static(&[0; 14])).expect("an Ethernet header");
    assert_eq!(packet.offload.checksum, Checksum::Partial { csum_start: 34, csum_offset: 16 });
    assert_eq!(packet.offload.segmentation, Some(Segmentation { hdr_len: 54, ..tso }));
    packet.trim_front(34).expect("both headers");
    assert_eq!(packet.offload.checksum, Checksum::Partial { csum_start: 0, csum_offset: 16 });
    assert_eq!(packet.offload.segmentation, Some(tso));
    packet.trim_front(1).expect("into the transport header");
    assert_eq!(packet.offload.checksum, Checksum::Verified);
    packet.trim_front(20).expect("beyond the headers");
    assert_eq!(packet.offload.segmentation, None);
}

#[test]
fn parts_keep_what_does_not_depend_on_the_size() {
    let mut packet = packet(&[b"abc", b"def"]);
    let segmentation = Some(Segmentation { kind: SegmentationKind::UdpL4, has_ecn: false, gso_size: 2, hdr_len: 0 });
    let (rss_hash, vlan) = (Some(5), Some(VlanTag(0xb064)));
    packet.offload = Offload { checksum: Checksum::Verified, segmentation, rss_hash, vlan };
    let front = packet.split_to(4).expect("four of six bytes");
    for part in [&front, &packet] {
        let kept = Offload { checksum: Checksum::Verified, segmentation: None, rss_hash, vlan };
        assert_eq!(part.offload, kept);
    }
    assert_eq!((bytes(&front), bytes(&packet)), (b"abcd".to_vec(), b"ef".to_vec()));
    packet.offload.checksum = Checksum::Partial { csum_start: 0, csum_offset: 0 };
    packet.split_to(1).expect("one of two bytes");
    assert_eq!(packet.offload.checksum, Checksum::Complete);
}

#[test]
fn a_tag_has_three_fields() {
    let tag = VlanTag(0xb064);
    assert_eq!((tag.pcp(), tag.is_drop_eligible(), tag.vid()), (5, true, 100));
}

#[derive(Clone, Debug)]
enum Step {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    Prepend(Vec<u8>),
    TrimFront(usize),
    TrimBack(usize),
    SplitTo(usize),
    SplitAndJoin(usize),
    Contiguous(usize),
    /// In front of all, with room behind it.
    PushFrontWithRoom(Vec<u8>),
    /// With buffers as reachable whose lengths have a bit.
    JoinShort(usize, usize),
    Copy(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..10);
    prop_oneof![
        bytes().prop_map(Step::PushBack),
        bytes().prop_map(Step::PushFront),
        bytes().prop_map(Step::Prepend),
        (0..12usize).prop_map(Step::TrimFront),
        (0..12usize).prop_map(Step::TrimBack),
        (0..12usize).prop_map(Step::SplitTo),
        (0..60usize).prop_map(Step::SplitAndJoin),
        (0..60usize).prop_map(Step::Contiguous),
        (0..60usize, 0..20usize).prop_map(|(offset, len)| Step::Copy(offset, len)),
        bytes().prop_map(Step::PushFrontWithRoom),
        (0..20usize, 0..4usize).prop_map(|(most, bit)| Step::JoinShort(most, bit)),
    ]
}

fn apply(packet: &mut Packet, model: &mut Vec<u8>, copies: &CopyCounter, step: Step) {
    match step {
        Step::PushBack(part) => {
            if packet.push_back(Buffer::copy_from_slice(&part)).is_ok() {
                model.extend(part);
            }
        }
        Step::PushFront(part) => {
            if packet.push_front(Buffer::copy_from_slice(&part)).is_ok() {
                model.splice(0..0, part);
            }
        }
        Step::Prepend(header) => {
            if packet.prepend(&header).is_ok() {
                model.splice(0..0, header);
            }
        }
        Step::TrimFront(count) => {
            if packet.trim_front(count).is_ok() {
                model.drain(..count);
            }
        }
        Step::TrimBack(count) => {
            if packet.trim_back(count).is_ok() {
                model.truncate(model.len() - count);
            }
        }
        Step::SplitTo(count) => {
            if let Ok(front) = packet.split_to(count) {
                assert_eq!(bytes(&front), model.drain(..count).collect::<Vec<_>>());
            }
        }
        Step::SplitAndJoin(count) => {
            if let Ok(mut front) = packet.split_to(count) {
                match front.append(packet) {
                    Ok(()) => {
                        assert!(packet.is_empty() && packet.buffers().is_empty());
                        *packet = front;
                    }
                    Err(TooManyBuffers) => drop(model.drain(..count)),
                }
            }
        }
        Step::Contiguous(count) => {
            let (before, was_one) = (copies.bytes(), packet.buffers().first().is_none_or(|first| first.len() >= count));
            assert_eq!(packet.contiguous(count, copies).ok(), model.get(..count));
            let expected = if was_one || count > model.len() { 0 } else { count as u64 };
            assert_eq!(copies.bytes() - before, expected, "it copies only when it must");
        }
        Step::PushFrontWithRoom(part) => push_front_with_room(packet, model, part),
        Step::JoinShort(most, bit) => join_short(packet, most, bit),
        Step::Copy(offset, len) => {
            let mut out = alloc::vec![0; len];
            match packet.copy_to_slice(offset, &mut out) {
                Ok(()) => assert_eq!(out, model[offset..offset + len]),
                Err(TooShort { len_bytes }) => assert!(offset + len > len_bytes),
            }
        }
    }
}

fn push_front_with_room(packet: &mut Packet, model: &mut Vec<u8>, part: Vec<u8>) {
    let mut roomy = BufferMut::with_capacity(8, part.len() + 15);
    roomy.extend_from_slice(&part).expect("there is room");
    if packet.push_front(roomy.freeze()).is_ok() {
        model.splice(0..0, part);
    }
}

fn join_short(packet: &mut Packet, most: usize, bit: usize) {
    let before = packet.buffers().len();
    let joined = packet.join_short(most, |buffer| buffer.len() >> bit & 1 == 1);
    assert!(joined <= most && (joined > 0) == (packet.buffers().len() < before));
}

#[test]
fn short_buffers_go_behind_the_first_one_if_that_is_all_there_is_to_copy() {
    let roomy = || {
        let mut first = BufferMut::with_capacity(8, 20);
        first.extend_from_slice(b"head").expect("there is room");
        first.freeze()
    };
    let with = |first: Buffer, behind: &[&'static [u8]]| {
        let mut packet = Packet::from(first);
        behind.iter().for_each(|part| packet.push_back(Buffer::from_static(part)).expect("few buffers"));
        packet
    };
    let lengths = |packet: &Packet| packet.buffers().iter().map(|buffer| buffer.len()).collect::<Vec<_>>();
    let mut packet = with(roomy(), &[b"short", b"too"]);
    let place = packet.buffers()[0].as_ptr();
    assert_eq!((packet.join_short(8, |_| true), packet.len()), (8, 12));
    assert_eq!((bytes(&packet), lengths(&packet)), (b"headshorttoo".to_vec(), vec![12]));
    assert_eq!(packet.buffers()[0].as_ptr(), place, "it did not move");
    assert_eq!(packet.join_short(8, |_| true), 0);
    let mut packet = with(roomy(), &[b"short", b"longer"]);
    assert_eq!((packet.join_short(10, |_| true), lengths(&packet)), (5, vec![9, 6]));
    // In none of these cases anything happens.
    let shared = roomy();
    type IsReachable = fn(&Buffer) -> bool;
    let cases: [(Packet, usize, IsReachable); 5] = [
        (with(roomy(), &[b"short", b"longer"]), 10, |buffer| buffer.len() != 6),
        (with(roomy(), &[b"short"]), 10, |buffer| buffer.len() != 4),
        (with(roomy(), &[b"short"]), 4, |_| true),
        (with(roomy(), &[b"seventeen and more"]), 100, |_| true),
        (with(shared.clone(), &[b"short"]), 10, |_| true),
    ];
    for (mut packet, most, is_reachable) in cases {
        let (before, all) = (lengths(&packet), bytes(&packet));
        assert_eq!(packet.join_short(most, is_reachable), 0);
        assert_eq!((lengths(&packet), bytes(&packet)), (before, all));
    }
    assert_eq!(shared, b"head");
}

proptest! {
    #[test]
    fn packets_behave_like_vectors(steps in prop::collection::vec(step(), 0..60)) {
        let (mut packet, mut model, copies) = (Packet::new(), Vec::new(), CopyCounter::default());
        for step in steps {
            apply(&mut packet, &mut model, &copies, step);
            prop_assert_eq!(bytes(&packet), &*model);
            prop_assert_eq!((packet.len(), packet.is_empty()), (model.len(), model.is_empty()));
            prop_assert!(packet.buffers().len() <= MAX_BUFFERS);
            prop_assert!(packet.buffers().iter().all(|buffer| !buffer.is_empty()));
        }
    }
}
