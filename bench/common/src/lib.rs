//! Benchmarks written once and run on Sunstar and its peers alike.
//!
//! What stays on one core is written over the [`Runtime`](local::Runtime) trait, what crosses cores over a pair of
//! functions that send and receive ([`cross`]). A peer says how its words are called; what is
//! measured, and how often, is decided here. [`floor`] has the bounds that the machine itself sets.
//!
//! A program that uses this crate runs one benchmark per process ([`cli`]), pins its threads itself and prints JSON lines.

pub mod bypass;
pub mod cli;
pub mod cross;
pub mod cycles;
pub mod floor;
pub mod gates;
pub mod idle;
pub mod local;
pub mod measure;
pub mod memory;
pub mod ping_pong;
pub mod program;
pub mod shares;
pub mod tcp;
pub mod timers;
