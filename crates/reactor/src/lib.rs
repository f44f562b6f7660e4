//! The executor on Linux: threads, placement, drivers.
