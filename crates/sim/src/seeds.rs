//! Trying many seeds, or one again.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::SimError;
use crate::report::Report;

/// The environment variable that replaces the seeds of [`for_each_seed`]: by one (`7`) or a range (`0..1000`).
pub const SEEDS_VARIABLE: &str = "SUNSTAR_SIM_SEEDS";

/// The environment variable that names parts of a scenario to leave out, by number, as [`for_each_seed_minimised`] tells them.
pub const OMIT_VARIABLE: &str = "SUNSTAR_SIM_OMIT";

/// The environment variable that holds 0 if failing scenarios are not to be run again without some of their parts.
const MINIMISE_VARIABLE: &str = "SUNSTAR_SIM_MINIMISE";

/// A failing scenario is run so often at most to find out what it does not need.
const MAX_ATTEMPTS: usize = 300;

/// Runs a scenario for each seed of a range, or for those that [`SEEDS_VARIABLE`] names. The first one is run twice, and
/// must leave the same trace.
///
/// # Panics
/// If a scenario fails or panics: with its seed, and how to run that one again. Also if the variable holds no seeds.
pub fn for_each_seed(seeds: Range<u64>, mut scenario: impl FnMut(u64) -> Result<Report, SimError>) {
    for_each_seed_minimised(seeds, |seed, _| scenario(seed));
}

/// The same for a scenario that asks of some of its parts whether they are to happen. One that fails is run again without one part
/// after the other, and what it fails without is left out for good: so what remains is what it takes.
///
/// Parts must draw their random numbers from [streams](crate::Random::stream) of their own, or leaving one out would change the others.
///
/// # Panics
/// As [`for_each_seed`]; the message also names the parts that are needed. Also if [`OMIT_VARIABLE`] holds no numbers.
pub fn for_each_seed_minimised(seeds: Range<u64>, mut scenario: impl FnMut(u64, &Parts) -> Result<Report, SimError>) {
    let seeds = env::var(SEEDS_VARIABLE).map_or(seeds, |text| {
        parse(&text).unwrap_or_else(|| panic!("{SEEDS_VARIABLE}={text} is neither a seed nor a range of seeds"))
    });
    let omitted = env::var(OMIT_VARIABLE).map_or_else(
        |_| BTreeSet::new(),
        |text| {
            let numbers = text.split(',').map(|number| number.trim().parse());
            numbers.collect::<Result<_, _>>().unwrap_or_else(|_| panic!("{OMIT_VARIABLE}={text} is no list of numbers"))
        },
    );
    let mut run = |seed, parts: &Parts| {
        let outcome = catch_unwind(AssertUnwindSafe(|| scenario(seed, parts)));
        match outcome {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("seed {seed} failed: {}", message(&*panic))),
        }
    };
    for seed in seeds.clone() {
        let parts = Parts::without(omitted.clone());
        let report = run(seed, &parts).unwrap_or_else(|error| {
            let least = minimise(parts, |parts| run(seed, parts).is_err());
            panic!("{error}\nto see it again: {SEEDS_VARIABLE}={seed}{}", least.advice())
        });
        if seed == seeds.start {
            let again = run(seed, &Parts::without(omitted.clone()));
            assert_eq!(Ok(report), again, "seed {seed} does not leave the same trace every time");
        }
    }
}

/// Leaves out of a failing scenario what it fails without.
fn minimise(mut parts: Parts, mut fails: impl FnMut(&Parts) -> bool) -> Parts {
    let mut attempts = if env::var(MINIMISE_VARIABLE).is_ok_and(|value| value == "0") { MAX_ATTEMPTS } else { 0 };
    // Great pieces first: half of what there is, then a quarter, down to single parts.
    let mut width = parts.count();
    while width > 0 && attempts < MAX_ATTEMPTS {
        let mut first = 0;
        while first < parts.count() && attempts < MAX_ATTEMPTS {
            let mut omitted = parts.omitted.clone();
            omitted.extend(first..(first + width).min(parts.count()));
            if omitted != parts.omitted {
                attempts += 1;
                let fewer = Parts::without(omitted);
                if fails(&fewer) {
                    parts = fewer;
                }
            }
            first += width;
        }
        width /= 2;
    }
    parts
}

/// What of a scenario is to happen. Everything does, unless the scenario failed and it is looked for what that takes.
#[derive(Debug, Default)]
pub struct Parts {
    omitted: BTreeSet<usize>,
    asked: RefCell<Vec<String>>,
}

impl Parts {
    fn without(omitted: BTreeSet<usize>) -> Self {
        Self { omitted, asked: RefCell::default() }
    }

    /// Whether the next part is to happen. `what` tells those who read the report.
    pub fn next(&self, what: impl fmt::Display) -> bool {
        let mut asked = self.asked.borrow_mut();
        let number = asked.len();
        asked.push(what.to_string());
        !self.omitted.contains(&number)
    }

    fn count(&self) -> usize {
        self.asked.borrow().len()
    }

    /// How to run what is left, and what that is.
    fn advice(&self) -> String {
        let asked = self.asked.borrow();
        if asked.is_empty() {
            return String::new();
        }
        let numbers: Vec<_> = self.omitted.iter().map(usize::to_string).collect();
        let parts = asked.iter().enumerate().filter(|(number, _)| !self.omitted.contains(number));
        let parts: Vec<_> = parts.map(|(number, part)| format!("\n  {number}: {part}")).collect();
        let omit = if numbers.is_empty() { String::new() } else { format!(" {OMIT_VARIABLE}={}", numbers.join(",")) };
        format!("{omit}\nof {} parts it takes:{}", asked.len(), parts.concat())
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
    fn what_a_failure_does_not_take_is_left_out() {
        let scenario = |_, parts: &Parts| {
            let happens: Vec<_> = (0..20).map(|part| parts.next(format_args!("part {part}"))).collect();
            assert!(!(happens[3] && happens[11]), "three and eleven");
            let mut sim = Sim::new(1);
            sim.host("host", 1, || async {});
            sim.run()
        };
        let panic = catch_unwind(|| for_each_seed_minimised(0..1, scenario)).expect_err("it fails");
        let text = message(&*panic);
        assert!(text.ends_with("of 20 parts it takes:\n  3: part 3\n  11: part 11"), "{text}");
        assert!(text.contains("SUNSTAR_SIM_OMIT=0,1,2,4,5,6,7,8,9,10,12,13,14,15,16,17,18,19"), "{text}");
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
