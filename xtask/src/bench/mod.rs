//! Benchmarks.

/// Runs the benchmark that `args` name.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    anyhow::bail!("no such benchmark: {}", args.join(" "))
}
