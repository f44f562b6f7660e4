//! A message must be `Send`: counts of an `Rc` are not atomic.

use std::rc::Rc;

use sunstar_executor::{ShardId, try_post};

fn main() {
    let shared = Rc::new(1);
    let _ = try_post(ShardId::new(1), move || drop(shared));
}
