//! A session with a back end that answers whatever bytes say: the check behind the fuzz target and the properties.
//!
//! The back end has all its answers ready before the session begins. They are those of one that does what it should, up to a few faults: an
//! answer to something else, too long, with descriptors, of another version, cut off, missing. A plain model tells from them what has to become
//! of the session, what the back end hears, and which memory nobody may use again, since the back end may be working on it.

use std::collections::VecDeque;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use sunstar_virtio::net::features;

use super::error::SessionError;
use super::options::{FrontOptions, Ring};
use super::session::{RING, Session, TABLE, Wanted, settle};
use crate::shared_memory::SharedMemory;
use crate::vhost_user::channel::Channel;
use crate::vhost_user::message::{MAX_FILES, MAX_PAYLOAD_BYTES, Request, protocol_features};

/// What back ends offer, or say about themselves.
const OFFERED: [u64; 8] = [
    u64::MAX,
    !(features::IN_ORDER | features::RING_PACKED),
    !features::VHOST_USER_PROTOCOL,
    !features::INDIRECT_DESC,
    !features::VERSION_1,
    features::VERSION_1,
    features::VERSION_1 | features::VHOST_USER_PROTOCOL | features::MQ,
    0,
];
const PROTOCOL: [u64; 6] = [
    protocol_features::MQ | protocol_features::REPLY_ACK | protocol_features::MTU,
    u64::MAX,
    protocol_features::MQ,
    protocol_features::REPLY_ACK,
    protocol_features::MQ | protocol_features::MTU,
    0,
];
const QUEUES: [u64; 6] = [2, 128, 1, 0, 1 << 32, u64::MAX];

/// Numbers of requests.
const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const SET_MEM_TABLE: u32 = 5;
const GET_VRING_BASE: u32 = 11;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
const GET_QUEUE_NUM: u32 = 17;
const SET_VRING_ENABLE: u32 = 18;
const NET_SET_MTU: u32 = 20;
/// Of a ring, in the order in which the back end is told: call, size, base, addresses, kick.
const RING_REQUESTS: [u32; 5] = [13, 8, 10, 9, 12];

/// Flags of an answer: the version of the protocol, and that it is one.
const ANSWER: u32 = 1 | 1 << 2;

/// At most so many faults has a back end.
const FAULTS: usize = 4;

const MTU_BYTES: usize = 1_500;

/// What the back end sends.
#[derive(Clone, Debug)]
struct Message {
    number: u32,
    flags: u32,
    /// How long the header says the payload is, if that is not so.
    told_bytes: Option<u32>,
    payload: Vec<u8>,
    files: usize,
    /// Whether nothing comes behind it, nor all of it.
    is_cut: bool,
}

impl Message {
    fn new(number: u32, value: u64) -> Self {
        let payload = value.to_ne_bytes().to_vec();
        Self { number, flags: ANSWER, told_bytes: None, payload, files: 0, is_cut: false }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.told_bytes.unwrap_or_else(|| u32::try_from(self.payload.len()).expect("it is short"));
        let mut bytes = [self.number, self.flags, length].map(u32::to_ne_bytes).concat();
        bytes.extend_from_slice(&self.payload);
        if self.is_cut {
            bytes.pop();
        }
        bytes
    }
}

/// What is left of the bytes; then zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn of<T: Copy>(&mut self, table: &[T]) -> T {
        table[usize::from(self.next()) % table.len()]
    }
}

/// What both sides are like.
struct Scene {
    wanted: Wanted,
    /// Whether a pair goes while the session lasts.
    is_leaving: bool,
    /// Whether the back end closes the connection behind what it says, or is silent.
    is_closed: bool,
    messages: Vec<Message>,
}

impl Scene {
    fn new(input: &mut Input<'_>) -> Self {
        let kind = input.next();
        let bit = |at: u8| kind >> at & 1 == 1;
        let (offered, protocol, queues) = (input.of(&OFFERED), input.of(&PROTOCOL), input.of(&QUEUES));
        let mut options = FrontOptions::new("fuzzed");
        options.queues = 1 + usize::from(bit(0));
        options.ring = if bit(1) { Ring::Packed } else { Ring::Split };
        let needed = features::VERSION_1 | if options.queues > 1 { features::VHOST_USER_PROTOCOL } else { 0 };
        let wanted = Wanted { features: options.features(), needed, queues: options.queues, mtu_bytes: MTU_BYTES };
        let (is_leaving, is_closed) = (bit(2), bit(3));
        let mut messages = answers(&wanted, is_leaving, offered, protocol, queues);
        for _ in 0..FAULTS {
            if input.0.is_empty() {
                break;
            }
            add_fault(&mut messages, input);
        }
        Self { wanted, is_leaving, is_closed, messages }
    }
}

/// The answers of a back end that does what it should.
fn answers(wanted: &Wanted, is_leaving: bool, offered: u64, protocol: u64, queues: u64) -> Vec<Message> {
    let mut all = vec![Message::new(GET_FEATURES, offered)];
    let has_protocol = offered & features::VHOST_USER_PROTOCOL != 0;
    let knows = |bit| has_protocol && protocol & bit != 0;
    let rings = 2 * wanted.queues;
    if has_protocol {
        all.push(Message::new(GET_PROTOCOL_FEATURES, protocol));
    }
    if wanted.queues > 1 && knows(protocol_features::MQ) {
        all.push(Message::new(GET_QUEUE_NUM, queues));
    }
    let mut acknowledged = vec![SET_FEATURES];
    acknowledged.extend(knows(protocol_features::MTU).then_some(NET_SET_MTU));
    acknowledged.push(SET_MEM_TABLE);
    acknowledged.extend(RING_REQUESTS.repeat(rings));
    acknowledged.extend(vec![SET_VRING_ENABLE; rings]);
    if is_leaving && has_protocol {
        acknowledged.extend([SET_VRING_ENABLE; 2]);
    }
    if knows(protocol_features::REPLY_ACK) {
        all.extend(acknowledged.into_iter().map(|number| Message::new(number, 0)));
    }
    if is_leaving {
        let (number, count) = if has_protocol { (GET_FEATURES, 1) } else { (GET_VRING_BASE, 2) };
        all.extend(vec![Message::new(number, 0); count]);
    }
    all.extend(vec![Message::new(GET_VRING_BASE, 7 << 32); rings]);
    all
}

/// Changes one of the answers.
fn add_fault(messages: &mut Vec<Message>, input: &mut Input<'_>) {
    let (at, kind, how) = (usize::from(input.next()) % messages.len(), input.next(), input.next());
    let message = &mut messages[at];
    match kind % 9 {
        0 => message.number = u32::from(how % 42),
        1 => message.flags = u32::from(how % 16),
        2 => message.payload.resize([0, 4, 7, 9, 12, 16, 40, MAX_PAYLOAD_BYTES][usize::from(how % 8)], 0),
        3 => message.told_bytes = Some([u32::MAX, 1 << 31, 0x10_000, 265][usize::from(how % 4)]),
        4 => message.files = 1 + usize::from(how) % (MAX_FILES + 2),
        5 => {
            let values = [1, 0, 2, 1 << 32, u64::MAX, 0x0101_0101_0101_0101 * u64::from(how)];
            message.payload = values[usize::from(how) % values.len()].to_ne_bytes().to_vec();
        }
        6 => {
            messages.remove(at);
            if messages.is_empty() {
                messages.push(Message::new(GET_FEATURES, 0));
            }
        }
        // What nobody has asked for.
        7 => messages.insert(at, Message::new(u32::from(how % 42), 0)),
        _ => {
            message.is_cut = true;
            messages.truncate(at + 1);
        }
    }
}

/// Why a session does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Closed,
    Other,
}

/// What has to become of a session.
struct Model<'a> {
    scene: &'a Scene,
    answers: VecDeque<&'a Message>,
    /// What the back end hears, by numbers.
    heard: Vec<u32>,
    /// Whether nothing more can be read.
    stuck: Option<Failure>,
    /// Whether what was sent behind too many descriptors is read from a place that is none where a message begins.
    is_shifted: bool,
    protocol: u64,
    features: u64,
    /// Of how many rings the back end was told.
    rings: usize,
}

impl<'a> Model<'a> {
    fn new(scene: &'a Scene) -> Self {
        Self {
            scene,
            answers: scene.messages.iter().collect(),
            heard: Vec::new(),
            stuck: None,
            is_shifted: false,
            protocol: 0,
            features: 0,
            rings: 0,
        }
    }

    fn tell(&mut self, number: u32) {
        self.heard.push(number);
    }

    /// What the back end answers.
    fn ask(&mut self, number: u32) -> Result<u64, Failure> {
        self.tell(number);
        if let Some(failure) = self.stuck {
            return Err(failure);
        }
        let silent = if self.scene.is_closed { Failure::Closed } else { Failure::Other };
        let Some(message) = self.answers.pop_front() else { return Err(silent) };
        if message.files > MAX_FILES {
            self.is_shifted = true;
            self.stuck = Some(Failure::Other);
        } else if message.is_cut && message.payload.is_empty() {
            // Of the header a byte is missing.
            self.stuck = Some(silent);
        } else if message.flags & 3 != 1 || message.told_bytes.is_some() {
            self.stuck = Some(Failure::Other);
        } else if message.is_cut {
            self.stuck = Some(silent);
        }
        if let Some(failure) = self.stuck {
            return Err(failure);
        }
        let value = message.payload.as_slice().try_into().map(u64::from_ne_bytes);
        let is_answer = message.number == number && message.flags & 4 != 0 && message.files == 0;
        value.ok().filter(|_| is_answer).ok_or(Failure::Other)
    }

    /// What is only answered if that was agreed on.
    fn do_it(&mut self, number: u32) -> Result<(), Failure> {
        if self.protocol & protocol_features::REPLY_ACK == 0 {
            self.tell(number);
            return Ok(());
        }
        if self.ask(number)? == 0 { Ok(()) } else { Err(Failure::Other) }
    }

    fn agree(&mut self) -> Result<(), Failure> {
        let wanted = self.scene.wanted;
        self.tell(SET_OWNER);
        let agreed = settle(self.ask(GET_FEATURES)? & wanted.features);
        if wanted.needed & !agreed != 0 {
            return Err(Failure::Other);
        }
        let has_protocol = agreed & features::VHOST_USER_PROTOCOL != 0;
        let protocol = if has_protocol { self.ask(GET_PROTOCOL_FEATURES)? } else { 0 };
        if has_protocol {
            self.tell(SET_PROTOCOL_FEATURES);
        }
        let known = protocol_features::MQ | protocol_features::REPLY_ACK | protocol_features::MTU;
        self.protocol = protocol & known;
        if wanted.queues > 1 {
            let has_many = protocol & protocol_features::MQ != 0;
            let offered = if has_many { self.ask(GET_QUEUE_NUM)? } else { 1 };
            if offered < wanted.queues as u64 {
                return Err(Failure::Other);
            }
        }
        self.features = agreed;
        self.do_it(SET_FEATURES)?;
        if protocol & protocol_features::MTU != 0 {
            self.do_it(NET_SET_MTU)?;
        }
        self.do_it(SET_MEM_TABLE)?;
        for _ in 0..2 * wanted.queues {
            self.rings += 1;
            RING_REQUESTS.iter().try_for_each(|number| self.do_it(*number))?;
        }
        let enabled = if has_protocol { 2 * wanted.queues } else { 0 };
        (0..enabled).try_for_each(|_| self.do_it(SET_VRING_ENABLE))
    }

    /// A pair goes; answers whether the back end is told to stop at it.
    fn leave(&mut self) -> Result<bool, Failure> {
        if self.features & features::VHOST_USER_PROTOCOL == 0 {
            (0..2).try_for_each(|_| self.ask(GET_VRING_BASE).map(|_| ()))?;
            return Ok(true);
        }
        (0..2).try_for_each(|_| self.do_it(SET_VRING_ENABLE))?;
        self.ask(GET_FEATURES).map(|_| false)
    }

    fn stop(&mut self) -> Result<(), Failure> {
        (0..self.rings).try_for_each(|_| self.ask(GET_VRING_BASE).map(|_| ()))
    }

    /// How much memory the rings have of which the back end was told.
    fn ring_bytes(&self) -> usize {
        const PAGE: usize = 4_096;

        let areas = 3 * PAGE;
        let has_tables = self.features & features::INDIRECT_DESC != 0;
        let tables = if has_tables { 16 * usize::from(RING) * usize::from(TABLE) } else { 0 };
        self.rings * areas + self.rings / 2 * tables
    }
}

fn failure(error: &SessionError) -> Failure {
    assert!(!error.to_string().is_empty());
    if matches!(error, SessionError::Closed) { Failure::Closed } else { Failure::Other }
}

/// Compares what came of something with what had to.
#[track_caller]
fn check_same<T: PartialEq + std::fmt::Debug>(is_sure: bool, came: Result<T, Failure>, had_to: Result<T, Failure>) {
    if is_sure {
        assert_eq!(came, had_to);
    } else {
        assert!(came.is_err(), "nothing that makes sense comes any more");
    }
}

/// Does what the bytes say.
///
/// # Panics
/// If the session does what it must not.
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the fuzz target is another crate"))]
pub fn check(bytes: &[u8]) {
    let scene = Scene::new(&mut Input(bytes));
    let mut model = Model::new(&scene);
    let memory = SharedMemory::new(1 << 20).expect("there is memory");
    let (front, back) = UnixStream::pair().expect("descriptors");
    let (given, mut left) = UnixStream::pair().expect("descriptors");
    speak(&scene, &back, given.into());
    front.set_nonblocking(true).expect("it is a socket");
    let calls = [(); 2].map(|()| eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd"));
    let calls = calls.each_ref().map(|call| call.as_fd());

    let agreed = model.agree();
    let session = Session::new(front, scene.wanted, &memory, &calls, |_| true, || false);
    let came = session.as_ref().map(|_| ()).map_err(failure);
    check_same(!model.is_shifted, came, agreed);
    let is_left = match session {
        Err(_) => matches!(model.stop(), Ok(()) | Err(Failure::Closed)),
        Ok((mut session, pairs)) => {
            assert_eq!((session.features, pairs.len()), (model.features, scene.wanted.queues));
            assert!(pairs.iter().all(|pair| pair.receive.driver().is_ok() && pair.transmit.driver().is_ok()));
            if scene.is_leaving {
                let had_to = model.leave();
                let came = session.leave(0).map(|is_left| is_left.expect("it was used"));
                check_same(!model.is_shifted, came.map_err(|error| failure(&error)), had_to);
            }
            let had_to = model.stop();
            let stopped = session.stop().map_err(|error| failure(&error));
            check_same(!model.is_shifted, stopped, had_to);
            let is_left = matches!(had_to, Ok(()) | Err(Failure::Closed));
            if !is_left {
                session.forget(&memory);
            }
            is_left
        }
    };
    check_heard(&scene, &model, &memory, back);
    let kept = if is_left { 0 } else { model.ring_bytes() };
    assert!(memory.used_bytes() == kept || model.is_shifted, "{} bytes are kept, not {kept}", memory.used_bytes());
    left.set_nonblocking(true).expect("it is a socket");
    let closed = left.read(&mut [0]).expect("all others were closed");
    assert_eq!(closed, 0, "no descriptor that came is kept");
}

/// Says all that the back end has to say. The descriptors are copies of one.
fn speak(scene: &Scene, back: &UnixStream, given: OwnedFd) {
    let channel = Channel::new(back.try_clone().expect("descriptors").into());
    for message in &scene.messages {
        let bytes = message.bytes();
        if message.files <= MAX_FILES {
            channel.send(&bytes, &vec![given.as_fd(); message.files]).expect("there is room");
        } else {
            // More than a message may have come beside different bytes of it, each piece being read at once with what it brings.
            let (first, rest) = bytes.split_at(1);
            channel.send(first, &[given.as_fd(); MAX_FILES]).expect("there is room");
            channel.send(rest, &vec![given.as_fd(); message.files - MAX_FILES]).expect("there is room");
        }
    }
    if scene.is_closed {
        back.shutdown(Shutdown::Write).expect("it is connected");
    }
}

/// What the back end has heard is of the protocol, of what it has offered, and of what it may know.
fn check_heard(scene: &Scene, model: &Model<'_>, memory: &Arc<SharedMemory>, back: UnixStream) {
    back.set_nonblocking(true).expect("it is a socket");
    let mut channel = Channel::new(back.into());
    let mut heard = Vec::new();
    while let Ok(Some(message)) = channel.receive() {
        let request = Request::decode(message.header, &message.payload, message.files.len());
        let request = request.expect("it is of the protocol");
        heard.push(request.number());
        let is_ring = |index: u32| (index as usize) < 2 * scene.wanted.queues;
        match request {
            Request::SetFeatures(bits) => assert_eq!(bits, model.features),
            Request::SetProtocolFeatures(bits) => assert_eq!(bits, model.protocol),
            Request::SetVringNum(state) | Request::SetVringBase(state) | Request::SetVringEnable(state) => {
                assert!(is_ring(state.index));
            }
            Request::SetVringAddr(told) => {
                let is_within = |address: u64| {
                    let address = usize::try_from(address).expect("it is one of this process");
                    memory.offset_of(std::ptr::without_provenance(address), 4).is_some()
                };
                assert!(is_ring(told.index));
                assert!([told.descriptors, told.available, told.used].into_iter().all(is_within));
            }
            Request::SetVringCall(file) | Request::SetVringKick(file) => assert!(is_ring(file.index.into())),
            _ => {}
        }
    }
    assert!(heard == model.heard || model.is_shifted, "{heard:?}, not {:?}", model.heard);
    drop(channel);
}
