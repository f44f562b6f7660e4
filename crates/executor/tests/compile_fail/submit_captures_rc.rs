//! A request's closure must be `Send`.

use std::rc::Rc;

use sunstar_executor::{ShardId, submit_to};

fn main() {
    let shared = Rc::new(1);
    drop(submit_to(ShardId::new(1), async move || *shared));
}
