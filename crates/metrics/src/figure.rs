//! Numbers that are counted together, as one table.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::family::Family;
use crate::number::Number;

/// One number of a structure `S` that holds many: what it means, and where it is found.
///
/// A table of them names the families for [`Registry::observe`](crate::Registry::observe), and shows them by
/// [`Readings::show_figures`](crate::Readings::show_figures).
///
/// ```no_run
/// use sunstar_metrics::{Figure, Registry};
///
/// struct Stats {
///     sold: u64,
///     left: u64,
/// }
///
/// const FIGURES: &[Figure<Stats>] = &[
///     Figure::counter("shop_sold_total", "Goods that were sold.", |stats| stats.sold),
///     Figure::gauge("shop_left", "Goods that are there.", |stats| stats.left),
/// ];
///
/// Registry::here().observe(&Figure::families(FIGURES), &[], |readings| {
///     readings.show_figures(FIGURES, &[], &Stats { sold: 3, left: 39 });
/// })?.keep();
/// # Ok::<(), sunstar_metrics::RegisterError>(())
/// ```
pub struct Figure<S: 'static> {
    pub(crate) family: Family,
    pub(crate) labels: &'static [(&'static str, &'static str)],
    found: Found<S>,
}

enum Found<S: 'static> {
    Count(fn(&S) -> u64),
    Time(fn(&S) -> Duration),
}

impl<S> Figure<S> {
    /// A number that only grows.
    pub const fn counter(name: &'static str, help: &'static str, count: fn(&S) -> u64) -> Self {
        Self { family: Family::counter(name, help), labels: &[], found: Found::Count(count) }
    }

    /// A time that only grows, shown in seconds.
    pub const fn time(name: &'static str, help: &'static str, time: fn(&S) -> Duration) -> Self {
        Self { family: Family::counter(name, help), labels: &[], found: Found::Time(time) }
    }

    /// A number that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str, count: fn(&S) -> u64) -> Self {
        Self { family: Family::gauge(name, help), labels: &[], found: Found::Count(count) }
    }

    /// The same with labels of its own: several figures of one family differ in them.
    #[must_use]
    pub const fn labelled(mut self, labels: &'static [(&'static str, &'static str)]) -> Self {
        self.labels = labels;
        self
    }

    /// The families of a table.
    pub fn families(figures: &[Self]) -> Vec<Family> {
        let mut families: Vec<Family> = Vec::with_capacity(figures.len());
        for figure in figures {
            if !families.contains(&figure.family) {
                families.push(figure.family);
            }
        }
        families
    }

    pub(crate) fn number(&self, stats: &S) -> Number {
        match self.found {
            Found::Count(count) => count(stats).into(),
            Found::Time(time) => time(stats).into(),
        }
    }
}

impl<S> fmt::Debug for Figure<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figure").field("family", &self.family).field("labels", &self.labels).finish_non_exhaustive()
    }
}
