//! A reference to a foreign object does not outlive the handle.

use sunstar_executor::Foreign;

fn main() {
    let foreign = Foreign::new(String::new());
    let object = foreign.get();
    std::thread::spawn(move || drop(foreign));
    println!("{object:?}");
}
