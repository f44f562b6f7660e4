//! seawreck as a process, with each driver, on one shard and on two, at httpd and at servers that misbehave.

mod closed_loop;
mod echo;
mod faults;
mod flow;
mod httpd;
mod memcached;
#[path = "../../../../crates/device/tests/tap/namespace.rs"]
mod namespace;
mod native;
mod open_loop;
mod options;
mod requests;
mod seawreck;
mod server;
