//! What is registered on a shard.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use sunstar_executor::local;
use sunstar_executor::message::ServiceGroup;
use sunstar_executor::sync::Semaphore;

use crate::distribution::Distribution;
use crate::error::{Refusal, RegisterError};
use crate::executor;
use crate::family::{Family, Kind};
use crate::figure::Figure;
use crate::handle::{Counter, Gauge, Histogram};
use crate::labels::Labels;
use crate::net;
use crate::number::{Number, Value};
use crate::readings::Readings;
use crate::snapshot::Snapshot;

/// How many series a shard has at most.
pub const MAX_SERIES: usize = 16_384;

const FIGURES: &[Figure<Own>] = &[
    Figure::gauge("sunstar_metrics_series", "Series of metrics that the shard showed last.", |own| {
        own.series.get() as u64
    }),
    Figure::counter(
        "sunstar_metrics_left_out_total",
        "Samples that were left out since there were too many, or they broke a rule.",
        |own| own.left_out.get(),
    ),
    Figure::counter(
        "sunstar_metrics_missing_shards_total",
        "How often a shard did not answer in time when this one collected metrics.",
        |own| own.missing.get(),
    ),
    Figure::counter(
        "sunstar_metrics_refused_total",
        "Collections that were refused since too many others waited for their turn.",
        |own| own.refused.get(),
    ),
];

/// The metrics of one shard.
///
/// It belongs to its shard, and so do all handles; what is registered is gone when its handle is dropped.
pub struct Registry {
    table: RefCell<Table>,
    own: Own,
    /// Lets one collection at a time ask the shards.
    pub(crate) turn: Semaphore,
    pub(crate) requests: ServiceGroup,
}

/// What the registry tells of itself.
#[derive(Default)]
struct Own {
    series: Cell<usize>,
    left_out: Cell<u64>,
    missing: Cell<u64>,
    refused: Cell<u64>,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    entries: BTreeMap<u64, Rc<Entry>>,
    families: BTreeMap<&'static str, Known>,
    /// Series that handles have; those of observers count when they are read.
    series: usize,
}

/// A family of which there are series.
struct Known {
    family: Family,
    /// Who has which labels.
    holders: BTreeMap<Labels, u64>,
}

/// Something that shows values.
struct Entry {
    families: Box<[Family]>,
    labels: Labels,
    source: Source,
}

enum Source {
    Counter(Rc<Cell<u64>>),
    Gauge(Rc<Cell<f64>>),
    Histogram(Rc<Distribution>),
    Observer(Box<dyn Fn(&mut Readings<'_>)>),
}

impl Registry {
    /// The current shard's, made when it is first asked for.
    ///
    /// # Panics
    /// Outside of any shard.
    #[track_caller]
    pub fn here() -> Rc<Self> {
        local::get().unwrap_or_else(|| {
            let registry = Rc::new(Self {
                table: RefCell::default(),
                own: Own::default(),
                turn: Semaphore::new(1),
                requests: ServiceGroup::new(1),
            });
            local::set(Rc::clone(&registry));
            registry.register_own();
            registry
        })
    }

    /// Registers a counter.
    ///
    /// # Errors
    /// If the name or a label breaks a rule, there is such a series, or there are too many.
    pub fn counter(self: &Rc<Self>, family: Family, labels: &[(&'static str, &str)]) -> Result<Counter, RegisterError> {
        let value = Rc::new(Cell::new(0));
        let is_it = matches!(family.kind, Kind::Counter);
        let registration = self.register_one(family, is_it, labels, Source::Counter(Rc::clone(&value)))?;
        Ok(Counter::new(value, registration))
    }

    /// Registers a gauge, which begins at zero.
    ///
    /// # Errors
    /// As for [`Registry::counter`].
    pub fn gauge(self: &Rc<Self>, family: Family, labels: &[(&'static str, &str)]) -> Result<Gauge, RegisterError> {
        let value = Rc::new(Cell::new(0.0));
        let is_it = matches!(family.kind, Kind::Gauge);
        let registration = self.register_one(family, is_it, labels, Source::Gauge(Rc::clone(&value)))?;
        Ok(Gauge::new(value, registration))
    }

    /// Registers a histogram.
    ///
    /// # Errors
    /// As for [`Registry::counter`].
    pub fn histogram(
        self: &Rc<Self>,
        family: Family,
        labels: &[(&'static str, &str)],
    ) -> Result<Histogram, RegisterError> {
        let Kind::Histogram(buckets) = family.kind else { return Err(family.refused(Refusal::WrongKind)) };
        let values = Rc::new(Distribution::new(buckets));
        let registration = self.register_one(family, true, labels, Source::Histogram(Rc::clone(&values)))?;
        Ok(Histogram::new(values, registration))
    }

    /// Registers a closure that shows what is counted elsewhere: values of these families, whose labels begin with these.
    ///
    /// It is called when somebody asks for metrics, on this shard, and must not take long.
    ///
    /// # Errors
    /// As for [`Registry::counter`]; the metric is that of the first family that is refused, and none is registered.
    ///
    /// # Panics
    /// If there is no family.
    pub fn observe(
        self: &Rc<Self>,
        families: &[Family],
        labels: &[(&'static str, &str)],
        read: impl Fn(&mut Readings<'_>) + 'static,
    ) -> Result<Registration, RegisterError> {
        self.register(families.into(), labels, Source::Observer(Box::new(read)))
    }

    /// How many series handles have on this shard; those that observers show are not among them.
    pub fn len(&self) -> usize {
        self.table.borrow().series
    }

    /// Whether no handle has a series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn register_one(
        self: &Rc<Self>,
        family: Family,
        is_kind: bool,
        labels: &[(&'static str, &str)],
        source: Source,
    ) -> Result<Registration, RegisterError> {
        if !is_kind {
            return Err(family.refused(Refusal::WrongKind));
        }
        self.register([family].into(), labels, source)
    }

    fn register(
        self: &Rc<Self>,
        families: Box<[Family]>,
        labels: &[(&'static str, &str)],
        source: Source,
    ) -> Result<Registration, RegisterError> {
        let first = *families.first().expect("an observer shows something");
        let labels = Labels::new(labels).map_err(|refusal| first.refused(refusal))?;
        let mut table = self.table.borrow_mut();
        for (at, family) in families.iter().enumerate() {
            if families[..at].iter().any(|other| other.name == family.name) {
                return Err(family.refused(Refusal::Duplicate));
            }
            family.check().and_then(|()| table.check(family, &labels)).map_err(|refusal| family.refused(refusal))?;
        }
        if table.series + source.series() > MAX_SERIES {
            return Err(first.refused(Refusal::TooMany));
        }
        let id = table.insert(Entry { families, labels, source });
        Ok(Registration { registry: Rc::downgrade(self), id })
    }

    fn register_own(self: &Rc<Self>) {
        let registry = Rc::downgrade(self);
        let own = self.observe(&Figure::families(FIGURES), &[], move |readings| {
            let Some(registry) = registry.upgrade() else { return };
            readings.show_figures(FIGURES, &[], &registry.own);
        });
        for registered in [own, executor::register(self), net::register(self)] {
            // The names are tested, and nobody was here before.
            registered.map_or_else(|error| log::error!("{error}"), Registration::keep);
        }
    }

    /// Reads everything.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let entries: Vec<_> = self.table.borrow().entries.values().cloned().collect();
        let mut snapshot = Snapshot::default();
        // Observers are the user's code, so nothing is borrowed.
        for entry in entries {
            entry.read(&mut snapshot);
        }
        self.own.series.set(snapshot.series);
        self.own.left_out.set(self.own.left_out.get() + snapshot.left_out);
        snapshot
    }

    pub(crate) fn count_missing(&self, shards: u64) {
        self.own.missing.set(self.own.missing.get() + shards);
    }

    pub(crate) fn count_refused(&self) {
        self.own.refused.set(self.own.refused.get() + 1);
    }

    pub(crate) fn count_left_out(&self, samples: u64) {
        self.own.left_out.set(self.own.left_out.get() + samples);
    }

    fn unregister(&self, id: u64) {
        // The entry goes after the borrow: what an observer holds may unregister too.
        let removed = self.table.borrow_mut().remove(id);
        drop(removed);
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("series", &self.len()).finish_non_exhaustive()
    }
}

impl Table {
    /// Whether there may be a series of this family with these labels.
    fn check(&self, family: &Family, labels: &Labels) -> Result<(), Refusal> {
        match self.families.get(family.name) {
            Some(known) if known.family != *family => Err(Refusal::Different),
            Some(known) if known.holders.contains_key(labels) => Err(Refusal::Duplicate),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, entry: Entry) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        for &family in &entry.families {
            let known = self.families.entry(family.name);
            let known = known.or_insert_with(|| Known { family, holders: BTreeMap::new() });
            known.holders.insert(entry.labels.clone(), id);
        }
        self.series += entry.source.series();
        self.entries.insert(id, Rc::new(entry));
        id
    }

    fn remove(&mut self, id: u64) -> Option<Rc<Entry>> {
        let entry = self.entries.remove(&id)?;
        self.series -= entry.source.series();
        for family in &entry.families {
            if let Some(known) = self.families.get_mut(family.name) {
                known.holders.remove(&entry.labels);
                if known.holders.is_empty() {
                    self.families.remove(family.name);
                }
            }
        }
        Some(entry)
    }
}

impl Source {
    /// How many series it is known to have.
    fn series(&self) -> usize {
        usize::from(!matches!(self, Self::Observer(_)))
    }
}

impl Entry {
    fn read(&self, snapshot: &mut Snapshot) {
        let value = match &self.source {
            Source::Counter(value) => Value::Number(Number::Whole(value.get())),
            Source::Gauge(value) => Value::Number(Number::Real(value.get())),
            Source::Histogram(values) => Value::Distribution(values.value()),
            Source::Observer(read) => return read(&mut Readings::new(&self.families, &self.labels, snapshot)),
        };
        snapshot.add(&self.families[0], self.labels.clone(), value);
    }
}

/// Something is registered until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it takes the metrics out of the registry"]
pub struct Registration {
    registry: Weak<Registry>,
    id: u64,
}

impl Registration {
    /// Leaves it registered until the shard ends.
    pub fn keep(mut self) {
        self.registry = Weak::new();
        drop(self);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.unregister(self.id);
        }
    }
}
