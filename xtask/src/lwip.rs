//! The stack with lwIP, a library of the system, as its peer.

use anyhow::Result;

use crate::command::{Count, cargo, run, target_dir};
use crate::steps::counted;

/// The package with the tests, a workspace of its own.
pub(crate) const MANIFEST: &str = "proof/lwip/Cargo.toml";

/// Looks at the package as the step `clippy` looks at others, which need no lwIP, and runs its tests.
///
/// # Errors
/// If nothing can be built or run.
pub(crate) fn check() -> Result<Count> {
    let command = |subcommand: &str| {
        let mut command =
            cargo(&[subcommand, "--locked", "--manifest-path", MANIFEST, "--all-targets", "--target-dir"]);
        command.arg(target_dir("lwip"));
        command
    };
    let is_clean = run(command("clippy").args(["--", "-D", "warnings"]))?.success;
    let mut count = Count { passed: u64::from(is_clean), failed: u64::from(!is_clean) };
    count.add(counted(&mut command("test"))?);
    Ok(count)
}
