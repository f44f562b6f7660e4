//! httpd on the native stack with VLANs on one device, a TAP or either end of vhost-user, in a network namespace for each test.
//!
//! Not every kernel knows VLANs. So a switch of the test gives each VLAN an interface of the kernel without tags: a bridge joins httpd's TAP with
//! that of the switch, so that the kernel carries tagged frames with all that is left to be done for them. The other end of vhost-user is the switch's own.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use sunstar_device::{
    BackOptions, DetachedQueue, Device, FrontOptions, Queue, SharedMemory, Tap, TapOptions, VhostUserBack,
    VhostUserFront,
};
use sunstar_executor::Instant;
use sunstar_packet::{Buffer, Checksum, Packet, PoolOptions};

use super::client::{Client, HELLO};
use super::dhcp::{Server, wait_until};
use super::files::{content, root};
use super::metrics::figure;
use super::namespace::{in_namespace, ip};
use super::native::exercise;
use super::server::{Httpd, Setup, command};

const TAG_BYTES: u32 = 4;

/// What gives each VLAN an interface, while it lives.
struct Switch {
    is_over: Arc<AtomicBool>,
    seen: Arc<Seen>,
    worker: Option<JoinHandle<()>>,
}

/// Frames that have come from httpd.
#[derive(Default)]
struct Seen {
    /// With the tag of one of the VLANs.
    tagged: AtomicU64,
    others: AtomicU64,
}

impl Switch {
    /// The kernel has the address 10.9.VLAN.1 at an interface `laneVLAN`, and 10.9.0.1 where there are no tags.
    fn new(vlans: &[u16]) -> Self {
        ip("tuntap add dev tap0 mode tap multi_queue");
        ip("link add name br0 type bridge mcast_snooping 0");
        let trunk = open("trunk");
        for name in ["tap0", "trunk"] {
            ip(&format!("link set {name} master br0 up"));
        }
        ip("addr add 10.9.0.1/24 dev br0");
        ip("link set br0 up");
        Self::at(trunk, vlans)
    }

    /// The same without what has no tag, where a device leads to httpd.
    fn at(trunk: DetachedQueue, vlans: &[u16]) -> Self {
        let lanes: Vec<_> = vlans.iter().map(|vlan| (*vlan, open(&format!("lane{vlan}")))).collect();
        for vlan in vlans {
            ip(&format!("addr add 10.9.{vlan}.1/24 dev lane{vlan}"));
            ip(&format!("addr add 2001:db8:0:{vlan}::1/64 dev lane{vlan} nodad"));
        }
        let (is_over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let (flag, counts) = (Arc::clone(&is_over), Arc::clone(&seen));
        let worker = spawn(move || carry(trunk, lanes, &flag, &counts));
        Self { is_over, seen, worker: Some(worker) }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.worker.take().map(JoinHandle::join);
    }
}

/// Makes a TAP, and puts it up.
fn open(name: &str) -> DetachedQueue {
    let mut tap = Tap::open(&TapOptions::new(name)).expect("it can be made");
    tap.take_queue(0).expect("it has one")
}

fn attach(queue: DetachedQueue) -> Box<dyn Queue> {
    let options = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: 4_096 };
    let pool = queue.pool(options).expect("there is memory");
    queue.attach(Rc::new(pool)).expect("frames are large enough")
}

/// Carries frames between the trunk and the lanes.
fn carry(trunk: DetachedQueue, lanes: Vec<(u16, DetachedQueue)>, is_over: &AtomicBool, seen: &Seen) {
    let mut trunk = attach(trunk);
    let mut lanes: Vec<_> = lanes.into_iter().map(|(vlan, queue)| (vlan, attach(queue), VecDeque::new())).collect();
    let (mut fresh, mut to_trunk) = (VecDeque::new(), VecDeque::new());
    while !is_over.load(Ordering::Relaxed) {
        let mut is_idle = trunk.rx_burst(Instant::ORIGIN, &mut fresh, 128).expect("it is there") == 0;
        for packet in fresh.drain(..).map(|packet: Packet| without_tag(&packet)) {
            let lane = packet.and_then(|(vlan, packet)| {
                let lane = lanes.iter_mut().find(|(lane, ..)| *lane == vlan);
                lane.map(|(.., out)| out.push_back(packet))
            });
            let count = if lane.is_some() { &seen.tagged } else { &seen.others };
            count.fetch_add(1, Ordering::Relaxed);
        }
        for (vlan, queue, out) in &mut lanes {
            queue.tx_burst(Instant::ORIGIN, out).expect("it is there");
            is_idle &= queue.rx_burst(Instant::ORIGIN, &mut fresh, 128).expect("it is there") == 0;
            to_trunk.extend(fresh.drain(..).map(|packet| with_tag(&packet, *vlan)));
        }
        trunk.tx_burst(Instant::ORIGIN, &mut to_trunk).expect("it is there");
        if is_idle {
            sleep(Duration::from_micros(200));
        }
    }
}

/// A copy without the tag, and its VLAN, if it has one.
fn without_tag(packet: &Packet) -> Option<(u16, Packet)> {
    let bytes = packet.buffers().concat();
    let vlan = u16::from_be_bytes([*bytes.get(14)?, *bytes.get(15)?]);
    (bytes[12..14] == [0x81, 0])
        .then(|| (vlan, moved(packet, [&bytes[..12], &bytes[16..]].concat(), |at| at - TAG_BYTES)))
}

fn with_tag(packet: &Packet, vlan: u16) -> Packet {
    let bytes = packet.buffers().concat();
    let tag = [&[0x81, 0][..], &vlan.to_be_bytes()].concat();
    moved(packet, [&bytes[..12], &tag, &bytes[12..]].concat(), |at| at + TAG_BYTES)
}

/// Other bytes with what is left to be done for them, at other places.
fn moved(packet: &Packet, bytes: Vec<u8>, place: impl Fn(u32) -> u32) -> Packet {
    let mut moved = Packet::from(Buffer::from(bytes));
    moved.offload = packet.offload;
    if let Checksum::Partial { csum_start, .. } = &mut moved.offload.checksum {
        *csum_start = place(*csum_start);
    }
    if let Some(segmentation) = &mut moved.offload.segmentation {
        segmentation.hdr_len = place(segmentation.hdr_len);
    }
    moved
}

fn native(shards: usize, devices: &[&str], more: &[&str]) -> Command {
    let mut command = command(Setup { backend: "epoll", shards });
    command.args(["--network-stack", "native"]).args(devices.iter().flat_map(|device| ["--device", device])).args(more);
    command
}

/// The frames of a capture that a filter of tshark's lets through.
fn frames(capture: &Path, filter: &str) -> usize {
    let capture = capture.to_str().expect("temporary paths are text");
    let output = Command::new("tshark").args(["-r", capture, "-Y", filter]).stdin(Stdio::null()).output();
    String::from_utf8_lossy(&output.expect("tshark can be run").stdout).lines().count()
}

/// Two VLANs, and what has no tag, each with its own network; from one and two shards, with and without offloads, and with two queues.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn httpd_serves_in_vlans_and_beside_them() {
    in_namespace(|| {
        let _switch = Switch::new(&[5, 7]);
        let root = root("vlan");
        let folder = tempfile::tempdir().expect("a folder");
        for (shards, offload) in [(1, "on"), (2, "on"), (2, "off"), (2, "on,queues=2")] {
            let capture = folder.path().join(format!("{shards}{offload}.pcapng"));
            let first = format!("tap:tap0,offload={offload},vlan=5");
            let addresses = ["10.9.5.2", "10.9.7.2", "10.9.0.2"].map(|address| ["--host-ipv4-addr", address]).concat();
            let mut command = native(shards, &[&first, "tap:tap0,vlan=7", "tap:tap0"], &addresses);
            let is_captured = shards == 1 || offload == "off";
            if is_captured {
                command.arg("--pcap").arg(&capture);
            }
            let httpd = Httpd::run(command.arg("--root").arg(&root));
            let at = |ip: IpAddr| SocketAddr::new(ip, httpd.address.port());
            for third in [5, 7, 0] {
                exercise(at(Ipv4Addr::new(10, 9, third, 2).into()), &content(3_000_000));
            }
            httpd.stop();
            if !is_captured {
                continue;
            }
            for (filter, is_there) in [
                ("tcp && ip.addr == 10.9.5.2 && vlan.id == 5 && vlan.priority == 0", true),
                ("tcp && ip.addr == 10.9.7.2 && vlan.id == 7", true),
                // What the kernel cuts, and what it leaves to be cut.
                ("tcp && ip.src == 10.9.5.2 && frame.len > 3000", offload != "off"),
                ("tcp && ip.dst == 10.9.5.2 && frame.len > 3000", offload != "off"),
                ("tcp && ip.addr == 10.9.0.2 && !vlan", true),
                ("tcp && ip.addr == 10.9.5.2 && !(vlan.id == 5)", false),
                ("tcp && ip.addr == 10.9.0.2 && vlan", false),
            ] {
                assert_eq!(frames(&capture, filter) > 0, is_there, "{filter}");
            }
        }
    });
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn httpd_serves_over_ipv6_in_a_vlan() {
    in_namespace(|| {
        let _switch = Switch::new(&[7]);
        let root = root("vlan-ipv6");
        let folder = tempfile::tempdir().expect("a folder");
        let capture = folder.path().join("capture.pcapng");
        let address = ["--dhcp", "0", "--host-ipv6-addr", "tap0.7=2001:db8:0:7::2/64"];
        let mut command = native(2, &["tap:tap0,vlan=7"], &address);
        let httpd = Httpd::run(command.arg("--root").arg(&root).arg("--pcap").arg(&capture));
        exercise(httpd.address, &content(3_000_000));
        httpd.stop();
        assert!(frames(&capture, "tcp && ipv6.addr == 2001:db8:0:7::2 && vlan.id == 7") > 0);
        assert_eq!(frames(&capture, "tcp && !vlan"), 0);
    });
}

/// DHCP, and routers with DHCPv6, of a VLAN.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_vlan_is_configured_by_its_servers() {
    in_namespace(|| {
        let _switch = Switch::new(&[5]);
        let server = Server::start("/usr/sbin/dnsmasq", |folder| {
            let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
            let mut all =
                vec!["--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null", &leases];
            all.extend([
                "--port=0",
                "--interface=lane5",
                "--bind-interfaces",
                "--user=root",
                "--pid-file=",
                "--no-ping",
            ]);
            all.extend(["--enable-ra", "--dhcp-authoritative", "--dhcp-range=10.9.5.50,10.9.5.59,255.255.255.0,2m"]);
            all.push("--dhcp-range=2001:db8:0:5::50,2001:db8:0:5::59,64,2m");
            all.into_iter().map(str::to_owned).collect()
        });
        let names = ["--dhcp-host-name", "web-5", "--dhcpv6", "stateful"];
        let httpd = Httpd::run(&mut native(2, &["tap:tap0,vlan=5"], &names));
        let hello = |address| Client::connect(address).expect("it listens").get("/").expect("it answers").body == HELLO;
        assert!(matches!(httpd.address.ip(), IpAddr::V4(v4) if v4.octets()[..3] == [10, 9, 5]), "{}", httpd.address);
        assert!(hello(httpd.address));
        assert!(httpd.first_lines.iter().any(|line| line.contains("this host has the address 2001:db8:0:5::5")));
        httpd.stop();
        server.wait_for("client provides name: web-5");
        server.wait_for("DHCPRELEASE(lane5) 10.9.5.5");
        server.wait_for("release received");
    });
}

/// What is of another VLAN, or of none, is not heard.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn frames_of_other_vlans_are_dropped_and_counted() {
    in_namespace(|| {
        let _switch = Switch::new(&[5, 9]);
        // The same network twice: from the other one nobody answers.
        ip("addr add 10.9.5.3/24 dev br0");
        ip("addr add 10.9.5.4/24 dev lane9");
        let httpd = Httpd::run(&mut native(1, &["tap:tap0,vlan=5"], &["--host-ipv4-addr", "10.9.5.2"]));
        let reaches = |interface: &str| {
            let ping = Command::new("ping").args(["-c", "1", "-W", "1", "-I", interface, "10.9.5.2"]).output();
            ping.expect("ping can be run").status.success()
        };
        assert!(reaches("lane5"));
        assert!(!reaches("lane9") && !reaches("br0"));
        let strangers = || figure(httpd.address, "sunstar_device_drops_total", "reason=\"rx_other_vlan\"");
        wait_until(|| strangers() >= 2.0, || "nothing is counted".to_owned());
        httpd.stop();
    });
}

/// The end of a vhost-user device that is the switch's, of which httpd is the other one.
fn vhost_user(socket: &Path, is_back: bool) -> DetachedQueue {
    if is_back {
        let options = BackOptions { is_server: true, ..BackOptions::new(socket) };
        let mut back = VhostUserBack::open(&options).expect("the folder is new");
        return back.take_queue(0).expect("it has one");
    }
    let memory = SharedMemory::new(VhostUserFront::memory_bytes(1) + (64 << 20)).expect("there is memory");
    let mut front = VhostUserFront::open(&FrontOptions::new(socket), memory).expect("the back end listens");
    front.take_queue(0).expect("it has one")
}

/// Two VLANs at either end, from one and two shards: each frame that leaves has the tag of its own. As a front end httpd also does without
/// offloads; with a back end that has none the driver completes checksums, which the switch does not.
#[test]
fn httpd_serves_in_vlans_by_vhost_user() {
    in_namespace(|| {
        let root = root("vlan-vhost-user");
        let addresses = ["10.9.5.2", "10.9.7.2"].map(|address| ["--host-ipv4-addr", address]).concat();
        for (shards, is_httpd_back, offload) in [(1, false, "on"), (2, false, "off"), (1, true, "on"), (2, true, "on")]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let socket = folder.path().join("socket");
            let device = format!("vhost-user:{}", socket.display());
            // It is the back end that listens.
            let before = (!is_httpd_back).then(|| Switch::at(vhost_user(&socket, true), &[5, 7]));
            let end = if is_httpd_back { ",back,server" } else { "" };
            let [first, second] = [format!("{device}{end},offload={offload},vlan=5"), format!("{device},vlan=7")];
            let httpd = Httpd::run(native(shards, &[&first, &second], &addresses).arg("--root").arg(&root));
            let switch = before.unwrap_or_else(|| Switch::at(vhost_user(&socket, false), &[5, 7]));
            for third in [5, 7] {
                let address = Ipv4Addr::new(10, 9, third, 2).into();
                exercise(SocketAddr::new(address, httpd.address.port()), &content(3_000_000));
            }
            let [tagged, others] =
                [&switch.seen.tagged, &switch.seen.others].map(|count| count.load(Ordering::Relaxed));
            assert!(tagged > 100 && others == 0, "{tagged} frames have a tag, {others} have none");
            httpd.stop();
        }
    });
}
