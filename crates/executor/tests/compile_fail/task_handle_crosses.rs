//! A task's join handle belongs to the task's shard.

use sunstar_executor::{ShardId, spawn, try_post};

fn main() {
    let handle = spawn(async {});
    let _ = try_post(ShardId::new(1), move || handle.abort());
}
