//! A client and somebody who answers it as he likes.

use core::net::Ipv6Addr;
use core::time::Duration;

use sunstar_wire::dhcpv6::{Code, IaNa, Kind, Message, Writer};

use crate::dhcpv6::{Client, Lease, Mode, Options, Output, State};
use crate::time::Instant;

pub(super) const DUID: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 7];
pub(super) const IAID: u32 = 0x0102_0304;
pub(super) const SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
pub(super) const OTHER_SERVER: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 2];
pub(super) const GIVEN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
pub(super) const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x51);

/// Seconds of the usual lease.
pub(super) const PREFERRED: u32 = 600;
pub(super) const VALID: u32 = 1_000;
pub(super) const T1: u32 = 300;
pub(super) const T2: u32 = 480;

/// A message that the client has sent, and when.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).expect("well formed")
    }

    pub(super) fn kind(&self) -> Kind {
        self.message().kind()
    }

    pub(super) fn option(&self, code: Code) -> Option<&[u8]> {
        self.message().options().find_code(code)
    }

    /// The addresses of its identity association, which must be there.
    pub(super) fn addresses(&self) -> Vec<Ipv6Addr> {
        let ia = IaNa::parse(self.option(Code::IA_NA).expect("it is there")).expect("well formed");
        assert_eq!((ia.iaid, ia.t1_s, ia.t2_s), (IAID, 0, 0));
        ia.addresses().map(|address| address.address).collect()
    }
}

pub(super) struct Script {
    pub(super) now: Instant,
    pub(super) client: Client,
    pub(super) sent: Vec<Sent>,
    /// What the host has.
    pub(super) has: Option<Lease>,
}

impl Script {
    pub(super) fn with(mode: Mode, seed: u64, options: Options) -> Self {
        let now = Instant::from_micros(5_000_000);
        let mut client = Client::new(seed, options);
        client.start(now, mode);
        Self { now, client, sent: Vec::new(), has: None }
    }

    /// What was asked first has left.
    pub(super) fn new(mode: Mode) -> Self {
        let mut script = Self::with(mode, 3, options());
        let first = script.next_sent();
        script.sent.push(first);
        script
    }

    /// Everything that is due now.
    pub(super) fn tick(&mut self) {
        while self.client.deadline().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now);
        }
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send(message) => {
                    self.sent.push(Sent { at: self.now, bytes: message.as_bytes().to_vec() });
                }
                Output::Bound(lease) => self.has = Some(*lease),
                Output::Lost => self.has = None,
            }
        }
        assert_eq!(self.has.as_ref(), self.client.lease(), "the host has what the client says");
    }

    /// Time passes, with all that is due meanwhile.
    pub(super) fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.client.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tick();
        }
        self.now = end;
    }

    pub(super) fn wait_s(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// The only message that was sent since the last call.
    pub(super) fn sent_one(&mut self) -> Sent {
        assert_eq!(self.sent.len(), 1, "{:?}", self.sent.iter().map(Sent::kind).collect::<Vec<_>>());
        self.sent.remove(0)
    }

    /// The next message, which is sent as soon as it is time for it.
    pub(super) fn next_sent(&mut self) -> Sent {
        while self.sent.is_empty() {
            let due = self.client.deadline().expect("it does not rest");
            self.now = self.now.max(due);
            self.tick();
        }
        self.sent_one()
    }

    /// The latest message that was sent.
    pub(super) fn last(&mut self) -> Sent {
        let last = self.sent.pop().expect("something was sent");
        self.sent.clear();
        last
    }

    pub(super) fn take(&mut self, message: &Writer) {
        let bytes = message.as_bytes().to_vec();
        self.client.handle_message(self.now, &Message::parse(&bytes).expect("well formed"));
        self.collect();
        self.tick();
    }

    /// The usual answer comes.
    pub(super) fn answer(&mut self, question: &Sent, kind: Kind) {
        self.take(&answer(question, kind));
    }

    /// From the first question to the addresses.
    pub(super) fn bound() -> Self {
        let mut script = Self::new(Mode::Stateful);
        script.bind();
        script
    }

    pub(super) fn bind(&mut self) {
        let solicit = self.sent_one();
        let mut reply = answer(&solicit, Kind::Reply);
        add(&mut reply, Code::RAPID_COMMIT, &[]);
        self.take(&reply);
        assert_eq!(self.client.state(), State::Bound);
        self.sent.clear();
    }

    pub(super) fn addresses(&self) -> Vec<Ipv6Addr> {
        self.has.iter().flat_map(|lease| &lease.addresses).map(|address| address.address).collect()
    }
}

pub(super) fn options() -> Options {
    Options { duid: DUID.to_vec(), iaid: IAID, hints: Vec::new() }
}

/// An answer of a server without what it gives.
pub(super) fn bare(question: &Sent, kind: Kind, server: &[u8]) -> Writer {
    let mut message = Writer::new(kind, question.message().transaction_id());
    add(&mut message, Code::CLIENT_ID, &DUID);
    add(&mut message, Code::SERVER_ID, server);
    message
}

/// The times of an address, preferred and valid, in seconds.
pub(super) type Times = (u32, u32);

/// Adds addresses with their times, after T1 and T2, and how that went if it is not well.
pub(super) fn give(message: &mut Writer, (t1, t2): (u32, u32), addresses: &[(Ipv6Addr, Times)], status: Option<u16>) {
    let given = message.nested(Code::IA_NA, |message| {
        message.push(&[IAID.to_be_bytes(), t1.to_be_bytes(), t2.to_be_bytes()].concat())?;
        for (address, (preferred, valid)) in addresses {
            let times = [preferred.to_be_bytes(), valid.to_be_bytes()].concat();
            message.option(Code::IA_ADDRESS, &[&address.octets()[..], &times].concat())?;
        }
        status.map_or(Ok(()), |status| message.option(Code::STATUS_CODE, &status.to_be_bytes()))
    });
    given.expect("it fits");
}

/// The usual answer of [`SERVER`].
pub(super) fn answer(question: &Sent, kind: Kind) -> Writer {
    answer_of(question, kind, &SERVER)
}

pub(super) fn answer_of(question: &Sent, kind: Kind, server: &[u8]) -> Writer {
    let mut message = bare(question, kind, server);
    give(&mut message, (T1, T2), &[(GIVEN, (PREFERRED, VALID))], None);
    add(&mut message, Code::NAME_SERVERS, &OTHER.octets());
    add(&mut message, Code::DOMAIN_LIST, b"\x07example\x03org\0");
    message
}

pub(super) fn add(message: &mut Writer, code: Code, data: &[u8]) {
    message.option(code, data).expect("it fits");
}
