use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

use sunstar_packet::{Buffer, Checksum, Segmentation, SegmentationKind, VlanTag};

use super::*;
use crate::capabilities::Refusal;

const NOW: Instant = Instant::ORIGIN;

#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rings(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

fn packet(bytes: &[u8]) -> Packet {
    Packet::from(Buffer::copy_from_slice(bytes))
}

fn small(ring_packets: usize, when_full: WhenFull) -> (LinkQueue, LinkQueue) {
    link(LinkOptions { ring_packets, when_full, ..LinkOptions::default() })
}

fn received(queue: &mut LinkQueue) -> Vec<Vec<u8>> {
    let mut out = VecDeque::new();
    queue.rx_burst(NOW, &mut out, usize::MAX).unwrap();
    out.iter().map(|packet| packet.buffers().concat()).collect()
}

#[test]
fn packets_arrive_in_order_and_without_a_copy() {
    let (mut here, mut there) = link(LinkOptions::default());
    let buffer = Buffer::copy_from_slice(b"second");
    let mut packets = VecDeque::from([packet(b"first"), Packet::from(buffer.clone())]);
    assert_eq!(here.tx_burst(NOW, &mut packets).unwrap(), 2);
    packets.push_back(packet(b"third"));
    assert_eq!(here.tx_burst(NOW, &mut packets).unwrap(), 1);
    let mut out = VecDeque::new();
    assert_eq!(there.rx_burst(NOW, &mut out, 1).unwrap(), 1);
    assert_eq!(there.rx_burst(NOW, &mut out, 8).unwrap(), 2);
    assert_eq!(out[1].buffers()[0].as_ptr(), buffer.as_ptr());
    assert_eq!(out[2].buffers()[0], b"third");
    assert_eq!((here.counters().tx_packets, here.counters().tx_bytes), (3, 16));
    assert_eq!((there.counters().rx_packets, there.counters().rx_bytes), (3, 16));
}

#[test]
fn both_directions_are_apart() {
    let (mut here, mut there) = link(LinkOptions::default());
    here.tx_burst(NOW, &mut [packet(b"to there")].into()).unwrap();
    there.tx_burst(NOW, &mut [packet(b"to here")].into()).unwrap();
    assert_eq!(received(&mut here), [b"to here"]);
    assert_eq!(received(&mut there), [b"to there"]);
    assert_ne!(here.capabilities().mac, there.capabilities().mac);
}

#[test]
fn a_full_ring_holds_back() {
    let (mut here, mut there) = small(2, WhenFull::HoldBack);
    let mut packets = VecDeque::from([packet(b"1"), packet(b"2"), packet(b"3")]);
    assert_eq!(here.tx_burst(NOW, &mut packets).unwrap(), 2);
    assert_eq!(here.tx_burst(NOW, &mut packets).unwrap(), 0);
    assert_eq!((packets.len(), here.counters().tx_full, here.counters().tx_dropped), (1, 2, 0));
    assert_eq!(received(&mut there), [b"1", b"2"]);
    assert_eq!(here.tx_burst(NOW, &mut packets).unwrap(), 1);
    assert_eq!(received(&mut there), [b"3"]);
}

#[test]
fn a_full_ring_drops_if_told_so() {
    let (mut here, mut there) = small(2, WhenFull::Drop);
    let mut packets = VecDeque::from([packet(b"1"), packet(b"2"), packet(b"3")]);
    assert_eq!(here.tx_burst(NOW, &mut packets).unwrap(), 3);
    assert_eq!((packets.len(), here.counters().tx_full, here.counters().tx_dropped), (0, 0, 1));
    assert_eq!(received(&mut there), [b"1", b"2"]);
}

#[test]
fn who_waits_is_woken_once() {
    let (mut here, mut there) = small(1, WhenFull::HoldBack);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    assert!(matches!(there.poll_ready(&mut cx), Readiness::Woken));
    let mut packets = VecDeque::from([packet(b"1"), packet(b"2")]);
    here.tx_burst(NOW, &mut packets).unwrap();
    assert_eq!(bell.rings(), 1);
    assert!(matches!(there.poll_ready(&mut cx), Readiness::Ready));
    assert!(matches!(here.poll_ready(&mut cx), Readiness::Woken), "it waits for room");
    assert_eq!(received(&mut there), [b"1"]);
    assert_eq!(bell.rings(), 2);
    assert!(matches!(here.poll_ready(&mut cx), Readiness::Ready), "there is room");
    here.tx_burst(NOW, &mut packets).unwrap();
    assert!(matches!(here.poll_ready(&mut cx), Readiness::Woken), "only packets are waited for");
}

#[test]
fn the_other_end_is_gone_after_its_packets() {
    let (mut here, mut there) = link(LinkOptions::default());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    here.tx_burst(NOW, &mut [packet(b"last")].into()).unwrap();
    assert_eq!(received(&mut there), [b"last"]);
    assert!(matches!(there.poll_ready(&mut Context::from_waker(&waker)), Readiness::Woken));
    here.tx_burst(NOW, &mut [packet(b"very last")].into()).unwrap();
    drop(here);
    assert_eq!(bell.rings(), 1);
    assert_eq!(received(&mut there), [b"very last"]);
    assert!(matches!(there.rx_burst(NOW, &mut VecDeque::new(), 1), Err(QueueError::Gone)));
    assert!(matches!(there.tx_burst(NOW, &mut [packet(b"x")].into()), Err(QueueError::Gone)));
}

#[test]
fn what_the_capabilities_exclude_is_refused() {
    let (mut plain, mut there) = link(LinkOptions::default());
    let mut partial = packet(&[0; 60]);
    partial.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    let mut large = packet(&[0; 3000]);
    large.offload.segmentation =
        Some(Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: false, gso_size: 1448, hdr_len: 66 });
    let mut tagged = packet(&[0; 60]);
    tagged.offload.vlan = Some(VlanTag(7));
    let long = packet(&[0; 1523]);
    let mut packets = VecDeque::from([packet(&[1; 1522]), partial, large, tagged, long, Packet::new(), packet(&[2])]);
    assert_eq!(plain.tx_burst(NOW, &mut packets).unwrap(), 7);
    assert_eq!((plain.counters().tx_refused, plain.counters().tx_packets), (5, 2));
    assert_eq!(received(&mut there), [vec![1; 1522], vec![2]]);
}

#[test]
fn offloads_arrive_as_they_were_sent() {
    let (mut here, mut there) = link(LinkOptions { offloads: Offloads::ALL, ..LinkOptions::default() });
    let mut large = packet(&[0; 60_000]);
    large.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    large.offload.segmentation =
        Some(Segmentation { kind: SegmentationKind::Tcpv4, has_ecn: true, gso_size: 1448, hdr_len: 66 });
    let offload = large.offload;
    here.tx_burst(NOW, &mut [large].into()).unwrap();
    let mut out = VecDeque::new();
    there.rx_burst(NOW, &mut out, 1).unwrap();
    assert_eq!(out[0].offload, offload);
}

#[test]
fn metadata_that_point_beyond_the_packet_are_refused() {
    let capabilities = link(LinkOptions { offloads: Offloads::ALL, ..LinkOptions::default() }).0.capabilities().clone();
    let mut checksum = packet(&[0; 51]);
    checksum.offload.checksum = Checksum::Partial { csum_start: 34, csum_offset: 16 };
    assert_eq!(capabilities.check(&checksum), Err(Refusal::Position));
    let mut pieces = packet(&[0; 51]);
    let segmentation = Segmentation { kind: SegmentationKind::UdpL4, has_ecn: false, gso_size: 0, hdr_len: 42 };
    pieces.offload.segmentation = Some(segmentation);
    assert_eq!(capabilities.check(&pieces), Err(Refusal::Position));
    pieces.offload.segmentation = Some(Segmentation { gso_size: 1, hdr_len: 52, ..segmentation });
    assert_eq!(capabilities.check(&pieces), Err(Refusal::Position));
    pieces.offload.segmentation = Some(Segmentation { gso_size: 1, ..segmentation });
    assert_eq!(capabilities.check(&pieces), Ok(()));
}
