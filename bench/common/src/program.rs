//! A program under test: it is run for a moment, and what it prints is looked at.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// A server that is ended when it is dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Server {
    /// Starts a server, and waits until it says that it is listening.
    ///
    /// # Panics
    /// If it can't be started, or ends before.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let server = Self(child);
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("listening"))), "it ended");
        // Read on, so that the pipe does not fill.
        std::thread::spawn(move || lines.count());
        server
    }
}

/// An address that no other test on this machine has: ports are fixed, and all of 127/8 is this machine's.
pub fn address(test: u8) -> String {
    let [.., high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{high}.{low}", 1 + test)
}

/// The command that runs a program as one end of a load, with options that are separated by spaces.
pub fn end(program: &str, role: &str, test: u8, options: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--role", role, "--server", &address(test)]).args(options.split_whitespace());
    command
}

/// The figure of that name in the line that a client prints.
///
/// # Panics
/// If the client has failed, or there is no such figure.
pub fn figure(output: &Output, name: &str) -> f64 {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, rest) = text.split_once(&format!("\"{name}\":")).expect("the figure is there");
    rest.split([',', '}']).next().and_then(|number| number.parse().ok()).expect("it is a number")
}
