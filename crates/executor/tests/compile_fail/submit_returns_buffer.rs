//! A buffer does not come back from another shard as it is.

use sunstar_executor::{ShardId, submit_to};
use sunstar_packet::Buffer;

fn main() {
    drop(submit_to(ShardId::new(1), async || -> Buffer { unreachable!() }));
}
