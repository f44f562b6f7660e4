//! A hostile station on the same Ethernet as httpd and its clients, with connections of its own, over both versions of IP, on one shard and on
//! two: a bridge joins httpd's TAP with that of the station.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use sunstar_device::{DetachedQueue, Device, Offloads, Queue, Tap, TapOptions};
use sunstar_packet::{Buffer, Packet, Pool, PoolOptions};
use sunstar_wire::MacAddr;

use super::attacker::{Attack, Attacker, Target, Traffic};
use super::attacks::{FUSE, GROWTH_KIB, check_bounds};
use super::client::{Client, HELLO};
use super::files;
use super::metrics::{figure, metrics_by, values};
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, Setup, command};

const STACK_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const STACK_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 2);
const KERNEL_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 5, 0, 0, 0, 1);
const EVIL: MacAddr = MacAddr([2, 0x66, 0x66, 0, 0, 1]);

/// Frames of an attack for each shard, and how many are sent at once.
const FRAMES: u32 = 8_000;
const AT_ONCE: u32 = 50;

/// What the station asks for where it wants to be sent something, and of how much of it it can report something: what leaves at first.
const REQUEST: &[u8] = b"GET /file/large HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER_BYTES: u32 = 14_000;

/// Where the station has its cable.
fn make_bridge() -> DetachedQueue {
    ip("tuntap add dev tap0 mode tap multi_queue");
    // Its address would be another one when the station has gone.
    ip("link add name br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0");
    let options = TapOptions { offloads: Offloads::NONE, tx_queue_packets: Some(10_000), ..TapOptions::new("evil") };
    let mut evil = Tap::open(&options).expect("it can be made");
    for name in ["tap0", "evil"] {
        ip(&format!("link set {name} master br0 txqueuelen 10000 up"));
    }
    ip(&format!("addr add {KERNEL_V4}/8 dev br0"));
    ip("link set br0 up");
    ip(&format!("addr add {KERNEL_V6}/64 dev br0 nodad"));
    evil.take_queue(0).expect("it has one")
}

fn remove_bridge() {
    ip("link delete tap0");
    ip("link delete br0");
}

fn native(setup: Setup, root: &Path) -> Command {
    let mut command = command(setup);
    let device = format!("tap:tap0,queues={}", setup.shards);
    command.args(["--network-stack", "native", "--device", &device, "--slaac", "0", "--dhcp", "0", "--address", "::"]);
    command.args(["--host-ipv4-addr", &STACK_V4.to_string(), "--netmask-ipv4-addr", "255.0.0.0"]);
    command.args(["--host-ipv6-addr", &format!("{STACK_V6}/64"), "--root"]).arg(root);
    command
}

/// The station's end of its cable.
struct Cable {
    queue: Box<dyn Queue>,
    received: VecDeque<Packet>,
}

impl Cable {
    fn new(queue: DetachedQueue) -> Self {
        let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_096 };
        let pool = Rc::new(Pool::new(options).expect("there is memory"));
        Self { queue: queue.attach(pool).expect("frames are large enough"), received: VecDeque::new() }
    }

    /// Sends what the attacker has for the wire, and lets it have what has come.
    fn carry(&mut self, attacker: &mut Attacker) {
        let now = sunstar_executor::Instant::ORIGIN;
        while self.queue.rx_burst(now, &mut self.received, 128).expect("it is there") > 0 {
            self.received.drain(..).for_each(|packet| attacker.hear(&packet.buffers().concat()));
        }
        let mut out: VecDeque<Packet> =
            std::iter::from_fn(|| attacker.next_frame()).map(|frame| Packet::from(Buffer::from(frame))).collect();
        // What the queue does not take is lost, as on any line.
        self.queue.tx_burst(now, &mut out).expect("it is there");
    }
}

/// The whole of an attack.
fn run_attacker(queue: DetachedQueue, mut attacker: Attacker, frames: u32) -> Traffic {
    let mut cable = Cable::new(queue);
    let begun = Instant::now();
    attacker.ask();
    while !attacker.is_ready() {
        assert!(begun.elapsed() < FUSE, "the victim does not answer");
        cable.carry(&mut attacker);
        thread::sleep(Duration::from_millis(20));
        cable.carry(&mut attacker);
        if !attacker.is_ready() {
            attacker.ask();
            attacker.open();
        }
    }
    attacker.confirm();
    for _ in 0..frames / AT_ONCE {
        cable.carry(&mut attacker);
        thread::sleep(Duration::from_millis(4));
        (0..AT_ONCE).for_each(|_| attacker.send());
    }
    cable.carry(&mut attacker);
    attacker.traffic
}

/// Clients of both versions, one that keeps its connection and others that open new ones, are served while the station attacks. Meanwhile
/// nothing of the server is fuller than it may be, and `look` finds in its figures what the attack was.
fn beside(setup: Setup, attack: Attack, is_v6: bool, look: impl Fn(SocketAddr)) {
    println!("{attack:?}, {setup:?}, IPv6: {is_v6}");
    let queue = make_bridge();
    let root = files::root(&format!("hostile-{attack:?}-{}-{is_v6}", setup.shards));
    let httpd = Httpd::run(&mut native(setup, &root));
    let at = |host: IpAddr| SocketAddr::new(host, httpd.address.port());
    let addresses = [at(STACK_V4.into()), at(STACK_V6.into())];
    let mut kept = Client::connect(addresses[usize::from(!is_v6)]).expect("it listens");
    assert_eq!(kept.get("/").expect("it answers").body, HELLO);
    let (victim, client) =
        if is_v6 { (STACK_V6.into(), KERNEL_V6.into()) } else { (STACK_V4.into(), KERNEL_V4.into()) };
    let (port, request) = (httpd.address.port(), REQUEST.to_vec());
    let target = Target { victim, port, clients: vec![client], request, answer_bytes: ANSWER_BYTES };
    let attacker = Attacker::new(attack, EVIL, target, 1);
    let frames = FRAMES * u32::try_from(setup.shards).expect("few");
    let before_kib = httpd.resident_kib();
    thread::scope(|scope| {
        let attacker = scope.spawn(move || run_attacker(queue, attacker, frames));
        let begun = Instant::now();
        let mut served = 0;
        while !attacker.is_finished() {
            assert_eq!(kept.get("/").expect("it answers").body, HELLO);
            let mut new = Client::connect(addresses[served % 2]).expect("it listens");
            assert_eq!(new.get("/").expect("it answers").body, HELLO);
            if served % 20 == 0 {
                check_bounds(&mut kept, attack.connections());
            }
            served += 1;
            assert!(begun.elapsed() < 2 * FUSE, "the attack does not end; {served} were served");
        }
        assert!(served > 0);
        let traffic = attacker.join().expect("it has no failure");
        assert!(attack != Attack::SmallSegments || traffic.largest >= Attack::LEAST_SEGMENT, "{traffic:?}");
    });
    check_bounds(&mut kept, attack.connections());
    let grown_kib = httpd.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < GROWTH_KIB * setup.shards as u64, "{grown_kib} KiB more than before");
    look(addresses[0]);
    httpd.stop();
    remove_bridge();
}

/// All attacks but that of closed windows, which stays until somebody's time is over.
fn each_attack(setup: Setup, is_v6: bool) {
    in_namespace(move || {
        for attack in Attack::ALL.into_iter().filter(|attack| *attack != Attack::ClosedWindows) {
            beside(setup, attack, is_v6, |address| check(attack, address));
        }
    });
}

/// Counters name the attack.
fn check(attack: Attack, address: SocketAddr) {
    let counted = |name: &str, label: &str, more_than: f64| {
        let count = figure(address, name, label);
        assert!(count > more_than, "{attack:?}: {name} {label} is {count}");
    };
    match attack {
        Attack::Syns => {
            counted("sunstar_tcp_cookies_sent_total", "", 500.0);
            counted("sunstar_tcpip_answers_sent_back_total", "", 500.0);
        }
        Attack::OwnSyns => counted("sunstar_tcp_cookies_sent_total", "", 500.0),
        Attack::Acknowledgements => counted("sunstar_tcp_resets_sent_total", "", 500.0),
        Attack::OutOfWindow => counted("sunstar_tcp_suppressed_challenges_total", "", 500.0),
        Attack::TinySegments => counted("sunstar_tcp_refused_pieces_total", "", 500.0),
        Attack::Reports => counted("sunstar_tcp_refused_reports_total", "", 500.0),
        Attack::SmallSegments => counted("sunstar_tcp_raised_mss_total", "", 9.0),
        Attack::Fragments => counted("sunstar_tcpip_drops_total", "fragment_memory", 500.0),
        Attack::Neighbours => counted("sunstar_tcpip_displaced_neighbours_total", "", 500.0),
        Attack::LikeSums => {
            counted("sunstar_tcp_cookies_sent_total", "", 500.0);
            // Nobody is looked for for long, though all have one sum.
            let text = metrics_by(&mut Client::connect(address).expect("it listens"));
            let probes = values(&text, "sunstar_tcp_longest_probe_slots", "");
            assert!(!probes.is_empty() && probes.iter().all(|slots| *slots < 300.0), "{probes:?}");
        }
        Attack::ClosedWindows => unreachable!("it is left out"),
    }
}

#[test]
fn clients_are_served_beside_each_attack_by_ipv4_on_one_shard() {
    each_attack(Setup { backend: "epoll", shards: 1 }, false);
}

#[test]
fn clients_are_served_beside_each_attack_by_ipv6_on_one_shard() {
    each_attack(Setup { backend: "io_uring", shards: 1 }, true);
}

#[test]
fn clients_are_served_beside_each_attack_by_ipv4_on_two_shards() {
    each_attack(Setup { backend: "io_uring", shards: 2 }, false);
}

#[test]
fn clients_are_served_beside_each_attack_by_ipv6_on_two_shards() {
    each_attack(Setup { backend: "epoll", shards: 2 }, true);
}
