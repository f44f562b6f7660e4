//! httpd as a process, with each driver, on one shard and on two.

mod abuse;
mod client;
mod files;
mod memory;
mod metrics;
mod requests;
mod server;
mod starts;
mod stop;
mod tools;
