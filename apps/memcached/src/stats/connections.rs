//! Who is connected.

use std::rc::Rc;

use sunstar::net::{Address, Error};
use sunstar::prelude::*;
use sunstar_memcache::Output;

use super::put;
use crate::server::{Counters, Server};

/// So many connections of a shard are told, oldest first. The others are counted.
const TOLD: usize = 1024;

/// What is told of a connection.
struct Seen {
    number: u64,
    peer: Option<Address>,
    is_owed: bool,
    idle_s: u32,
}

pub(super) async fn put_all(server: &Server, output: &mut Output) -> Result<(), Error> {
    let see = |server: Rc<Server>| async move {
        let now_s = server.now_s();
        let all = server.connections.all();
        Counters::add(&server.counters.conns_left_out, all.len().saturating_sub(TOLD));
        let seen = all.into_iter().take(TOLD).map(|served| Seen {
            number: served.number(),
            peer: served.peer.clone(),
            is_owed: served.is_owed(),
            idle_s: now_s.saturating_sub(served.last_s.get()),
        });
        seen.collect::<Vec<_>>()
    };
    let shards = server.peers().map(see).await.map_err(|_| Error::Stopped)?;
    let listening = server.address().map(shown);
    for (shard, seen) in shards.into_iter().enumerate() {
        for Seen { number, peer, is_owed, idle_s } in seen {
            // Different ones on different shards.
            let number = number * shard_count() as u64 + shard as u64;
            if let Some(peer) = &peer {
                put(output, &format!("{number}:addr"), shown(peer));
            }
            if let Some(listening) = &listening {
                put(output, &format!("{number}:listen_addr"), listening);
            }
            put(output, &format!("{number}:state"), if is_owed { "conn_mwrite" } else { "conn_read" });
            put(output, &format!("{number}:secs_since_last_cmd"), idle_s);
        }
    }
    Ok(())
}

fn shown(address: &Address) -> String {
    match address.inet() {
        Some(inet) => format!("{}:{inet}", if inet.is_ipv4() { "tcp" } else { "tcp6" }),
        None => address.to_string(),
    }
}
