//! Two stacks over a wire that loses, repeats, delays and damages packets, two applications, and somebody who smuggles in
//! segments of his own: the check behind the fuzz target and the properties.
//!
//! Bytes say what happens. Then the wire is healed, the applications end what is open, and nothing may be left.

mod apps;
mod forge;
mod input;
mod link;
mod ops;
mod waiting;
mod watch;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::cell::Cell;
use std::rc::Rc;

use sunstar_packet::Packet;
use sunstar_tcpip::configuration::Change;
use sunstar_tcpip::filter::FilterId;
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link as LinkKind};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{Limits, NeighbourLimits, ReassemblyLimits, Stack};
use sunstar_tcpip::tcp::congestion::AlgorithmName;
use sunstar_tcpip::tcp::connection::{Options, State};
use sunstar_tcpip::tcp::sockets::{self, ListenerId};
use sunstar_tcpip::time::Instant;
use sunstar_wire::{FourTuple, MacAddr, Seq, TcpFlags};

use apps::{Apps, Excuses};
use input::Input;
use link::{Held, Link};
use waiting::Waiting;
use watch::{Seen, Watch};

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
const ADDRESSES_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)];

/// The addresses with which the hosts speak.
fn addresses(is_v6: bool) -> [IpAddr; 2] {
    if is_v6 { ADDRESSES_V6.map(IpAddr::V6) } else { ADDRESSES.map(IpAddr::V4) }
}
const PORT: u16 = 80;

/// Each host has a second device, that leads to somebody who never answers.
const ELSEWHERE: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2)];
const SILENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);

/// By how much all buffers may grow.
const MAX_GROWTH: u32 = 100_000;

/// Small, so that they are reached.
const LIMITS: Limits = Limits {
    tcp: sockets::Limits {
        connections: 12,
        half_open: 6,
        time_wait: 6,
        replies: 12,
        growth_bytes: MAX_GROWTH as u64,
        ..sockets::Limits::DEFAULT
    },
    neighbours: NeighbourLimits { neighbours: 4, waiting_packets: 8 },
    reassembly: ReassemblyLimits { packets: 4, bytes: 64 << 10 },
    udp_sockets: 2,
    routes: 4,
    path_mtus: 2,
    outgoing_packets: 64,
    loopback_packets: 8,
    header_frames: 512,
};

/// A world ends its connections within so much of its time: as long as the longest row of timeouts.
const PATIENCE: Duration = Duration::from_secs(7_200);
/// As long as anything is remembered of a connection that is over.
const MEMORY: Duration = Duration::from_secs(400);
/// So many steps are more than any input takes.
const MAX_STEPS: u32 = 200_000;

fn mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, host])
}

struct Host {
    stack: Stack,
    interface: InterfaceId,
    is_v6: bool,
    options: Options,
    backlog: usize,
    listener: Option<ListenerId>,
    /// Packets that the stack has got, and has given.
    given: u64,
    taken: u64,
    /// Of those, packets that were for the second device.
    elsewhere: u64,
    /// Whether the first device takes nothing for now.
    is_paused: bool,
    waiting: Waiting,
    filter: Option<FilterId>,
    /// Packets that filters have dropped.
    filtered: Rc<Cell<u32>>,
    /// The last one that it has given, from the IP header on.
    last: Vec<u8>,
    /// Whether the application reads what comes, and accepts who comes.
    is_reading: bool,
    is_accepting: bool,
}

struct World {
    now: Instant,
    is_ethernet: bool,
    is_v6: bool,
    hosts: [Host; 2],
    /// From each host.
    links: [Link; 2],
    apps: Apps,
    watch: Watch,
    excuses: Excuses,
    held: Held,
    steps: u32,
    datagrams: ops::Datagrams,
}

/// Does what the bytes say, and looks at all that must hold.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    while !input.is_empty() {
        world.step(&mut input);
    }
    world.end();
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let now = Instant::from_micros(1_000_000);
        let (flags, sizes, more) = (input.byte(), input.byte(), input.byte());
        let is_ethernet = flags & 1 != 0;
        let is_v6 = more & 64 != 0;
        let narrow = if is_v6 { 1_280 } else { 576 };
        let mtu = [1_500, narrow, 9_000, 1_500][usize::from(flags >> 1 & 3)];
        let cuts = (flags & 8 != 0).then_some(65_535);
        let capabilities = Capabilities { completes_checksums: cuts.is_some(), segmentation_bytes: cuts };
        let capacity = |bits: u8| [128 << 10, 20_000, 3_000, 400][usize::from(bits & 3)];
        let options = |host: u8| Options {
            mss: u16::MAX,
            receive_capacity: capacity(sizes >> (2 * host)),
            max_receive_capacity: if more & 16 == 0 { 1 << 20 } else { 0 },
            send_capacity: capacity(sizes >> (4 + 2 * host)),
            max_send_capacity: if more & 32 == 0 { 1 << 20 } else { 0 },
            offers_sack: host != 0 || flags & 16 == 0,
            offers_timestamps: host == 0 || flags & 32 == 0,
            congestion: if flags & 64 != 0 { AlgorithmName::NewReno } else { AlgorithmName::Cubic },
            is_no_delay: flags & 128 != 0,
            ..Options::DEFAULT
        };
        let backlog = [4, 0, 1, 8][usize::from(more & 3)];
        let delay = Duration::from_millis([5, 0, 1, 40][usize::from(more >> 2 & 3)]);
        let hosts = [0, 1].map(|host| {
            let link = if is_ethernet { LinkKind::Ethernet(mac(host)) } else { LinkKind::Ip };
            Host::new(now, (host, is_v6), InterfaceOptions { link, mtu, capabilities }, options(host), backlog)
        });
        let front_bytes = if is_ethernet { 14 } else { 0 };
        let links = [0, 1].map(|_| Link::new(delay, front_bytes));
        let (apps, watch, excuses) = (Apps::default(), Watch::default(), Excuses::default());
        let mut world = Self {
            now,
            is_ethernet,
            is_v6,
            hosts,
            links,
            apps,
            watch,
            excuses,
            held: Held::default(),
            steps: 0,
            datagrams: ops::Datagrams::default(),
        };
        world.bind_datagrams();
        world.transmit();
        world
    }

    /// Takes what leaves the stacks, and lets the applications work.
    fn transmit(&mut self) {
        loop {
            self.steps += 1;
            assert!(self.steps < MAX_STEPS, "it goes on and on");
            let mut has_left = false;
            for from in 0..2 {
                while let Some((interface, packet)) = self.hosts[from].stack.poll_transmit(self.now) {
                    has_left = true;
                    self.on_packet(from, interface, &packet);
                }
                assert!(self.hosts[from].stack.deadline() != Some(Instant::default()), "nothing is interrupted here");
            }
            if !self.work() && !has_left {
                break;
            }
        }
        for host in &mut self.hosts {
            if host.waiting.settle(host.is_paused) {
                self.watch.on_disturbance();
            }
        }
        self.check_bounds();
    }

    fn on_packet(&mut self, from: usize, interface: InterfaceId, packet: &Packet) {
        let host = &mut self.hosts[from];
        host.taken += 1;
        if interface != host.interface {
            host.elsewhere += 1;
            return;
        }
        assert!(!host.is_paused, "its device takes nothing");
        let bytes = packet.buffers().concat();
        self.check_size(from, packet, bytes.len());
        if let Some(seen) = Seen::read(&bytes, self.is_ethernet) {
            let is_trusted = !self.apps.is_tainted(&seen.flow);
            let leaves_at_once = !self.hosts[from].waiting.is_any();
            self.watch.on_sent(self.now, &seen, is_trusted, leaves_at_once);
            if is_trusted {
                self.check_promise(from, &seen.flow);
            }
            self.hosts[from].last = bytes[self.links[from].front_bytes..].to_vec();
        } else if self.is_ethernet {
            self.hosts[from].waiting.on_sent(&bytes);
        }
        self.links[from].carry(self.now, packet);
    }

    /// Nothing is larger than the link takes, also when the device has cut it.
    fn check_size(&self, from: usize, packet: &Packet, len: usize) {
        let front = self.links[from].front_bytes;
        let most = packet.offload.segmentation.map_or(len, |cut| cut.hdr_len as usize + usize::from(cut.gso_size));
        let host = &self.hosts[from];
        let mtu = host.stack.interface(host.interface).map_or(0, |interface| interface.options().mtu);
        assert!(most - front <= usize::from(mtu), "{most} bytes: {:?}", packet.offload);
        assert_eq!(host.stack.counters().segments_cut, 0, "the way has not changed");
    }

    /// The other side is promised no more room than there is beside what the application has not read.
    fn check_promise(&self, host: usize, flow: &FourTuple) {
        let (Some(this), Some(other)) = (self.watch.get(flow), self.watch.get(&flow.reversed())) else { return };
        let used =
            self.apps.endpoints.iter().filter(|endpoint| endpoint.host == host && endpoint.flow == *flow).count();
        // What answers a SYN may answer one that the other side has not sent.
        let is_syn = this.last.flags.contains(TcpFlags::SYN);
        let Some(edge) = this.edge.filter(|_| used < 2 && !is_syn) else { return };
        let read = self.apps.only(host, flow).map_or(0, |endpoint| endpoint.received);
        // The end of the stream takes a number too.
        let room = self.hosts[host].room() + this.granularity() + 1;
        let most: Seq = other.syn + 1 + read + room;
        assert!(edge.is_at_or_before(most), "{flow:?} is told of room up to {edge}, and there is some up to {most}");
    }

    /// Applications accept, read and look. Answers whether they did anything.
    fn work(&mut self) -> bool {
        let mut has_worked = false;
        for host in 0..2 {
            while let (true, Some(listener)) = (self.hosts[host].is_accepting, self.hosts[host].listener)
                && let Some(id) = self.hosts[host].stack.tcp().accept(listener)
            {
                let flow = self.hosts[host].stack.tcp().flow(id).expect("it was accepted");
                self.apps.add(host, id, flow);
                has_worked = true;
            }
            while self.hosts[host].stack.poll_event().is_some() {}
            self.receive_datagrams(host);
        }
        for at in 0..self.apps.endpoints.len() {
            let host = &mut self.hosts[self.apps.endpoints[at].host];
            if self.apps.endpoints[at].is_let_go {
                continue;
            }
            if host.is_reading {
                let before = self.apps.endpoints[at].received;
                self.apps.receive(&mut host.stack, at, usize::MAX);
                has_worked |= self.apps.endpoints[at].received > before;
            }
            self.apps.look(&mut host.stack, at);
        }
        has_worked
    }

    fn check_bounds(&mut self) {
        for host in &mut self.hosts {
            host.check_unconfirmed();
            let levels = host.stack.levels();
            let tcp = levels.tcp;
            assert!(tcp.connections <= 12 && tcp.half_open <= 6 && tcp.time_wait <= 6 && tcp.replies <= 12, "{tcp:?}");
            assert!(tcp.flows <= tcp.connections + tcp.half_open + tcp.time_wait, "{tcp:?}");
            assert!(levels.outgoing_packets <= 2 * 64 && levels.loopback_packets <= 8 && levels.neighbours <= 4);
            assert!(tcp.growth_bytes <= MAX_GROWTH.into(), "{tcp:?}");
            assert!(tcp.orphans <= tcp.connections && tcp.send_bytes < sockets::Limits::DEFAULT.send_bytes, "{tcp:?}");
            assert!(levels.incomplete_packets <= 4 && levels.incomplete_bytes <= 64 << 10);
            assert!(tcp.timers <= tcp.connections + tcp.half_open + tcp.time_wait, "{tcp:?}");
            let counters = host.stack.counters();
            assert_eq!((counters.received, counters.sent), (host.given, host.taken));
        }
        let tcp = self.hosts.each_ref().map(|host| host.stack.tcp_counters());
        let filtered: u32 = self.hosts.iter().map(|host| host.filtered.get()).sum();
        self.excuses.lost_packets = filtered + self.links.iter().map(|link| link.lost).sum::<u32>();
        self.excuses.has_refused |= tcp.iter().any(|tcp| {
            tcp.syns_dropped
                + tcp.cookies_sent
                + tcp.resets_suppressed
                + tcp.confirmations_dropped
                + tcp.half_open_expired
                + tcp.half_open_unreachable
                + tcp.replies_dropped
                > 0
        });
        for at in 0..self.apps.endpoints.len() {
            self.apps.check_failure(at, &self.excuses);
            let endpoint = &self.apps.endpoints[at];
            let host = &mut self.hosts[endpoint.host];
            let capacity = host.room();
            let waiting = host.stack.tcp().connection(endpoint.id).map_or(0, |connection| connection.receivable());
            assert!(waiting <= capacity + 8, "{waiting} bytes wait");
            self.check_rate(at);
        }
    }

    /// Nothing is delivered faster than all that was sent in the shortest round trip.
    fn check_rate(&mut self, at: usize) {
        let endpoint = &self.apps.endpoints[at];
        // Clocks of timestamps have milliseconds.
        let least_micros = 2 * self.links[0].delay.as_micros().saturating_sub(500);
        let Some(connection) = self.hosts[endpoint.host].stack.tcp().connection(endpoint.id) else { return };
        let is_excused = self.excuses.has_guessed_answer || self.apps.is_tainted(&endpoint.flow);
        if least_micros > 0 && !is_excused {
            let info = connection.info(self.now);
            assert!(info.min_rtt.is_none_or(|rtt| rtt.as_micros() >= least_micros), "{info:?}: {endpoint:?}");
            let (rate, sent) = (info.delivery_rate, u128::from(endpoint.sent));
            let most = (sent + 2) * 1_000_000 / least_micros + 100;
            assert!(u128::from(rate) <= most, "{rate} bytes per second of {sent} bytes: {endpoint:?}");
        }
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let arrivals = self.links.iter().filter_map(Link::next);
        let deadlines = self.hosts.iter().filter_map(|host| host.stack.deadline());
        arrivals.chain(deadlines).min().map(|next| next.max(self.now))
    }

    /// Lets time pass.
    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.transmit();
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = next;
            self.arrive();
        }
        self.now = end;
    }

    fn arrive(&mut self) {
        for to in 0..2 {
            while let Some(arriving) = self.links[1 - to].take(self.now) {
                let seen = arriving.is_intact.then(|| Seen::read(&arriving.bytes, self.is_ethernet));
                let is_answer = self.is_ethernet && arriving.is_intact && waiting::is_answer(&arriving.bytes);
                let mut packet = self.held.packet(arriving.bytes);
                packet.offload = arriving.offload;
                let is_taken = self.give(to, packet);
                if is_answer && is_taken {
                    self.hosts[to].waiting.on_answer();
                }
                match seen.filter(|_| is_taken) {
                    Some(Some(seen)) => self.watch.on_arrival(&seen),
                    Some(None) => self.watch.on_disturbance(),
                    None => {}
                }
            }
            self.hosts[to].stack.handle_timeout(self.now);
        }
        self.transmit();
    }

    /// Answers whether no filter has dropped it.
    fn give(&mut self, to: usize, packet: Packet) -> bool {
        let host = &mut self.hosts[to];
        let filtered = host.filtered.get();
        host.given += 1;
        host.stack.handle_packets(self.now, host.interface, [packet]);
        host.filtered.get() == filtered
    }

    /// Whether a connection waits for the end of a stream that may have ended before: cookies may open what was over once more (RFC 4987
    /// §3.6), by segments that were late.
    fn is_opened_again(&mut self, at: usize) -> bool {
        let endpoint = &self.apps.endpoints[at];
        let tcp = self.hosts[endpoint.host].stack.tcp();
        let waits = tcp.connection(endpoint.id).is_some_and(|connection| connection.state() == State::FinWait2);
        waits && tcp.counters().cookies_accepted > 0
    }

    /// Heals the wire, ends all connections, and looks for what is left.
    fn end(&mut self) {
        for host in 0..2 {
            self.links[host].heal();
            self.resume(host);
            self.hosts[host].remove_filter();
            let host = &mut self.hosts[host];
            (host.is_reading, host.is_accepting) = (true, true);
            host.listen();
        }
        let end = self.now + PATIENCE;
        loop {
            self.close_all();
            let is_to_end = (0..self.apps.endpoints.len())
                .any(|at| !self.apps.may_stay(&self.apps.endpoints[at]) && !self.is_opened_again(at));
            match self.next() {
                Some(next) if next <= end => self.now = next,
                _ if is_to_end => panic!("it does not end: {:#?}", self.apps.endpoints),
                _ => break,
            }
            self.arrive();
        }
        (0..self.apps.endpoints.len()).for_each(|at| self.apps.check_arrival(at));
        // Some may be opened only now, by what was sent long ago.
        for _ in 0..2 {
            self.release_all();
            self.run_for(MEMORY);
        }
        self.check_nothing_left();
        self.check_fresh();
    }

    fn close_all(&mut self) {
        self.transmit();
        for at in 0..self.apps.endpoints.len() {
            if !self.apps.endpoints[at].is_closed {
                self.apps.close(self.now, &mut self.hosts[self.apps.endpoints[at].host].stack, at);
            }
        }
        self.transmit();
    }

    fn release_all(&mut self) {
        for at in 0..self.apps.endpoints.len() {
            if !self.apps.endpoints[at].is_let_go {
                self.apps.release(self.now, &mut self.hosts[self.apps.endpoints[at].host].stack, at);
            }
        }
    }

    fn check_nothing_left(&mut self) {
        for host in &self.hosts {
            let levels = host.stack.levels();
            assert_eq!(levels.tcp, sockets::Levels { spares: levels.tcp.spares, ..Default::default() });
            assert_eq!((levels.outgoing_packets, levels.incomplete_packets, levels.incomplete_bytes), (0, 0, 0));
            assert_eq!(levels.header_frames, 0, "frames for headers come back");
        }
        assert_eq!(self.held.count(), 0, "somebody holds buffers");
    }

    /// What went before leaves no trace: connections are made, and carry bytes.
    fn check_fresh(&mut self) {
        let cookies_sent = |hosts: &[Host; 2]| hosts.each_ref().map(|host| host.stack.tcp_counters().cookies_sent);
        let before = cookies_sent(&self.hosts);
        self.apps = Apps::default();
        self.excuses = Excuses::default();
        for from in 0..2 {
            let to = SocketAddr::from((addresses(self.is_v6)[1 - from], PORT));
            let host = &mut self.hosts[from];
            let id = host.stack.connect(self.now, None, to, host.options).expect("there is room");
            let flow = host.stack.tcp().flow(id).expect("it is ours");
            self.apps.add(from, id, flow);
            let at = self.apps.endpoints.len() - 1;
            self.run_for(Duration::from_secs(10));
            self.apps.send(&mut self.hosts[from].stack, at, 3_000, &self.held);
            self.run_for(Duration::from_secs(100));
            let peer = self.apps.only(1 - from, &flow.reversed()).expect("it was accepted");
            assert_eq!(peer.received, 3_000, "{:?}", self.apps.endpoints);
            for at in 0..self.apps.endpoints.len() {
                self.apps.close(self.now, &mut self.hosts[self.apps.endpoints[at].host].stack, at);
            }
            self.run_for(Duration::from_secs(10));
        }
        // Cookies would hide that somebody who is gone keeps his place.
        assert_eq!(cookies_sent(&self.hosts), before, "there is a place for who comes alone");
    }
}

impl Host {
    fn new(
        now: Instant,
        (index, is_v6): (u8, bool),
        interface: InterfaceOptions,
        options: Options,
        backlog: usize,
    ) -> Self {
        let mut stack = Stack::new([index; 16], LIMITS);
        let second = stack.add_interface(InterfaceOptions { link: LinkKind::Ip, ..interface }).expect("the first one");
        let prefix = Prefix::new(ELSEWHERE[usize::from(index)], 24).expect("so many bits");
        stack.add_address(now, second, prefix).expect("it is a station's");
        let interface = stack.add_interface(interface).expect("the second one");
        let address = addresses(is_v6)[usize::from(index)];
        let prefix = Prefix::new(address, if is_v6 { 64 } else { 24 }).expect("so many bits");
        match is_v6 {
            false => stack.add_address(now, interface, prefix).expect("it is a station's"),
            // At once, as if it were known that nobody has it.
            true => {
                stack.apply(now, &Change::AddAddress { interface, address: prefix }).expect("it is a station's");
            }
        }
        let mut host = Self {
            stack,
            interface,
            is_v6,
            options,
            backlog,
            listener: None,
            given: 0,
            taken: 0,
            elsewhere: 0,
            is_paused: false,
            waiting: Waiting::default(),
            filter: None,
            filtered: Rc::default(),
            last: Vec::new(),
            is_reading: true,
            is_accepting: true,
        };
        host.listen();
        host
    }

    /// How many bytes may wait for the application at most.
    fn room(&self) -> u32 {
        let Options { receive_capacity, max_receive_capacity, .. } = self.options;
        receive_capacity.max(max_receive_capacity.min(receive_capacity + MAX_GROWTH))
    }

    /// A host has one listener, and no stranger waits for another one.
    fn check_unconfirmed(&mut self) {
        let unconfirmed = self.listener.map_or(0, |listener| self.stack.tcp().unconfirmed(listener));
        assert_eq!(unconfirmed, self.stack.levels().tcp.half_open, "the backlog counts who is in the table");
    }

    fn remove_filter(&mut self) {
        drop(self.filter.take().and_then(|filter| self.stack.remove_filter(filter)));
    }

    fn listen(&mut self) {
        if self.listener.is_none() {
            let any: IpAddr = if self.is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            let local = SocketAddr::from((any, PORT));
            self.listener = self.stack.listen(local, self.backlog, self.options).ok();
        }
    }
}
