//! A table whose places are used again.

use alloc::vec::Vec;

/// Values in places with small numbers; a place that was freed is used again first, since it is still in the cache.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Puts in a value, and answers where.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        make_room(&mut self.places);
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    /// Takes out the value in a place.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(value)
    }

    /// Drops the value in a place, where it lies.
    pub(crate) fn discard(&mut self, place: u32) {
        if let Some(value) = self.places.get_mut(place as usize).filter(|value| value.is_some()) {
            *value = None;
            self.free.push(place);
        }
    }

    /// All values, with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(place, value)| Some((place, value.as_ref()?)))
    }

    /// Has a place fetched that will be looked at soon.
    #[inline]
    pub(crate) fn prefetch(&self, place: u32) {
        if let Some(value) = self.places.get(place as usize) {
            sunstar_packet::prefetch(value);
        }
    }

    /// Gives back the places behind the last value. Those that are free among the others are filled from the front, so that there are
    /// more to give back the next time.
    pub(crate) fn shrink(&mut self) {
        let used = self.places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.places.truncate(used);
        self.places.shrink_to_fit();
        self.free.retain(|place| (*place as usize) < used);
        self.free.sort_unstable_by(|one, other| other.cmp(one));
        self.free.shrink_to_fit();
    }

    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }
}

/// From so many entries on a table grows by parts of itself: of millions of large ones half would be room that nobody uses.
const LARGE: usize = 1 << 16;

/// Makes room for an entry, if there is none: as much as the table has, or an eighth of that if it is large. Memory of that size is
/// not copied when it grows, but mapped elsewhere, where there is an operating system that can.
pub(crate) fn make_room<T>(entries: &mut Vec<T>) {
    let used = entries.len();
    if used == entries.capacity() && used >= LARGE {
        entries.reserve_exact(used / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_have_little_room_that_nobody_uses() {
        let mut slab = Slab::default();
        for value in 0..LARGE * 3 + 1 {
            slab.insert(value);
        }
        assert!(slab.places.capacity() <= slab.len() / 8 * 9 + 1);
    }

    #[test]
    fn a_place_whose_value_was_dropped_is_used_again() {
        let mut slab = Slab::default();
        let places = [slab.insert(1), slab.insert(2)];
        slab.discard(places[0]);
        slab.discard(places[0]);
        assert_eq!((slab.len(), slab.get(places[0])), (1, None));
        assert_eq!([slab.insert(3), slab.insert(4)], [places[0], 2]);
    }

    #[test]
    fn places_behind_the_last_value_are_given_back() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..1_000).map(|value| slab.insert(value)).collect();
        for place in places.iter().filter(|place| **place != 5) {
            slab.remove(*place);
        }
        slab.shrink();
        assert!(slab.places.capacity() < 10 && slab.free.capacity() < 10);
        assert_eq!((slab.len(), slab.get(5)), (1, Some(&5)));
        assert_eq!([slab.insert(7), slab.insert(8)], [0, 1], "from the front");
    }
}
