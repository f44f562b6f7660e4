//! Tests of the crate as a whole: scripts, tables, and properties.

mod client;
mod corpus;
mod properties;
mod requests;
mod seen;
