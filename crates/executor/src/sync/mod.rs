//! Local concurrency: what tasks of one shard wait on.
