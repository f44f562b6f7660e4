use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use proptest::collection::vec;
use proptest::prelude::*;
use sunstar_packet::{Buffer, Checksum, Segmentation, SegmentationKind, VlanTag};

use super::*;
use crate::link::{LinkOptions, LinkQueue, WhenFull, link};
use crate::{Offloads, Refusal};

const NOW: Instant = Instant::ORIGIN;
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

/// A frame: its tags, and its type with what is behind.
fn frame(tags: &[u8], rest: &[u8]) -> Packet {
    Packet::from(Buffer::from([&MACS[..], tags, rest].concat()))
}

fn bytes(packet: &Packet) -> Vec<u8> {
    packet.buffers().concat()
}

/// The ends of these VLANs, and what is on the wire.
fn lanes(vlans: &[Option<u16>], options: LinkOptions) -> (Vec<VlanQueue>, LinkQueue) {
    let (here, there) = link(options);
    (split(Box::new(here), vlans), there)
}

fn send(queue: &mut impl Queue, packets: impl IntoIterator<Item = Packet>) -> usize {
    let mut packets = packets.into_iter().collect();
    queue.tx_burst(NOW, &mut packets).expect("it is there");
    packets.len()
}

fn received(queue: &mut impl Queue) -> Vec<Packet> {
    let mut out = VecDeque::new();
    queue.rx_burst(NOW, &mut out, 128).expect("it is there");
    out.into()
}

#[test]
fn frames_go_to_their_vlans_and_leave_with_their_tags() {
    let (mut ends, mut wire) = lanes(&[Some(5), Some(4_094), None], LinkOptions::default());
    let tags: [&[u8]; 3] = [&[0x81, 0, 0, 5], &[0x81, 0, 0xf, 0xfe], &[]];
    for (end, tag) in (0_u8..).zip(tags) {
        send(&mut wire, [frame(tag, &[8, 0, end])]);
    }
    // A tag of VLAN 0 only has a priority; of others the priority is of no interest.
    send(&mut wire, [frame(&[0x81, 0, 0xe0, 0], b"\x08\0zero"), frame(&[0x81, 0, 0x70, 5], b"\x08\0five")]);
    let expected: [&[&[u8]]; 3] = [&[&[8, 0, 0], b"\x08\0five"], &[&[8, 0, 1]], &[&[8, 0, 2], b"\x08\0zero"]];
    for (end, expected) in ends.iter_mut().zip(expected) {
        let got: Vec<_> = received(end).iter().map(bytes).collect();
        let expected: Vec<_> = expected.iter().map(|rest| [&MACS[..], rest].concat()).collect();
        assert_eq!(got, expected);
        assert_eq!(end.counters().rx_packets, expected.len() as u64);
    }
    for end in ends.iter_mut().rev() {
        assert_eq!(send(end, [frame(&[], b"\x86\xddx")]), 0);
        assert_eq!(end.counters().tx_packets, 1);
    }
    let left: Vec<_> = received(&mut wire).iter().map(bytes).collect();
    assert_eq!(left, tags.map(|tag| [&MACS[..], tag, b"\x86\xddx"].concat()));
}

#[test]
fn frames_of_others_are_dropped_and_counted() {
    let (mut ends, mut wire) = lanes(&[Some(5)], LinkOptions::default());
    let strangers: [&[u8]; 7] = [
        b"\x08\0untagged",
        b"\x81\0\0\x06\x08\0other",
        b"\x81\0\0\0\x08\0none",
        b"\x81\0\0\x05\x81\0\0\x05\x08\0",
        b"\x88\xa8\0\x05\x08\0",
        b"\x81\0\0\x05\x08",
        b"",
    ];
    send(&mut wire, strangers.map(|rest| frame(&[], rest)));
    assert_eq!(received(&mut ends[0]).len(), 0);
    assert_eq!((ends[0].counters().rx_other_vlan, ends[0].counters().rx_packets), (7, 0));
}

/// What the device does lies four bytes later in what it gets, and earlier in what it gives.
#[test]
fn offloads_move_with_the_tag() {
    let offloads = Offloads { vlan: false, ..Offloads::ALL };
    let (mut ends, mut wire) = lanes(&[Some(5)], LinkOptions { offloads, ..LinkOptions::default() });
    let mut packet = frame(&[], &[0; 3_000]);
    let segmentation =
        |hdr_len| Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: false, gso_size: 1_460, hdr_len };
    let partial = |csum_start| Checksum::Partial { csum_start, csum_offset: 16 };
    (packet.offload.checksum, packet.offload.segmentation) = (partial(34), Some(segmentation(54)));
    send(&mut ends[0], [packet]);
    let tagged = received(&mut wire).remove(0);
    assert_eq!((tagged.offload.checksum, tagged.offload.segmentation), (partial(38), Some(segmentation(58))));
    send(&mut wire, [tagged]);
    let untagged = received(&mut ends[0]).remove(0);
    assert_eq!((untagged.offload.checksum, untagged.offload.segmentation), (partial(34), Some(segmentation(54))));
}

/// Of a device that takes tags off.
#[test]
fn tags_beside_the_frame_are_understood() {
    let offloads = Offloads::ALL;
    let (mut ends, mut wire) = lanes(&[Some(5)], LinkOptions { offloads, ..LinkOptions::default() });
    assert!(!ends[0].capabilities().tx.vlan, "they are in the frame when it leaves");
    for vid in [5, 6] {
        let mut packet = frame(&[], b"\x08\0x");
        packet.offload.vlan = Some(VlanTag(vid));
        send(&mut wire, [packet]);
    }
    let got = received(&mut ends[0]);
    assert_eq!((got.len(), got[0].offload.vlan, ends[0].counters().rx_other_vlan), (1, None, 1));
}

/// The MTU is that of IP: a tag does not count.
#[test]
fn a_full_packet_fits_with_its_tag() {
    let (mut ends, mut wire) = lanes(&[Some(5)], LinkOptions::default());
    send(&mut ends[0], [frame(&[], &[0; 2 + 1_500]), frame(&[], &[0; 2 + 1_600])]);
    assert_eq!(received(&mut wire).iter().map(Packet::len).collect::<Vec<_>>(), [1_518]);
    assert_eq!(ends[0].counters().tx_refused, 1);
    assert_eq!(ends[0].capabilities().check(&Packet::new()), Err(Refusal::Empty));
}

/// What others send waits for the one who has the device, who does not sleep before.
#[test]
fn who_has_the_device_stays_awake_for_the_others() {
    let mut cx = Context::from_waker(Waker::noop());
    let options = LinkOptions { ring_packets: 1, when_full: WhenFull::HoldBack, ..LinkOptions::default() };
    let (mut ends, mut wire) = lanes(&[Some(5), Some(6)], options);
    assert!(matches!(ends[1].poll_ready(&mut cx), Readiness::Woken));
    assert!(matches!(ends[0].poll_ready(&mut cx), Readiness::Woken));
    send(&mut ends[1], [frame(&[], b"\x08\0a"), frame(&[], b"\x08\0b")]);
    assert!(matches!(ends[1].poll_ready(&mut cx), Readiness::Woken));
    assert!(matches!(ends[0].poll_ready(&mut cx), Readiness::Ready));
    send(&mut ends[0], []);
    assert!(matches!(ends[0].poll_ready(&mut cx), Readiness::Woken), "the device is full, and tells when it is not");
    assert_eq!(received(&mut wire).len(), 1);
    send(&mut ends[0], []);
    assert_eq!(received(&mut wire).len(), 1);
    // And what has come for others keeps them awake.
    send(&mut wire, [frame(&[0x81, 0, 0, 6], b"\x08\0x")]);
    assert_eq!(received(&mut ends[0]).len(), 0);
    assert!(matches!(ends[1].poll_ready(&mut cx), Readiness::Ready));
}

#[test]
fn what_waits_is_bounded() {
    let options = LinkOptions { ring_packets: 4_096, ..LinkOptions::default() };
    let (mut ends, mut wire) = lanes(&[Some(5), Some(6)], options);
    let many = |count: usize| (0..count).map(|_| frame(&[0x81, 0, 0, 6], b"\x08\0x"));
    send(&mut wire, many(MAX_WAITING_PACKETS + 10));
    while !matches!(ends[0].poll_ready(&mut Context::from_waker(Waker::noop())), Readiness::Woken) {
        received(&mut ends[0]);
    }
    assert_eq!((ends[1].counters().rx_packets, ends[1].counters().rx_no_frames), (MAX_WAITING_PACKETS as u64, 10));
    assert_eq!(send(&mut ends[1], many(MAX_WAITING_PACKETS + 10)), 10, "they stay where they are");
    assert_eq!(ends[1].counters().tx_full, 1);
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The device tells of room only whom it has told that there is none, if that was what it heard last.
#[test]
fn whoever_waits_for_room_is_woken_though_others_send_nothing() {
    let options = LinkOptions { ring_packets: 4, when_full: WhenFull::HoldBack, ..LinkOptions::default() };
    let (mut ends, mut wire) = lanes(&[Some(5), Some(6)], options);
    let many = || (0..6).map(|_| frame(&[], b"\x08\0x"));
    for _ in 0..3 {
        assert_eq!(send(&mut ends[0], many()), 0, "they wait in the lane");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(matches!(ends[0].poll_ready(&mut Context::from_waker(&waker)), Readiness::Woken));
        assert_eq!(received(&mut wire).len(), 4);
        assert!(woken.0.load(Ordering::Relaxed), "there is room");
        while !ends[0].lanes.all[0].to_send.borrow().is_empty() {
            send(&mut ends[0], []);
            received(&mut wire);
        }
    }
}

#[test]
fn whoever_found_its_lane_full_hears_of_room() {
    let options = LinkOptions { ring_packets: 4, when_full: WhenFull::HoldBack, ..LinkOptions::default() };
    let (mut ends, mut wire) = lanes(&[Some(5), Some(6)], options);
    let left = send(&mut ends[1], (0..MAX_WAITING_PACKETS + 9).map(|_| frame(&[], b"\x08\0x")));
    assert_eq!(left, 9);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(!matches!(ends[1].poll_ready(&mut cx), Readiness::Ready), "there is no room");
    while ends[1].lanes.all[1].to_send.borrow().len() == MAX_WAITING_PACKETS {
        send(&mut ends[0], []);
        received(&mut wire);
    }
    assert!(matches!(ends[1].poll_ready(&mut cx), Readiness::Ready));
    assert_eq!(send(&mut ends[1], [frame(&[], b"\x08\0x")]), 0);
    assert!(!matches!(ends[1].poll_ready(&mut cx), Readiness::Ready), "all was taken");
}

#[test]
fn a_device_that_is_gone_is_so_for_all() {
    let (mut ends, wire) = lanes(&[Some(5), Some(6)], LinkOptions::default());
    drop(wire);
    let mut out = VecDeque::new();
    assert!(matches!(ends[0].rx_burst(NOW, &mut out, 1), Err(QueueError::Gone)));
    for end in &mut ends {
        assert!(matches!(end.rx_burst(NOW, &mut out, 1), Err(QueueError::Gone)));
        assert!(matches!(end.tx_burst(NOW, &mut VecDeque::new()), Err(QueueError::Gone)));
    }
}

proptest! {
    /// Whatever comes: who gets it is told by its bytes alone, and what goes out and comes back is the same.
    #[test]
    fn property_vlans_are_kept_apart(rest in vec(any::<u8>(), 0..40), vlan in 1..=MAX_VLAN, cuts in vec(0_usize..20, 0..3)) {
        let mut packet = Packet::new();
        let whole = [&MACS[..], &rest].concat();
        let mut at = 0;
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let end = whole.len().min(at.max(cut));
            if end > at {
                packet.push_back(Buffer::copy_from_slice(&whole[at..end])).expect("few");
            }
            at = end;
        }
        if rest.is_empty() {
            prop_assert!(!tag(&mut packet, vlan));
            return Ok(());
        }
        let was_tagged = [CUSTOMER, PROVIDER].iter().any(|kind| rest.starts_with(kind));
        prop_assert!(tag(&mut packet, vlan));
        let [high, low] = vlan.to_be_bytes();
        prop_assert_eq!(bytes(&packet), [&MACS[..], &[0x81, 0, high, low], &rest].concat());
        let outcome = untag(&mut packet);
        if rest.len() < 2 || was_tagged {
            prop_assert_eq!(outcome, None);
        } else {
            prop_assert_eq!((outcome, bytes(&packet)), (Some(Some(vlan)), whole));
        }
    }
}
