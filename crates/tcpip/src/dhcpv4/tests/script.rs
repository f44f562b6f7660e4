//! A client and somebody who answers it as he likes.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_wire::MacAddr;
use sunstar_wire::dhcpv4::{Code, Header, Kind, Message, Writer};

use crate::dhcpv4::{Client, Lease, Options, Output, State};
use crate::time::Instant;

pub(super) const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const GIVEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
/// Seconds of the usual lease.
pub(super) const LEASE: u32 = 1_000;

/// A message that the client has sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).expect("well formed")
    }

    pub(super) fn kind(&self) -> Kind {
        self.message().kind().expect("it says so")
    }

    pub(super) fn address(&self, code: Code) -> Option<Ipv4Addr> {
        self.message().fixed_option(code).map(Ipv4Addr::from)
    }
}

pub(super) struct Script {
    pub(super) now: Instant,
    pub(super) client: Client,
    pub(super) sent: Vec<Sent>,
    pub(super) probes: Vec<(Instant, Ipv4Addr)>,
    /// What the host has.
    pub(super) has: Option<Lease>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with(Options { mtu: 1_500, ..Options::default() })
    }

    pub(super) fn with(options: Options) -> Self {
        let now = Instant::from_micros(5_000_000);
        let client = Client::new(now, MAC, 3, options);
        let mut script = Self { now, client, sent: Vec::new(), probes: Vec::new(), has: None };
        script.tick();
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
                Output::Send { from, to, message } => {
                    self.sent.push(Sent { from, to, bytes: message.as_bytes().to_vec() });
                }
                Output::Probe(address) => self.probes.push((self.now, address)),
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
            assert!(due >= self.now || due + Duration::from_secs(1) >= self.now, "it is late");
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

    /// The latest message that was sent.
    pub(super) fn last(&mut self) -> Sent {
        let last = self.sent.pop().expect("something was sent");
        self.sent.clear();
        last
    }

    pub(super) fn take(&mut self, message: &Writer) {
        let bytes = message.as_bytes().to_vec();
        self.client.handle_message(self.now, &Message::parse(&bytes).expect("well formed"));
        self.tick();
    }

    /// An answer comes.
    pub(super) fn answer(&mut self, question: &Sent, kind: Kind) {
        self.take(&answer(question, kind));
    }

    /// From the first question to the lease.
    pub(super) fn bound() -> Self {
        let mut script = Self::new();
        script.bind();
        script
    }

    pub(super) fn bind(&mut self) {
        let discover = self.sent_one();
        self.answer(&discover, Kind::Offer);
        let request = self.sent_one();
        self.answer(&request, Kind::Ack);
        self.wait_s(2);
        assert_eq!(self.client.state(), State::Bound);
        self.sent.clear();
    }
}

/// The header of an answer.
pub(super) fn header(question: &Sent, yiaddr: Ipv4Addr) -> Header {
    Header { is_reply: true, yiaddr, ..question.message().header() }
}

/// An answer as of [`SERVER`], without what is in leases.
pub(super) fn bare(question: &Sent, kind: Kind) -> Writer {
    let yiaddr = if kind == Kind::Nak { Ipv4Addr::UNSPECIFIED } else { GIVEN };
    Writer::new(&header(question, yiaddr), kind)
}

/// The usual answer of [`SERVER`].
pub(super) fn answer(question: &Sent, kind: Kind) -> Writer {
    let mut message = bare(question, kind);
    add(&mut message, Code::SERVER_ID, &SERVER.octets());
    if kind != Kind::Nak {
        add(&mut message, Code::LEASE_TIME, &LEASE.to_be_bytes());
        add(&mut message, Code::SUBNET_MASK, &[255, 255, 255, 0]);
        add(&mut message, Code::ROUTERS, &SERVER.octets());
    }
    message
}

pub(super) fn add(message: &mut Writer, code: Code, data: &[u8]) {
    message.option(code, data).expect("it fits");
}
