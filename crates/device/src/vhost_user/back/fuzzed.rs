//! A session with a front end that sends whatever bytes say: the check behind the fuzz target and the properties.
//!
//! Requests are nearly right, so that they get deep: numbers are of those that mean something, descriptors of the kinds that there are. No ring
//! may be at work by what is no eventfd, in memory that is not there, or after the session; and nothing may be taken that says one thing
//! and brings another.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FileType, MemfdFlags, ftruncate, memfd_create};
use sunstar_virtio::net::features;

use super::port::{Bells, Port, Rings};
use super::session::{Offer, Session};
use crate::vhost_user::channel::Received;
use crate::vhost_user::message::{
    HEADER_BYTES, Header, RegionDescription, Request, RingAddresses, RingFile, RingState,
};

const GUEST: u64 = 0x10_0000;
const USER: u64 = 0x7000_0000;
const BYTES: u64 = 0x1_0000;
const FEATURES: u64 = features::VERSION_1 | features::MRG_RXBUF | features::VHOST_USER_PROTOCOL;

/// Numbers that mean something in some place.
const WORDS: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    8,
    64,
    0x100,
    0x101,
    0x1000,
    BYTES,
    BYTES - 1,
    2 * BYTES,
    GUEST,
    GUEST + BYTES,
    USER,
    USER + BYTES,
    USER + 0x400,
    USER + 0x800,
    USER + BYTES - 8,
    FEATURES,
    FEATURES | features::RING_PACKED,
    1 << 32 | 1,
    u64::MAX,
];

/// What is left of the bytes; then zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        WORDS[usize::from(self.next()) % WORDS.len()]
    }
}

fn memory_file(bytes: u64) -> OwnedFd {
    let file = memfd_create("fuzzed", MemfdFlags::ALLOW_SEALING).expect("a file");
    ftruncate(&file, bytes).expect("it has a length");
    file
}

fn file(kind: u8) -> OwnedFd {
    match kind % 4 {
        0 => eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd"),
        1 => memory_file(BYTES),
        2 => memory_file(0x1000),
        _ => UnixStream::pair().expect("a pair").0.into(),
    }
}

/// The message that comes next.
fn message(input: &mut Input<'_>) -> Option<Received> {
    let number = u32::from(input.next() % 42);
    let flags = 1 | u32::from(input.next() % 4) << 2;
    let files: Vec<OwnedFd> = (0..input.next() % 4).map(|_| file(input.next())).collect();
    let mut payload = Vec::new();
    let words = match number {
        5 => {
            let regions = u32::from(input.next() % 4);
            payload.extend([regions.to_ne_bytes(), [0; 4]].concat());
            4 * regions
        }
        37 | 38 | 9 => 5,
        1 | 3 | 4 | 15 | 17 | 34 | 36 => 0,
        8 | 10 | 11 | 18 => {
            let [index, value] = [input.next() % 6, input.next() % 66].map(u32::from);
            payload.extend([index, value].map(u32::to_ne_bytes).concat());
            0
        }
        _ => 1,
    };
    for _ in 0..words {
        payload.extend(input.word().to_ne_bytes());
    }
    let length = u32::try_from(payload.len()).ok()?;
    let header = [number, flags, length].map(u32::to_ne_bytes).concat();
    let header = Header::decode(header.first_chunk::<HEADER_BYTES>()?).ok()?;
    Some(Received { header, payload, files })
}

fn tell(session: &mut Session, request: &Request, files: Vec<OwnedFd>) {
    let bytes = request.encode(false);
    let (header, payload) = bytes.split_first_chunk().expect("a header");
    let header = Header::decode(header).expect("a header");
    session.handle(Received { header, payload: payload.to_vec(), files }).expect("it is fine");
}

/// Has a ring at work, so that there is something to be broken.
fn set_up(session: &mut Session) {
    let state = |value| RingState { index: 1, value };
    tell(session, &Request::SetFeatures(FEATURES), vec![]);
    let region = RegionDescription { guest_address: GUEST, bytes: BYTES, user_address: USER, file_offset: 0 };
    tell(session, &Request::SetMemTable(vec![region]), vec![file(1)]);
    tell(session, &Request::SetVringNum(state(8)), vec![]);
    let [available, used] = [USER + 0x400, USER + 0x800];
    let addresses = RingAddresses { index: 1, flags: 0, descriptors: USER, used, available, log: 0 };
    tell(session, &Request::SetVringAddr(addresses), vec![]);
    tell(session, &Request::SetVringKick(RingFile { index: 1, has_file: true }), vec![file(0)]);
    tell(session, &Request::SetVringEnable(state(1)), vec![]);
}

fn check_bells(bells: &Bells) {
    for bell in [&bells.kick, &bells.call, &bells.err].into_iter().flatten() {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(bell.as_fd()).expect("it is open").st_mode);
        assert_eq!(kind, FileType::Unknown, "nobody waits at it");
    }
}

/// Looks at what is at work.
fn check_rings(Rings { transmit, receive }: &mut Rings) {
    transmit.iter().for_each(|running| check_bells(&running.bells));
    receive.iter().for_each(|running| check_bells(&running.bells));
    for running in transmit.iter_mut().filter(|running| !running.is_broken) {
        if running.ring.discard(16).is_err() {
            running.is_broken = true;
        }
    }
}

/// Does what the bytes say.
///
/// # Panics
/// If the session does what it must not.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the fuzz target is another crate"))]
pub fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    let ports: Arc<[Arc<Port>]> = (0..2).map(|_| Arc::new(Port::new().expect("descriptors"))).collect();
    let offer = Offer { features: FEATURES | features::RING_PACKED, mtu_bytes: 1500 };
    let mut session = Session::new(offer, Arc::clone(&ports));
    if input.next() & 1 == 0 {
        set_up(&mut session);
    }
    while !input.0.is_empty() {
        let Some(message) = message(&mut input) else { continue };
        let (number, files) = (message.header.number, message.files.len());
        let is_right = match number {
            5 => message.payload.first() == u8::try_from(files).ok().as_ref(),
            37 => files == 1,
            12..=14 => files == usize::from(message.payload[1] & 1 == 0),
            _ => true,
        };
        match session.handle(message) {
            Ok(answered) => {
                assert!(is_right || answered.refused.is_some(), "request {number} with {files} descriptors")
            }
            // The connection is closed.
            Err(_) => break,
        }
        session.touch_memory();
        for port in ports.iter() {
            port.work(check_rings).expect("nobody else is there");
        }
    }
    drop(session);
    for port in ports.iter() {
        let is_at_work = port.work(|rings| rings.transmit.is_some() || rings.receive.is_some());
        assert_eq!(is_at_work, Some(false), "nothing is at work after the session");
    }
}
