//! Packet scripts, and pairs of connections on a simulated wire.

mod closing;
mod holding;
mod measuring;
mod opening;
mod pacing;
mod pair;
mod predicted;
mod receiving;
mod recovering;
mod rounds;
mod script;
mod searching;
mod sending;
mod transfer;
mod tuning;
