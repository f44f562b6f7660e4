//! Two httpds with a vhost-user device between them, one of which is killed, and the kernel as the peer of the other one at a TAP.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;

use super::client::{Client, HELLO};
use super::metrics::{figure, wait_for_figure};
use super::namespace::{in_namespace, ip};
use super::server::{Httpd, PATIENCE, Setup, command, with_each_backend};

const KERNEL: &str = "10.9.0.1";
const STACK: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// The two ends of the device between them.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 1, 2);

/// Which end makes the socket. It is the one that stays.
const ENDS: [(&str, &str); 2] = [("back,server", "queues=1"), ("server", "back")];

/// The one at the other end of the vhost-user device, with nothing else.
fn peer(setup: Setup, socket: &Path, role: &str) -> Command {
    let mut command = command(setup);
    let device = format!("vhost-user:{},{role}", socket.display());
    command.args(["--network-stack", "native", "--device", &device, "--host-ipv4-addr", &FAR.to_string()]);
    command
}

#[test]
fn a_peer_that_is_killed_stops_no_other_device_and_is_met_again() {
    with_each_backend(|setup| {
        let setup = Setup { shards: 1, ..setup };
        in_namespace(move || {
            for (near, far) in ENDS {
                let folder = tempfile::tempdir().expect("a folder");
                let socket = folder.path().join("socket");
                ip("tuntap add dev tap0 mode tap");
                ip(&format!("addr add {KERNEL}/24 dev tap0"));
                ip("link set tap0 up");
                let start = || Httpd::run(&mut peer(setup, &socket, far));
                // A front end waits for its back end before it listens.
                let early = (near == "server").then(start);
                let device = format!("vhost-user:{},{near}", socket.display());
                let mut command = command(setup);
                command.args(["--network-stack", "native", "--device", "tap:tap0", "--device", &device]);
                command.args(["--host-ipv4-addr", &STACK.to_string(), "--host-ipv4-addr", &NEAR.to_string()]);
                let httpd = Httpd::run(&mut command);
                let mut peer = early.unwrap_or_else(start);
                if near == "server" {
                    let is_told = |line: &String| line.contains("96 MiB of shared memory lie in");
                    assert!(httpd.first_lines.iter().any(is_told), "{:?}", httpd.first_lines);
                }
                let at = (STACK, httpd.address.port()).into();
                let serves = || {
                    let mut client = Client::connect(at).expect("it listens");
                    assert_eq!(client.get("/").expect("it answers").body, HELLO);
                };
                let label = format!("device=\"{}\"", socket.display());
                let received = || figure(at, "sunstar_device_received_packets_total", &label);
                for times in [1.0, 2.0] {
                    let before = received();
                    serves();
                    peer.signal(Signal::KILL);
                    peer.end();
                    serves();
                    peer = start();
                    wait_for_figure(at, "sunstar_device_reconnects_total", &label, times);
                    // Whoever starts looks for others with its addresses.
                    let deadline = Instant::now() + PATIENCE;
                    while received() == before {
                        serves();
                        assert!(
                            Instant::now() < deadline,
                            "nothing comes by {label} any more: {before} packets until now"
                        );
                    }
                }
                assert_eq!(figure(at, "sunstar_device_peer_errors_total", &label), 0.0);
                peer.stop();
                serves();
                httpd.stop();
                ip("link delete tap0");
            }
        });
    });
}
