//! On what, and with which versions, something was measured.

use std::fs;

use anyhow::{Context, Result};

use crate::command::{program, read, root};

/// Peers whose versions belong into the report.
const PEERS: [&str; 10] = [
    "compio",
    "crossbeam-channel",
    "crossbeam-queue",
    "flume",
    "glommio-ng",
    "httparse",
    "hyper",
    "monoio",
    "smoltcp",
    "tokio",
];

/// Facts about the machine and the versions, as name and value.
///
/// # Errors
/// If one of them can't be found.
pub(super) fn describe() -> Result<Vec<(String, String)>> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or_else(|| "unknown".to_owned(), |(_, value)| value.to_owned())
    };
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let lock = fs::read_to_string(root().join("bench/peers/Cargo.lock")).context("reading the peers' lock file")?;
    let mut facts = vec![
        ("processor".to_owned(), format!("{} (model {}), {cores} cores", field("model name"), field("model\t"))),
        ("kernel".to_owned(), kernel()?),
        ("compiler".to_owned(), line(read(&mut program("rustc", &["--version"]))?)),
        ("sunstar".to_owned(), line(read(&mut program("git", &["describe", "--always", "--dirty"]))?)),
    ];
    for name in PEERS {
        facts.push((name.to_owned(), locked_version(&lock, name).unwrap_or("not locked").to_owned()));
    }
    if let Some(version) = installed("liblwip-dev") {
        facts.push(("lwip".to_owned(), version));
    }
    Ok(facts)
}

/// The version of a package. Elsewhere than on Debian nobody is asked.
pub(super) fn installed(package: &str) -> Option<String> {
    read(&mut program("dpkg-query", &["--show", "--showformat=${Version}", package])).ok().map(line)
}

/// The command that is running, as it was typed.
pub(super) fn command_line() -> String {
    std::iter::once("cargo xtask".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

fn kernel() -> Result<String> {
    Ok(line(fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?))
}

fn line(text: String) -> String {
    text.trim().to_owned()
}

fn locked_version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let package = lock.split("[[package]]").find(|package| package.contains(&format!("name = \"{name}\"\n")))?;
    package.lines().find_map(|line| line.strip_prefix("version = "))?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn finds_a_locked_version() {
        let lock = "[[package]]\nname = \"tokio-util\"\nversion = \"0.7.1\"\n\n[[package]]\nname = \"tokio\"\nversion = \"1.5.0\"\n";
        assert_eq!(locked_version(lock, "tokio"), Some("1.5.0"));
        assert_eq!(locked_version(lock, "flume"), None);
    }
}
