//! What an observer shows.

use alloc::vec::Vec;

use crate::distribution::Distribution;
use crate::family::{Family, Kind};
use crate::figure::Figure;
use crate::labels::Labels;
use crate::number::{Number, Value};
use crate::snapshot::Snapshot;

/// Takes what an observer has to show; see [`Registry::observe`](crate::Registry::observe).
///
/// Values of equal family and labels are added up. What is of another family than the observer was registered with, or of
/// another kind, or has labels that break a rule, is left out and counted.
pub struct Readings<'a> {
    families: &'a [Family],
    labels: &'a Labels,
    snapshot: &'a mut Snapshot,
}

impl<'a> Readings<'a> {
    pub(crate) fn new(families: &'a [Family], labels: &'a Labels, snapshot: &'a mut Snapshot) -> Self {
        Self { families, labels, snapshot }
    }

    /// Shows a value of a counter or gauge. A [`Duration`](core::time::Duration) is given in seconds.
    pub fn show(&mut self, family: &Family, labels: &[(&'static str, &str)], value: impl Into<Number>) {
        let is_number = !matches!(family.kind, Kind::Histogram(_));
        self.add(family, is_number, labels, || Value::Number(value.into()));
    }

    /// Shows all figures of a table, with these labels and those of their own.
    pub fn show_figures<S>(&mut self, figures: &[Figure<S>], labels: &[(&'static str, &str)], stats: &S) {
        for figure in figures {
            let labels: Vec<_> = labels.iter().chain(figure.labels).copied().collect();
            self.show(&figure.family, &labels, figure.number(stats));
        }
    }

    /// Shows a histogram.
    pub fn show_distribution(&mut self, family: &Family, labels: &[(&'static str, &str)], values: &Distribution) {
        let is_it = family.kind == Kind::Histogram(values.buckets());
        self.add(family, is_it, labels, || Value::Distribution(values.value()));
    }

    fn add(&mut self, family: &Family, is_kind: bool, labels: &[(&'static str, &str)], value: impl FnOnce() -> Value) {
        match self.labels.with(labels) {
            Ok(labels) if is_kind && self.families.contains(family) => self.snapshot.add(family, labels, value()),
            _ => self.snapshot.left_out += 1,
        }
    }
}
