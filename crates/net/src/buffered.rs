//! Buffered reading and writing over the directions of a stream.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::BufReader;
pub use writer::{BufWriter, DEFAULT_WRITE_BUFFER_BYTES};
