//! Name servers that do what a script says.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, CNAME, PTR, RData, SOA, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::{now, sleep};
use sunstar_executor::{Instant, spawn};
use sunstar_net::names::{Hosts, Servers};
use sunstar_net::{ListenerOptions, Resolver, ResolverOptions, TcpListener, UdpSocket};
use sunstar_sim::{Sim, SimOptions};

/// What a server does with a question.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    is_there: bool,
    /// Answers that are lies, before the one that is none.
    lies: usize,
    /// Answers what, if it answers at all.
    rcode: Option<RCODE>,
    /// It does not know extensions.
    is_old: bool,
    /// The address that it says everything has.
    always: Option<IpAddr>,
    /// How long it takes to answer.
    delay: Duration,
    /// How much longer for addresses of IPv6; none if it never does.
    delay_v6: Option<Duration>,
}

impl Script {
    pub(crate) fn honest() -> Self {
        Self {
            is_there: true,
            lies: 0,
            rcode: Some(RCODE::NoError),
            is_old: false,
            always: None,
            delay: Duration::ZERO,
            delay_v6: Some(Duration::ZERO),
        }
    }

    pub(crate) fn silent() -> Self {
        Self { rcode: None, ..Self::honest() }
    }

    pub(crate) fn failing() -> Self {
        Self { rcode: Some(RCODE::ServerFailure), ..Self::honest() }
    }

    pub(crate) fn absent() -> Self {
        Self { is_there: false, ..Self::honest() }
    }

    pub(crate) fn lying(lies: usize) -> Self {
        Self { lies, ..Self::honest() }
    }

    pub(crate) fn liar(always: IpAddr) -> Self {
        Self { always: Some(always), ..Self::honest() }
    }

    pub(crate) fn slow(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Tells addresses of IPv6 so much later than others, or not at all.
    pub(crate) fn slow_v6(delay_v6: Option<Duration>) -> Self {
        Self { delay_v6, ..Self::honest() }
    }

    pub(crate) fn old() -> Self {
        Self { is_old: true, ..Self::honest() }
    }

    /// What is answered to a question: by TCP all of it.
    fn answer(self, question: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let asked = Packet::parse(question).expect("it is one");
        let mut reply = asked.clone().into_reply();
        if self.is_old && asked.opt().is_some() {
            *reply.rcode_mut() = RCODE::FormatError;
            return reply.build_bytes_vec().ok();
        }
        let name = asked.questions[0].qname.to_string();
        let QTYPE::TYPE(kind) = asked.questions[0].qtype else { panic!("of one kind") };
        *reply.rcode_mut() = self.rcode?;
        if self.rcode == Some(RCODE::NoError) {
            fill(&mut reply, &name, kind, is_tcp, self.always);
        }
        reply.build_bytes_vec().ok()
    }
}

fn own(name: &str) -> Name<'static> {
    Name::new(name).expect("a name").into_owned()
}

fn a(last: u8) -> RData<'static> {
    RData::A(A { address: Ipv4Addr::new(192, 0, 2, last).to_bits() })
}

/// The zone.
fn fill(reply: &mut Packet<'_>, name: &str, kind: TYPE, is_tcp: bool, always: Option<IpAddr>) {
    let srv = |port, priority, target| RData::SRV(SRV { priority, weight: 1, port, target: own(target) });
    let records: Option<Vec<RData<'static>>> = match (name, kind) {
        (_, TYPE::A) if always.is_some() => Some(vec![a(66)]),
        ("one.test", TYPE::A) => Some(vec![a(1)]),
        ("two.test", TYPE::A) => Some(vec![a(1), a(2)]),
        ("many.test", TYPE::A) => Some((0..200).map(a).collect()),
        ("huge.test", TYPE::A) => Some((0..100).map(a).collect()),
        ("dual.test", TYPE::A) => Some(vec![a(1)]),
        ("dual.test", TYPE::AAAA) => Some(vec![RData::AAAA(AAAA { address: 0x2001_0db8 << 96 | 1 })]),
        ("alias3.test", _) => Some(vec![RData::CNAME(CNAME(own("alias2.test")))]),
        ("alias2.test", _) => Some(vec![RData::CNAME(CNAME(own("alias1.test")))]),
        ("alias1.test", _) => Some(vec![RData::CNAME(CNAME(own("one.test")))]),
        ("circle.test", _) => Some(vec![RData::CNAME(CNAME(own("circles.test")))]),
        ("circles.test", _) => Some(vec![RData::CNAME(CNAME(own("circle.test")))]),
        ("_http._tcp.test", TYPE::SRV) => Some(vec![srv(8_080, 2, "two.test"), srv(80, 1, "one.test")]),
        ("_gone._tcp.test", TYPE::SRV) => Some(vec![srv(0, 0, "")]),
        ("1.2.0.192.in-addr.arpa", TYPE::PTR) => Some(vec![RData::PTR(PTR(own("one.test")))]),
        ("one.test" | "two.test" | "many.test" | "dual.test", _) => Some(Vec::new()),
        _ => None,
    };
    let record = |data| ResourceRecord::new(own(name), CLASS::IN, 60, data);
    match records {
        Some(records) if records.len() > 100 && !is_tcp => reply.set_flags(PacketFlag::TRUNCATION),
        Some(records) if !records.is_empty() => reply.answers = records.into_iter().map(record).collect(),
        other => {
            if other.is_none() {
                *reply.rcode_mut() = RCODE::NameError;
            }
            let (mname, rname) = (own("test"), own("test"));
            let soa = SOA { mname, rname, serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 };
            reply.name_servers = vec![record(RData::SOA(soa))];
        }
    }
}

/// Serves by UDP and TCP.
async fn serve(script: Script) {
    if !script.is_there {
        return;
    }
    drop(spawn(serve_tcp(script)));
    let mut socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53).into()).expect("it is free");
    // Of another port, as somebody who guesses.
    let mut other = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 54).into()).expect("it is free");
    // Answers that are late, the first one first.
    let mut late = VecDeque::new();
    loop {
        let patience = late.front().map_or(Duration::MAX, |(at, ..): &(Instant, Vec<u8>, SocketAddr)| *at - now());
        let Ok(received) = with_timeout(patience, socket.recv_from()).await else {
            if let Some((_, answer, from)) = late.pop_front() {
                let _ = socket.send_to(answer, from).await;
            }
            continue;
        };
        let Ok((question, from)) = received else { return };
        if asks_v6(&question) && script.delay_v6 != Some(Duration::ZERO) {
            let answer = script.answer(&question, false);
            late.extend(script.delay_v6.zip(answer).map(|(delay, answer)| (now() + delay, answer, from)));
            continue;
        }
        for lie in 0..script.lies {
            let mut answer = Script::liar(Ipv4Addr::UNSPECIFIED.into()).answer(&question, false).expect("it answers");
            match lie % 3 {
                0 => answer[0] ^= 1,
                1 => answer[13] ^= 1,
                _ => {
                    let _ = other.send_to(answer.clone(), from).await;
                    answer.truncate(5);
                }
            }
            let _ = socket.send_to(answer, from).await;
        }
        // Datagrams overtake each other.
        sleep(script.delay + Duration::from_millis(if script.lies > 0 { 20 } else { 0 })).await;
        if let Some(answer) = script.answer(&question, false) {
            let _ = socket.send_to(answer, from).await;
        }
    }
}

fn asks_v6(question: &[u8]) -> bool {
    let asked = Packet::parse(question).expect("it is one");
    matches!(asked.questions[0].qtype, QTYPE::TYPE(TYPE::AAAA))
}

async fn serve_tcp(script: Script) {
    let any = (Ipv4Addr::UNSPECIFIED, 53).into();
    let mut listener = TcpListener::bind(any, ListenerOptions::default()).await.expect("it is free");
    while let Ok(mut stream) = listener.accept().await {
        let mut question = Vec::new();
        let is_whole = |question: &[u8]| {
            question.split_first_chunk().is_some_and(|(len, rest)| rest.len() >= u16::from_be_bytes(*len).into())
        };
        while !is_whole(&question) {
            match stream.read().await {
                Ok(bytes) if !bytes.is_empty() => question.extend_from_slice(&bytes),
                // It wants nothing.
                _ => break,
            }
        }
        if !is_whole(&question) {
            continue;
        }
        if let Some(answer) = script.answer(&question[2..], true) {
            let len = u16::try_from(answer.len()).expect("short");
            let _ = stream.write([&len.to_be_bytes()[..], &answer].concat()).await;
        }
    }
}

/// The address of a server.
pub(crate) fn at(host: &str) -> SocketAddr {
    (sunstar_sim::resolve(host).expect("there is such a host"), 53).into()
}

/// A resolver that asks these servers, and looks in the domain `test`.
pub(crate) fn resolver(hosts: &[&str]) -> Resolver {
    let servers: Vec<SocketAddr> = hosts.iter().map(|host| at(host)).collect();
    let options = ResolverOptions::new(move || Servers { servers: servers.clone(), search: vec!["test".into()] });
    Resolver::new(ResolverOptions { hosts: Rc::new(Hosts::default()), ..options })
}

/// Runs two servers, and a client to its end.
pub(crate) fn run<C: Future<Output = ()> + 'static>(scripts: [Script; 2], client: impl FnOnce() -> C + 'static) {
    run_with(1, SimOptions::default(), scripts, client);
}

/// The same on another network.
pub(crate) fn run_with<C: Future<Output = ()> + 'static>(
    seed: u64,
    options: SimOptions,
    [first, second]: [Script; 2],
    client: impl FnOnce() -> C + 'static,
) {
    let mut sim = Sim::with_options(seed, options);
    sim.background_host("first", 1, move || serve(first));
    sim.background_host("second", 1, move || serve(second));
    sim.host("client", 1, client);
    sim.run().expect("the world ends well");
}
