//! What applications count with.

use alloc::rc::Rc;
use core::cell::Cell;
use core::ops::Deref;

use crate::distribution::Distribution;
use crate::registry::Registration;

/// A number that only grows. Clones are the same number; it is in the registry until the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Counter {
    value: Rc<Cell<u64>>,
    _registration: Rc<Registration>,
}

impl Counter {
    pub(crate) fn new(value: Rc<Cell<u64>>, registration: Registration) -> Self {
        Self { value, _registration: Rc::new(registration) }
    }

    /// Adds to it; it wraps around.
    #[inline]
    pub fn add(&self, count: u64) {
        self.value.set(self.value.get().wrapping_add(count));
    }

    /// What it has come to.
    pub fn value(&self) -> u64 {
        self.value.get()
    }
}

/// A number that goes up and down. Clones are the same number; it is in the registry until the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Gauge {
    value: Rc<Cell<f64>>,
    _registration: Rc<Registration>,
}

impl Gauge {
    pub(crate) fn new(value: Rc<Cell<f64>>, registration: Registration) -> Self {
        Self { value, _registration: Rc::new(registration) }
    }

    /// Sets it.
    #[inline]
    pub fn set(&self, value: f64) {
        self.value.set(value);
    }

    /// Adds to it, also less than zero.
    #[inline]
    pub fn add(&self, difference: f64) {
        self.value.set(self.value.get() + difference);
    }

    /// What it is.
    pub fn value(&self) -> f64 {
        self.value.get()
    }
}

/// How values are distributed; see [`Distribution`], which it dereferences to. Clones are the same; it is in the registry until
/// the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Histogram {
    values: Rc<Distribution>,
    _registration: Rc<Registration>,
}

impl Histogram {
    pub(crate) fn new(values: Rc<Distribution>, registration: Registration) -> Self {
        Self { values, _registration: Rc::new(registration) }
    }
}

impl Deref for Histogram {
    type Target = Distribution;

    #[inline]
    fn deref(&self) -> &Distribution {
        &self.values
    }
}
