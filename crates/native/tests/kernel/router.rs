//! A host beyond a router: the test's own namespace forwards between the TAP and a pair of virtual interfaces, whose other end is in a
//! namespace of its own. What is lost on the way is lost by the router, so neither side is told.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use super::namespace::{in_namespace, ip};
use super::stack::{PATIENCE, STACK_V4, STACK_V6};
use super::streams::make_tap;

/// The host's addresses, and the router's there.
pub(crate) const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
pub(crate) const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, 2);
const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, 1);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in the host's namespace, which is there as long as this is.
pub(crate) struct Host {
    jobs: Sender<(Job, Sender<JoinHandle<()>>)>,
}

impl Host {
    /// Starts a thread there.
    pub(crate) fn spawn(&self, job: Job) -> JoinHandle<()> {
        let (told, started) = channel();
        self.jobs.send((job, told)).expect("it takes jobs");
        started.recv_timeout(PATIENCE).expect("it starts")
    }

    /// Does something there.
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (told, outcome) = channel();
        let ended = self.spawn(Box::new(move || told.send(job()).expect("it is waited for"))).join();
        ended.expect("it does not panic");
        outcome.recv().expect("it has ended")
    }

    pub(crate) fn addresses() -> Vec<IpAddr> {
        vec![HOST_V4.into(), HOST_V6.into()]
    }

    fn new() -> Self {
        let (jobs, wanted) = channel::<(Job, Sender<JoinHandle<()>>)>();
        let (told, made) = channel();
        thread::spawn(move || {
            // SAFETY: only this thread moves to another namespace; no memory is involved.
            let outcome = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(outcome, 0, "what could be done once can be done again");
            // SAFETY: it takes nothing and changes nothing.
            told.send(unsafe { libc::gettid() }).expect("it is waited for");
            for (job, started) in wanted {
                // What a thread starts is where it is itself.
                started.send(thread::spawn(job)).expect("it is waited for");
            }
        });
        let thread = made.recv_timeout(PATIENCE).expect("it is made");
        ip(&format!("link add veth0 type veth peer name veth1 netns {thread}"));
        Self { jobs }
    }
}

/// Runs a test with a router between the TAP and a host.
pub(crate) fn beyond_a_router(test: impl FnOnce(Host) + Send + 'static) {
    in_namespace(|| {
        make_tap(1_500);
        let host = Host::new();
        ip(&format!("addr add {ROUTER_V4}/24 dev veth0"));
        ip("link set veth0 up");
        ip(&format!("addr add {ROUTER_V6}/64 dev veth0 nodad"));
        for version in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/net/{version}"), "1").expect("the namespace is ours");
        }
        host.run(|| {
            ip(&format!("addr add {HOST_V4}/24 dev veth1"));
            ip("link set lo up");
            ip("link set veth1 up");
            ip(&format!("addr add {HOST_V6}/64 dev veth1 nodad"));
            ip(&format!("route add default via {ROUTER_V4}"));
            ip(&format!("-6 route add default via {ROUTER_V6}"));
        });
        test(host);
    });
}

/// Has the router lose packets, and send others twice if it can; answers whether it can.
pub(crate) fn disturb(per_mille: u32) -> bool {
    let lose = |family: &str| {
        format!(
            "add table {family} faults
             add chain {family} faults lose {{ type filter hook forward priority 0; }}
             add rule {family} faults lose numgen random mod 1000 < {per_mille} counter drop\n"
        )
    };
    nft(&[lose("ip"), lose("ip6")].concat()).expect("nft loses packets");
    let twice = |family: &str, stack: IpAddr, host: IpAddr| {
        // Behind what loses, and past neither of them again: what is sent twice is sent by the router itself.
        format!(
            "add chain {family} faults double {{ type filter hook forward priority 10; }}
             add rule {family} faults double oifname tap0 numgen random mod 1000 < {per_mille} counter dup to {stack} device tap0
             add rule {family} faults double oifname veth0 numgen random mod 1000 < {per_mille} counter dup to {host} device veth0\n"
        )
    };
    let rules = [twice("ip", STACK_V4.into(), HOST_V4.into()), twice("ip6", STACK_V6.into(), HOST_V6.into())];
    nft(&rules.concat()).inspect_err(|why| println!("nft sends nothing twice here: {why}")).is_ok()
}

/// Has the router lose all segments, or no longer.
pub(crate) fn wall(stands: bool) {
    let rules = "add table inet wall
         flush table inet wall
         add chain inet wall stop { type filter hook forward priority 0; }\n";
    let lose = if stands { "add rule inet wall stop meta l4proto tcp drop" } else { "" };
    nft(&format!("{rules}{lose}")).expect("nft loses segments");
}

/// Has the router refuse all connections in one way, said in the words of nft for each version of IP, and in no other.
pub(crate) fn refuse(v4: &str, v6: &str) {
    let table = |family: &str, how: &str| {
        format!(
            "add table {family} walls
             flush table {family} walls
             add chain {family} walls refuse {{ type filter hook forward priority 0; }}
             add rule {family} walls refuse meta l4proto tcp reject with {how}\n"
        )
    };
    nft(&[table("ip", v4), table("ip6", v6)].concat()).expect("nft refuses");
}

/// How often a kind of rules has done something.
pub(crate) fn disturbances(verdict: &str) -> u64 {
    let output = Command::new("/usr/sbin/nft").args(["list", "ruleset"]).output().expect("nft can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let packets = |line: &str| {
        let (_, rest) = line.split_once("counter packets ")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    text.lines().filter(|line| line.contains(verdict)).filter_map(packets).sum()
}

fn nft(rules: &str) -> Result<(), String> {
    let output = Command::new("/usr/sbin/nft").arg(rules).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
