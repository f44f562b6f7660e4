//! Which backend a runtime uses, where io_uring works and where it is refused.
//!
//! The refusal is a filter of system calls (`seccomp(2)`), which holds for the thread that sets it and those that it starts.

use std::io;
use std::sync::Mutex;
use std::thread;

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

/// Runs a runtime of two shards on a thread of its own, and answers what came of it and what was logged about backends.
fn run_logged(backend: Option<Backend>, is_refused: bool) -> (Result<(), RunError>, Vec<String>) {
    let _ = log::set_logger(&LINES);
    log::set_max_level(log::LevelFilter::Info);
    let started = thread::spawn(move || {
        if is_refused {
            refuse_io_uring();
        }
        let config = Config { smp: Some(2), overprovisioned: true, reactor_backend: backend, ..Config::default() };
        (thread::current().id(), run(config, || async {}))
    });
    let (id, outcome) = started.join().expect("no panic");
    let lines = LINES.0.lock().expect("no test panics with it");
    let about_backends = lines.iter().filter(|(thread, line)| *thread == id && line.contains("reactor backend"));
    (outcome, about_backends.map(|(_, line)| line.clone()).collect())
}

/// Lets the calling thread, and those that it starts from now on, have no ring.
fn refuse_io_uring() {
    let statement = |code: u32, operand: u32, jump_if_false: u8| libc::sock_filter {
        code: code.try_into().expect("codes have 16 bits"),
        jt: 0,
        jf: jump_if_false,
        k: operand,
    };
    let number = u32::try_from(libc::SYS_io_uring_setup).expect("numbers are small");
    let errno = u32::try_from(libc::EPERM).expect("numbers are small");
    let mut filter = [
        // The number stands first in what the filter sees.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the kernel reads a program of as many instructions as it says, which lives until the call returns.
    let answer = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(answer, 0, "{}", io::Error::last_os_error());
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
