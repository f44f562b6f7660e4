//! A message outlives the function that posts it.

use sunstar_executor::{ShardId, try_post};

fn main() {
    let local = 1;
    let _ = try_post(ShardId::new(1), || println!("{local}"));
}
