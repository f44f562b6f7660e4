mod cookies;
mod orphans;
mod ports;
mod strangers;
mod time_wait;

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use sunstar_packet::Buffer;
use sunstar_wire::{AddressPair, FourTuple, Seq, TcpFlags, TcpHeader};

use super::{Event, Limits, ListenerId, OpenError, SocketId, Sockets};
use crate::neighbours::Errand;
use crate::tcp::connection::{Connection, Failure, Options, Segment, State};
use crate::tcp::secret::Secret;
use crate::tcp::test_stream::data;
use crate::tcp::time_wait::DURATION as TIME_WAIT;
use crate::time::Instant;

/// Two stacks, joined without delay; the clock only moves when it is told to.
struct Two {
    now: Instant,
    stacks: [Sockets; 2],
}

fn address(stack: u8, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1 + stack), port))
}

impl Two {
    fn new(limits: Limits) -> Self {
        let stack = |key| Sockets::new(Secret::new([key; 16]), limits);
        Self { now: Instant::from_micros(1_000_000), stacks: [stack(1), stack(2)] }
    }

    fn listening(limits: Limits, backlog: usize) -> (Self, ListenerId) {
        let mut two = Self::new(limits);
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        let listener = two.stacks[1].listen(anywhere, backlog, Options::DEFAULT).expect("the port is free");
        (two, listener)
    }

    fn connect(&mut self) -> SocketId {
        self.stacks[0].connect(self.now, address(0, 0), address(1, 80), Options::DEFAULT).expect("there is room")
    }

    /// Carries what is to be carried until nothing is.
    fn run(&mut self) {
        let mut carried = 0;
        while self.carry(0) | self.carry(1) {
            carried += 1;
            assert!(carried < 100_000, "it never ends");
        }
    }

    fn carry(&mut self, from: usize) -> bool {
        let Some((flow, outgoing)) = self.stacks[from].poll_transmit(self.now, 1 << 16) else { return false };
        assert_eq!((flow.src_port, flow.dst_port), (outgoing.header.src_port, outgoing.header.dst_port));
        let segment = Segment { header: outgoing.header, payload: outgoing.payload };
        self.stacks[1 - from].handle_segment(self.now, flow, segment);
        true
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let deadlines = self.stacks.iter().filter_map(Sockets::deadline);
            let next = deadlines.min().unwrap_or(end).min(end).max(self.now);
            self.now = next;
            self.stacks.iter_mut().for_each(|stack| stack.handle_timeout(next));
            self.run();
            if next >= end {
                return;
            }
        }
    }

    fn state(&self, stack: usize, id: SocketId) -> State {
        self.stacks[stack].connection(id).expect("it is ours").state()
    }

    fn events(&mut self, stack: usize) -> Vec<Event> {
        core::iter::from_fn(|| self.stacks[stack].poll_event()).collect()
    }

    fn read(&mut self, stack: usize, id: SocketId) -> Vec<u8> {
        core::iter::from_fn(|| self.stacks[stack].receive(id)).flat_map(|part: Buffer| part.to_vec()).collect()
    }
}

/// A pair of connected sockets.
fn connected() -> (Two, SocketId, SocketId) {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    let client = two.connect();
    two.run();
    let server = two.stacks[1].accept(listener).expect("the connection is open");
    two.events(0);
    two.events(1);
    (two, client, server)
}

#[test]
fn connects_and_carries_both_streams() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    let client = two.connect();
    assert_eq!(two.state(0, client), State::SynSent);
    two.run();
    assert_eq!((two.state(0, client), two.events(0)), (State::Established, vec![Event::Socket(client)]));
    assert_eq!(two.events(1), [Event::Listener(listener)]);
    let server = two.stacks[1].accept(listener).expect("the connection is open");
    assert_eq!(two.stacks[1].flow(server), two.stacks[0].flow(client).map(|flow| flow.reversed()));

    two.stacks[0].send(client, data(0, 50_000)).expect("there is room");
    two.stacks[1].send(server, data(7, 500)).expect("there is room");
    two.run();
    let mut received = Vec::new();
    while received.len() < 50_000 {
        received.extend(two.read(1, server));
        two.wait(Duration::from_millis(50));
    }
    assert_eq!(received, data(0, 50_000).to_vec());
    assert_eq!(two.read(0, client), data(7, 500).to_vec());
    assert!(two.events(0).contains(&Event::Socket(client)));
}

/// Events of a listener that nobody looks at don't pile up.
#[test]
fn a_listener_has_one_event_however_many_connections_wait() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    for _ in 0..2 {
        for _ in 0..3 {
            two.connect();
            two.run();
        }
        assert_eq!(two.stacks[1].levels().events, 1);
        assert_eq!(two.events(1), [Event::Listener(listener)]);
        let accepted = core::iter::from_fn(|| two.stacks[1].accept(listener));
        assert_eq!(accepted.count(), 3);
        assert_eq!(two.events(1).len(), 3, "what they have received meanwhile");
    }
}

/// Who closes first remembers the connection for a minute, in a few bytes, and nothing is left afterwards.
#[test]
fn nothing_is_left_of_a_closed_connection() {
    let (mut two, client, server) = connected();
    two.stacks[0].release(two.now, client);
    two.run();
    assert!(two.stacks[1].connection(server).expect("it is ours").is_at_end());
    two.stacks[1].release(two.now, server);
    two.run();
    two.wait(Duration::from_secs(1));
    assert_eq!([two.stacks[0].counts(), two.stacks[1].counts()], [[0, 0, 1], [0, 0, 0]]);
    two.wait(TIME_WAIT);
    assert_eq!([two.stacks[0].counts(), two.stacks[1].counts()], [[0; 3]; 2]);
    assert_eq!(two.stacks.each_ref().map(|stack| (stack.deadline(), stack.flows.len())), [(None, 0); 2]);
}

/// RFC 9293 §3.10.7.1.
#[test]
fn ports_without_listener_refuse() {
    let mut two = Two::new(Limits::DEFAULT);
    let client = two.connect();
    two.run();
    let connection = two.stacks[0].connection(client).expect("it is ours");
    assert_eq!((connection.state(), connection.failure()), (State::Closed, Some(Failure::Refused)));
    assert_eq!(two.stacks[1].counters().resets_sent, 1);
    two.stacks[0].release(two.now, client);
    assert_eq!(two.stacks[0].counts(), [0; 3]);
}

/// RFC 2525 §2.17: who lets a connection go without reading tells the other side.
#[test]
fn unread_data_reset_the_other_side() {
    for is_late in [false, true] {
        let (mut two, client, server) = connected();
        if is_late {
            two.stacks[1].release(two.now, server);
            two.run();
        }
        two.stacks[0].send(client, data(0, 10)).expect("there is room");
        two.run();
        two.stacks[1].release(two.now, server);
        two.run();
        let connection = two.stacks[0].connection(client).expect("it is ours");
        assert_eq!(connection.failure(), Some(Failure::Reset), "late: {is_late}");
        assert_eq!(two.stacks[1].counts(), [0; 3]);
    }
}

/// As in Linux one more than the backlog waits; the others' confirmations are not heard, and they come in when there is room.
#[test]
fn backlog_is_kept_and_nobody_is_lost() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 2);
    let clients: Vec<_> = (0..6).map(|_| two.connect()).collect();
    two.run();
    let counters = two.stacks[1].counters();
    assert!(counters.cookies_sent > 0 && counters.confirmations_dropped > 0, "{counters:?}");
    let mut accepted = 0;
    for _ in 0..20 {
        accepted += core::iter::from_fn(|| two.stacks[1].accept(listener)).count();
        two.wait(Duration::from_secs(1));
    }
    assert_eq!(accepted, clients.len());
    assert!(clients.iter().all(|&client| two.state(0, client) == State::Established));
}

/// RFC 4987: SYNs of strangers who never confirm take a bounded number of places, and these come back.
#[test]
fn floods_are_bounded() {
    let limits = Limits { half_open: 10, ..Limits::DEFAULT };
    let (mut two, _) = Two::listening(limits, 1_000);
    for _ in 0..50 {
        two.connect();
    }
    // What the flooded side answers is lost.
    while let Some((flow, outgoing)) = two.stacks[0].poll_transmit(two.now, 1_000) {
        two.stacks[1].handle_segment(two.now, flow, Segment { header: outgoing.header, payload: outgoing.payload });
    }
    assert_eq!((two.stacks[1].counts(), two.stacks[1].counters().cookies_sent), ([0, 10, 0], 40));
    for _ in 0..100 {
        let Some(deadline) = two.stacks[1].deadline() else { break };
        two.now = deadline;
        two.stacks[1].handle_timeout(two.now);
        while two.stacks[1].poll_transmit(two.now, 1_000).is_some() {}
    }
    assert_eq!((two.stacks[1].counts(), two.stacks[1].counters().half_open_expired), ([0; 3], 10));
}

/// Whoever confirms, gives up, or is given up makes room for others.
#[test]
fn a_listener_counts_who_has_not_confirmed() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    let clients: Vec<_> = (0..4).map(|_| two.connect()).collect();
    while two.carry(0) {}
    assert_eq!((two.stacks[1].unconfirmed(listener), two.stacks[1].counts()), (4, [0, 4, 0]));

    // One has asked, and his answer finds that he is gone.
    two.stacks[0].abort(two.now, clients[0]);
    two.run();
    assert_eq!((two.stacks[1].unconfirmed(listener), two.stacks[1].counts()), (0, [3, 0, 0]));

    two.connect();
    while two.carry(0) {}
    assert_eq!(two.stacks[1].unconfirmed(listener), 1);
    while let Some(deadline) = two.stacks[1].deadline().filter(|_| two.stacks[1].counters().half_open_expired == 0) {
        // The answers are lost.
        while two.stacks[1].poll_transmit(deadline, 1_000).is_some() {}
        two.stacks[1].handle_timeout(deadline);
    }
    assert_eq!((two.stacks[1].unconfirmed(listener), two.stacks[1].counters().half_open_expired), (0, 1));

    two.connect();
    while two.carry(0) {}
    assert_eq!(two.stacks[1].unconfirmed(listener), 1);
    two.stacks[1].unlisten(two.now, listener);
    assert_eq!((two.stacks[1].unconfirmed(listener), two.stacks[1].levels().half_open), (0, 0));
}

/// RFC 6191: a client that uses the ports of a connection that is over gets a new one at once.
#[test]
fn ports_can_be_used_again() {
    let (mut two, client, server) = connected();
    let port = two.stacks[0].flow(client).expect("it is ours").src_port;
    two.stacks[1].release(two.now, server);
    two.run();
    two.stacks[0].release(two.now, client);
    two.run();
    two.wait(Duration::from_secs(1));
    assert_eq!([two.stacks[0].counts(), two.stacks[1].counts()], [[0, 0, 0], [0, 0, 1]], "the server closed first");
    let again =
        two.stacks[0].connect(two.now, address(0, port), address(1, 80), Options::DEFAULT).expect("the port is free");
    two.run();
    assert_eq!((two.state(0, again), two.stacks[1].counters().time_wait_reused), (State::Established, 1));
}

#[test]
fn addresses_in_use_are_refused() {
    let (mut two, client, _) = connected();
    let flow = two.stacks[0].flow(client).expect("it is ours");
    let again = two.stacks[0].connect(two.now, flow.src(), flow.dst(), Options::DEFAULT);
    assert_eq!(again, Err(OpenError::InUse));
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
    assert_eq!(two.stacks[1].listen(anywhere, 1, Options::DEFAULT), Err(OpenError::InUse));
    assert!(two.stacks[1].listen(address(1, 80), 1, Options::DEFAULT).is_ok(), "one address of its own");
}

#[test]
fn connections_are_bounded() {
    let mut two = Two::new(Limits { connections: 3, ..Limits::DEFAULT });
    for _ in 0..3 {
        two.connect();
    }
    let fourth = two.stacks[0].connect(two.now, address(0, 0), address(1, 80), Options::DEFAULT);
    assert_eq!(fourth, Err(OpenError::Full));
}

/// RFC 6056: ports are all used before one is used twice, and nobody can tell the next one.
#[test]
fn all_ports_are_used() {
    let mut two = Two::new(Limits::DEFAULT);
    let mut ports: Vec<u16> = (0..28_232)
        .map(|_| {
            let id = two.connect();
            two.stacks[0].flow(id).expect("it is ours").src_port
        })
        .collect();
    assert_eq!(two.stacks[0].connect(two.now, address(0, 0), address(1, 80), Options::DEFAULT), Err(OpenError::NoPort));
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 28_232);
    assert!(
        two.stacks[0].connect(two.now, address(0, 0), address(1, 81), Options::DEFAULT).is_ok(),
        "another destination"
    );
}

/// An idle connection has no queues: those of the last request serve the next one, of whichever connection.
#[test]
fn idle_connections_are_small() {
    let (mut two, client, server) = connected();
    for _ in 0..3 {
        two.stacks[0].send(client, data(0, 100)).expect("there is room");
        two.run();
        assert_eq!(two.read(1, server).len(), 100);
        two.run();
        two.wait(Duration::from_millis(50));
        assert_eq!(two.stacks.each_ref().map(|stack| stack.spares.len()), [1, 1]);
    }
}

/// What names a connection that is gone names no other one.
#[test]
fn names_are_not_used_again() {
    let (mut two, client, _) = connected();
    two.stacks[0].abort(two.now, client);
    two.run();
    let other = two.connect();
    assert_ne!(other, client);
    assert!(two.stacks[0].connection(client).is_none());
    assert!(two.stacks[0].send(client, data(0, 1)).is_err());
}

/// Strangers of a listener that is gone are none of a later one's, though it has its place.
#[test]
fn a_later_listener_has_its_own_strangers() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 2);
    for _ in 0..3 {
        two.connect();
    }
    // The SYNs arrive, and the answers are lost.
    while two.carry(0) {}
    while two.stacks[1].poll_transmit(two.now, 1_000).is_some() {}
    assert_eq!(two.stacks[1].counts(), [0, 3, 0]);
    two.stacks[1].unlisten(two.now, listener);
    assert_eq!((two.stacks[1].counts(), two.stacks[1].levels().timers), ([0; 3], 0));
    let again = two.stacks[1].listen(address(1, 80), 2, Options::DEFAULT).expect("the port is free");
    two.wait(Duration::from_secs(10));
    assert_eq!(core::iter::from_fn(|| two.stacks[1].accept(again)).count(), 3, "they ask again");
}

/// RFC 9293 §3.10.7.1: what comes for a connection that has ended is refused, though the application still looks at it.
#[test]
fn an_ended_connection_swallows_nothing() {
    let (mut two, client, server) = connected();
    two.stacks[1].abort(two.now, server);
    two.run();
    assert_eq!(two.state(0, client), State::Closed);
    assert_eq!((two.stacks[0].levels().connections, two.stacks[0].levels().flows), (1, 0));
    let flow = two.stacks[0].flow(client).expect("it is ours");
    let resets = two.stacks[0].counters().resets_sent;
    two.stacks[0].handle_segment(two.now, flow.reversed(), Segment { header: ack(), ..Segment::default() });
    assert_eq!(two.stacks[0].counters().resets_sent, resets + 1);
    two.stacks[0].release(two.now, client);
    assert_eq!(two.stacks[0].levels().connections, 0);
}

fn ack() -> TcpHeader {
    TcpHeader { flags: TcpFlags::ACK, ..Default::default() }
}

/// `SO_LINGER` with a time of zero: who lets the connection go resets the other side.
#[test]
fn zero_linger_resets() {
    let (mut two, client, server) = connected();
    assert!(two.stacks[0].configure(client, |connection| connection.set_zero_linger(true)));
    two.stacks[0].send(client, data(0, 10)).expect("there is room");
    two.stacks[0].release(two.now, client);
    two.run();
    assert_eq!(two.stacks[1].connection(server).expect("it is ours").failure(), Some(Failure::Reset));
    assert!(!two.stacks[0].configure(client, |_| unreachable!("it is gone")));
}

/// A connection that was let go ends though the other side never ends its stream, and is forgotten.
#[test]
fn who_was_let_go_is_forgotten() {
    let (mut two, client, server) = connected();
    two.stacks[0].release(two.now, client);
    two.run();
    two.wait(Duration::from_secs(59));
    assert_eq!((two.stacks[0].levels().connections, two.state(1, server)), (1, State::CloseWait));
    two.wait(Duration::from_secs(2));
    assert_eq!(two.stacks[0].levels(), super::Levels { spares: two.stacks[0].levels().spares, ..Default::default() });
}

/// Buffers of all connections grow by so much together, and no more; what has grown is given back when a connection is gone, or when its
/// application says how much there is to be.
#[test]
fn growth_is_shared_and_given_back() {
    let (mut two, listener) = Two::listening(Limits { growth_bytes: 120_000, ..Limits::DEFAULT }, 8);
    let ids = [two.connect(), two.connect()];
    two.run();
    let servers = [(); 2].map(|()| two.stacks[1].accept(listener).expect("it is open"));
    busy(&mut two, &ids, &servers);
    let grown = |two: &Two, place: usize| two.stacks[1].connection(servers[place]).expect("it is ours").grown();
    let poor = usize::from(grown(&two, 0) > grown(&two, 1));
    let freed = grown(&two, 1 - poor);
    // Who was refused asks again, so that it gets what others leave.
    two.stacks[1].abort(two.now, servers[1 - poor]);
    busy(&mut two, &ids[poor..=poor], &servers[poor..=poor]);
    assert!(grown(&two, poor) > freed / 2, "{freed} were free, and {} taken", grown(&two, poor));
    let stack = &mut two.stacks[0];
    assert!(stack.levels().growth_bytes > 100_000 && stack.counters().growth_refused > 0, "{:?}", stack.levels());
    let options = *stack.connection(ids[poor]).expect("it is ours").options();
    stack.set_options(ids[poor], Options { max_receive_capacity: 0, max_send_capacity: 0, ..options });
    assert_eq!(stack.connection(ids[poor]).map(Connection::grown), Some(0));
    ids.iter().for_each(|id| stack.abort(two.now, *id));
    assert_eq!(stack.levels().growth_bytes, 0);
}

/// Moves as much as goes from the first stack to the second, and sees that growth is counted and bounded.
fn busy(two: &mut Two, ids: &[SocketId], servers: &[SocketId]) {
    let mut sent = 0;
    for round in 0..60 {
        for id in ids {
            while two.stacks[0].connection(*id).expect("it is ours").sendable() > 0 {
                two.stacks[0].send(*id, data(sent, 20_000)).expect("there is room");
                sent = sent.wrapping_add(20_000);
            }
        }
        two.run();
        two.wait(Duration::from_millis(20));
        for server in servers {
            two.read(1, *server);
        }
        two.run();
        for (stack, ids) in two.stacks.iter().zip([ids, servers]) {
            let all = ids.iter().filter_map(|id| stack.connection(*id));
            let (grown, levels) = (all.map(Connection::grown).sum::<u64>(), stack.levels());
            assert!(levels.growth_bytes >= grown && levels.growth_bytes <= 120_000, "{round}");
        }
    }
}

mod fast_open;

#[test]
fn segments_of_a_new_connection_do_not_find_the_one_that_had_ended() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 8);
    let open = |two: &mut Two| {
        let to = address(1, 80);
        let client = two.stacks[0].connect(two.now, address(0, 1_234), to, Options::DEFAULT).expect("the port is free");
        two.run();
        let server = two.stacks[1].accept(listener).expect("it is open");
        for _ in 0..3 {
            two.stacks[0].send(client, data(0, 10)).expect("there is room");
            two.run();
            assert_eq!(two.read(1, server).len(), 10);
        }
        (client, server)
    };
    let (client, ended) = open(&mut two);
    two.stacks[0].abort(two.now, client);
    two.run();
    assert_eq!(two.state(1, ended), State::Closed, "the application still looks at it");
    let (_, server) = open(&mut two);
    assert_ne!(ended, server);
    assert_eq!(two.state(1, ended), State::Closed);
}

/// RFC 9293 §3.7.1: who does not say how large segments may be takes 536 bytes over IPv4, and 1220 over IPv6.
#[test]
fn who_does_not_say_takes_what_every_host_takes() {
    for (ours, theirs, mss) in [("192.0.2.1:80", "192.0.2.2:1", 536), ("[2001:db8::1]:80", "[2001:db8::2]:1", 1_220)] {
        let [ours, theirs] = [ours, theirs].map(|text| text.parse::<SocketAddr>().expect("an address"));
        let now = Instant::from_micros(1_000_000);
        let mut sockets = Sockets::new(Secret::new([1; 16]), Limits::DEFAULT);
        let listener = sockets.listen(ours, 1, Options::DEFAULT).expect("the port is free");
        let addresses = AddressPair::new(theirs.ip(), ours.ip()).expect("of one version");
        let flow = FourTuple { addresses, src_port: theirs.port(), dst_port: ours.port() };
        let header = TcpHeader { flags: TcpFlags::SYN, seq: Seq::new(7), window: 9_999, ..TcpHeader::default() };
        sockets.handle_segment(now, flow, Segment { header, ..Segment::default() });
        let (_, answer) = sockets.poll_transmit(now, 1 << 16).expect("the answer");
        let ack = answer.header.seq + 1;
        let header = TcpHeader { flags: TcpFlags::ACK, seq: Seq::new(8), ack, window: 9_999, ..TcpHeader::default() };
        sockets.handle_segment(now, flow, Segment { header, ..Segment::default() });
        let accepted = sockets.accept(listener).expect("it is open");
        assert_eq!(sockets.connection(accepted).expect("it is ours").mss(), mss);
    }
}

#[test]
fn hashes_are_those_of_their_flows() {
    let two = Two::new(Limits::DEFAULT);
    let flow = |from: u8, to: u8, src_port, dst_port| FourTuple {
        addresses: AddressPair::V4 { src: Ipv4Addr::new(10, 0, 0, from), dst: Ipv4Addr::new(10, 0, 0, to) },
        src_port,
        dst_port,
    };
    let flows = [flow(1, 2, 80, 9_000), flow(1, 3, 80, 9_000), flow(4, 3, 80, 9_000), flow(4, 3, 81, 9_001)];
    for (one, other) in flows.iter().flat_map(|one| flows.iter().map(move |other| (one, other))) {
        // Asked for again, after another one and after itself.
        for flow in [one, other, other, one] {
            assert_eq!(two.stacks[0].hash(flow), Secret::new([1; 16]).flow_hash(flow));
        }
    }
}

/// What was unsent, unacknowledged, or unread of one is not that of the next one.
#[test]
fn memory_of_what_is_over_is_used_again() {
    let (mut two, client, server) = connected();
    two.stacks[1].send(server, data(1, 3_000)).expect("there is room");
    two.run();
    two.stacks[0].send(client, data(2, 500_000)).expect("there is room");
    assert!(two.carry(0), "some of it leaves");
    two.stacks[0].abort(two.now, client);
    two.run();
    two.stacks[1].abort(two.now, server);
    two.run();
    assert_eq!(two.stacks.each_ref().map(|stack| stack.spares.len()), [1, 1]);
    let client = two.connect();
    two.run();
    two.stacks[0].send(client, data(3, 100)).expect("there is room");
    assert_eq!(two.stacks[0].spares.len(), 0);
    two.run();
    let Some(Event::Listener(listener)) = two.events(1).pop() else { panic!("a stranger has connected") };
    let server = two.stacks[1].accept(listener).expect("the connection is open");
    assert_eq!(two.read(1, server), data(3, 100).to_vec());
    assert_eq!(two.read(0, client), [0; 0]);
}

/// Floods of strangers, who have questions of their own, don't keep them from leaving.
#[test]
fn resets_of_connections_are_not_those_of_strangers() {
    let (mut two, client, server) = connected();
    let port = two.stacks[0].flow(client).expect("it is ours").src_port;
    two.stacks[1].abort(two.now, server);
    let reset = two.stacks[1].next_answer(|_| Ok(1_000)).expect("it is reset");
    assert_eq!((reset.errand, reset.flow.dst_port), (Errand::Own, port));
    let opening = two.connect();
    let (flow, _) = two.stacks[0].poll_transmit(two.now, 1_000).expect("a SYN");
    assert_eq!(two.stacks[0].flow(opening), Some(flow));
    two.stacks[0].handle_segment(two.now, flow.reversed(), Segment { header: ack(), ..Segment::default() });
    assert_eq!(two.stacks[0].next_answer(|_| Ok(1_000)).map(|reset| reset.errand), Some(Errand::Own));
    let stranger = FourTuple { dst_port: 9, ..flow };
    two.stacks[1].handle_segment(two.now, stranger, Segment { header: ack(), ..Segment::default() });
    assert_eq!(two.stacks[1].next_answer(|_| Ok(1_000)).map(|reset| reset.errand), Some(Errand::Answer(None)));
}

/// Who has another connection in mind is asked again soon if he was told, and at the usual time if not.
#[test]
fn only_who_was_told_is_asked_again_soon() {
    for (replies, wait) in [(8, Duration::from_millis(10)), (0, Duration::from_secs(1))] {
        let mut two = Two::new(Limits { replies, ..Limits::DEFAULT });
        let id = two.connect();
        let (flow, _) = two.stacks[0].poll_transmit(two.now, 1_000).expect("a SYN");
        two.stacks[0].handle_segment(two.now, flow.reversed(), Segment { header: ack(), ..Segment::default() });
        let connection = two.stacks[0].connection(id).expect("it is ours");
        assert_eq!(connection.deadline(), Some(two.now + wait), "with room for {replies}");
    }
}

/// RFC 6298 §3: who was not heard when he confirmed says nothing of the path when he comes again.
#[test]
fn what_was_not_heard_measures_nothing() {
    let (mut two, listener) = Two::listening(Limits::DEFAULT, 1);
    let first = two.connect();
    two.run();
    let clients = [first, two.connect(), two.connect()];
    two.run();
    let counters = two.stacks[1].counters();
    assert_eq!((counters.confirmations_dropped, counters.cookies_sent), (1, 0));
    let accepted = [(); 2].map(|()| two.stacks[1].accept(listener).expect("it is open"));
    two.now = two.now + Duration::from_millis(500);
    clients.iter().for_each(|id| two.stacks[0].send(*id, data(0, 10)).expect("there is room"));
    two.run();
    let late = two.stacks[1].accept(listener).expect("it is open");
    let min_rtt = |id| two.stacks[1].connection(id).expect("it is ours").info(two.now).min_rtt;
    assert_eq!((min_rtt(accepted[0]).is_some(), min_rtt(late)), (true, None));
}
