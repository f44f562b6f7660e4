//! The floor of a client: one epoll instance, one thread. Per request it receives once, looks at nothing but how much that was, and sends.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sunstar_bench_http::target;

use super::{Load, Said};

const EVENTS: i32 = 256;

/// Loads the server for a while.
pub(super) fn run(load: &Load) -> Result<Said> {
    let request = target::request(load.address, "/", true);
    let response = target::response_bytes(load.address, &request, 1)?;
    let streams = (0..load.connections).map(|_| target::connect(load.address)).collect::<Result<Vec<TcpStream>>>()?;
    let epoll = watch(&streams)?;
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS as usize];
    let mut buffer = vec![0_u8; 16 * 1024];
    let begin = Instant::now();
    let end = begin + Duration::from_secs(load.seconds.into());
    streams.iter().try_for_each(|stream| send(stream, &request))?;
    let mut requests = 0;
    while Instant::now() < end {
        // SAFETY: the kernel writes at most as many events as the array has.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS, 1000) };
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let stream = &streams[usize::try_from(event.u64)?];
            // SAFETY: the kernel writes at most as many bytes as the buffer has.
            let count = unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            ensure!(usize::try_from(count) == Ok(response), "{count} bytes are no answer, which has {response}");
            requests += 1;
            send(stream, &request)?;
        }
    }
    Ok(Said { requests, seconds: begin.elapsed().as_secs_f64(), ..Said::default() })
}

/// An epoll instance that tells by their places which connections something has arrived on.
fn watch(streams: &[TcpStream]) -> Result<OwnedFd> {
    // SAFETY: nobody else has the new descriptor.
    let epoll = unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(epoll)
    };
    for (place, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let events = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();
        let mut event = libc::epoll_event { events, u64: place as u64 };
        let (add, socket) = (libc::EPOLL_CTL_ADD, stream.as_raw_fd());
        // SAFETY: the kernel reads the event only.
        let answer = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), add, socket, &raw mut event) };
        ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
    }
    Ok(epoll)
}

fn send(stream: &TcpStream, request: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads the bytes only.
    let sent = unsafe { libc::send(stream.as_raw_fd(), request.as_ptr().cast(), request.len(), libc::MSG_NOSIGNAL) };
    ensure!(usize::try_from(sent) == Ok(request.len()), "a small request was not taken at once");
    Ok(())
}
