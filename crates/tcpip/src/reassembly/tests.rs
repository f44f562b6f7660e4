use core::net::Ipv4Addr;
use core::time::Duration;

use proptest::prelude::*;
use sunstar_packet::{Buffer, CopyCounter, Packet};
use sunstar_wire::{Fragment, IpProtocol, Ipv4Header};

use super::{LIFETIME, Reassembly, ReassemblyLimits};
use crate::drops::{DropReason, Drops};
use crate::head::Head;
use crate::interface::InterfaceId;
use crate::tcp::test_stream::data;
use crate::time::Instant;

struct Fixture {
    reassembly: Reassembly,
    drops: Drops,
    copies: CopyCounter,
    now: Instant,
}

fn header(identification: u16, offset: u16, has_more: bool) -> Ipv4Header {
    let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let fragment = Fragment::new(offset, has_more).expect("a multiple of eight");
    Ipv4Header { identification, fragment, dont_fragment: false, ..Ipv4Header::new(IpProtocol::UDP, src, dst) }
}

impl Fixture {
    fn new(limits: ReassemblyLimits) -> Self {
        let now = Instant::from_micros(5);
        Self { reassembly: Reassembly::new(limits), drops: Drops::default(), copies: CopyCounter::default(), now }
    }

    /// The bytes from `offset` to `end` of a packet whose every byte is known.
    fn push(&mut self, id: u16, offset: u16, end: u16, has_more: bool) -> Result<Option<Vec<u8>>, DropReason> {
        let payload = data(offset.into(), usize::from(end - offset));
        self.push_payload(id, offset, has_more, payload.into())
    }

    fn push_payload(&mut self, id: u16, at: u16, has_more: bool, part: Packet) -> Result<Option<Vec<u8>>, DropReason> {
        let header = header(id, at, has_more);
        let done = self.reassembly.push(
            self.now,
            InterfaceId::LOOPBACK,
            &Head::V4(header),
            part,
            &mut self.drops,
            &self.copies,
        )?;
        Ok(done.map(|(header, whole)| {
            assert!(header.fragment().is_whole());
            whole.into_buffer(&CopyCounter::default()).to_vec()
        }))
    }
}

/// RFC 791 §3.2.
#[test]
fn puts_pieces_together() {
    let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
    assert_eq!(fixture.push(1, 16, 40, true), Ok(None));
    assert_eq!(fixture.push(2, 0, 16, true), Ok(None));
    assert_eq!(fixture.push(1, 40, 45, false), Ok(None));
    assert_eq!(fixture.push(1, 0, 16, true), Ok(Some(data(0, 45).to_vec())));
    assert_eq!(fixture.push(2, 16, 17, false), Ok(Some(data(0, 17).to_vec())));
    assert_eq!((fixture.reassembly.level(), fixture.reassembly.deadline(), fixture.copies.copies()), ((0, 0), None, 0));
}

/// RFC 5722 §4: nothing of the packet is believed, what comes later neither; but networks duplicate.
#[test]
fn overlaps_end_the_packet() {
    for (offset, end) in [(8, 24), (0, 8), (24, 40), (8, 48)] {
        let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
        assert_eq!(fixture.push(1, 0, 32, true), Ok(None));
        assert_eq!(fixture.push(1, 0, 32, true), Err(DropReason::FragmentDuplicate));
        assert_eq!(fixture.push(1, offset, end, true), Err(DropReason::FragmentOverlap));
        assert_eq!(fixture.push(1, 32, 40, false), Err(DropReason::FragmentOverlap));
        assert_eq!((fixture.reassembly.level(), fixture.drops.count(DropReason::FragmentOverlap)), ((1, 0), 1));
        fixture.now = fixture.now + LIFETIME;
        let expired = fixture.reassembly.poll_expired(fixture.now, &mut fixture.drops).expect("its time is over");
        assert!(expired.first.is_none());
        assert_eq!(fixture.reassembly.level(), (0, 0));
    }
}

#[test]
fn malformed_fragments_are_dropped() {
    let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
    let malformed = Err(DropReason::FragmentMalformed);
    assert_eq!(fixture.push(1, 0, 12, true), malformed, "no multiple of eight");
    assert_eq!(fixture.push(1, 8, 8, false), malformed, "empty");
    assert_eq!(fixture.push(1, 65_512, 65_520, false), malformed, "beyond the largest packet");
    assert_eq!(fixture.reassembly.level().0, 0);
    assert_eq!(fixture.push(1, 8, 16, false), Ok(None));
    assert_eq!(fixture.push(1, 16, 24, true), malformed, "after the last one");
    assert_eq!(fixture.push(2, 16, 24, true), Ok(None));
    assert_eq!(fixture.push(2, 8, 16, false), malformed, "the last one comes before another");
}

/// RFC 791 §3.2; RFC 1122 §3.3.2: who has sent the first fragment is told.
#[test]
fn incomplete_packets_have_their_time() {
    let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
    fixture.push(1, 0, 16, true).expect("well formed");
    fixture.now = fixture.now + Duration::from_secs(10);
    fixture.push(2, 16, 32, true).expect("well formed");
    fixture.push(1, 16, 32, true).expect("well formed");
    assert_eq!(fixture.reassembly.deadline(), Some(fixture.now + Duration::from_secs(20)));
    assert!(fixture.reassembly.poll_expired(fixture.now, &mut fixture.drops).is_none());
    let later = fixture.now + LIFETIME;
    let mut expired = || fixture.reassembly.poll_expired(later, &mut fixture.drops);
    let (header, first) = expired().and_then(|expired| expired.first).expect("it is there");
    let Head::V4(header) = header else { panic!("{header:?}") };
    assert_eq!((header.identification, first.len()), (1, 16));
    assert!(expired().is_some_and(|expired| expired.first.is_none()));
    assert_eq!(fixture.drops.count(DropReason::FragmentTimeout), 3);
}

#[test]
fn packets_and_bytes_are_bounded() {
    let mut fixture = Fixture::new(ReassemblyLimits { packets: 3, bytes: 1 << 20 });
    for id in 0..5 {
        fixture.push(id, 8, 16, true).expect("well formed");
    }
    assert_eq!((fixture.reassembly.level().0, fixture.drops.count(DropReason::FragmentMemory)), (3, 2));
    let mut fixture = Fixture::new(ReassemblyLimits { packets: 100, bytes: 20_000 });
    for id in 0..50 {
        fixture.push(id, 8, 16, true).expect("well formed");
        assert!(fixture.reassembly.level().1 <= 20_000);
    }
    assert_eq!(fixture.reassembly.level(), (9, 9 * 2_048));
    let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
    let refused = (0..200).find(|piece| fixture.push(1, 16 * piece, 16 * piece + 8, true).is_err());
    assert_eq!((refused, fixture.reassembly.level()), (Some(128), (1, 0)));
}

/// A packet has 64 buffers at most.
#[test]
fn many_pieces_are_copied_into_one() {
    let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
    let mut done = None;
    for piece in 0..100 {
        done = fixture.push(1, 8 * piece, 8 * piece + 8, piece < 99).expect("well formed");
    }
    assert_eq!((done, fixture.copies.copies()), (Some(data(0, 800).to_vec()), 1));
}

proptest! {
    /// In any order, any of them twice, among those of another packet.
    #[test]
    fn any_order_is_right(cuts in prop::collection::btree_set(1_u16..400, 0..40), order in any::<u64>(), tail in 1_u16..9) {
        let mut bounds: Vec<u16> = core::iter::once(0).chain(cuts.iter().map(|cut| cut * 8)).collect();
        let end = bounds.last().expect("zero is among them") + tail;
        bounds.push(end);
        let mut pieces: Vec<(u16, u16, u16)> =
            [1, 2].into_iter().flat_map(|id| bounds.windows(2).map(move |pair| (id, pair[0], pair[1]))).collect();
        let mut state = order | 1;
        pieces.sort_by_cached_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        });
        let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
        let mut done = 0;
        for (index, (id, from, to)) in pieces.iter().copied().enumerate() {
            let result = fixture.push(id, from, to, to != end);
            let is_complete = pieces[..=index].iter().filter(|piece| piece.0 == id).count() == bounds.len() - 1;
            if is_complete {
                prop_assert_eq!(result, Ok(Some(data(0, end.into()).to_vec())));
                done += 1;
            } else {
                prop_assert_eq!(result, Ok(None));
                prop_assert_eq!(fixture.push(id, from, to, to != end), Err(DropReason::FragmentDuplicate));
            }
        }
        prop_assert_eq!((done, fixture.reassembly.level()), (2, (0, 0)));
    }

    /// What comes out was put in, whatever overlaps: the first byte of each piece says which it is.
    #[test]
    fn nothing_is_made_up(pieces in prop::collection::vec((0_u16..6, 1_u16..4, any::<bool>()), 0..40)) {
        let mut fixture = Fixture::new(ReassemblyLimits::DEFAULT);
        for (at, count, has_more) in pieces {
            let payload = data(u32::from(at) * 8, usize::from(count) * 8);
            if let Ok(Some(whole)) = fixture.push_payload(1, at * 8, has_more, Packet::from(Buffer::clone(&payload))) {
                prop_assert_eq!(&whole[..], &data(0, whole.len())[..]);
            }
        }
        let parts: usize = fixture.reassembly.incomplete.iter().map(|one| one.parts.len()).sum();
        prop_assert_eq!(fixture.reassembly.level().1, parts * 2_048);
    }
}
