//! What the log looks like.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use rustix::process::Signal;

use super::{ANYWHERE, Running, ended, fixture};

/// Time, level, origin, module and message of a line.
fn parts(line: &str) -> [&str; 5] {
    let (time, rest) = line.split_at(24);
    let (level, rest) = rest.split_once(" [").expect(line);
    let (origin, rest) = rest.split_once("] ").expect(line);
    let (module, message) = rest.split_once(": ").expect(line);
    [time, level.trim(), origin, module, message]
}

fn log(arguments: &[&str]) -> String {
    let common = ["-c", "2", "--overprovisioned", "--prometheus-port", "0", "--play", "log"];
    let (code, _, errors) = ended(&[&common, arguments].concat());
    assert_eq!(code, Some(0), "{errors}");
    errors
}

#[test]
fn every_record_is_one_line() {
    let log = log(&[]);
    for line in log.lines() {
        let [time, level, origin, ..] = parts(line);
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00:00:00.000Z", "{line}");
        assert!(["INFO", "WARN", "ERROR"].contains(&level), "{line}");
        assert!(["shard 0", "shard 1", "main"].contains(&origin), "{line}");
    }
    let whole = |line: &&str| parts(line)[4].strip_prefix("line ").is_some_and(|rest| rest.ends_with(&"y".repeat(100)));
    for shard in ["shard 0", "shard 1"] {
        assert_eq!(log.lines().filter(|line| parts(line)[2] == shard).filter(whole).count(), 100);
    }
}

#[test]
fn hostile_bytes_forge_no_line() {
    let log = log(&[]);
    let line = log.lines().find(|line| line.contains("forged")).expect("it is logged");
    let said = "a peer said \"x\\n2026-01-01T00:00:00.000Z ERROR [shard 0] fixture: forged\\u{1b}[0m\"";
    assert_eq!(parts(line)[1..], ["WARN", "shard 0", "sunstar_fixture", said]);
}

#[test]
fn levels_are_per_module() {
    let by_default = log(&[]);
    assert!(by_default.contains("from the net") && !by_default.contains("a detail"));
    let debug_net = log(&["--log-level", "net=debug,info"]);
    assert!(debug_net.contains("a detail of the net") && !debug_net.contains(": a detail\n"));
    assert_eq!(log(&["--log-level", "off"]), "");
}

#[test]
fn panics_are_logged_in_one_line_with_their_place() {
    let log = log(&[]);
    let panic = log.lines().find(|line| line.contains("in a task")).expect("it is logged");
    let [_, level, origin, module, message] = parts(panic);
    assert_eq!([level, origin, module], ["ERROR", "shard 0", "panic"]);
    assert!(message.starts_with("panicked at ") && message.ends_with(": in a task"), "{message}");
}

#[test]
fn what_was_logged_before_an_abort_is_written() {
    let running = Running::start(&["--play", "abort"]);
    running.signal(Signal::USR1);
    let (code, errors) = running.end();
    assert_eq!(code, None, "it is a signal that ends it");
    let panic = errors.lines().find(|line| line.contains("a waker that panics")).expect(&errors);
    assert!(parts(panic)[4].starts_with("panicked at "), "{panic}");
    assert!(errors.lines().any(|line| line.starts_with("shard 0 panicked outside of any task")), "{errors}");
}

#[test]
fn who_does_not_read_the_log_stops_nobody() {
    let mut command = fixture(&[&ANYWHERE[..], &["--play", "flood"]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut stats = String::new();
    out.read_line(&mut stats).expect("it is text");
    assert!(stats.starts_with("LogStats { written: ") && !stats.contains("dropped: 0 "), "{stats}");
    assert!(child.wait().expect("it can be waited for").success(), "it ends though nobody reads");
    let mut errors = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
    assert!(errors.lines().count() > 10);
}
