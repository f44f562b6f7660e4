//! The kernel's pool of large pages, for as long as somebody needs them.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use crate::command::program;

const POOL: &str = "/proc/sys/vm/nr_hugepages";
const MEMORY: &str = "/proc/meminfo";
/// Waits until its input ends, which it does with whoever started it, and writes a file.
const GIVE_BACK: &str = r#"trap '' HUP INT QUIT TERM; read -r _; printf '%s' "$1" > "$2""#;

/// Pages in the pool that are free. Dropping them, or any end of this process, makes the pool what it was.
pub(super) struct Hugepages {
    /// None if there were enough.
    _pool: Option<Kept>,
}

impl Hugepages {
    /// Has so many programs find so much memory in it each.
    ///
    /// # Errors
    /// If this process must not, or the kernel finds less.
    pub(super) fn reserve(programs: u64, mib: u64) -> Result<Self> {
        let memory = fs::read_to_string(MEMORY).context(MEMORY)?;
        let page_kib = field(&memory, "Hugepagesize").context("this kernel has no large pages")?;
        let needed = programs * (mib * 1_024).div_ceil(page_kib);
        let missing = needed.saturating_sub(free(&memory));
        if missing == 0 {
            return Ok(Self { _pool: None });
        }
        let before = fs::read_to_string(POOL).context(POOL)?;
        let count: u64 = before.trim().parse().with_context(|| format!("reading `{before}`"))?;
        let pool = Kept::new(Path::new(POOL), before.trim())?;
        fs::write(POOL, (count + missing).to_string()).with_context(|| format!("asking {POOL} for {missing} more"))?;
        let found = free(&fs::read_to_string(MEMORY).context(MEMORY)?);
        ensure!(found >= needed, "of {needed} large pages of {page_kib} KiB the kernel only finds {found}");
        Ok(Self { _pool: Some(pool) })
    }
}

/// Pages that nobody has, nor has been promised.
fn free(memory: &str) -> u64 {
    let of = |name| field(memory, name).unwrap_or(0);
    of("HugePages_Free").saturating_sub(of("HugePages_Rsvd"))
}

/// A value of `/proc/meminfo`, in the unit that it has there.
fn field(memory: &str, name: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What stands in a file now, for when this is dropped. A shell of its own writes it, so a process that is killed leaves nothing behind.
struct Kept {
    shell: Child,
}

impl Kept {
    fn new(path: &Path, value: &str) -> Result<Self> {
        let mut shell = program("sh", &["-c", GIVE_BACK, "sh", value]);
        let spawned = shell.arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Ok(Self { shell: spawned.context("running sh")? })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::{Kept, field, free};

    const MEMORY: &str =
        "HugePages_Total:     600\nHugePages_Free:      472\nHugePages_Rsvd:       72\nHugepagesize:       2048 kB\n";

    #[test]
    fn pages_that_are_promised_are_not_free() {
        assert_eq!((free(MEMORY), field(MEMORY, "Hugepagesize"), field(MEMORY, "Huge")), (400, Some(2_048), None));
        assert_eq!(free("MemTotal: 5 kB\n"), 0);
    }

    #[test]
    fn what_was_there_is_there_again() {
        let path = env::temp_dir().join(format!("xtask-kept-{}", process::id()));
        fs::write(&path, "7").expect("the folder is there");
        let kept = Kept::new(&path, "7").expect("sh is there");
        fs::write(&path, "600").expect("the file is there");
        drop(kept);
        assert_eq!(fs::read_to_string(&path).expect("the file is there"), "7");
        fs::remove_file(&path).expect("the file is there");
    }
}
