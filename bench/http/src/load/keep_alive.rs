//! Many connections with one request each under way, on io_uring: of what the kernel offers it takes the least from the client.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, squeue, types};
use sunstar_bench_http::target;

use crate::Window;

const SEND: u64 = 1 << 32;
/// `IORING_RECVSEND_POLL_FIRST`: the answer is never there when it is asked for.
const POLL_FIRST: u16 = 1;
/// Completions between two looks at the clock.
const LOOK_EVERY: u64 = 1024;

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    got: usize,
}

/// Loads the server until the window ends.
pub(crate) fn run(
    address: SocketAddr,
    request: &[u8],
    response: usize,
    connections: usize,
    window: &mut Window,
) -> Result<()> {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(4096)
        .build(2048)
        .context("making an io_uring")?;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        open.push(Connection { stream, buffer: vec![0; response], got: 0 });
    }
    let files: Vec<_> = open.iter().map(|connection| connection.stream.as_raw_fd()).collect();
    ring.submitter().register_files(&files).context("registering the connections")?;
    for (index, connection) in open.iter_mut().enumerate() {
        ask(&mut ring, index, connection, request)?;
    }
    let mut requests = 0_u64;
    loop {
        ring.submit_and_wait(1)?;
        let done: Vec<(u64, i32)> = ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (tag, result) in done {
            let result = usize::try_from(result)
                .map_err(|_| std::io::Error::from_raw_os_error(-result))
                .context("on a connection")?;
            ensure!(tag & SEND == 0, "a small request was not taken at once");
            let index = usize::try_from(tag)?;
            let connection = &mut open[index];
            ensure!(result > 0, "the server closed a connection");
            connection.got += result;
            if connection.got < response {
                receive(&mut ring, index, connection)?;
                continue;
            }
            ensure!(target::is_good(&connection.buffer), "not a 200: {}", connection.buffer.escape_ascii());
            connection.got = 0;
            requests += 1;
            if requests.is_multiple_of(LOOK_EVERY) && !window.goes_on(requests)? {
                return Ok(());
            }
            ask(&mut ring, index, connection, request)?;
        }
    }
}

/// Queues a request and the wait for its answer.
fn ask(ring: &mut IoUring, index: usize, connection: &mut Connection, request: &[u8]) -> Result<()> {
    let length = u32::try_from(request.len())?;
    let file = types::Fixed(u32::try_from(index)?);
    // A send that goes well needs no word; what is missing of a request shows as a missing answer.
    let send = opcode::Send::new(file, request.as_ptr(), length).flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
    push(ring, &send.build().flags(squeue::Flags::SKIP_SUCCESS).user_data(index as u64 | SEND))?;
    receive(ring, index, connection)
}

fn receive(ring: &mut IoUring, index: usize, connection: &mut Connection) -> Result<()> {
    let free = &mut connection.buffer[connection.got..];
    let file = types::Fixed(u32::try_from(index)?);
    let receive = opcode::Recv::new(file, free.as_mut_ptr(), u32::try_from(free.len())?).ioprio(POLL_FIRST);
    push(ring, &receive.build().user_data(index as u64))
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<()> {
    loop {
        // SAFETY: the request and the connections' buffers outlive the ring's use: the program ends when this is left.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}
