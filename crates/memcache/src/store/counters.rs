//! What a store has done and has.

/// What a store has done since it was made. All of it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounters {
    /// Values that were to be stored.
    pub sets: u64,
    /// Items that were stored.
    pub stored_items: u64,
    /// Items that were asked for and there.
    pub get_hits: u64,
    /// Items that were asked for and not there.
    pub get_misses: u64,
    /// Items that were looked for, by whatever command, and had expired.
    pub get_expired: u64,
    /// Items that were looked for, by whatever command, and had been flushed.
    pub get_flushed: u64,
    /// Times that were changed.
    pub touch_hits: u64,
    /// Times that were to be changed, of items that are not there.
    pub touch_misses: u64,
    /// Items that were deleted.
    pub delete_hits: u64,
    /// Items that were to be deleted and not there.
    pub delete_misses: u64,
    /// Numbers that were counted up.
    pub incr_hits: u64,
    /// Numbers that were to be counted up and not there.
    pub incr_misses: u64,
    /// Numbers that were counted down.
    pub decr_hits: u64,
    /// Numbers that were to be counted down and not there.
    pub decr_misses: u64,
    /// Items whose unique number was the right one.
    pub cas_hits: u64,
    /// Items that should have had some unique number and are not there.
    pub cas_misses: u64,
    /// Items that somebody had changed.
    pub cas_badval: u64,
    /// `me` commands.
    pub meta_looks: u64,
    /// Times that all was flushed.
    pub flushes: u64,
    /// Live items that had to go.
    pub evictions: u64,
    /// Those of them that nobody had asked for.
    pub evicted_unfetched: u64,
    /// Dead items whose memory was taken back.
    pub reclaimed: u64,
    /// Those of them that nobody had asked for.
    pub expired_unfetched: u64,
    /// Pages that a size has lost to another one.
    pub pages_moved: u64,
    /// Values that were not stored since there was no memory.
    pub no_memory: u64,
    /// Values that were not stored since their items would have been too large.
    pub too_large: u64,
    /// Large values that were copied, since what they came in was not theirs alone.
    pub copied: u64,
    /// Large values that were to go and stayed, since somebody still had them: their memory would not have been free.
    pub passed_over: u64,
}

/// What a store has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Items, dead ones included that nobody has come upon.
    pub items: usize,
    /// Of them, header, key and value, in bytes.
    pub item_bytes: usize,
    /// Memory of all kinds, in bytes.
    pub memory_bytes: usize,
    /// Of it, large values that are gone and that somebody still has, in bytes.
    pub held_bytes: usize,
    /// The most that the memory may be, in bytes.
    pub limit_bytes: usize,
    /// Memory of the hash table, in bytes.
    pub hash_bytes: usize,
    /// Buckets of the hash table.
    pub buckets: u32,
}

/// What was done with the items of one class since the store was made, or since
/// [`Store::reset_class_counters`](crate::Store::reset_class_counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounters {
    /// Items that were asked for and there: hot ones at 1, warm ones at 2, cold ones at 3, and nothing at 0. That is how items have
    /// their segments, so a hit looks for no bound.
    pub hits: [u64; 4],
    /// Items that were stored.
    pub sets: u64,
    /// Items that were deleted.
    pub delete_hits: u64,
    /// Numbers that were counted up.
    pub incr_hits: u64,
    /// Numbers that were counted down.
    pub decr_hits: u64,
    /// Items whose unique number was the right one.
    pub cas_hits: u64,
    /// Items that somebody had changed.
    pub cas_badval: u64,
    /// Times that were changed.
    pub touch_hits: u64,
    /// Live items that had to go.
    pub evictions: u64,
    /// Those of them that would have expired some day.
    pub evicted_nonzero: u64,
    /// Those of them that nobody had asked for.
    pub evicted_unfetched: u64,
    /// How long nobody had asked for the last of them, in seconds.
    pub evicted_age_s: u32,
    /// Dead items whose memory was taken back.
    pub reclaimed: u64,
    /// Those of them that nobody had asked for.
    pub expired_unfetched: u64,
    /// Items that were looked at, a page at a time, for whether they are dead.
    pub swept: u64,
    /// Those of them that were.
    pub swept_dead: u64,
    /// Values that were not stored since there was no memory.
    pub no_memory: u64,
}

/// How often items of one class went from one segment to another, or to the front of theirs, over the time of [`ClassCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Large values that were to go and stayed, since somebody still had them.
    pub to_hot: u64,
    /// Hot items that were asked for again and again, and cold ones that were asked for again.
    pub to_warm: u64,
    /// Warm items that were asked for again and again.
    pub within_warm: u64,
    /// Hot and warm items that were not.
    pub to_cold: u64,
}

/// What there is of one class: of chunks of one size, or of large values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassFigures {
    /// Of one chunk, in bytes; zero of large values, whose items have chunks of other classes.
    pub chunk_bytes: usize,
    /// Of one page.
    pub chunks_per_page: usize,
    /// Pages.
    pub pages: usize,
    /// Chunks with items.
    pub used_chunks: usize,
    /// Hot, warm and cold items.
    pub segments: [usize; 3],
    /// How long nobody has asked for the oldest item of each segment, in seconds.
    pub ages_s: [u32; 3],
    /// Header, key and value of all items, in bytes.
    pub item_bytes: usize,
    /// What was done with the items.
    pub counters: ClassCounters,
    /// How they went from segment to segment.
    pub moves: Moves,
}

impl ClassCounters {
    /// Items that were asked for and there.
    pub fn get_hits(&self) -> u64 {
        self.hits.iter().sum()
    }
}
