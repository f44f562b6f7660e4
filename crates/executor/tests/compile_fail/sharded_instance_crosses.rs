//! An instance of a service stays on its shard.

use std::cell::Cell;

use sunstar_executor::{ShardId, Sharded};

fn take(service: Sharded<Cell<i32>>) {
    drop(service.invoke_on(ShardId::new(1), async |instance| instance));
}

fn main() {}
