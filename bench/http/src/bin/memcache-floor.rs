//! The floor of memcache servers: input and output alone. One epoll instance, one thread; of each request only the first byte is looked at,
//! since all requests of a kind are equally long, and all requests of a kind are answered by the same bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;
use clap::Parser;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// A bare epoll server that answers requests of known lengths with the same bytes.
#[derive(Parser)]
struct Cli {
    #[arg(long, default_value = "127.0.0.1:10002")]
    address: SocketAddr,
    /// Bytes of a key
    #[arg(long, default_value_t = 32)]
    key_bytes: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Keys of a get
    #[arg(long, default_value_t = 1)]
    multiget: usize,
}

/// What a request is, by its first byte.
struct Kinds {
    get_bytes: usize,
    set_bytes: usize,
    items: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of the request under way that are missing.
    missing: usize,
    /// Whether that one is a get.
    is_get: bool,
}

/// The number of the listener among the connections.
const LISTENER: u64 = u64::MAX;
/// Read and answered at a time.
const BUFFER_BYTES: usize = 64 << 10;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let kinds = Kinds::new(&cli);
    let listener = TcpListener::bind(cli.address)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut connections: Vec<Connection> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let (mut input, mut output) = (vec![0; BUFFER_BYTES], Vec::with_capacity(BUFFER_BYTES));
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let Some(connection) =
                usize::try_from(event.data.u64()).ok().and_then(|number| connections.get_mut(number))
            else {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let number = EventData::new_u64(connections.len() as u64);
                    epoll::add(&epoll, &stream, number, EventFlags::IN | EventFlags::ET)?;
                    connections.push(Connection { stream, missing: 0, is_get: false });
                }
                continue;
            };
            connection.answer(&kinds, &mut input, &mut output);
        }
    }
}

impl Kinds {
    fn new(cli: &Cli) -> Self {
        let (key, value) = ("0".repeat(cli.key_bytes), "x".repeat(cli.value_bytes));
        let item = format!("VALUE {key} 0 {}\r\n{value}\r\n", cli.value_bytes);
        Self {
            get_bytes: format!("get{}\r\n", format!(" {key}").repeat(cli.multiget)).len(),
            set_bytes: format!("set {key} 0 0 {}\r\n{value}\r\n", cli.value_bytes).len(),
            items: format!("{}END\r\n", item.repeat(cli.multiget)).into_bytes(),
        }
    }
}

impl Connection {
    fn answer(&mut self, kinds: &Kinds, input: &mut [u8], output: &mut Vec<u8>) {
        let count = match self.stream.read(input) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        let mut rest = &input[..count];
        output.clear();
        while let Some(first) = rest.first() {
            if self.missing == 0 {
                self.is_get = *first == b'g';
                self.missing = if self.is_get { kinds.get_bytes } else { kinds.set_bytes };
            }
            let taken = self.missing.min(rest.len());
            self.missing -= taken;
            rest = &rest[taken..];
            if self.missing == 0 {
                output.extend_from_slice(if self.is_get { &kinds.items } else { b"STORED\r\n" });
            }
        }
        // What does not fit at once is more than was asked for, or nobody is there any more.
        if count == 0 || self.stream.write_all(output).is_err() {
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
        }
    }
}
