//! Finds the socket that an event is for.

use std::rc::Rc;

use super::descriptor::Watched;

/// What events of bells carry. No socket's key is zero.
pub(super) const BELL: u64 = 0;

/// The sockets that are watched.
///
/// A key is a place in the table and a generation, which grows whenever the place is vacated: an event for a socket that is
/// gone finds nothing, even if another socket has the place.
#[derive(Default)]
pub(super) struct Table {
    places: Vec<Place>,
    vacant: Vec<u32>,
}

struct Place {
    generation: u32,
    socket: Option<Rc<dyn Watched>>,
}

impl Table {
    /// Puts a socket in, and answers its key.
    pub(super) fn insert(&mut self, socket: Rc<dyn Watched>) -> u64 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 1, socket: None });
            u32::try_from(self.places.len() - 1).expect("there are fewer descriptors")
        });
        let place = &mut self.places[index as usize];
        place.socket = Some(socket);
        u64::from(place.generation) << 32 | u64::from(index)
    }

    /// The socket with a key, if it is still there.
    pub(super) fn find(&self, key: u64) -> Option<Rc<dyn Watched>> {
        let (index, generation) = split(key);
        self.places.get(index as usize).filter(|place| place.generation == generation)?.socket.clone()
    }

    /// Takes a socket out. It is to be dropped when the table is no longer borrowed.
    pub(super) fn remove(&mut self, key: u64) -> Option<Rc<dyn Watched>> {
        let (index, generation) = split(key);
        let place = self.places.get_mut(index as usize).filter(|place| place.generation == generation)?;
        place.generation = place.generation.wrapping_add(1).max(1);
        self.vacant.push(index);
        place.socket.take()
    }

    /// All sockets.
    pub(super) fn all(&self) -> Vec<Rc<dyn Watched>> {
        self.places.iter().filter_map(|place| place.socket.clone()).collect()
    }

    /// Whether no socket is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.places.len() == self.vacant.len()
    }
}

fn split(key: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the lower and the upper half")]
    let halves = (key as u32, (key >> 32) as u32);
    halves
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Watched for Nobody {
        fn ready(self: Rc<Self>, _events: u32) {}
    }

    #[test]
    fn a_key_finds_its_socket_and_no_later_one_in_its_place() {
        let mut table = Table::default();
        assert!(table.is_empty() && table.find(BELL).is_none());
        let first = table.insert(Rc::new(Nobody));
        let second = table.insert(Rc::new(Nobody));
        assert!(table.find(first).is_some() && table.remove(first).is_some());
        assert!(table.find(first).is_none() && table.remove(first).is_none());
        let third = table.insert(Rc::new(Nobody));
        assert_eq!(split(third).0, split(first).0, "places are used again");
        assert!(table.find(first).is_none() && table.find(third).is_some());
        assert!(!table.is_empty());
        table.remove(second);
        table.remove(third);
        assert!(table.is_empty());
    }
}
