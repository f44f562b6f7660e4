//! A network namespace for each test.

use std::process::Command;
use std::thread;

/// Runs a test on a thread that has a network namespace of its own, which ends with the thread. What it starts is in it too.
///
/// Where that can't be, the test fails in continuous integration, and says so elsewhere.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        // SAFETY: only this thread moves to another namespace; no memory is involved.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return lacking(&format!("no network namespace can be made: {}", std::io::Error::last_os_error()));
        }
        if let Err(error) = std::fs::File::open("/dev/net/tun") {
            return lacking(&format!("/dev/net/tun can't be opened: {error}"));
        }
        ip("link set lo up");
        test();
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn lacking(what: &str) {
    let message = format!("{what}; tests of TAP devices need root, or CAP_NET_ADMIN and a node to open");
    assert!(std::env::var_os("CI").is_none(), "{message}");
    eprintln!("not run: {message}");
}

/// Calls ip(8) in the thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.expect("the package iproute2 is installed").success(), "ip {arguments}");
}
