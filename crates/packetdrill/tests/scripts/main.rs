//! The scripts of this crate, played through the plug-in's interface: packetdrill, for which they are written, is not everywhere.
//!
//! What packetdrill can do beyond our scripts this does not know, and says so; what both know means the same.
//!
//! A process has one world, so each script is played by this program once more, started for that.

#[path = "../plug_in/mod.rs"]
mod plug_in;

mod calls;
mod numbers;
mod parse;
mod play;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Names the script that the program is to play, and whether over IPv6.
const SCRIPT: &str = "SUNSTAR_SCRIPT";
const IS_V6: &str = "SUNSTAR_SCRIPT_IS_V6";

/// All files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Plays a script in a process of its own; answers what it said if it did not pass.
fn verdict(path: &Path, is_v6: bool) -> Option<String> {
    let mut program = Command::new(env::current_exe().expect("the test is a file"));
    program.args(["--exact", "one_script", "--nocapture"]).env(SCRIPT, path).env("RUST_BACKTRACE", "0");
    if is_v6 {
        program.env(IS_V6, "1");
    } else {
        program.env_remove(IS_V6);
    }
    let output = program.output().expect("it can be started");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Does nothing unless it is told which.
#[test]
fn one_script() {
    let Some(path) = env::var_os(SCRIPT) else { return };
    let text = fs::read_to_string(path).expect("the script can be read");
    let events = parse::script(&text).unwrap_or_else(|error| panic!("{error}"));
    if let Err(error) = play::play(&events, env::var_os(IS_V6).is_some()) {
        panic!("{error}");
    }
}

#[test]
fn our_scripts_pass_over_both_versions_of_ip() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let scripts = files(&folder);
    assert!(scripts.len() >= 20, "{} are too few", scripts.len());
    let mut failures = Vec::new();
    for path in &scripts {
        let name = path.strip_prefix(&folder).expect("it lies there").display().to_string();
        assert_eq!(path.extension().and_then(|extension| extension.to_str()), Some("pkt"), "{name}");
        // As packetdrill's own runner and `cargo xtask packetdrill` understand names.
        let versions = [(false, !name.ends_with("v6.pkt")), (true, !name.ends_with("v4.pkt"))];
        for (is_v6, _) in versions.into_iter().filter(|(_, suits)| *suits) {
            if let Some(text) = verdict(path, is_v6) {
                failures.push(format!("{name}, IPv{}:\n{text}", if is_v6 { 6 } else { 4 }));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A beginning that passes, and lines of which each has one thing wrong.
const BEGIN: &str = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 4) = 0
+0 < S 0:0(0) win 20000 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1460>
+0.1 < . 1:1(0) ack 1 win 20000
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 1500) = 1500
";
const WRONG: [(&str, &str); 12] = [
    ("+0 > P. 1:1401(1400) ack 1", "bytes were sent"),
    ("+0 > . 1:1501(1500) ack 1", "flags"),
    ("+0 > P. 1:1501(1500) ack 2", "ack"),
    ("+0 > P. 2:1502(1500) ack 1", "seq"),
    ("+0 > P. 1:1501(1500) ack 1 win 3", "window"),
    ("+0 > P. 1:1501(1500) ack 1 <nop,nop,sack 5:6>", "options"),
    ("+0.1 > P. 1:1501(1500) ack 1", "it was sent at"),
    ("+0 write(4, ..., 10) = 11", "came to"),
    ("+0 read(4, ..., 10) = -1 EPIPE (no)", "came to"),
    ("+0 %{ assert tcpi_unacked == 3, tcpi_unacked }%", "tcpi_unacked is 2"),
    ("+0 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 0", "events are"),
    ("+0...0.3 poll([{fd=4, events=POLLIN, revents=0}], 1, 200) = 0\n+0.4 fcntl(4, F_GETFL) = 0x2", "after its time"),
];

#[test]
fn scripts_with_something_wrong_in_them_do_not_pass() {
    let path = env::temp_dir().join(format!("sunstar-script-{}.pkt", std::process::id()));
    for (line, complaint) in WRONG.into_iter().chain([("", "")]) {
        fs::write(&path, format!("{BEGIN}{line}\n")).expect("it can be written");
        let verdict = verdict(&path, false);
        let is_wrong = verdict.as_ref().is_some_and(|text| text.contains("line 9:") || text.contains("line 10:"));
        assert_eq!(is_wrong, !line.is_empty(), "{line}: {verdict:?}");
        assert!(verdict.unwrap_or_default().contains(complaint), "{line}");
    }
    fs::remove_file(&path).expect("it is there");
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    let wrong = ["0", "soon close(3) = 0", "0 close 3", "0 < S", "0 < S 0:5(4)", "0 < S 0:0(0) <mss 5", "0 close(3)"];
    for text in wrong {
        let error = parse::script(&format!("\n{text}")).expect_err(text);
        assert!(error.starts_with("line 2: "), "{text}: {error}");
    }
}
