//! Answers each read from a connection with the same HTTP response: what the sockets of a driver cost, and as floor a bare
//! epoll loop.
//!
//! `sunstar-answer io_uring|epoll|bare PORT CPU [SECONDS]` listens on loopback, ends after so many seconds (10), and tells the
//! processor time and the system calls per answer. The bare loop is pinned by whoever starts it (`taskset`). Load comes from
//! elsewhere, such as `taskset -c 1 wrk -t1 -c64`.

#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sunstar_net::Error;
use sunstar_net::socket::{ListenOptions, StreamSocket, stack};
use sunstar_packet::Buffer;
use sunstar_reactor::{Backend, Config, CpuSet, io_stats, run};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n";

/// Events taken at once by the bare loop.
const BURST: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, port, cpu, rest @ ..] = &arguments[..] else { panic!("see the head of this program") };
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
    let seconds = rest.first().map_or(10, |seconds| seconds.parse().expect("whole seconds"));
    let time = Duration::from_secs(seconds);
    let cpuset: CpuSet = cpu.parse().expect("a processor");
    match mode.as_str() {
        "bare" => bare(address, time).expect("the kernel can do it"),
        backend => sunstar(backend.parse().expect("a backend"), address, cpuset, time),
    }
}

fn sunstar(backend: Backend, address: SocketAddr, cpuset: CpuSet, time: Duration) {
    let config = Config {
        smp: Some(1),
        cpuset: Some(cpuset),
        reactor_backend: Some(backend),
        idle_poll_time: Some(Duration::ZERO),
        ..Config::default()
    };
    let outcome = run(config, move || async move {
        let answers = Rc::new(Cell::new(0));
        let count = Rc::clone(&answers);
        drop(sunstar_executor::spawn(async move { serve(address, count).await.expect("the port is free") }));
        sunstar_executor::timer::sleep(time).await;
        report(answers.get(), io_stats().system_calls);
    });
    outcome.expect("the backend works");
}

async fn serve(address: SocketAddr, answers: Rc<Cell<u64>>) -> Result<(), Error> {
    let stack = stack()?;
    let listener = stack.listen(&address.into(), &ListenOptions::default())?;
    loop {
        let stream = stack.attach(poll_fn(|cx| listener.poll_accept(cx)).await?)?;
        let answers = Rc::clone(&answers);
        drop(sunstar_executor::spawn(async move {
            // A connection that fails concerns nobody else.
            let _ = answer(&*stream, &answers).await;
        }));
    }
}

async fn answer(stream: &dyn StreamSocket, answers: &Cell<u64>) -> Result<(), Error> {
    while !poll_fn(|cx| stream.poll_read(cx)).await?.is_empty() {
        poll_fn(|cx| stream.poll_writable(cx)).await?;
        stream.enqueue(Buffer::from_static(RESPONSE));
        answers.set(answers.get() + 1);
    }
    Ok(())
}

/// The bare loop: level-triggered, one read and one write per event.
fn bare(address: SocketAddr, time: Duration) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // SAFETY: no memory is concerned.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    watch(epoll, listener.as_raw_fd())?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; BURST];
    let (mut answers, mut waits) = (0_u64, 0_u64);
    let began = Instant::now();
    while began.elapsed() < time {
        waits += 1;
        let limit = i32::try_from(BURST).expect("it is small");
        // SAFETY: the kernel writes at most this many events.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), limit, 100) };
        for event in &events[..usize::try_from(count).unwrap_or(0)] {
            let number = usize::try_from(event.u64).expect("descriptors are small");
            if number == usize::try_from(listener.as_raw_fd()).expect("descriptors are not negative") {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                watch(epoll, stream.as_raw_fd())?;
                let number = usize::try_from(stream.as_raw_fd()).expect("descriptors are not negative");
                streams.resize_with(streams.len().max(number + 1), || None);
                streams[number] = Some(stream);
            } else if let Some(stream) = &mut streams[number] {
                match stream.read(&mut [0; 4096]) {
                    Ok(1..) => {
                        stream.write_all(RESPONSE)?;
                        answers += 1;
                    }
                    _ => streams[number] = None,
                }
            }
        }
    }
    report(answers, waits + 2 * answers);
    Ok(())
}

fn watch(epoll: i32, descriptor: i32) -> io::Result<()> {
    let number = u64::try_from(descriptor).expect("descriptors are not negative");
    let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: number };
    // SAFETY: the kernel reads the event during the call.
    match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn report(answers: u64, system_calls: u64) {
    // SAFETY: zeroes are a valid value, and the kernel writes to it during the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as f64 * 1e6 + time.tv_usec as f64;
    let (user, system) = (micros(usage.ru_utime), micros(usage.ru_stime));
    let per_answer = |value: f64| value / answers.max(1) as f64;
    println!(
        "{answers} answers; per answer {:.3} µs ({:.3} user, {:.3} system), {:.3} system calls",
        per_answer(user + system),
        per_answer(user),
        per_answer(system),
        per_answer(system_calls as f64),
    );
}
