//! Bugs that the fuzz targets must find, each by itself: they begin with those inputs of their corpora that do not show the bug.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail, ensure};

use super::{arguments, cargo_fuzz, chosen, folder};
use crate::command::{Count, run as run_command};
use crate::planted::{ACTIVE, FLAG, evidence, until};

/// How much time of a processor a target may take to find a bug.
const BUDGET_SECONDS: u64 = 60;

/// So much is shown of what a target has noticed.
const EVIDENCE_LETTERS: usize = 100;

/// The unit in which the kernel says so, as programs see it.
const TICKS_PER_SECOND: u64 = 100;

/// A target, the package that has the bugs, and the bugs.
type Target = (&'static str, &'static str, &'static [&'static str]);

const BUGS: &[Target] = &[
    ("accept", HTTP, &["later_weight", "star_is_identity", "weight_four_digits"]),
    ("conditional", HTTP, &["date_beside_tag", "tag_ends_at_comma", "weak_part"]),
    (
        "http1",
        HTTP1,
        &[
            "head_answered_whole",
            "large_body_unanswered",
            "digits_per_piece",
            "empty_lines_pile_up",
            "head_end_forgotten",
            "trailers_unfiltered",
        ],
    ),
    (
        "http1_client",
        HTTP1,
        &[
            "interim_unbounded",
            "unasked_taken",
            "until_close_unbounded",
            "digits_per_piece",
            "empty_lines_pile_up",
            "head_end_forgotten",
        ],
    ),
    (
        "memcache",
        MEMCACHE,
        &[
            "memcache_end_split",
            "memcache_flag_twice",
            "memcache_key_too_long",
            "memcache_number_wraps",
            "memcache_reservation_kept",
        ],
    ),
    ("memcache_binary", MEMCACHE, &["memcache_packet_body", "memcache_packet_key", "memcache_packet_skip"]),
    ("memcache_client", MEMCACHE, &["memcache_any_value", "memcache_end_split", "memcache_number_wraps"]),
    ("memcache_datagram", MEMCACHE, &["memcache_datagram_part", "memcache_frames_count", "memcache_single_long"]),
    (
        "names",
        NET,
        &[
            "dns_any_id",
            "dns_any_owner",
            "dns_any_question",
            "dns_case_kept",
            "dns_data_beyond",
            "dns_points_ahead",
            "dns_ttl_above",
        ],
    ),
    ("path", HTTP, &["path_checked_encoded", "path_digit_colon", "path_keeps_nul"]),
    ("range", HTTP, &["range_last_wraps", "range_meets_one", "range_suffix_wraps"]),
    ("router", HTTP, &["empty_parameter", "encoded_is_other", "stale_span"]),
    (
        "tcpip",
        TCPIP,
        &[
            "delivered_twice",
            "held_forever",
            "leaked_flow",
            "lost_skipped",
            "no_backoff",
            "old_bytes_kept",
            "pause_ignored",
            "paws_ignored",
            "queues_shared",
            "rate_by_sending",
            "reports_beside_mss",
            "reset_believed",
            "sack_block_lost",
            "strangers_miscounted",
            "tcp_unverified",
            "timer_left",
            "window_off_by_one",
        ],
    ),
    ("told", TCPIP, &["dhcp_any_answer", "icmp_v6_unverified", "ndp_from_afar", "router_from_afar"]),
    ("uri", HTTP, &["uri_delete", "uri_short_address", "uri_signed_port"]),
    (
        "vhost_user",
        DEVICE,
        &["vhost_user_any_bell", "vhost_user_files_ignored", "vhost_user_ring_kept", "vhost_user_short_file"],
    ),
    (
        "vhost_user_front",
        DEVICE,
        &["vhost_user_always_left", "vhost_user_answer_files", "vhost_user_any_answer", "vhost_user_refusal_passed"],
    ),
    (
        "virtio",
        VIRTIO,
        &[
            "virtio_net_buffers_uncounted",
            "virtio_net_not_negotiated",
            "virtio_net_starved_lost",
            "virtio_net_verified_believed",
            "virtio_round_kept",
        ],
    ),
    (
        "virtio_driver",
        VIRTIO,
        &[
            "virtio_index_believed",
            "virtio_net_broken_filled",
            "virtio_net_place_believed",
            "virtio_net_room_ignored",
            "virtio_packed_any_chain",
            "virtio_used_twice",
        ],
    ),
    ("wire", WIRE, &["option_length_zero", "padding_kept", "vlan_unchecked"]),
];

const DEVICE: &str = "sunstar-device";
const HTTP: &str = "sunstar-http";
const HTTP1: &str = "sunstar-http1";
const MEMCACHE: &str = "sunstar-memcache";
const NET: &str = "sunstar-net";
const TCPIP: &str = "sunstar-tcpip";
const VIRTIO: &str = "sunstar-virtio";
const WIRE: &str = "sunstar-wire";

/// Plants the bugs of the targets named, or of all, and counts those that they find in time. Names of bugs choose among those of the
/// targets.
///
/// # Errors
/// If a name is unknown, the build fails, or a bug is not found.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let is_bug = |name: &String| BUGS.iter().any(|(_, _, bugs)| bugs.contains(&name.as_str()));
    let (only, names): (Vec<String>, Vec<String>) = names.iter().cloned().partition(is_bug);
    let mut chosen: Vec<&str> = chosen(&names)?.collect();
    if !only.is_empty() {
        let has = |target: &str, name: &String| {
            BUGS.iter().any(|(of, _, bugs)| *of == target && bugs.contains(&name.as_str()))
        };
        if let Some(elsewhere) = only.iter().find(|name| !chosen.iter().any(|target| has(target, name))) {
            bail!("{elsewhere} is no bug of {}", names.join(", "));
        }
        chosen.retain(|target| only.iter().any(|name| has(target, name)));
    }
    build(&chosen)?;
    let mut count = Count::default();
    for (target, _, bugs) in BUGS.iter().filter(|(target, ..)| chosen.contains(target)) {
        for bug in bugs.iter().filter(|bug| only.is_empty() || only.iter().any(|name| name == *bug)) {
            let found = find(target, bug).with_context(|| format!("planted bug {bug}"))?;
            count.add(Count { passed: u64::from(found.is_some()), failed: u64::from(found.is_none()) });
            match found {
                Some(how) => println!("found   {target:<12} {bug:<22} {how}"),
                None => println!("MISSED  {target:<12} {bug:<22} within {BUDGET_SECONDS} s"),
            }
        }
    }
    println!("{} found, {} missed", count.passed, count.failed);
    count.all_passed()
}

/// Each bug with its package.
pub(crate) fn in_table() -> BTreeSet<(String, String)> {
    BUGS.iter()
        .flat_map(|(_, package, bugs)| bugs.iter().map(|bug| ((*package).to_owned(), (*bug).to_owned())))
        .collect()
}

/// Where the targets with the bugs are, and put what they find.
fn place() -> PathBuf {
    folder().join("target/planted")
}

/// Builds targets with all bugs in them.
fn build(targets: &[&str]) -> Result<()> {
    for target in targets {
        let mut command = cargo_fuzz("build");
        command.arg("--target-dir").arg(place().join("build")).arg(target).env("RUSTFLAGS", FLAG);
        ensure!(run_command(&mut command)?.success, "{target} does not compile with the bugs in the packages");
    }
    Ok(())
}

/// Runs a target with a bug, and answers what it has found, and how soon.
fn find(target: &str, bug: &str) -> Result<Option<String>> {
    let inputs = place().join(target);
    if inputs.exists() {
        fs::remove_dir_all(&inputs)?;
    }
    fs::create_dir_all(&inputs)?;
    let (harmless, all) = copy_harmless(target, bug, &inputs)?;
    let mut command = executable(target, bug);
    command.arg(&inputs);
    // Time and again the same.
    command.arg("-seed=1");
    arguments(&mut command, target, 0);
    let Some((false, output, seconds)) = run_within_budget(&mut command)? else { return Ok(None) };
    let executions = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions = executions.unwrap_or("?").trim();
    let how: String = evidence(&output).chars().take(EVIDENCE_LETTERS).collect();
    Ok(Some(format!("{executions:>8} executions, {seconds:>2} s, from {harmless} of {all} inputs: {how}")))
}

/// Copies the inputs of a corpus that a target passes, and answers how many they are, of how many.
fn copy_harmless(target: &str, bug: &str, to: &Path) -> Result<(usize, usize)> {
    let (mut harmless, mut all) = (0, 0);
    for entry in fs::read_dir(folder().join("corpus").join(target))? {
        let path = entry?.path();
        all += 1;
        if let Some((true, ..)) = run_within_budget(executable(target, bug).arg(&path))? {
            fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
            harmless += 1;
        }
    }
    Ok((harmless, all))
}

fn executable(target: &str, bug: &str) -> Command {
    let mut command = Command::new(place().join("build/x86_64-unknown-linux-gnu/release").join(target));
    command.arg(format!("-artifact_prefix={}/", place().display())).env(ACTIVE, bug);
    command
}

/// Whether a target succeeded, what it said, and how much time of a processor it took.
fn run_within_budget(command: &mut Command) -> Result<Option<(bool, String, u64)>> {
    let seconds = Cell::new(0);
    let is_over = |child: &Child| -> Result<bool> {
        seconds.set(processor_seconds(child.id())?);
        Ok(seconds.get() > BUDGET_SECONDS)
    };
    let ended = until(command, &place().join("log"), is_over)?;
    Ok(ended.map(|(success, output)| (success, output, seconds.get())))
}

/// How long a process has had a processor.
fn processor_seconds(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Behind the name, which may have spaces, user time and system time are the twelfth and the thirteenth.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}
