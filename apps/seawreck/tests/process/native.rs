//! seawreck on Sunstar's own network: with httpd at the other end of a vhost-user device, and with the kernel at that of a TAP.

use std::net::UdpSocket;
use std::thread;

use super::httpd::Httpd;
use super::namespace::{in_namespace, ip};
use super::seawreck::{report, run, with_each};

const NEAR: &str = "10.9.1.1";
const FAR: &str = "10.9.1.2";
const KERNEL: &str = "10.9.0.1";
const STACK: &str = "10.9.0.2";

/// The options of a program on the native network.
fn native<'a>(device: &'a str, address: &'a str) -> [&'a str; 6] {
    ["--network-stack", "native", "--device", device, "--host-ipv4-addr", address]
}

#[test]
fn httpd_is_loaded_without_a_kernel_in_between() {
    with_each(|backend, shards| {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        let (back, front) =
            (format!("vhost-user:{},back,server", socket.display()), format!("vhost-user:{}", socket.display()));
        let httpd = Httpd::run(Httpd::command().args(native(&back, NEAR)));
        let url = httpd.url("/");
        assert!(url.starts_with("http://10.9.1.1:"), "{url}");
        let closed = ["-n", "5000", "--connections", "20", "--pipeline", "4"];
        let open = ["--rate", "1k", "-d", "1s", "--connections", "20"];
        let idle = ["--idle", "-d", "1s", "--connections", "2000", "--connect-timeout", "20s", "--timeout", "20s"];
        // The last one, since httpd remembers for a while the ports of connections that it has ended, and whoever comes anew may choose them.
        let single = ["-n", "200", "--requests-per-connection", "1", "--connections", "5"];
        for (arguments, requests) in [(&closed[..], 5000), (&open, 1000), (&idle, 2000), (&single, 200)] {
            let seen = report(backend, shards, &[&native(&front, FAR)[..], arguments, &[&url]].concat());
            let sent = seen.count("/requests") + seen.count("/requests_unsent");
            assert_eq!((sent, seen.faults()), (requests, vec![]), "{seen:?}");
        }
        assert!(httpd.stop() >= 8000);
    });
}

#[test]
fn the_kernel_is_loaded_over_a_tap_by_both_versions_of_ip() {
    with_each(|backend, shards| {
        let backend = backend.to_owned();
        in_namespace(move || {
            ip("tuntap add dev tap0 mode tap");
            ip(&format!("addr add {KERNEL}/24 dev tap0"));
            ip("link set dev tap0 txqueuelen 10000 up");
            let httpd = Httpd::start(KERNEL);
            let arguments = ["-n", "3000", "--connections", "10", &httpd.url("/")];
            let seen = report(&backend, shards, &[&native("tap:tap0", STACK)[..], &arguments].concat());
            assert_eq!((seen.count("/requests"), seen.faults()), (3000, vec![]));
            assert_eq!(httpd.stop(), 3000);

            ip("addr add fd00:9::1/64 dev tap0 nodad");
            let httpd = Httpd::start("fd00:9::1");
            let ipv6 = [
                "--network-stack",
                "native",
                "--dhcp",
                "0",
                "--device",
                "tap:tap0",
                "--host-ipv6-addr",
                "fd00:9::2/64",
            ];
            let seen = report(&backend, shards, &[&ipv6[..], &["-n", "3000", &httpd.url("/")]].concat());
            assert_eq!((seen.count("/requests"), seen.faults(), httpd.stop()), (3000, vec![], 3000));

            let socket = UdpSocket::bind((KERNEL, 0)).expect("a port is free");
            let url = format!("udp://{}", socket.local_addr().expect("it has one"));
            thread::spawn(move || {
                let mut bytes = [0; 2048];
                while let Ok((count, peer)) = socket.recv_from(&mut bytes) {
                    let _ = socket.send_to(&bytes[..count], peer);
                }
            });
            let arguments = ["-n", "500", "--connections", "4", &url];
            let seen = report(&backend, shards, &[&native("tap:tap0", STACK)[..], &arguments].concat());
            assert_eq!((seen.count("/requests"), seen.faults()), (500, vec![]));
        });
    });
}

#[test]
fn the_kernel_is_loaded_by_af_xdp() {
    with_each(|backend, shards| {
        let backend = backend.to_owned();
        in_namespace(move || {
            ip("link add near type veth peer name far");
            ip(&format!("addr add {KERNEL}/24 dev far"));
            ip("link set near up");
            ip("link set far up");
            let httpd = Httpd::start(KERNEL);
            // What the kernel sends to the other end of a pair has no checksums.
            let options = native("xdp:near,checksum=ignore", STACK);
            for load in [&["-n", "3000", "--connections", "10"][..], &["--rate", "500", "-d", "1s"]] {
                let ended = run(&backend, shards, &[&options[..], load, &["--json", "-", &httpd.url("/")]].concat());
                let seen = ended.report();
                let sent = seen.count("/requests") + seen.count("/requests_unsent");
                assert_eq!((sent, seen.faults()), (if load[0] == "-n" { 3000 } else { 500 }, vec![]), "{ended:?}");
            }
            assert!(httpd.stop() >= 3000);
        });
    });
}
