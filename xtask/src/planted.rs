//! Planted bugs: faults that the sources contain under `--cfg planted="name"`, each of which the tests must find.
//!
//! They show that the models and the randomised tests can fail. To plant one, write the fault under
//! `cfg(planted = "name")` and add a line to [`PLANTED`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{Count, cargo, root, target_dir};
use crate::loom;
use crate::tidy::tree;

/// After this long a test that has not failed is taken for one that does not find its bug.
const PATIENCE: Duration = Duration::from_secs(300);

/// How the tests that must find a bug are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As ordinary tests.
    Plain,
    /// As loom models.
    Loom,
}

#[derive(Debug)]
struct Planted {
    package: &'static str,
    name: &'static str,
    kind: Kind,
    /// The tests that must find it: a part of their names.
    tests: &'static str,
}

const PLANTED: &[Planted] = &[
    Planted { package: PACKET, name: "double_release", kind: Kind::Loom, tests: "loom_foreign" },
    Planted { package: PACKET, name: "missing_barrier", kind: Kind::Loom, tests: "wakes_the_sleeper" },
    Planted { package: PACKET, name: "relaxed_post", kind: Kind::Loom, tests: "loom_two_posters" },
    Planted { package: PACKET, name: "touch_after_post", kind: Kind::Loom, tests: "loom_list_ends" },
    Planted { package: EXECUTOR, name: "blocked_by_gone", kind: Kind::Plain, tests: "sync_random" },
    Planted { package: EXECUTOR, name: "child_relaxed_drop", kind: Kind::Loom, tests: "loom_child" },
    Planted { package: EXECUTOR, name: "child_relaxed_wake", kind: Kind::Loom, tests: "loom_child_foreign_wake" },
    Planted { package: EXECUTOR, name: "double_release", kind: Kind::Plain, tests: "sync_random" },
    Planted { package: EXECUTOR, name: "leaked_waiter", kind: Kind::Plain, tests: "sync_random" },
    Planted { package: EXECUTOR, name: "lost_child_wake", kind: Kind::Plain, tests: "sync_random" },
    Planted { package: EXECUTOR, name: "lost_wake", kind: Kind::Plain, tests: "sync_random" },
    Planted { package: EXECUTOR, name: "overtaking", kind: Kind::Plain, tests: "sync_random" },
    Planted { package: EXECUTOR, name: "ring_early_head", kind: Kind::Loom, tests: "loom_ring" },
    Planted { package: EXECUTOR, name: "ring_missing_release", kind: Kind::Loom, tests: "loom_ring" },
    Planted { package: EXECUTOR, name: "task_double_free", kind: Kind::Loom, tests: "loom_task_cloned" },
    Planted { package: EXECUTOR, name: "task_lost_wake", kind: Kind::Loom, tests: "loom_task_word" },
    Planted { package: EXECUTOR, name: "task_relaxed_word", kind: Kind::Loom, tests: "loom_task_word" },
    Planted { package: EXECUTOR, name: "wheel_stale_bitmap", kind: Kind::Plain, tests: "wheel_random" },
    Planted { package: EXECUTOR, name: "wheel_wrong_level", kind: Kind::Plain, tests: "wheel_random" },
    Planted { package: HTTP, name: "client_half_read_kept", kind: Kind::Plain, tests: "sim_sweep_client" },
    Planted { package: HTTP, name: "client_repeats_all", kind: Kind::Plain, tests: "sim_sweep_client" },
    Planted { package: HTTP, name: "client_stale_kept", kind: Kind::Plain, tests: "client::tests::faults" },
    Planted { package: HTTP, name: "client_waits_unbounded", kind: Kind::Plain, tests: "client::tests::pool" },
    Planted { package: HTTP, name: "date_beside_tag", kind: Kind::Plain, tests: "property_conditional" },
    Planted { package: HTTP, name: "empty_parameter", kind: Kind::Plain, tests: "property_router" },
    Planted { package: HTTP, name: "encoded_is_other", kind: Kind::Plain, tests: "property_router" },
    Planted { package: HTTP, name: "gate_left_early", kind: Kind::Plain, tests: "tests::stop" },
    Planted { package: HTTP, name: "later_weight", kind: Kind::Plain, tests: "property_accept" },
    Planted { package: HTTP, name: "no_last_look", kind: Kind::Plain, tests: "sim_sweep" },
    Planted { package: HTTP, name: "no_linger", kind: Kind::Plain, tests: "refusals" },
    Planted { package: HTTP, name: "path_checked_encoded", kind: Kind::Plain, tests: "property_path" },
    Planted { package: HTTP, name: "path_digit_colon", kind: Kind::Plain, tests: "property_path" },
    Planted { package: HTTP, name: "range_meets_one", kind: Kind::Plain, tests: "property_range" },
    Planted { package: HTTP, name: "range_suffix_wraps", kind: Kind::Plain, tests: "property_range" },
    Planted { package: HTTP, name: "stale_span", kind: Kind::Plain, tests: "property_router" },
    Planted { package: HTTP, name: "unsent_at_failure", kind: Kind::Plain, tests: "endings" },
    Planted { package: HTTP, name: "unsent_at_stop", kind: Kind::Plain, tests: "sim_sweep" },
    Planted { package: HTTP, name: "uri_short_address", kind: Kind::Plain, tests: "property_uri" },
    Planted { package: HTTP, name: "uri_signed_port", kind: Kind::Plain, tests: "property_uri" },
    Planted { package: HTTP1, name: "chunk_one_short", kind: Kind::Plain, tests: "property_conversations" },
    Planted { package: HTTP1, name: "head_end_forgotten", kind: Kind::Plain, tests: "property_fragments" },
    Planted { package: HTTP1, name: "http10_stays", kind: Kind::Plain, tests: "property_framing" },
    Planted { package: HTTP1, name: "length_beside_coding", kind: Kind::Plain, tests: "property_framing" },
    Planted { package: HTTP1, name: "trailers_unfiltered", kind: Kind::Plain, tests: "trailers_that_frame" },
    Planted { package: METRICS, name: "bound_outside", kind: Kind::Plain, tests: "a_value_lies_between" },
    Planted { package: METRICS, name: "lost_at_packet_end", kind: Kind::Plain, tests: "property_packets" },
    Planted { package: NET, name: "forgotten_return", kind: Kind::Plain, tests: "spread_random" },
    Planted { package: NET, name: "given_after_goodbye", kind: Kind::Plain, tests: "spread_random" },
    Planted { package: SIM, name: "address_order", kind: Kind::Plain, tests: "same_trace" },
    Planted { package: SIM, name: "early_segment", kind: Kind::Plain, tests: "sim_sweep" },
    Planted { package: SIM, name: "leaked_stream", kind: Kind::Plain, tests: "a_stream_moves" },
    Planted { package: SIM, name: "lost_reader_wake", kind: Kind::Plain, tests: "sockets_streams_buffers" },
    Planted { package: SIM, name: "split_drops_byte", kind: Kind::Plain, tests: "sim_sweep" },
    Planted { package: TCPIP, name: "forged_error", kind: Kind::Plain, tests: "forged_errors" },
    Planted { package: TCPIP, name: "fragments_overlap", kind: Kind::Plain, tests: "reassembly" },
    Planted { package: TCPIP, name: "hole_left", kind: Kind::Plain, tests: "behaves_like_a_map" },
    Planted { package: TCPIP, name: "leaked_flow", kind: Kind::Plain, tests: "sockets" },
    Planted { package: TCPIP, name: "lost_skipped", kind: Kind::Plain, tests: "sums_hold" },
    Planted { package: TCPIP, name: "metric_first", kind: Kind::Plain, tests: "routes" },
    Planted { package: TCPIP, name: "neighbour_queue_unbounded", kind: Kind::Plain, tests: "waiting_packets" },
    Planted { package: TCPIP, name: "no_backoff", kind: Kind::Plain, tests: "rto" },
    Planted { package: TCPIP, name: "no_cascade", kind: Kind::Plain, tests: "sorted_map" },
    Planted { package: TCPIP, name: "no_fast_convergence", kind: Kind::Plain, tests: "congestion" },
    Planted { package: TCPIP, name: "overlap_kept", kind: Kind::Plain, tests: "stream" },
    Planted { package: TCPIP, name: "reneging_ignored", kind: Kind::Plain, tests: "scoreboard" },
    Planted { package: TCPIP, name: "sack_not_merged", kind: Kind::Plain, tests: "stream_comes_out_in_order" },
    Planted { package: TCPIP, name: "udp_unverified", kind: Kind::Plain, tests: "checksums_are_verified" },
    Planted { package: TCPIP, name: "window_off_by_one", kind: Kind::Plain, tests: "streams_survive_the_wire" },
    Planted { package: WIRE, name: "carry_lost", kind: Kind::Plain, tests: "property_sums" },
    Planted { package: WIRE, name: "odd_piece_unswapped", kind: Kind::Plain, tests: "property_sums" },
    Planted { package: WIRE, name: "option_length_zero", kind: Kind::Plain, tests: "property_options" },
    Planted { package: WIRE, name: "padding_kept", kind: Kind::Plain, tests: "property_ipv4" },
    Planted { package: WIRE, name: "sack_without_room", kind: Kind::Plain, tests: "property_any_options" },
    Planted { package: WIRE, name: "update_minus_zero", kind: Kind::Plain, tests: "property_updates" },
    Planted { package: WIRE, name: "vlan_unchecked", kind: Kind::Plain, tests: "property_tagged" },
];

/// One of each kind, for a run that is to be short.
pub(crate) const SHORT: &[&str] = &["double_release", "lost_wake", "missing_barrier", "split_drops_byte"];

const NET: &str = "sunstar-net";
const PACKET: &str = "sunstar-packet";
const EXECUTOR: &str = "sunstar-executor";
const HTTP: &str = "sunstar-http";
const HTTP1: &str = "sunstar-http1";
const METRICS: &str = "sunstar-metrics";
const SIM: &str = "sunstar-sim";
const TCPIP: &str = "sunstar-tcpip";
const WIRE: &str = "sunstar-wire";

/// Shows the planted bugs.
pub(crate) fn list() {
    for Planted { package, name, kind, tests } in PLANTED {
        println!("{name:<24} {package:<18} found by {tests} ({kind:?})");
    }
}

/// Plants the bugs named, or all, one at a time, and counts those found.
///
/// # Errors
/// If a name is unknown, the table and the sources disagree, or a build fails.
pub(crate) fn run(names: &[impl AsRef<str>]) -> Result<Count> {
    if let Some(unknown) =
        names.iter().map(AsRef::as_ref).find(|name| PLANTED.iter().all(|planted| planted.name != *name))
    {
        bail!("there is no planted bug {unknown}; `cargo xtask planted --list` shows them");
    }
    compare(&in_sources()?, &in_table())?;
    let mut count = Count::default();
    for planted in
        PLANTED.iter().filter(|planted| names.is_empty() || names.iter().any(|name| name.as_ref() == planted.name))
    {
        let begin = Instant::now();
        let found = find(planted).with_context(|| format!("planted bug {} in {}", planted.name, planted.package))?;
        let took = begin.elapsed().as_secs_f64();
        match found {
            Verdict::Found(how) => {
                count.passed += 1;
                println!("found   {:<24} {took:>6.1} s   {how}", planted.name);
            }
            Verdict::Missed(why) => {
                count.failed += 1;
                println!("MISSED  {:<24} {took:>6.1} s   {why}", planted.name);
            }
        }
    }
    ensure!(count != Count::default(), "no bug is planted");
    Ok(count)
}

enum Verdict {
    /// With the words of the test that found it.
    Found(String),
    Missed(String),
}

/// Builds the tests with the bug in them, which must succeed, and runs them, which must not.
fn find(planted: &Planted) -> Result<Verdict> {
    let program = build(planted)?;
    let mut command = Command::new(program);
    command
        .arg(planted.tests)
        .current_dir(root().join(planted.package.replace("sunstar-", "crates/")))
        // A planted failure is no regression to remember.
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
    if planted.kind == Kind::Loom {
        command.env("LOOM_MAX_PREEMPTIONS", loom::PREEMPTIONS.to_string());
    }
    let Some((success, output)) = within(&mut command, PATIENCE)? else {
        return Ok(Verdict::Missed(format!("its tests have not failed within {} s", PATIENCE.as_secs())));
    };
    ensure!(!output.contains("running 0 tests"), "no test is called {}", planted.tests);
    if success { Ok(Verdict::Missed("its tests pass".to_owned())) } else { Ok(Verdict::Found(evidence(&output))) }
}

/// Builds the package's tests; the flag goes to that package alone, so what it depends on is built once.
fn build(planted: &Planted) -> Result<PathBuf> {
    let mut command = cargo(&[
        "rustc",
        "--locked",
        "--quiet",
        "--lib",
        "--message-format",
        "json-render-diagnostics",
        "-p",
        planted.package,
    ]);
    match planted.kind {
        Kind::Plain => command.args(["--profile", "test"]),
        Kind::Loom => {
            loom::environment(&mut command, loom::PREEMPTIONS);
            command.args(["--profile", "bench"])
        }
    };
    command.args(["--", "--cfg", &format!("planted=\"{}\"", planted.name)]);
    // Each program runs once and briefly: what counts is that it is built quickly.
    command.args(["-Cdebuginfo=0", "-Awarnings"]);
    if planted.kind == Kind::Loom {
        command.arg("-Copt-level=1");
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().context("cargo could not be started")?;
    ensure!(output.status.success(), "the tests do not compile with the bug in them");
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo names no test program")
}

/// The program that cargo's messages name last.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
}

/// Runs a program for at most `patience` and answers whether it succeeded, and what it said.
fn within(command: &mut Command, patience: Duration) -> Result<Option<(bool, String)>> {
    let path = target_dir("planted.log");
    let log = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    let mut child = command.stdout(log.try_clone()?).stderr(log).spawn().context("the tests could not be started")?;
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            let output = std::fs::read(&path)?;
            return Ok(Some((status.success(), String::from_utf8_lossy(&output).into_owned())));
        }
        if begin.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The line after the first panic's header, which says what was noticed, or how the program ended.
fn evidence(output: &str) -> String {
    let mut lines = output.lines().skip_while(|line| !line.contains("panicked at"));
    lines.nth(1).map_or_else(|| "the test program was killed".to_owned(), |line| line.trim().to_owned())
}

fn in_table() -> BTreeSet<(String, String)> {
    PLANTED.iter().map(|planted| (planted.package.to_owned(), planted.name.to_owned())).collect()
}

/// Every `planted = "name"` of the crates, with its package.
fn in_sources() -> Result<BTreeSet<(String, String)>> {
    let mut found = BTreeSet::new();
    for file in tree::read(root())?.iter().filter(|file| file.path.starts_with("crates/")) {
        let Some(folder) = file.path.split('/').nth(1) else { continue };
        for name in names_in(&file.text) {
            found.insert((format!("sunstar-{folder}"), name));
        }
    }
    Ok(found)
}

fn names_in(text: &str) -> impl Iterator<Item = String> {
    text.split("planted = \"").skip(1).filter_map(|rest| rest.split_once('"').map(|(name, _)| name.to_owned()))
}

/// Whether sources and table name the same bugs.
fn compare(sources: &BTreeSet<(String, String)>, table: &BTreeSet<(String, String)>) -> Result<()> {
    if let Some((package, name)) = table.difference(sources).next() {
        bail!("the table of planted bugs names {name} of {package}, which the sources do not contain");
    }
    if let Some((package, name)) = sources.difference(table).next() {
        bail!("{package} contains the planted bug {name}, which the table does not name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_the_sources_contain() {
        compare(&in_sources().unwrap(), &in_table()).unwrap();
    }

    #[test]
    fn a_name_on_one_side_only_is_an_error() {
        let some = BTreeSet::from([("sunstar-packet".to_owned(), "lost".to_owned())]);
        assert!(compare(&some, &BTreeSet::new()).is_err());
        assert!(compare(&BTreeSet::new(), &some).is_err());
    }

    #[test]
    fn names_are_read_from_both_forms() {
        let text = "if cfg!(planted = \"one\") {}\n#[cfg(not(planted = \"two\"))]";
        assert_eq!(names_in(text).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn evidence_is_what_the_panic_says() {
        let output = "running 1 test\nthread 'x' panicked at src/a.rs:1:2:\nassertion failed: woken\nnote: …";
        assert_eq!(evidence(output), "assertion failed: woken");
    }

    #[test]
    fn impatience_ends_a_program() {
        let hangs = within(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap();
        assert!(hangs.is_none());
    }
}
