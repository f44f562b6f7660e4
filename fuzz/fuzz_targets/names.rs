//! Any bytes as a name server's answer, beside a plain way to read it.
//!
//! What reads them is no door of the crate, so its sources are compiled into the target.
#![no_main]

extern crate alloc;

#[path = "../../crates/net/src/names/hosts.rs"]
#[expect(dead_code, unreachable_pub, reason = "the target needs names of hosts only")]
mod hosts;
#[path = "../../crates/net/src/names/message.rs"]
#[expect(dead_code, unreachable_pub, reason = "the target asks nothing")]
mod message;
#[path = "../../crates/net/src/names/naive.rs"]
mod naive;
#[path = "../../crates/net/src/names/wire.rs"]
mod wire;

use sunstar_net::names::{MAX_ALIASES, NAME_SERVER_PORT, Service};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| naive::check(bytes));
