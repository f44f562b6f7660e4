//! The same requests to memcached and to this server: the answers are the same, byte for byte, but for what must differ.
//!
//! They need Debian's memcached, which listens at a Unix socket of the test's own.

mod binary;
mod counters;
mod differences;
mod text;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::{Memcached, PATIENCE, Setup};

/// memcached while it runs.
struct Original {
    child: Child,
    folder: TempDir,
}

impl Original {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("original.sock");
        let mut command = Command::new("memcached");
        command.args(["-U", "0", "-t", "1", "-m", "64", "-u", "root", "-s"]).arg(&path);
        let child = command.stdin(Stdio::null()).spawn().expect("memcached is installed");
        let original = Self { child, folder };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&path).is_err() {
            assert!(Instant::now() < deadline, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        original
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.path().join("original.sock")).expect("it listens")
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both servers.
struct Both {
    original: Original,
    ours: Memcached,
}

impl Both {
    fn start(setup: Setup) -> Self {
        Self { original: Original::start(), ours: Memcached::start(setup, &[]) }
    }

    /// A connection to each, memcached first.
    fn connect(&self) -> [Side; 2] {
        let original = self.original.connect();
        original.set_read_timeout(Some(PATIENCE)).expect("a socket has one");
        [Side::new(Box::new(original)), Side::new(Box::new(self.ours.client().0))]
    }

    fn stop(self) {
        self.ours.stop();
    }
}

trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

/// A connection to one of them.
struct Side {
    stream: Box<dyn Connection>,
    /// What has come and was not looked at.
    received: Vec<u8>,
    sent_bytes: usize,
    received_bytes: usize,
    /// How many questions were asked.
    asked: u32,
    /// The unique number that was seen last.
    cas: u64,
}

impl Side {
    fn new(stream: Box<dyn Connection>) -> Self {
        Self { stream, received: Vec::new(), sent_bytes: 0, received_bytes: 0, asked: 0, cas: 1 }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.sent_bytes += bytes.len();
        // Who ends the connection takes no more.
        let _ = self.stream.write_all(bytes);
    }

    /// Receives until this has come, which is left out, or until the connection ends.
    fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut seen = 0;
        loop {
            let begin = self.received[seen..].windows(mark.len()).position(|part| part == mark);
            if let Some(at) = begin.map(|at| seen + at) {
                let rest = self.received.split_off(at + mark.len());
                let mut answer = std::mem::replace(&mut self.received, rest);
                answer.truncate(at);
                return answer;
            }
            seen = (self.received.len() + 1).saturating_sub(mark.len());
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return [&std::mem::take(&mut self.received)[..], b"(end)"].concat(),
                Ok(count) => {
                    self.received_bytes += count;
                    self.received.extend_from_slice(&bytes[..count]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    return [&std::mem::take(&mut self.received)[..], b"(end)"].concat();
                }
                Err(error) => panic!("{error}, after {}", self.received.escape_ascii()),
            }
        }
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
