//! Tests of whole worlds.

mod checkers;
mod datagrams;
mod determinism;
mod hosts;
mod streams;
mod support;
mod sweep;
