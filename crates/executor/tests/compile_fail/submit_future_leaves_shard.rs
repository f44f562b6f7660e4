//! The future by which an answer is awaited belongs to the calling shard.

use sunstar_executor::{ShardId, submit_to};

fn main() {
    let request = submit_to(ShardId::new(1), async || 1);
    std::thread::spawn(move || drop(request));
}
