//! Tests of patterns and of what fits them; what is answered is tested on simulated hosts.

mod corpus;
mod matching;
mod naive;
mod patterns;
