//! What another thread gets from a shard must be `Send`.

use std::rc::Rc;

use sunstar_executor::{Alien, ShardId};

fn ask(alien: &Alien) {
    drop(alien.submit_to(ShardId::new(0), async || Rc::new(1)));
}

fn main() {}
