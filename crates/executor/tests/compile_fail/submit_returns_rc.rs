//! A request's output comes back and must be `Send`.

use std::rc::Rc;

use sunstar_executor::{ShardId, submit_to};

fn main() {
    drop(submit_to(ShardId::new(1), async || Rc::new(1)));
}
