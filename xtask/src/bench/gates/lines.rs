//! How many cache lines of a connection a segment touches: what a segment costs where there are very many connections.
//!
//! Callgrind plays a cache that is small. The same segments come for one connection, whose lines stay in it, and for so many that none
//! do: the difference of the misses is what belongs to a connection.

use anyhow::{Context, Result, ensure};

use super::MEASURED;
use crate::command::{program, read, target_dir};

const PROGRAM: &str = "sunstar-gates-tcpip";
const CACHES: [&str; 4] = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=262144,16,64"];
const KINDS: [(&str, &str); 2] =
    [("tcpip_data", "segment with data, read and acknowledged"), ("tcpip_request", "the same with an answer")];

/// Counts and prints them.
///
/// # Errors
/// If they can't be counted.
pub(super) fn print() -> Result<()> {
    for (name, what) in KINDS {
        let [near, far] = [misses(&format!("{name}_near"))?, misses(&format!("{name}_far"))?];
        println!("{name:<14} touches {:>5.1} cache lines of its connection ({what}; {near:.1} others)", far - near);
    }
    Ok(())
}

/// Data that were not in the cache, per operation.
fn misses(name: &str) -> Result<f64> {
    let path = target_dir("release").join(PROGRAM);
    let path = path.to_string_lossy();
    let toggle = format!("--toggle-collect={MEASURED}");
    let list = read(&mut program(&path, &["--list"]))?;
    let operations = list.lines().next().and_then(|line| line.split_once(' ')).context("a gate has a number")?.1;
    let operations: f64 = operations.parse().context("a gate's number of operations")?;
    let mut valgrind = program("valgrind", &["--tool=callgrind", "--callgrind-out-file=/dev/null", &toggle]);
    let output = valgrind.args(CACHES).args([&*path, name]).output().context("starting valgrind")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind ended with {}:\n{told}", output.status);
    let count = collected(&told).with_context(|| format!("valgrind doesn't tell what it collected:\n{told}"))?;
    Ok(count / operations)
}

/// Reads the misses of the last cache, the last two numbers of `==1== Collected : 9 4 3 0 0 0 0 2 1`.
fn collected(told: &str) -> Option<f64> {
    let numbers = told.lines().find_map(|line| line.split_once("Collected : "))?.1;
    let numbers: Vec<f64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    (numbers.len() == 9).then(|| numbers[7] + numbers[8])
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn misses_of_the_last_cache_are_read_and_written_lines() {
        assert_eq!(collected("==1== Collected : 9 4 3 0 0 0 0 2 1\n"), Some(3.0));
        assert_eq!(collected("==1== Collected : 9\n"), None);
    }
}
