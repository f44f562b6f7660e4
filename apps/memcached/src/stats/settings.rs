//! What the server was told when it began, as far as memcached has names for it.

use sunstar::prelude::*;
use sunstar_memcache::{MAX_KEY_BYTES, Output};

use super::put;
use crate::server::Server;

pub(super) fn put_all(server: &Server, output: &mut Output) {
    let bounds = server.settings.bounds;
    put(output, "maxbytes", server.store.borrow().figures().limit_bytes * shard_count());
    put(output, "maxconns", bounds.connections);
    put(output, "tcpport", server.settings.port.unwrap_or(0));
    put(output, "udpport", server.settings.udp_port);
    put(output, "udp_budget", server.settings.udp_budget);
    put(output, "verbosity", 0);
    put(output, "evictions", "on");
    if let Some(address) = server.address() {
        match address.inet() {
            Some(address) => put(output, "inter", address.ip()),
            None => put(output, "domain_socket", address),
        }
    }
    put(output, "num_threads", shard_count());
    put(output, "stat_key_prefix", ":");
    put(output, "detail_enabled", if server.store.borrow().counts_prefixes() { "yes" } else { "no" });
    put(output, "cas_enabled", "yes");
    put(output, "auth_enabled_sasl", "no");
    put(output, "auth_enabled_ascii", "no");
    put(output, "item_size_max", bounds.item_bytes);
    put(output, "key_size_max", MAX_KEY_BYTES);
    put(output, "binding_protocol", "auto-negotiate");
    put(output, "hash_algorithm", "siphash13");
    put(output, "slab_reassign", "no");
    put(output, "lru_crawler", "yes");
    put(output, "lru_maintainer_thread", "yes");
    put(output, "lru_segmented", "yes");
    put(output, "flush_enabled", "yes");
    put(output, "dump_enabled", "yes");
    put(output, "track_sizes", "yes");
    put(output, "idle_timeout", 0);
}
