//! A buffer belongs to its shard: only its foreign form crosses.

use sunstar_executor::{ShardId, try_post};
use sunstar_packet::Buffer;

fn send(buffer: Buffer) {
    let _ = try_post(ShardId::new(1), move || drop(buffer));
}

fn main() {}
