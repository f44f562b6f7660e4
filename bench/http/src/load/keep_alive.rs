//! Many connections with one request or one batch of requests each under way, on io_uring: of what the kernel offers it takes the least from the client.
//!
//! The client spins: until a processor that sleeps has woken up, the server would run out of requests.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue, types};
use sunstar_bench_http::target;

use crate::frames::Frames;
use crate::{Load, Window};

const SEND: u64 = 1 << 32;
/// Answered requests between two looks at the clock.
const LOOK_EVERY: u64 = 1024;

struct Connection {
    /// Kept open.
    _stream: TcpStream,
    got: usize,
}

/// How long each batch takes, if somebody wants to know: the one under way on each connection, and those that were answered, in
/// nanoseconds.
struct Clock {
    asked_at: Vec<Instant>,
    taken: Vec<u64>,
}

impl Clock {
    fn new(connections: usize) -> Self {
        Self { asked_at: vec![Instant::now(); connections], taken: Vec::new() }
    }

    /// A batch was answered, and the next one is sent.
    fn lap(&mut self, index: usize, counts: bool) -> Result<()> {
        let now = Instant::now();
        let began = std::mem::replace(&mut self.asked_at[index], now);
        if counts {
            self.taken.push(u64::try_from((now - began).as_nanos())?);
        }
        Ok(())
    }
}

/// Loads the server until the window ends: each connection sends a batch of `depth` requests (64 at most) and waits for the answers.
/// Answers the time of each batch within the window, in nanoseconds, if `with_latencies`.
pub(crate) fn run(load: &Load<'_>, depth: u16, with_latencies: bool, window: &mut Window) -> Result<Vec<u64>> {
    let &Load { address, request: batch, response, connections } = load;
    let (mut ring, mut frames, mut open) = set_up(address, response, connections)?;
    window.open();
    let mut clock = with_latencies.then(|| Clock::new(connections));
    for index in 0..connections {
        receive(&mut ring, index)?;
        ask(&mut ring, index, batch)?;
    }
    let mut batches = 0_u64;
    let mut done = Vec::new();
    loop {
        exchange(&mut ring)?;
        done.extend(ring.completion());
        for entry in done.drain(..) {
            if entry.result() == -libc::ENOBUFS {
                // The kernel was faster than this loop; by now frames were put back.
                receive(&mut ring, usize::try_from(entry.user_data())?)?;
                continue;
            }
            let length = usize::try_from(entry.result())
                .map_err(|_| std::io::Error::from_raw_os_error(-entry.result()))
                .context("on a connection")?;
            ensure!(entry.user_data() & SEND == 0, "a small batch was not taken at once");
            let index = usize::try_from(entry.user_data())?;
            let frame = cqueue::buffer_select(entry.flags()).context("the server closed a connection")?;
            let connection = &mut open[index];
            let bytes = frames.bytes(frame, length);
            ensure!(connection.got > 0 || target::is_good(bytes), "not a 200: {}", bytes.escape_ascii());
            connection.got += length;
            frames.put_back(frame);
            if !cqueue::more(entry.flags()) {
                receive(&mut ring, index)?;
            }
            if connection.got < response {
                continue;
            }
            ensure!(connection.got == response, "more responses than requests");
            connection.got = 0;
            batches += 1;
            if let Some(clock) = &mut clock {
                clock.lap(index, window.is_measuring())?;
            }
            if batches.is_multiple_of(LOOK_EVERY / u64::from(depth)) && !window.goes_on(batches * u64::from(depth))? {
                return Ok(clock.map(|clock| clock.taken).unwrap_or_default());
            }
            ask(&mut ring, index, batch)?;
        }
    }
}

/// Connects as often as asked for, and makes a ring that knows the connections by their index, with frames for an answer of each.
fn set_up(address: SocketAddr, response: usize, connections: usize) -> Result<(IoUring, Frames, Vec<Connection>)> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_cqsize(4096)
        .build(2048)
        .context("making an io_uring")?;
    ring.submitter().register_ring_fd().context("registering the ring")?;
    let frames = Frames::new(&ring, connections, response).context("providing buffers")?;
    let (mut open, mut files) = (Vec::with_capacity(connections), Vec::with_capacity(connections));
    for _ in 0..connections {
        let stream = target::connect(address)?;
        files.push(stream.as_raw_fd());
        open.push(Connection { _stream: stream, got: 0 });
    }
    ring.submitter().register_files(&files).context("registering the connections")?;
    Ok((ring, frames, open))
}

/// Submits what there is and lets the kernel complete what has come, if there is either.
fn exchange(ring: &mut IoUring) -> Result<()> {
    let (staged, has_come) = {
        let queue = ring.submission();
        (queue.len(), queue.taskrun())
    };
    if staged == 0 && !has_come {
        std::hint::spin_loop();
        return Ok(());
    }
    let flags = EnterFlags::GETEVENTS.bits();
    // SAFETY: the flags ask for no arguments. What the entries point to is valid, as `push` says.
    unsafe { ring.submitter().enter::<libc::sigset_t>(u32::try_from(staged)?, 0, flags, None)? };
    Ok(())
}

/// Queues a batch.
fn ask(ring: &mut IoUring, index: usize, batch: &[u8]) -> Result<()> {
    let length = u32::try_from(batch.len())?;
    let file = types::Fixed(u32::try_from(index)?);
    // A send that goes well needs no word; what is missing of a batch shows as a missing answer.
    let send = opcode::Send::new(file, batch.as_ptr(), length).flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
    push(ring, &send.build().flags(squeue::Flags::SKIP_SUCCESS).user_data(index as u64 | SEND))
}

/// Receives on a connection from now on.
fn receive(ring: &mut IoUring, index: usize) -> Result<()> {
    let file = types::Fixed(u32::try_from(index)?);
    push(ring, &opcode::RecvMulti::new(file, 0).build().user_data(index as u64))
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<()> {
    loop {
        // SAFETY: the batch outlives the ring's use, and frames live as long as the program, which ends when this is left.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}
