//! The example that answers datagrams in a packet filter, with the kernel as its client.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::namespace::{in_namespace, ip};

/// The example while it runs. It is killed if the test fails.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example, which is built before the tests of its package are run.
fn example(arguments: &[&str]) -> Example {
    let fixture = Path::new(env!("CARGO_BIN_EXE_sunstar-fixture"));
    let program = fixture.with_file_name("examples").join("udp_filter");
    assert!(program.exists(), "{} is missing: cargo build -p sunstar --examples", program.display());
    let mut command = Command::new(program);
    command.args(["--overprovisioned", "--prometheus-port", "0"]).args(arguments);
    Example(command.stderr(Stdio::null()).spawn().expect("it can be started"))
}

fn stop(mut example: Example) {
    kill_process(Pid::from_child(&example.0), Signal::TERM).expect("it runs");
    assert_eq!(example.0.wait().expect("it can be waited for").code(), Some(0));
}

/// Sends to the example until it echoes: datagrams may be lost, as long as the neighbour is unknown for one.
fn is_echoed(to: &str, payload: &[u8]) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("there are ports");
    socket.connect(to).expect("there is a way");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("it is no zero");
    let mut answer = [0; 2_048];
    // While nobody listens, the kernel says so.
    let received = (0..40).find_map(|_| {
        let outcome = socket.send(payload).and_then(|_| socket.recv(&mut answer));
        outcome.inspect_err(|_| thread::sleep(Duration::from_millis(50))).ok()
    });
    assert_eq!(&answer[..received.expect("it answers")], payload);
}

#[test]
fn datagrams_are_echoed_by_filters() {
    in_namespace(|| {
        ip("tuntap add dev tap0 mode tap");
        ip("addr add 10.9.0.1/24 dev tap0");
        ip("link set tap0 up");
        let own = ["--network-stack", "native", "--device", "tap:tap0", "--host-ipv4-addr", "10.9.0.2"];
        let shards = ["--smp", "2"];
        let running = example(&[&own[..], &shards].concat());
        // Ports are spread over the shards.
        for len in 0..20 {
            is_echoed("10.9.0.2:7", &vec![7; len * 70]);
        }
        stop(running);
    });
}

#[test]
fn datagrams_are_echoed_by_sockets() {
    let running = example(&["--smp", "1", "--port", "27007"]);
    is_echoed("127.0.0.1:27007", b"again");
    stop(running);
}
