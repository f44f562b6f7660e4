//! Labels, which tell the series of a family apart.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::Refusal;
use crate::family::is_name;

/// Labels that the registry or a format adds.
const RESERVED: &[&str] = &["shard", "le", "quantile"];

/// Names and values, ordered by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Labels(Vec<(&'static str, Box<str>)>);

impl Labels {
    /// Checks and orders labels.
    pub(crate) fn new(labels: &[(&'static str, &str)]) -> Result<Self, Refusal> {
        Self::default().with(labels)
    }

    /// These labels and more.
    pub(crate) fn with(&self, more: &[(&'static str, &str)]) -> Result<Self, Refusal> {
        let mut all = self.0.clone();
        for &(name, value) in more {
            check(name)?;
            match all.binary_search_by_key(&name, |(known, _)| known) {
                Ok(_) => return Err(Refusal::RepeatedLabel(name)),
                Err(place) => all.insert(place, (name, value.into())),
            }
        }
        Ok(Self(all))
    }

    /// The labels, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }

    /// The value of a label.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check(name: &'static str) -> Result<(), Refusal> {
    if !is_name(name) || name.contains("__") {
        Err(Refusal::BadLabel(name))
    } else if RESERVED.contains(&name) {
        Err(Refusal::ReservedLabel(name))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_ordered_by_name() {
        let labels = Labels::new(&[("b", "2"), ("a", "1")]).unwrap();
        assert_eq!(labels, Labels::new(&[("a", "1"), ("b", "2")]).unwrap());
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((labels.value("b"), labels.value("c")), (Some("2"), None));
    }

    #[test]
    fn bad_labels_are_refused_by_name() {
        assert_eq!(Labels::new(&[("a", "1"), ("a", "1")]).err(), Some(Refusal::RepeatedLabel("a")));
        assert_eq!(Labels::new(&[("shard", "1")]).err(), Some(Refusal::ReservedLabel("shard")));
        for name in ["", "A", "__a", "a__b", "a.b"] {
            assert_eq!(Labels::new(&[(name, "1")]).err(), Some(Refusal::BadLabel(name)));
        }
    }
}
