//! A visit to a foreign object does not bring the object out.

use std::rc::Rc;

use sunstar_executor::Foreign;

async fn take(foreign: Foreign<Rc<i32>>) {
    let _ = foreign.with_on_home(|object| Rc::clone(object)).await;
}

fn main() {}
