//! Interfaces by AF_XDP: who may not have one, and one that is deleted beside another device.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::namespace::{in_namespace, ip};
use super::{ANYWHERE, Running, fixture};

const NATIVE: [&str; 4] = ["--network-stack", "native", "--play", "wait"];

/// The stack's addresses at the TAP and at the interface, and those of the kernel's that it finds there.
const AT_TAP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const AT_INTERFACE: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);
const BEHIND_INTERFACE: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 5);

/// What takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes the interface `here`.
fn pair() {
    ip("link add here type veth peer name there");
    ip("link set here up");
    ip("link set there up");
}

/// How the fixture ends at `here` with no capabilities but these.
fn ended_with(capabilities: &str) -> (Option<i32>, String) {
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set=-all{capabilities}")).args(["--inh-caps=-all", "--"]);
    command.arg(env!("CARGO_BIN_EXE_sunstar-fixture")).args(ANYWHERE).args(NATIVE);
    command.args(["--device", "xdp:here", "--host-ipv4-addr", &AT_INTERFACE.to_string()]);
    let output = command.output().expect("the package util-linux is installed");
    (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
}

#[test]
fn who_may_not_have_an_interface_is_told_which_one_and_what_is_missing() {
    in_namespace(|| {
        pair();
        for (capabilities, what) in [
            ("", "make maps and programs for here"),
            (",+bpf", "make maps and programs for here"),
            (",+bpf,+net_admin", "receive packets of here"),
        ] {
            let expected = format!(
                "fixture: error: cannot open --device xdp:here: no permission to {what}: run as root, or with CAP_NET_ADMIN, \
                 CAP_NET_RAW and CAP_BPF of the host: Operation not permitted (os error 1)"
            );
            let (code, errors) = ended_with(capabilities);
            assert_eq!((code, errors.lines().last()), (Some(2), Some(expected.as_str())), "{capabilities}: {errors}");
        }
    });
}

/// The metrics, asked for at an address of the stack.
fn metrics(address: Ipv4Addr) -> String {
    let mut stream = TcpStream::connect(SocketAddr::from((address, 9180))).expect("the stack listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The value of a metric of a device, asked for over the TAP.
fn metric(name: &str, device: &str) -> f64 {
    let answer = metrics(AT_TAP);
    let line = answer.lines().find(|line| line.starts_with(name) && line.contains(&format!("device=\"{device}\"")));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{name} of {device} is not in {answer}"))
}

#[test]
fn an_interface_that_is_deleted_is_told_of_and_counted_and_the_other_device_goes_on() {
    in_namespace(|| {
        pair();
        ip("tuntap add dev tap0 mode tap");
        ip("addr add 10.9.0.1/24 dev tap0");
        ip("link set tap0 up");
        ip(&format!("addr add {BEHIND_INTERFACE}/32 dev lo"));
        let devices = ["--device", "tap:tap0", "--device", "xdp:here", "--prometheus-address", &AT_TAP.to_string()];
        let addresses = [AT_TAP, AT_INTERFACE].map(|address| address.to_string());
        let addresses = addresses.iter().flat_map(|address| ["--host-ipv4-addr", address]);
        let arguments = ["--smp", "1", "--overprovisioned"].into_iter().chain(NATIVE).chain(devices).chain(addresses);
        let arguments: Vec<&str> = arguments.collect();
        let running = Running::start_with(fixture(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert_eq!(metric("sunstar_device_lost_packets_total", "here"), 0.0);
        ip("link del there");
        // What is answered to this one would leave by the interface.
        let stranger = UdpSocket::bind((BEHIND_INTERFACE, 0)).expect("the address is the kernel's");
        let mut rounds = 0;
        while metric("sunstar_device_lost_packets_total", "here") == 0.0 {
            stranger.send_to(b"to a port where nobody listens", (AT_TAP, 9)).expect("there is a way");
            sleep(Duration::from_millis(10));
            rounds += 1;
            assert!(rounds < 1_000, "nothing is lost");
        }
        running.signal(Signal::INT);
        let (code, errors) = running.end();
        assert_eq!(code, Some(0), "{errors}");
        let gone = errors.lines().filter(|line| line.contains("nothing is sent or received by it any more"));
        assert_eq!(gone.filter(|line| line.contains("here: the device is gone")).count(), 1, "{errors}");
    });
}

#[test]
fn an_interface_that_goes_up_and_down_is_used_again_each_time() {
    in_namespace(|| {
        pair();
        ip("addr add 10.10.0.1/24 dev there");
        let address = AT_INTERFACE.to_string();
        // The kernel leaves its checksums to its end of the pair.
        let device = ["--device", "xdp:here,checksum=ignore", "--host-ipv4-addr", &address];
        let arguments = [&["--smp", "1", "--overprovisioned", "--prometheus-address", &address], &NATIVE[..], &device];
        let running = Running::start_with(fixture(&arguments.concat()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        for end in ["here", "there", "here", "there", "here"] {
            let answer = metrics(AT_INTERFACE);
            assert!(answer.contains("sunstar_device_lost_packets_total{device=\"here\""), "{answer}");
            ip(&format!("link set {end} down"));
            ip(&format!("link set {end} up"));
        }
        metrics(AT_INTERFACE);
        running.signal(Signal::INT);
        let (code, errors) = running.end();
        assert_eq!(code, Some(0), "{errors}");
        assert!(!errors.contains("ERROR"), "{errors}");
    });
}

/// What the fixture logs at devices of those options, each with an address of its own.
fn logged_with(shards: &str, options: &[&str]) -> String {
    let arguments = ["--smp", shards, "--overprovisioned"].into_iter().chain(NATIVE).map(str::to_owned);
    let devices = (2..).zip(options).flat_map(|(last, options)| {
        ["--device".to_owned(), format!("xdp:{options}"), "--host-ipv4-addr".to_owned(), format!("10.10.{last}.2")]
    });
    let arguments: Vec<String> = arguments.chain(devices).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let running = Running::start_with(fixture(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()));
    running.signal(Signal::INT);
    let (code, errors) = running.end();
    assert_eq!(code, Some(0), "{errors}");
    errors
}

#[test]
fn who_has_too_few_ports_for_connections_is_told() {
    let (tcp, udp) = ("connections can't be opened", "sockets of UDP have to name their port");
    let few = "connections from some shards to some addresses can't be opened: ranges for TCP of 3 ports";
    let mac = "here,mac=shared";
    let cases = [
        ("1", vec![format!("{mac},tcp=80,udp=2000-2003")], vec![tcp]),
        ("1", vec![format!("{mac},tcp=80,tcp=2000-2003")], vec![udp]),
        // Ranges of several devices that have no port in common.
        (
            "1",
            vec![format!("{mac},tcp=2000-2003,udp=2000"), "there,mac=shared,tcp=3000-3003,udp=2000-2003".to_owned()],
            vec![tcp, udp],
        ),
        ("4", vec![format!("{mac},tcp=2000-2002,udp=2000-2003")], vec![few]),
        ("2", vec![format!("{mac},tcp=2000-2999,udp=2000-2003")], vec![]),
        ("1", vec![mac.to_owned()], vec![]),
    ];
    for (shards, options, expected) in cases {
        in_namespace(move || {
            pair();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let errors = logged_with(shards, &options);
            for told in [tcp, udp, few] {
                assert_eq!(errors.contains(told), expected.contains(&told), "{told}: {errors}");
            }
        });
    }
}
