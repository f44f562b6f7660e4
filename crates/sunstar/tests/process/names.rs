//! Names that dnsmasq knows, asked for over the kernel's network and over the native one, in a network namespace.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::namespace::{in_namespace, ip};

/// dnsmasq while it runs.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Self {
        let (leases, hosts) = (folder.join("leases"), folder.join("hosts"));
        let many: String = (1..200).map(|last| format!("10.9.1.{last} many.test\n")).collect();
        fs::write(&hosts, many).expect("it can be written");
        let leases = format!("--dhcp-leasefile={}", leases.display());
        let hosts = format!("--addn-hosts={}", hosts.display());
        let mut command = Command::new("/usr/sbin/dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--user=root"]);
        command.args(["--pid-file=", "--bind-interfaces", "--listen-address=10.9.0.1", "--no-ping", &leases, &hosts]);
        command.args(["--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,2m", "--domain=test", "--local=/test/"]);
        command.args(["--host-record=one.test,10.9.0.1", "--host-record=dual.test,10.9.0.2,2001:db8::2"]);
        command.args(["--cname=alias.test,one.test"]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("dnsmasq can be run");
        // It listens when it has read its files.
        sleep(Duration::from_millis(500));
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is said of the names.
fn resolved(options: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunstar-fixture"));
    command.args(["--overprovisioned", "--smp", "2", "--prometheus-port", "0", "--play", "resolve"]);
    for word in ["one.test", "dual.test", "alias.test", "none.test", "many.test"] {
        command.args(["--word", word]);
    }
    let output = command.args(options).output().expect("it can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn dnsmasq_is_asked_over_either_network() {
    in_namespace(|| {
        ip("tuntap add dev tap0 mode tap");
        ip("addr add 10.9.0.1/24 dev tap0");
        ip("link set tap0 up");
        let folder = tempfile::tempdir().expect("a folder");
        let _server = Server::start(folder.path());
        let native = ["--network-stack", "native", "--device", "tap:tap0"];
        // By DHCP dnsmasq says that it is to be asked.
        for options in [&["--name-server", "10.9.0.1"][..], &native] {
            let lines = resolved(options);
            let expected = [
                "one.test [10.9.0.1]",
                "dual.test [2001:db8::2, 10.9.0.2]",
                "alias.test [10.9.0.1]",
                "none.test there is no such name",
            ];
            assert_eq!(lines[..4], expected);
            assert_eq!(lines[4].matches("10.9.1.").count(), 64, "by TCP: {}", lines[4]);
        }
    });
}
