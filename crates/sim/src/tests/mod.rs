//! Tests of whole worlds.

mod checkers;
mod datagrams;
mod determinism;
mod streams;
mod support;
mod sweep;
