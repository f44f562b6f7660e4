//! Memory for items: pages, each cut into chunks of one size.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::counters::ClassFigures;
use super::item::{self, HEADER_BYTES};
use crate::limits::MAX_KEY_BYTES;

/// Of a page, in bytes. Small enough that a small cache has pages for all sizes.
pub(super) const PAGE_BYTES: usize = 64 << 10;

/// The smallest chunk, in bytes.
const MIN_CHUNK_BYTES: usize = 64;

/// Values from this length on lie outside of pages. Handing out a reference to one costs as much as copying so many bytes into the
/// answer; and in a page as small as these, larger chunks would leave much of it unused.
pub const LARGE_VALUE_BYTES: usize = 4096;

/// The largest chunk that an item may need.
const MAX_CHUNK_BYTES: usize = HEADER_BYTES + MAX_KEY_BYTES + LARGE_VALUE_BYTES;

/// Where an item is: its page, and the number of its chunk there, which takes [`SLOT_BITS`].
pub(super) type ItemId = u32;

/// What is no item.
pub(super) const NO_ITEM: ItemId = u32::MAX;

const SLOT_BITS: u32 = (PAGE_BYTES / MIN_CHUNK_BYTES).trailing_zeros();

/// What is no chunk of a page.
const NO_SLOT: u16 = u16::MAX;

struct Page {
    /// Empty if the page has been given back.
    bytes: Box<[u8]>,
    chunk_bytes: u32,
    /// How many chunks it has.
    chunks: u16,
    class: u8,
    /// The first of the free chunks that were in use before; each names the next one.
    free: u16,
    /// The first of those that never were.
    fresh: u16,
    used: u16,
}

/// Chunks of one size.
#[derive(Default)]
struct Class {
    chunk_bytes: usize,
    pages: usize,
    used: usize,
    /// Pages with free chunks.
    open: Vec<u32>,
    /// The one of them in which nothing is left. It stays for what comes next, until others need its memory.
    empty: Option<u32>,
}

pub(super) struct Slabs {
    pages: Vec<Page>,
    /// Places of pages that were given back.
    vacant: Vec<u32>,
    classes: Vec<Class>,
    live_pages: usize,
    /// Of pages that were given back.
    freed_bytes: u64,
    /// How many classes have an empty page.
    empty_pages: usize,
}

impl Slabs {
    pub(super) fn new() -> Self {
        let classes = chunk_sizes().map(|chunk_bytes| Class { chunk_bytes, ..Class::default() }).collect();
        Self { pages: Vec::new(), vacant: Vec::new(), classes, live_pages: 0, freed_bytes: 0, empty_pages: 0 }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The class for so many bytes, which an item may have.
    pub(super) fn class_for(&self, bytes: usize) -> usize {
        self.classes.partition_point(|class| class.chunk_bytes < bytes)
    }

    pub(super) fn class_of(&self, id: ItemId) -> usize {
        self.page(id).class.into()
    }

    /// What a class has of chunks; nothing of that of large values.
    pub(super) fn figures(&self, class: usize) -> ClassFigures {
        let Some(Class { chunk_bytes, pages, used, .. }) = self.classes.get(class) else {
            return ClassFigures::default();
        };
        let (chunk_bytes, pages, used_chunks) = (*chunk_bytes, *pages, *used);
        ClassFigures {
            chunk_bytes,
            chunks_per_page: PAGE_BYTES / chunk_bytes,
            pages,
            used_chunks,
            ..ClassFigures::default()
        }
    }

    pub(super) fn live_pages(&self) -> usize {
        self.live_pages
    }

    pub(super) fn freed_bytes(&self) -> u64 {
        self.freed_bytes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.live_pages * PAGE_BYTES + self.pages.capacity() * size_of::<Page>()
    }

    /// The bytes of a chunk.
    #[inline]
    pub(super) fn chunk(&self, id: ItemId) -> &[u8] {
        let page = self.page(id);
        let start = slot(id) * page.chunk_bytes as usize;
        &page.bytes[start..start + page.chunk_bytes as usize]
    }

    #[inline]
    pub(super) fn chunk_mut(&mut self, id: ItemId) -> &mut [u8] {
        let page = &mut self.pages[(id >> SLOT_BITS) as usize];
        let start = slot(id) * page.chunk_bytes as usize;
        &mut page.bytes[start..start + page.chunk_bytes as usize]
    }

    /// A chunk of a page that is there.
    pub(super) fn take(&mut self, class: usize) -> Option<ItemId> {
        let place = *self.classes[class].open.last()?;
        let free = self.pages[place as usize].free;
        let slot = if free == NO_SLOT { self.pages[place as usize].fresh } else { free };
        let id = place << SLOT_BITS | ItemId::from(slot);
        let next = if free == NO_SLOT { NO_SLOT } else { item::next_free(self.chunk(id)) };
        let page = &mut self.pages[place as usize];
        page.free = next;
        page.fresh += u16::from(free == NO_SLOT);
        page.used += 1;
        let is_full = page.is_full();
        let class = &mut self.classes[class];
        if is_full {
            class.open.pop();
        }
        if class.empty == Some(place) {
            class.empty = None;
            self.empty_pages -= 1;
        }
        class.used += 1;
        Some(id)
    }

    /// Gives a chunk back. A page in which nothing is left goes back too, if the class has another one with room.
    pub(super) fn give(&mut self, id: ItemId) {
        let place = id >> SLOT_BITS;
        let page = &mut self.pages[place as usize];
        let (class, was_full, next) = (usize::from(page.class), page.is_full(), page.free);
        page.free = u16::try_from(slot(id)).expect("a page has fewer chunks");
        page.used -= 1;
        let is_empty = page.used == 0;
        item::free(self.chunk_mut(id), next);
        self.classes[class].used -= 1;
        if was_full {
            self.classes[class].open.push(place);
        }
        if !is_empty {
            return;
        }
        if self.classes[class].open.len() > 1 {
            self.give_page(place);
        } else {
            self.classes[class].empty = Some(place);
            self.empty_pages += 1;
        }
    }

    /// Gives a page back in which nothing is left; false if there is none.
    pub(super) fn give_empty(&mut self) -> bool {
        if self.empty_pages == 0 {
            return false;
        }
        let place = self.classes.iter().find_map(|class| class.empty);
        place.into_iter().for_each(|place| self.give_page(place));
        place.is_some()
    }

    /// Adds a page to a class; false if there are as many as there can be.
    pub(super) fn add_page(&mut self, class: usize) -> bool {
        let chunk_bytes = self.classes[class].chunk_bytes;
        let page = Page {
            bytes: vec![0; PAGE_BYTES].into_boxed_slice(),
            chunk_bytes: u32::try_from(chunk_bytes).expect("a chunk is smaller than a page"),
            chunks: u16::try_from(PAGE_BYTES / chunk_bytes).expect("a chunk has 64 bytes at least"),
            class: u8::try_from(class).expect("there are fewer classes"),
            free: NO_SLOT,
            fresh: 0,
            used: 0,
        };
        let place = if let Some(place) = self.vacant.pop() {
            self.pages[place as usize] = page;
            place
        } else {
            // One less, so that no item has the number of none.
            let Some(place) = u32::try_from(self.pages.len()).ok().filter(|place| *place < u32::MAX >> SLOT_BITS)
            else {
                return false;
            };
            self.pages.push(page);
            place
        };
        self.live_pages += 1;
        self.classes[class].pages += 1;
        self.classes[class].open.push(place);
        true
    }

    /// The items of the page in which an item is.
    pub(super) fn neighbours(&self, id: ItemId) -> Vec<ItemId> {
        let place = id >> SLOT_BITS;
        let ids = (0..self.page(id).fresh).map(|slot| place << SLOT_BITS | ItemId::from(slot));
        ids.filter(|id| item::is_used(self.chunk(*id))).collect()
    }

    /// Gives a page back whose chunks are free.
    pub(super) fn give_page_of(&mut self, id: ItemId) {
        let page = self.page(id);
        // It may have gone with its last chunk.
        if !page.bytes.is_empty() {
            debug_assert_eq!(page.used, 0, "a page with items is given back");
            self.give_page(id >> SLOT_BITS);
        }
    }

    /// Goes over pages in turn: the first chunk of the page behind this place, round and round; `None` without pages.
    pub(super) fn page_after(&self, place: usize) -> Option<(usize, ItemId)> {
        let count = self.pages.len();
        let mut places = (1..=count).map(|step| (place + step) % count);
        let next = places.find(|place| !self.pages[*place].bytes.is_empty())?;
        Some((next, u32::try_from(next).expect("an item's number has it") << SLOT_BITS))
    }

    /// The first chunk of the page at this place or of the next one; `None` behind the last.
    pub(super) fn page_from(&self, place: usize) -> Option<(usize, ItemId)> {
        let next = (place..self.pages.len()).find(|place| !self.pages[*place].bytes.is_empty())?;
        Some((next, u32::try_from(next).expect("an item's number has it") << SLOT_BITS))
    }

    fn give_page(&mut self, place: u32) {
        let page = &mut self.pages[place as usize];
        page.bytes = Box::default();
        (page.fresh, page.free) = (0, NO_SLOT);
        let class = &mut self.classes[usize::from(page.class)];
        class.open.retain(|open| *open != place);
        if class.empty == Some(place) {
            class.empty = None;
            self.empty_pages -= 1;
        }
        class.pages -= 1;
        self.live_pages -= 1;
        self.freed_bytes += PAGE_BYTES as u64;
        self.vacant.push(place);
    }

    fn page(&self, id: ItemId) -> &Page {
        &self.pages[(id >> SLOT_BITS) as usize]
    }
}

impl Page {
    fn is_full(&self) -> bool {
        self.used == self.chunks
    }
}

const fn slot(id: ItemId) -> usize {
    (id & ((1 << SLOT_BITS) - 1)) as usize
}

/// Sizes that differ by some eight in a hundred, each the largest of which so many fit into a page.
fn chunk_sizes() -> impl Iterator<Item = usize> {
    let largest = |bytes: usize| (PAGE_BYTES / (PAGE_BYTES / bytes)) & !7;
    core::iter::successors(Some(MIN_CHUNK_BYTES), move |bytes| {
        (*bytes < MAX_CHUNK_BYTES).then(|| largest((bytes + bytes / 13).max(bytes + 8) & !7).max(bytes + 8))
    })
}
