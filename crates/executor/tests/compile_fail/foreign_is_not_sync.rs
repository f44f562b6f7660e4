//! A foreign object is reached through one handle: it can be sent, not shared.

use sunstar_executor::Foreign;

fn main() {
    let foreign = Foreign::new(std::rc::Rc::new(1));
    std::thread::scope(|scope| {
        scope.spawn(|| drop(foreign.get()));
    });
}
