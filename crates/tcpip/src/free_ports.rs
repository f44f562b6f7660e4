//! Ports from which one is chosen where none is named.

use alloc::sync::Arc;
use core::iter;

/// Ports from which one is chosen where none is named, be it for a connection or for a socket that others are to reach.
#[derive(Clone, Debug)]
pub struct FreePorts(Choice);

#[derive(Clone, Debug)]
enum Choice {
    Range { first: u16, count: u16 },
    Listed(Arc<[u16]>),
}

impl FreePorts {
    /// So many ports from the first one on. There must be so many.
    pub(crate) const fn range(first: u16, count: u16) -> Self {
        assert!(count == 0 || count - 1 <= u16::MAX - first, "there are no more ports");
        Self(Choice::Range { first, count })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        match &self.0 {
            Choice::Range { count, .. } => usize::from(*count),
            Choice::Listed(ports) => ports.len(),
        }
    }

    /// The `n`-th one, counted from zero, where the first one follows the last one again; none if there are none at all.
    pub fn nth(&self, n: u64) -> Option<u16> {
        let place = n.checked_rem(self.count() as u64)?;
        match &self.0 {
            Choice::Range { first, .. } => u16::try_from(place).ok().map(|place| first + place),
            Choice::Listed(ports) => usize::try_from(place).ok().and_then(|place| ports.get(place)).copied(),
        }
    }

    /// All of them once, from the `n`-th one on.
    pub fn all_from(&self, n: u64) -> impl Iterator<Item = u16> {
        let counted = iter::successors(Some(n), |n| Some(n.wrapping_add(1)));
        counted.take(self.count()).filter_map(|n| self.nth(n))
    }
}

/// Those in that order.
impl FromIterator<u16> for FreePorts {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        Self(Choice::Listed(ports.into_iter().collect()))
    }
}

/// As Linux has them (`ip_local_port_range`; RFC 6056 §3.2 asks for as many as possible).
impl Default for FreePorts {
    fn default() -> Self {
        Self::range(32_768, 28_232)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn each_port_is_there_once_wherever_one_begins() {
        for ports in [FreePorts::range(65_533, 3), (65_533..=65_535).collect()] {
            assert_eq!(ports.count(), 3);
            assert_eq!(ports.all_from(2).collect::<Vec<_>>(), [65_535, 65_533, 65_534]);
            assert_eq!(ports.nth(u64::MAX), Some(65_533));
        }
    }

    #[test]
    fn where_there_are_none_none_is_chosen() {
        let none: FreePorts = [].into_iter().collect();
        assert_eq!((none.count(), none.nth(7), none.all_from(7).next()), (0, None, None));
    }
}
