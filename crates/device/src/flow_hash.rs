//! How the other end of a device chooses the queue of a packet: receive side scaling.

use std::sync::Arc;

use sunstar_wire::toeplitz::KEY_BYTES;

/// An indirection table has at most so many entries.
pub const MAX_INDIRECTIONS: usize = 4_096;

/// The Toeplitz hash of a flow's addresses and ports, and how the queue follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowHash {
    /// The key of the hash.
    pub key: [u8; KEY_BYTES],
    /// How the queue follows.
    pub indirection: Indirection,
}

/// How a queue follows from a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indirection {
    /// By its highest bits: of `n` queues it is `hash * n >> 32`. So a Sunstar at the other end has it.
    Highest,
    /// By its lowest bits, which are the place in a table. So network cards have it.
    Table(IndirectionTable),
}

/// The queues of a table's places. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndirectionTable(Arc<[u16]>);

impl IndirectionTable {
    /// A table with those queues; `None` unless there are as many as a power of two, and at most [`MAX_INDIRECTIONS`].
    pub fn new(queues: &[u16]) -> Option<Self> {
        let suits = queues.len().is_power_of_two() && queues.len() <= MAX_INDIRECTIONS;
        suits.then(|| Self(queues.into()))
    }

    /// The queue of each place.
    pub fn queues(&self) -> &[u16] {
        &self.0
    }

    /// The place of a hash.
    pub fn place(&self, hash: u32) -> usize {
        // The length is a power of two, and there is one.
        hash as usize & (self.0.len() - 1)
    }

    /// The queue of a hash.
    pub fn queue(&self, hash: u32) -> usize {
        self.0[self.place(hash)].into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_of_other_lengths_than_powers_of_two_are_none() {
        for (len, is_one) in
            [(0, false), (1, true), (3, false), (96, false), (128, true), (4_096, true), (8_192, false)]
        {
            assert_eq!(IndirectionTable::new(&vec![0; len]).is_some(), is_one, "{len}");
        }
    }

    proptest! {
        #[test]
        fn the_lowest_bits_of_a_hash_are_its_place(
            queues in (0_u32..=12).prop_flat_map(|bits| prop::collection::vec(any::<u16>(), 1_usize << bits)),
            hash: u32,
        ) {
            let table = IndirectionTable::new(&queues).unwrap();
            let expected = queues[usize::try_from(u64::from(hash) % queues.len() as u64).unwrap()];
            prop_assert_eq!(table.queue(hash), usize::from(expected));
            prop_assert_eq!(table.queues(), &queues);
        }
    }
}
