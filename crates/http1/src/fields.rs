//! Where the fields of a head lie, in tables that are used again.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Deref;

use crate::headers::Field;

/// A new table has room for so many fields; browsers send up to some twenty.
const USUAL_FIELDS: usize = 20;

/// So many tables are kept for the next heads; more are needed only while as many messages are held at once.
const SPARE_TABLES: usize = 64;

/// Tables that nobody uses. They are kept apart from their messages since those are moved often.
#[derive(Debug, Default)]
pub(crate) struct Tables(RefCell<Vec<Vec<Field>>>);

/// The fields of one head. Its table goes back to the others when it is dropped.
#[derive(Clone)]
pub(crate) struct Fields {
    table: Vec<Field>,
    home: Option<Rc<Tables>>,
}

impl Fields {
    /// Without fields, in a table of those.
    #[inline]
    pub(crate) fn new(home: &Rc<Tables>) -> Self {
        let spare = home.0.borrow_mut().pop();
        Self { table: spare.unwrap_or_else(|| Vec::with_capacity(USUAL_FIELDS)), home: Some(Rc::clone(home)) }
    }

    /// Without fields, in memory of their own. For what is rare.
    pub(crate) fn on_heap() -> Self {
        Self { table: Vec::new(), home: None }
    }

    /// Makes room for so many fields in place of those that are there.
    #[inline]
    pub(crate) fn restart(&mut self, count: usize) {
        self.table.clear();
        self.table.reserve(count);
    }

    #[inline]
    pub(crate) fn push(&mut self, field: Field) {
        self.table.push(field);
    }
}

impl Deref for Fields {
    type Target = [Field];

    #[inline]
    fn deref(&self) -> &[Field] {
        &self.table
    }
}

impl Drop for Fields {
    #[inline]
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        let mut spare = home.0.borrow_mut();
        if spare.len() < SPARE_TABLES {
            let mut table = core::mem::take(&mut self.table);
            table.clear();
            spare.push(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_used_again_and_bounded() {
        let home = Rc::new(Tables::default());
        let first = Fields::new(&home);
        let place = first.table.as_ptr();
        drop(first);
        let mut again = Fields::new(&home);
        assert_eq!(again.table.as_ptr(), place);
        again.push(Field::default());
        assert_eq!((again.len(), again.clone().len()), (1, 1));
        drop(again);
        assert!(Fields::new(&home).is_empty(), "fields of another head");
        let many: Vec<_> = (0..=SPARE_TABLES).map(|_| Fields::new(&home)).collect();
        drop(many);
        assert_eq!(home.0.borrow().len(), SPARE_TABLES);
    }
}
