//! httpd as a process, with each driver, on one shard and on two.

mod abuse;
#[path = "../../../../crates/sim/src/tests/hosts/attacker.rs"]
mod attacker;
mod attacks;
mod black_holes;
mod client;
mod crowd;
mod dhcp;
mod dhcpv6;
mod files;
#[path = "../../../../crates/sim/src/tests/hosts/frames.rs"]
mod frames;
mod hostile;
mod ipv6;
mod memory;
mod metrics;
mod misbehave;
#[path = "../../../../crates/device/tests/tap/namespace.rs"]
mod namespace;
mod native;
mod peers;
mod refusals;
#[path = "../../../../crates/http1/src/tests/refused.rs"]
mod refused;
mod requests;
mod server;
mod slow;
mod starts;
mod stop;
mod tools;
mod vhost_user;
mod vlan;
mod xdp;
