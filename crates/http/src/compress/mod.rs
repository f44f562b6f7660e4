//! Content codings: what a client takes, and bodies that are compressed while they are sent.

mod accept;
mod encoder;
#[cfg(test)]
pub(crate) mod naive_accept;
#[cfg(test)]
pub(crate) mod tests;

pub use accept::{Accepted, Coding};
pub use encoder::{Encoder, MAX_ENCODERS};
