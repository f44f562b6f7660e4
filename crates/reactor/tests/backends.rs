//! Which backend a runtime uses, where io_uring works and where it is refused.

mod refusal;

use std::env;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use refusal::refuse;
use sunstar_reactor::{Backend, Config, LinuxPlatform, RunError, run};

/// Collects what is logged, by thread: tests run side by side.
struct Lines(Mutex<Vec<(thread::ThreadId, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().expect("no test panics with it").push((thread::current().id(), record.args().to_string()));
    }

    fn flush(&self) {}
}

/// More than one, so that a later one may lack what the first one had.
const SHARDS: usize = 4;

/// Runs a runtime of some shards on a thread of its own, and answers what came of it and what was logged about backends.
fn run_logged(backend: Option<Backend>, is_refused: bool) -> (Result<(), RunError>, Vec<String>) {
    let _ = log::set_logger(&LINES);
    log::set_max_level(log::LevelFilter::Info);
    let started = thread::spawn(move || {
        if is_refused {
            refuse(libc::SYS_io_uring_setup, libc::EPERM);
        }
        let config = Config { smp: Some(SHARDS), overprovisioned: true, reactor_backend: backend, ..Config::default() };
        (thread::current().id(), run(config, || async {}))
    });
    let (id, outcome) = started.join().expect("no panic");
    let lines = LINES.0.lock().expect("no test panics with it");
    let about_backends = lines.iter().filter(|(thread, line)| *thread == id && line.contains("reactor backend"));
    (outcome, about_backends.map(|(_, line)| line.clone()).collect())
}

#[test]
fn where_io_uring_is_refused_epoll_takes_over() {
    let (outcome, lines) = run_logged(None, true);
    outcome.expect("epoll works everywhere");
    let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
    assert!(line.starts_with("reactor backend: epoll, since io_uring does not work here"), "{line}");
    assert!(line.contains("forbids it"), "{line}");
}

#[test]
fn who_asks_for_io_uring_where_it_is_refused_gets_an_error() {
    let (outcome, _) = run_logged(Some(Backend::IoUring), true);
    let error = outcome.expect_err("it can't be had");
    assert!(matches!(error, RunError::Start { shard: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("io_uring"), "{error}");
}

#[test]
fn where_io_uring_works_it_is_used() {
    if LinuxPlatform::with_backend(Some(Backend::IoUring)).is_err() {
        println!("io_uring is not available here");
        return;
    }
    let (outcome, lines) = run_logged(None, false);
    outcome.expect("it works");
    assert_eq!(lines, ["reactor backend: io_uring, which works here and costs the least"]);
}

#[test]
fn what_is_asked_for_is_used() {
    let (outcome, lines) = run_logged(Some(Backend::Epoll), false);
    outcome.expect("it works");
    assert_eq!(lines, ["reactor backend: epoll, as asked for"]);
}

/// Runs the rest of test `name` in a process of its own, as a user without rights: the answer is whether this is that process.
fn is_alone_without_rights(name: &str) -> bool {
    const ALONE: &str = "SUNSTAR_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        // The kernel counts locked memory by user: tests that run at the same time must not be the same one.
        let stranger = 100_000 + std::process::id();
        // SAFETY: changes who this process is, which nothing in it depends on. Without rights it fails, and is not needed.
        unsafe { libc::setuid(stranger) };
        // SAFETY: asks who this process is.
        assert_ne!(unsafe { libc::geteuid() }, 0);
        return true;
    }
    let mut child = Command::new(env::current_exe().expect("tests run from a file"));
    child.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, "1");
    assert!(child.status().expect("this program can be started").success());
    false
}

fn limit(resource: libc::__rlimit_resource_t, most: libc::rlim_t) {
    let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes a limit.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut present) }, 0);
    let limit = libc::rlimit { rlim_cur: most, ..present };
    // SAFETY: the kernel reads a limit.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

#[test]
fn a_user_who_may_lock_no_memory_gets_a_backend_that_works() {
    if !is_alone_without_rights("a_user_who_may_lock_no_memory_gets_a_backend_that_works") {
        return;
    }
    limit(libc::RLIMIT_MEMLOCK, 0);
    for is_refused in [false, true] {
        let (outcome, lines) = run_logged(None, is_refused);
        outcome.expect("one of them works");
        let line = lines.last().expect("it is logged");
        // Kernels differ in whether they count the memory of rings.
        let has_ring = line == "reactor backend: io_uring, which works here and costs the least";
        let has_none = line.starts_with("reactor backend: epoll, since io_uring does not work here: ");
        assert!(has_none || has_ring && !is_refused, "{line}");
    }
}

#[test]
fn a_shortage_that_only_later_shards_feel_is_a_clear_error_or_none() {
    if !is_alone_without_rights("a_shortage_that_only_later_shards_feel_is_a_clear_error_or_none") {
        return;
    }
    let mut failures = 0;
    for descriptors in 4.. {
        limit(libc::RLIMIT_NOFILE, descriptors);
        match run_logged(None, false).0 {
            Ok(()) => break,
            Err(RunError::Start { source, .. }) if source.to_string().contains("Too many open files") => failures += 1,
            // The topology and the limits of processors are read from files, before any shard.
            Err(RunError::Topology(_) | RunError::Affinity(_)) => failures += 1,
            Err(error) => panic!("{error} with {descriptors} descriptors"),
        }
        assert!(descriptors < 100, "{SHARDS} shards need no more");
    }
    assert!(failures > 0, "some have too few");
}
