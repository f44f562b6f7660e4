//! Options from files.

use std::io::Write;

use tempfile::NamedTempFile;

use super::{ANYWHERE, ended, refusal};

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("there is a place for files");
    file.write_all(text.as_bytes()).expect("there is room");
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("the path is text")
}

/// What the fixture makes of a file and further arguments.
#[track_caller]
fn shown(text: &str, arguments: &[&str]) -> String {
    let file = file(&format!("prometheus-port = 0\n{text}"));
    let (code, out, errors) = ended(&[&["--config", path(&file)], arguments].concat());
    assert_eq!(code, Some(0), "{errors}");
    out
}

/// Why the fixture refuses a file, without the file's name.
#[track_caller]
fn refused(text: &str) -> String {
    let file = file(text);
    let line = refusal(&["--config", path(&file)]);
    line.strip_prefix(path(&file)).and_then(|line| line.strip_prefix(": ")).expect(&line).to_owned()
}

#[test]
fn a_file_has_options_of_the_framework_and_of_the_application() {
    let text = r#"
        smp = 7
        overprovisioned = true
        thread-affinity = 0
        task-quota-ms = 0.25
        cpuset = "0-8191"
        log-level = "net=debug,warn"
        word = ["a", "b c", "-d"]
        quiet = true
        ratio = 1
        verbose = 2
    "#;
    let args = "Args { play: Show, word: [\"a\", \"b c\", \"-d\"], pair: [], quiet: true, ratio: Some(1.0), verbose: 2";
    assert!(shown(text, &["--cpuset", "0"]).starts_with(args));
    assert_eq!(shown(text, &["--cpuset", "0", "--play", "shards"]), "7\n");
}

#[test]
fn the_command_line_wins() {
    let text = "smp = 7\noverprovisioned = true\nplay = \"shards\"\nword = [\"a\", \"b\"]\npoll-mode = true";
    let calm = "--poll-mode=false";
    assert_eq!(shown(text, &[calm]), "7\n");
    assert_eq!(shown(text, &[calm, "-c", "3"]), "3\n");
    assert!(shown(text, &[calm, "--play", "show", "--word", "c"]).starts_with("Args { play: Show, word: [\"c\"]"));
}

#[test]
fn lists_are_for_options_that_take_several_values() {
    let common = format!("{}\npair = [1, 2]", "smp = 1");
    assert!(shown(&common, &ANYWHERE[2..]).contains("pair: [1, 2]"));
    assert_eq!(refused("smp = [1, 2]"), "smp: it takes one value, not a list");
    assert!(refused("pair = [1]").starts_with("pair: "));
}

#[test]
fn wrong_keys_and_values_are_named() {
    let keys = "there is no such option; keys are the long names of options, without dashes";
    for (text, rule) in [
        ("memory = \"4G\"", format!("memory: {keys}")),
        ("c = 1", format!("c: {keys}")),
        ("[smp]\nx = 1", "smp: it takes a value, not a table".into()),
        ("[http]\nx = 1", format!("http: {keys}")),
        ("config = \"x\"", "config: this option is for the command line only".into()),
        ("smp = \"2\"", "smp: it takes a number, without quotes".into()),
        ("smp = true", "smp: it takes a number, without quotes".into()),
        ("smp = 1.5", "smp: invalid value '1.5' for '--smp <N>': it must be a whole number".into()),
        ("poll-mode = \"yes\"", "poll-mode: it takes true or false".into()),
        ("quiet = 1", "quiet: it takes true or false".into()),
        ("verbose = 256", "verbose: it takes true, false, or how often it is given, up to 255".into()),
        ("smp = 1\n\nsmp = 2", "line 3: duplicate key".into()),
    ] {
        assert_eq!(refused(text), rule, "{text}");
    }
}

#[test]
fn a_wrong_value_is_named_even_if_the_command_line_has_the_option() {
    let file = file("smp = 0");
    let line = refusal(&["--config", path(&file), "--smp", "1"]);
    assert!(line.ends_with(": smp: invalid value '0' for '--smp <N>': there must be at least one shard"), "{line}");
}

#[test]
fn the_applications_rules_hold_across_file_and_command_line() {
    let file = file("word = [\"a\"]\naddress = \"x\"");
    let line = refusal(&["--config", path(&file), "--quiet", "--pair", "1", "2"]);
    let rule = "the argument '--word <WORD>' cannot be used with '--pair <PAIR> <PAIR>'";
    let reverse = "the argument '--pair <PAIR> <PAIR>' cannot be used with '--word <WORD>'";
    assert!(line.starts_with(rule) || line.starts_with(reverse), "{line}");
    assert!(line.ends_with(&format!(" (with the options of {})", path(&file))), "{line}");
    assert!(shown("address = \"x\"\nsmp = 1\noverprovisioned = true", &["--quiet"]).contains("Some(\"x\")"));
}

#[test]
fn contradictions_across_file_and_command_line_name_the_file() {
    let file = file("poll-mode = true");
    let line = refusal(&["--config", path(&file), "--idle-poll-time-us", "5"]);
    let rule = "--poll-mode contradicts --idle-poll-time-us: who polls for ever never sleeps";
    assert_eq!(line, format!("{rule} (with the options of {})", path(&file)));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    assert_eq!(refusal(&["--config", "/nowhere/x"]), "/nowhere/x: No such file or directory (os error 2)");
    assert_eq!(refusal(&["--config", "/dev/zero"]), "/dev/zero: the file is larger than 1048576 bytes");
    assert_eq!(refusal(&["--config", "/"]), "/: Is a directory (os error 21)");
    assert!(refused("smp = \n").starts_with("line 1: "));
}
