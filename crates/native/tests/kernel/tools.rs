//! Programs that ask for echoes and for ways, with the stack at the other end.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use sunstar_executor::timer::sleep;
use sunstar_native::Network;
use sunstar_reactor::Backend;

use super::namespace::in_namespace;
use super::router::{Host, beyond_a_router};
use super::stack::{STACK_V4, STACK_V6, Setup, run_on_stack};
use super::streams::make_tap;

/// Runs a program to its good end; answers what it printed.
fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {text}{errors}");
    text
}

/// Runs the stack beside a thread with programs, until that has ended.
fn beside(setup: &Setup, spawn: super::meeting::Spawn<'_>, programs: impl FnOnce() + Send + 'static) {
    let (ready, is_ready) = channel::<()>();
    let (told, done) = channel();
    let thread = spawn(Box::new(move || {
        // Without the driver nobody says so.
        if is_ready.recv().is_ok() {
            programs();
            told.send(()).expect("it is waited for");
        }
    }));
    run_on_stack(setup, move || async move {
        ready.send(()).expect("it is waited for");
        while done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            sleep(std::time::Duration::from_millis(5)).await;
        }
        let replies = Network::current().expect("one is started").with_stack(|stack| stack.counters());
        println!("{} echo replies, {} errors", replies.echo_replies_sent, replies.icmp_errors_sent);
    });
    thread.join().expect("the programs do well");
}

/// Echoes of all sizes, of which the largest come in dozens of fragments.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn ping() {
    in_namespace(|| {
        make_tap(1_500);
        for (backend, tap) in [(Backend::Epoll, "tap0"), (Backend::IoUring, "tap0,offload=off")] {
            beside(&Setup::new(backend, tap), &super::meeting::here, || {
                for (address, most) in [(STACK_V4.to_string(), 65_507), (STACK_V6.to_string(), 65_527)] {
                    for size in [0, 56, 1_452, 1_453, 1_472, 1_473, 8_000, most] {
                        let report = run("ping", &format!("-n -c 3 -i 0.05 -W 10 -s {size} {address}"));
                        // On a busy machine the kernel may drop some of the largest; without any, ping would have failed.
                        assert!(!report.contains("wrong data"), "{report}");
                    }
                }
            });
        }
    });
}

/// The way through a router: probes by UDP, to ports where nobody listens, and by echoes.
#[test]
#[ignore = "needs programs: cargo xtask test tools"]
fn traceroute() {
    beyond_a_router(|host| {
        let setup = Setup { kernel: Host::addresses(), ..Setup::new(Backend::Epoll, "tap0") };
        beside(&setup, &|job| host.spawn(job), || {
            for (version, router, stack) in [
                ("-4", "10.8.0.1".to_owned(), STACK_V4.to_string()),
                ("-6", "2001:db8:8::1".to_owned(), STACK_V6.to_string()),
            ] {
                for probes in ["-U", "-I"] {
                    let report = run("traceroute", &format!("{version} -n -q 2 -w 10 -m 5 {probes} {stack}"));
                    let hops: Vec<&str> =
                        report.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
                    assert_eq!(hops, [&router, &stack], "{report}");
                }
            }
        });
    });
}
