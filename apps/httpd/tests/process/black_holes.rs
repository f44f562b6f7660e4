//! httpd on the native stack behind a router that swallows what is too large and tells nobody, with the kernel as its peer.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::client::Client;
use super::files::{content, root};
use super::metrics::figure;
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, Setup, command};

const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// A thread in a namespace of its own, behind the one that has made it.
struct Beyond {
    thread: JoinHandle<()>,
    go: Sender<()>,
}

impl Beyond {
    /// Runs `test` there, when it is joined to here by a link of which the end there takes 1500 bytes, and the one here 1300.
    fn run(test: impl FnOnce() + Send + 'static) -> Self {
        let (told, id): (Sender<u32>, Receiver<u32>) = channel();
        let (go, gone) = channel();
        let thread = thread::spawn(move || {
            in_namespace(move || {
                let own = fs::read_link("/proc/thread-self").expect("there is a /proc");
                let id = own.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                told.send(id.expect("it ends with a number")).expect("it is waited for");
                gone.recv().expect("the link is made");
                ip("addr add 10.8.0.2/24 dev far");
                ip("link set far up");
                ip("route add default via 10.8.0.1");
                test();
            });
        });
        ip("link add near type veth peer name far");
        ip(&format!("link set far netns {}", id.recv().expect("it has begun")));
        ip("addr add 10.8.0.1/24 dev near");
        ip("link set near mtu 1300 up");
        Self { thread, go }
    }

    fn join(self) {
        self.go.send(()).expect("it waits");
        self.thread.join().expect("it has no failure");
    }
}

/// Makes the kernel here a router that tells nobody of what it does not forward.
fn be_silent_router() {
    ip("tuntap add dev tap0 mode tap");
    ip("addr add 10.9.0.1/24 dev tap0");
    ip("link set tap0 mtu 1500 up");
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("we are root");
    for rule in [
        "add table ip silent",
        "add chain ip silent out { type filter hook output priority 0 ; }",
        "add rule ip silent out icmp type destination-unreachable counter drop",
    ] {
        let status = Command::new("/usr/sbin/nft").arg(rule).status();
        assert!(status.expect("the package nftables is installed").success(), "nft {rule}");
    }
}

/// RFC 4821 §7.7, in both directions: the kernel knows it as `tcp_mtu_probing`.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn a_silent_router_stops_no_transfer() {
    in_namespace(|| {
        let root = root("black-hole");
        be_silent_router();
        let mut command = command(Setup { backend: "epoll", shards: 1 });
        command.args(["--network-stack", "native", "--device", "tap:tap0", "--host-ipv4-addr", &STACK.to_string()]);
        let httpd = Httpd::run(command.args(["--gw-ipv4-addr", "10.9.0.1"]).arg("--root").arg(&root));
        let address = httpd.address;
        let beyond = Beyond::run(move || {
            fs::write("/proc/sys/net/ipv4/tcp_mtu_probing", "1").expect("we are root");
            let mut client = Client::connect(address).expect("small packets get through");
            assert!(client.get("/file/large").expect("large ones too").body == content(3_000_000));
            let upload = content(100_000);
            client
                .send(format!("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", upload.len()).as_bytes())
                .unwrap();
            client.send(&upload).expect("it takes them");
            assert_eq!(client.answer().expect("it answers").body, b"100000\n");
        });
        beyond.join();
        let count = |name| figure(address, name, "");
        assert_eq!(count("sunstar_tcp_black_holes_total"), 1.0);
        assert!(count("sunstar_tcp_path_probes_arrived_total") >= 1.0);
        assert!(count("sunstar_tcp_path_probes_lost_total") >= 1.0);
        httpd.stop();
    });
}
