//! Tests of the crate as a whole: scripts, tables, and properties.

mod answered;
mod client;
mod corpus;
mod datagrams;
mod effects;
mod frames;
mod joining;
mod meta;
mod numbers;
mod packets;
mod pieces;
mod properties;
mod protocols;
mod requests;
mod served;
mod streams;
