//! The floor: a server that does only the input and output. One epoll instance, one thread; it looks at nothing that it
//! reads and always sends the same bytes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use anyhow::{Result, ensure};
use clap::Parser;

/// A bare epoll server that answers whatever comes with the same bytes.
#[derive(Parser)]
struct Cli {
    #[arg(long, default_value = "127.0.0.1:10001")]
    address: SocketAddr,
    /// Close each connection after its first answer
    #[arg(long)]
    close: bool,
    /// How many requests are sent at once: it answers so often whatever comes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
}

const KEPT: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: floor\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
    Content-Length: 12\r\n\r\nHello world\n";
const CLOSED: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: floor\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
    Content-Length: 12\r\nConnection: close\r\n\r\nHello world\n";

fn main() -> Result<()> {
    let cli = Cli::parse();
    let answers = if cli.close { CLOSED } else { KEPT }.repeat(usize::from(cli.depth));
    let listener = TcpListener::bind(cli.address)?;
    listener.set_nonblocking(true)?;
    // SAFETY: plain system calls; the kernel writes at most as many events as the array has.
    unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        ensure!(epoll >= 0, "epoll_create1: {}", io::Error::last_os_error());
        watch(epoll, listener.as_raw_fd())?;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let count = libc::epoll_wait(epoll, events.as_mut_ptr(), 256, -1);
            for event in &events[..usize::try_from(count).unwrap_or(0)] {
                let descriptor = RawFd::try_from(event.u64).expect("a descriptor was registered");
                if descriptor == listener.as_raw_fd() {
                    accept(epoll, &listener)?;
                } else {
                    answer(descriptor, &mut buffer, &answers, cli.close);
                }
            }
        }
    }
}

/// # Safety
/// `epoll` must be an epoll instance of this program.
unsafe fn watch(epoll: RawFd, descriptor: RawFd) -> Result<()> {
    let number = u64::try_from(descriptor).expect("descriptors are not negative");
    let events = (libc::EPOLLIN | libc::EPOLLET).cast_unsigned();
    let mut event = libc::epoll_event { events, u64: number };
    // SAFETY: the kernel reads the event only.
    let answer = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
    ensure!(answer == 0, "epoll_ctl: {}", io::Error::last_os_error());
    Ok(())
}

/// # Safety
/// As for [`watch`].
unsafe fn accept(epoll: RawFd, listener: &TcpListener) -> Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // SAFETY: as the caller says.
        unsafe { watch(epoll, stream.into_raw_fd())? };
    }
    Ok(())
}

fn answer(descriptor: RawFd, buffer: &mut [u8], bytes: &[u8], close: bool) {
    // SAFETY: the buffers are valid for their lengths, and the descriptor is this program's.
    unsafe {
        let count = libc::recv(descriptor, buffer.as_mut_ptr().cast(), buffer.len(), 0);
        let is_pending = count < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock;
        if count > 0 {
            libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL);
        }
        if !is_pending && (count <= 0 || close) {
            libc::close(descriptor);
        }
    }
}
