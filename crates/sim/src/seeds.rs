//! Trying many seeds, or one again.

use std::any::Any;
use std::env;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::SimError;
use crate::report::Report;

/// The environment variable that replaces the seeds of [`for_each_seed`]: by one (`7`) or a range (`0..1000`).
pub const SEEDS_VARIABLE: &str = "SUNSTAR_SIM_SEEDS";

/// Runs a scenario for each seed of a range, or for those that [`SEEDS_VARIABLE`] names. The first one is run twice, and
/// must leave the same trace.
///
/// # Panics
/// If a scenario fails or panics: with its seed, and how to run that one again. Also if the variable holds no seeds.
pub fn for_each_seed(seeds: Range<u64>, mut scenario: impl FnMut(u64) -> Result<Report, SimError>) {
    let seeds = env::var(SEEDS_VARIABLE).map_or(seeds, |text| {
        parse(&text).unwrap_or_else(|| panic!("{SEEDS_VARIABLE}={text} is neither a seed nor a range of seeds"))
    });
    let mut run = |seed| {
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(seed)));
        let again = format!("to see it again: {SEEDS_VARIABLE}={seed}");
        match outcome {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => panic!("{error}\n{again}"),
            Err(panic) => panic!("seed {seed} failed: {}\n{again}", message(&*panic)),
        }
    };
    for seed in seeds.clone() {
        let report = run(seed);
        if seed == seeds.start {
            assert_eq!(report, run(seed), "seed {seed} does not leave the same trace every time");
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

fn parse(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((first, end)) => {
            Some(first.parse().ok()?..end.parse().ok()?).filter(|seeds: &Range<u64>| !seeds.is_empty())
        }
        None => {
            let seed: u64 = text.parse().ok()?;
            Some(seed..seed.checked_add(1)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sim;

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!(parse("7"), Some(7..8));
        assert_eq!(parse("3..5"), Some(3..5));
        assert_eq!(parse("x").or(parse("3..")).or(parse("")), None);
        assert_eq!(parse("5..5").or(parse("5..3")), None, "a range that is empty would pass without a test");
    }

    #[test]
    fn a_failing_seed_is_named() {
        let scenario = |seed| {
            let mut sim = Sim::new(seed);
            sim.host("host", 1, move || async move { assert!(seed != 3, "three") });
            sim.run()
        };
        let panic = catch_unwind(|| for_each_seed(0..5, scenario)).expect_err("seed 3 fails");
        let text = message(&*panic);
        assert!(
            text.contains("seed 3 failed") && text.contains("three") && text.contains("SUNSTAR_SIM_SEEDS=3"),
            "{text}"
        );
    }
}
