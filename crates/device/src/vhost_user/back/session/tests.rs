use std::os::fd::OwnedFd;

use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::vhost_user::back::fuzzed;
use crate::vhost_user::back::testing::{FEATURES, Front, GUEST, MEMORY, USER, bell as eventfd_bell, memory_file};
use crate::vhost_user::message::{HEADER_BYTES, Header, MessageError, RegionDescription, RingAddresses};

fn session(queues: usize) -> (Session, Arc<[Arc<Port>]>) {
    let ports: Arc<[Arc<Port>]> = (0..queues).map(|_| Arc::new(Port::new().expect("descriptors"))).collect();
    let offer = Offer { features: FEATURES | features::RING_PACKED | features::MTU, mtu_bytes: 1500 };
    (Session::new(offer, Arc::clone(&ports)), ports)
}

fn received(bytes: &[u8], files: Vec<OwnedFd>) -> Option<Received> {
    let (header, payload) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let header = Header::decode(header).ok()?;
    (payload.len() == header.payload_bytes).then(|| Received { header, payload: payload.to_vec(), files })
}

fn handle(session: &mut Session, request: &Request, files: Vec<OwnedFd>) -> Result<Answered, SessionError> {
    session.handle(received(&request.encode(false), files).expect("a message"))
}

fn error(session: &mut Session, request: &Request, files: Vec<OwnedFd>) -> String {
    handle(session, request, files).expect_err("it is refused").to_string()
}

fn state(index: u32, value: u32) -> RingState {
    RingState { index, value }
}

/// Tells all of ring 1 but its kick.
fn set_up(session: &mut Session) {
    handle(session, &Request::SetFeatures(FEATURES), vec![]).expect("they are offered");
    handle(session, &Request::SetMemTable(vec![Front::region()]), vec![memory_file(MEMORY)]).expect("it is memory");
    handle(session, &Request::SetVringNum(state(1, 64)), vec![]).expect("it is a size");
    handle(session, &Request::SetVringAddr(addresses(USER)), vec![]).expect("it is within the memory");
}

fn addresses(at: u64) -> RingAddresses {
    RingAddresses { index: 1, flags: 0, descriptors: at, available: at + 0x400, used: at + 0x800, log: 0 }
}

fn kick(session: &mut Session) -> Result<Answered, SessionError> {
    handle(session, &Request::SetVringKick(RingFile { index: 1, has_file: true }), vec![eventfd_bell()])
}

fn is_running(port: &Port) -> bool {
    port.work(|rings| rings.transmit.is_some()).expect("nobody else is there")
}

#[test]
fn a_ring_starts_with_its_kick_and_stops_with_the_session() {
    let (mut session, ports) = session(1);
    set_up(&mut session);
    assert!(!is_running(&ports[0]));
    kick(&mut session).expect("all is known");
    assert!(is_running(&ports[0]));
    drop(session);
    assert!(!is_running(&ports[0]));
}

#[test]
fn a_ring_does_not_start_before_all_is_known() {
    let (mut fresh, _ports) = session(1);
    let refused = |session: &mut Session| kick(session).expect_err("it can't start").to_string();
    assert_eq!(refused(&mut fresh), "a ring is to start whose features was not told");
    handle(&mut fresh, &Request::SetFeatures(FEATURES), vec![]).expect("they are offered");
    assert_eq!(refused(&mut fresh), "a ring is to start whose size was not told");
    handle(&mut fresh, &Request::SetVringNum(state(1, 64)), vec![]).expect("it is a size");
    assert_eq!(refused(&mut fresh), "a ring is to start whose place was not told");
    let (mut session, _ports) = session(1);
    set_up(&mut session);
    for (at, what) in [(USER - 1, "table of descriptors"), (USER + MEMORY - 0x400, "available ring")] {
        handle(&mut session, &Request::SetVringAddr(addresses(at)), vec![]).expect("it is remembered");
        assert!(refused(&mut session).contains(what));
        handle(&mut session, &Request::GetVringBase { index: 1 }, vec![]).expect("it stops");
    }
    handle(&mut session, &Request::SetVringAddr(addresses(USER + 8)), vec![]).expect("it is remembered");
    handle(&mut session, &Request::SetVringNum(state(1, 65)), vec![]).expect("a packed ring may have it");
    let text = refused(&mut session);
    assert!(text.starts_with("a ring of 65 descriptors"), "{text}");
}

#[test]
fn requests_that_can_not_be_are_refused() {
    let (mut session, _ports) = session(2);
    let session = &mut session;
    assert_eq!(error(session, &Request::SetFeatures(1 << 40), vec![]), "features 0x10000000000 were not offered");
    let legacy = error(session, &Request::SetFeatures(0), vec![]);
    assert_eq!(legacy, "the driver does not know virtio 1.0 (VIRTIO_F_VERSION_1), which is needed");
    let unknown = error(session, &Request::SetProtocolFeatures(1 << 40), vec![]);
    assert_eq!(unknown, "protocol features 0x10000000000 were not offered");
    for request in [
        Request::SetVringNum(state(4, 1)),
        Request::SetVringBase(state(4, 1)),
        Request::SetVringEnable(state(4, 1)),
        Request::GetVringBase { index: 4 },
        Request::SetVringAddr(RingAddresses { index: 4, ..addresses(0) }),
    ] {
        assert_eq!(error(session, &request, vec![]), "there is no ring 4");
    }
    let far = Request::SetVringKick(RingFile { index: 4, has_file: true });
    assert_eq!(error(session, &far, vec![eventfd_bell()]), "there is no ring 4");
    for size in [0, 4097, u32::MAX] {
        let expected = format!("a ring of {size} descriptors: there may be 1 to 4096");
        assert_eq!(error(session, &Request::SetVringNum(state(0, size)), vec![]), expected);
    }
    let mtu = error(session, &Request::NetSetMtu(9000), vec![]);
    assert_eq!(mtu, "the front end has an MTU of 9000 bytes, and this side one of 1500");
    handle(session, &Request::NetSetMtu(1500), vec![]).expect("it is the same");
    let call = Request::SetVringCall(RingFile { index: 0, has_file: true });
    assert_eq!(error(session, &call, vec![memory_file(8)]), "a descriptor to be told by is no eventfd");
    let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    assert_eq!(error(session, &call, vec![socket.into()]), "a descriptor to be told by is no eventfd");
}

#[test]
fn memory_that_can_not_be_is_refused_and_what_was_there_stays() {
    let (mut session, ports) = session(1);
    set_up(&mut session);
    kick(&mut session).expect("all is known");
    let region = Front::region();
    let short = error(&mut session, &Request::SetMemTable(vec![region]), vec![memory_file(MEMORY - 1)]);
    assert!(short.starts_with("shared memory: the region at address 0x100000: its file has"), "{short}");
    let files = || vec![memory_file(MEMORY), memory_file(MEMORY)];
    let overlap = error(&mut session, &Request::SetMemTable(vec![region; 2]), files());
    assert!(overlap.contains("overlaps"), "{overlap}");
    let other = RegionDescription { guest_address: GUEST + MEMORY, ..region };
    let overlap = error(&mut session, &Request::SetMemTable(vec![region, other]), files());
    assert!(overlap.contains("overlaps"), "its own addresses do: {overlap}");
    assert!(is_running(&ports[0]), "it goes on in the memory that was there");
}

#[test]
fn memory_comes_and_goes_region_by_region() {
    let (mut session, ports) = session(1);
    set_up(&mut session);
    kick(&mut session).expect("all is known");
    let other = RegionDescription { guest_address: 0, bytes: 0x1000, user_address: 0x1000, file_offset: 0 };
    handle(&mut session, &Request::AddMemReg(other), vec![memory_file(0x1000)]).expect("there is room");
    assert!(is_running(&ports[0]));
    let gone = RegionDescription { file_offset: 0x77, ..Front::region() };
    handle(&mut session, &Request::RemMemReg(gone), vec![]).expect("it is there");
    assert!(!is_running(&ports[0]), "its memory has gone");
    let missing = error(&mut session, &Request::RemMemReg(gone), vec![]);
    assert_eq!(missing, "shared memory: there is no region of 2097152 bytes at address 0x100000");
    handle(&mut session, &Request::AddMemReg(Front::region()), vec![memory_file(MEMORY)]).expect("there is room");
    assert!(is_running(&ports[0]), "it goes on");
    for slot in 2..MAX_SLOTS as u64 {
        let one = RegionDescription { guest_address: slot << 32, user_address: slot << 32, ..other };
        handle(&mut session, &Request::AddMemReg(one), vec![memory_file(0x1000)]).expect("there is room");
    }
    let one = RegionDescription { guest_address: 1 << 50, user_address: 1 << 50, ..other };
    let many = error(&mut session, &Request::AddMemReg(one), vec![memory_file(0x1000)]);
    assert_eq!(many, "shared memory: there are 65 ranges of memory, and may be 64");
}

#[test]
fn a_running_ring_changes_its_bells_and_not_its_size() {
    let (mut session, ports) = session(1);
    set_up(&mut session);
    kick(&mut session).expect("all is known");
    let running = "size or place of a ring can't change while it is worked on";
    assert_eq!(error(&mut session, &Request::SetVringNum(state(1, 32)), vec![]), running);
    assert_eq!(error(&mut session, &Request::SetVringBase(state(1, 32)), vec![]), running);
    let features = error(&mut session, &Request::SetFeatures(FEATURES | features::RING_PACKED), vec![]);
    assert_eq!(features, "features can't change while it is worked on");
    handle(&mut session, &Request::SetFeatures(FEATURES), vec![]).expect("they are the same");
    let call = eventfd(0, EventfdFlags::empty()).expect("one that blocks");
    let same = call.try_clone().expect("a descriptor");
    handle(&mut session, &Request::SetVringCall(RingFile { index: 1, has_file: true }), vec![call]).expect("a bell");
    let blocks = !rustix::fs::fcntl_getfl(&same).expect("flags").contains(OFlags::NONBLOCK);
    assert!(!blocks, "no shard waits for it");
    ports[0].work(|rings| rings.transmit.as_ref().expect("it runs").tell()).expect("nobody else is there");
    let mut count = [0; 8];
    rustix::io::read(&same, &mut count).expect("it was told");
    kick(&mut session).expect("it may be replaced");
    handle(&mut session, &Request::ResetDevice, vec![]).expect("it stops");
    assert!(!is_running(&ports[0]));
}

#[test]
fn who_asks_for_answers_gets_them() {
    let (mut session, _ports) = session(1);
    let ask = |session: &mut Session, request: &Request| {
        session.handle(received(&request.encode(true), vec![]).expect("a message"))
    };
    assert!(ask(&mut session, &Request::SetOwner).expect("it is fine").answer.is_none(), "it was not negotiated");
    let answered =
        ask(&mut session, &Request::SetProtocolFeatures(protocol_features::REPLY_ACK)).expect("it is offered");
    assert_eq!(answered.answer, Some(Reply::Value(0).encode(16)), "now it is");
    let answered = ask(&mut session, &Request::SetOwner).expect("it is fine");
    assert_eq!(answered.answer, Some(Reply::Value(0).encode(3)));
    let answered = ask(&mut session, &Request::SetFeatures(0)).expect("it is told");
    assert_eq!(answered.answer, Some(Reply::Value(1).encode(2)));
    assert!(matches!(answered.refused, Some(SessionError::Legacy)));
    let far = ask(&mut session, &Request::GetVringBase { index: 9 });
    assert!(far.is_err(), "what has an answer of its own can't be refused by another one");
    let unknown = [99_u32, 9, 0].map(u32::to_ne_bytes).concat();
    let answered = session.handle(received(&unknown, vec![]).expect("a message")).expect("it is told");
    assert_eq!(answered.answer, Some(Reply::Value(1).encode(99)));
    assert!(matches!(answered.refused, Some(SessionError::Message(MessageError::Unknown { number: 99 }))));
    let count = ask(&mut session, &Request::GetMaxMemSlots).expect("it is fine");
    assert_eq!(count.answer, Some(Reply::Value(64).encode(36)));
}

#[test]
fn without_protocol_features_rings_are_enabled_from_the_start() {
    for has_protocol in [false, true] {
        let (mut session, ports) = session(1);
        let features = if has_protocol { FEATURES } else { FEATURES & !features::VHOST_USER_PROTOCOL };
        set_up(&mut session);
        handle(&mut session, &Request::SetFeatures(features), vec![]).expect("they are offered");
        kick(&mut session).expect("all is known");
        let is_enabled = ports[0].work(|rings| rings.transmit.as_ref().is_some_and(|running| running.is_enabled));
        assert_eq!(is_enabled, Some(!has_protocol));
    }
}

#[test]
fn a_driver_with_a_single_pair_of_queues_is_known() {
    let (mut session, _ports) = session(3);
    session.offer.features |= features::MQ;
    assert_eq!(session.unused_queues(), 0, "nobody knows yet");
    handle(&mut session, &Request::SetFeatures(FEATURES), vec![]).expect("they are offered");
    assert_eq!(session.unused_queues(), 2);
    handle(&mut session, &Request::SetFeatures(FEATURES | features::MQ), vec![]).expect("they are offered");
    assert_eq!(session.unused_queues(), 0);
}

proptest! {
    #[test]
    fn session_random_front_ends_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzed::check(&bytes);
    }
}

#[test]
fn the_corpus_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/vhost_user");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is in the tree") {
        let path = entry.expect("it is readable").path();
        let bytes = std::fs::read(&path).expect("it is readable");
        assert!(std::panic::catch_unwind(|| fuzzed::check(&bytes)).is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(count > 5, "the corpus is there");
}
