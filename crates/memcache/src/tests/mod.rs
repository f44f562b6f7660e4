//! Tests of the crate as a whole: scripts, tables, and properties.

mod answered;
mod client;
mod corpus;
mod joining;
mod pieces;
mod properties;
mod requests;
mod served;
