use super::*;
use crate::config::Config;
use crate::runtime::run;
use sunstar_executor::spawn;

fn one_shard() -> Config {
    let idle_poll_time = Some(std::time::Duration::ZERO);
    Config { smp: Some(1), overprovisioned: true, stop_on_signals: false, idle_poll_time, ..Config::default() }
}

fn raise(signal: Signal) {
    // SAFETY: the tests raise only signals for which a handler is installed at that moment.
    assert_eq!(unsafe { libc::raise(signal.number()) }, 0);
}

fn action_of(signal: Signal) -> usize {
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only asks, and the structure is writable.
    assert_eq!(unsafe { libc::sigaction(signal.number(), std::ptr::null(), &raw mut action) }, 0);
    action.sa_sigaction
}

#[test]
fn all_subscribers_receive_a_signal_that_arrived_before_they_asked() {
    run(one_shard(), || async {
        let mut first = on(Signal::SIGUSR1).expect("the system allows it");
        let mut second = on(Signal::SIGUSR1).expect("the system allows it");
        raise(Signal::SIGUSR1);
        raise(Signal::SIGUSR1);
        first.recv().await;
        second.recv().await;
        let again = poll_fn(|cx| Poll::Ready(first.poll_recv(cx))).await;
        assert!(again.is_pending(), "two arrivals before a look are one");
    })
    .expect("it returns");
}

#[test]
fn a_signal_from_another_thread_ends_a_sleep() {
    run(one_shard(), || async {
        let mut arrivals = on(Signal::SIGUSR2).expect("the system allows it");
        let waiting = spawn(async move { arrivals.recv().await });
        std::thread::spawn(|| raise(Signal::SIGUSR2));
        waiting.await.expect("no panic");
    })
    .expect("it returns");
}

#[test]
fn what_the_process_did_before_comes_back_with_the_last_subscription() {
    run(one_shard(), || async {
        let before = action_of(Signal::SIGWINCH);
        let first = on(Signal::SIGWINCH).expect("the system allows it");
        let second = on(Signal::SIGWINCH).expect("the system allows it");
        assert_ne!(action_of(Signal::SIGWINCH), before);
        drop(first);
        assert_ne!(action_of(Signal::SIGWINCH), before);
        drop(second);
        assert_eq!(action_of(Signal::SIGWINCH), before);
    })
    .expect("it returns");
}

#[test]
fn a_subscription_ends_alone() {
    run(one_shard(), || async {
        let mut staying = on(Signal::SIGHUP).expect("the system allows it");
        drop(on(Signal::SIGHUP).expect("the system allows it"));
        raise(Signal::SIGHUP);
        staying.recv().await;
    })
    .expect("it returns");
}

#[test]
fn outside_of_a_runtime_there_are_no_signals() {
    assert!(matches!(on(Signal::SIGUSR1), Err(SignalError::NoShard)));
}

#[test]
fn signals_that_must_not_be_handled_have_no_name() {
    for number in [-1, 0, libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGABRT, 32, 64] {
        assert_eq!(Signal::from_number(number), None);
    }
    assert_eq!(Signal::from_number(libc::SIGTERM), Some(Signal::SIGTERM));
    assert_eq!(Signal::SIGTERM.to_string(), "SIGTERM");
}
