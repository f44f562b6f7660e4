//! The memory that a front end shares, region by region.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use sunstar_virtio::memory::{MAX_RANGES, MapError};
use sunstar_virtio::{MappedRange, Memory, MemoryMap, Segment};

use super::mapping::{self, MappingError};
use crate::vhost_user::message::RegionDescription;

/// How many regions there may be, each of which has a mapping.
pub(super) const MAX_SLOTS: usize = MAX_RANGES;

/// Why memory is refused. The memory stays as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// A region can't be mapped.
    #[error("the region at address {address:#x}: {error}")]
    Mapping {
        /// Where it begins for the driver.
        address: u64,
        /// Why.
        #[source]
        error: MappingError,
    },
    /// Regions overlap, or there are too many.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A region that is to go is not there.
    #[error("there is no region of {bytes} bytes at address {address:#x}")]
    NoSuchRegion {
        /// Where it should begin for the driver.
        address: u64,
        /// How long it should be.
        bytes: u64,
    },
}

/// A region, mapped.
#[derive(Clone, Debug)]
struct SharedRegion {
    description: RegionDescription,
    memory: Memory,
}

/// All regions.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    regions: Vec<SharedRegion>,
    /// By the addresses in descriptors.
    guest: Arc<MemoryMap>,
    /// By the front end's own addresses.
    user: MemoryMap,
    /// Regions whose files can be cut off by the front end.
    pub(super) unsealed: usize,
}

impl Table {
    /// A table of some regions, each with its file.
    pub(super) fn new(descriptions: &[RegionDescription], files: Vec<OwnedFd>) -> Result<Self, TableError> {
        let mut table = Self::default();
        for (description, file) in descriptions.iter().zip(files) {
            table.push(description, &file)?;
        }
        table.index()?;
        Ok(table)
    }

    /// The same with one region more.
    pub(super) fn with(&self, description: &RegionDescription, file: &OwnedFd) -> Result<Self, TableError> {
        let mut table = self.clone();
        table.push(description, file)?;
        table.index()?;
        Ok(table)
    }

    /// The same without a region, which is the one with those addresses and that length.
    pub(super) fn without(&self, description: &RegionDescription) -> Result<Self, TableError> {
        let key = |of: &RegionDescription| (of.guest_address, of.user_address, of.bytes);
        let mut table = self.clone();
        let count = table.regions.len();
        table.regions.retain(|region| key(&region.description) != key(description));
        if table.regions.len() == count {
            return Err(TableError::NoSuchRegion { address: description.guest_address, bytes: description.bytes });
        }
        table.index()?;
        Ok(table)
    }

    fn push(&mut self, description: &RegionDescription, file: &OwnedFd) -> Result<(), TableError> {
        let address = description.guest_address;
        let mapped = mapping::map(file, description.file_offset, description.bytes)
            .map_err(|error| TableError::Mapping { address, error })?;
        self.unsealed += usize::from(!mapped.is_sealed);
        self.regions.push(SharedRegion { description: *description, memory: mapped.memory });
        Ok(())
    }

    fn index(&mut self) -> Result<(), MapError> {
        let map = |address: fn(&RegionDescription) -> u64| {
            let range = |region: &SharedRegion| MappedRange {
                address: address(&region.description),
                memory: region.memory.clone(),
            };
            MemoryMap::new(self.regions.iter().map(range).collect())
        };
        let (guest, user) = (map(|region| region.guest_address)?, map(|region| region.user_address)?);
        (self.guest, self.user) = (Arc::new(guest), user);
        Ok(())
    }

    /// What addresses in descriptors mean.
    pub(super) fn map(&self) -> Arc<MemoryMap> {
        Arc::clone(&self.guest)
    }

    /// A part of a ring, by the front end's own address.
    pub(super) fn part_of_ring(&self, user_address: u64, bytes: usize) -> Option<Memory> {
        self.user.memory(Segment { address: user_address, len: u32::try_from(bytes).ok()? })
    }
}
