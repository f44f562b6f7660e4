//! Conversations between programs on the kernel's sockets and on the stack's.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use sunstar_executor::spawn;
use sunstar_net as net;

use super::stack::{PATIENCE, Setup, run_on_stack, stack_address, wait_until_nothing_is_open};

/// Starts a thread where the kernel's side is to be.
pub(crate) type Spawn<'a> = &'a dyn Fn(Box<dyn FnOnce() + Send>) -> JoinHandle<()>;

/// Where the test's own thread is.
pub(crate) fn here(run: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
    thread::spawn(run)
}

/// Has a program on kernel sockets and one on the stack's talk on one connection of each version of IP that the kernel opens, and on one
/// that the stack opens, all at the same time. Nothing may be left of them.
pub(crate) fn meet<K, S, Fut>(setup: &Setup, spawn_thread: Spawn<'_>, kernel: K, stack: S)
where
    K: Fn(TcpStream) + Send + Sync + 'static,
    S: Fn(net::TcpStream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let kernel = Arc::new(kernel);
    let (mut threads, mut servers, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    for &address in &setup.kernel {
        let (serve, (told, where_it_listens)) = (Arc::clone(&kernel), channel());
        threads.push(spawn_thread(Box::new(move || {
            let listener = TcpListener::bind((address, 0)).expect("it is ours");
            told.send(listener.local_addr().expect("it is bound")).expect("it is waited for");
            serve(accept(&listener));
        })));
        servers.push(where_it_listens.recv_timeout(PATIENCE).expect("it listens"));
        let (ask, (listens, stack_listens)) = (Arc::clone(&kernel), channel());
        threads.push(spawn_thread(Box::new(move || ask(connect(&stack_listens)))));
        ready.push((stack_address(address), listens));
    }
    let ran = run_on_stack(setup, move || async move {
        let mut tasks = Vec::new();
        for (address, listens) in ready {
            let at = SocketAddr::new(address, 0);
            let mut listener = net::TcpListener::bind(at, net::ListenerOptions::default()).await.expect("it is ours");
            listens.send(listener.local_address()).expect("it is waited for");
            let stack = stack.clone();
            tasks.push(spawn(async move { stack(listener.accept().await.expect("one comes")).await }));
        }
        for server in servers {
            let stack = stack.clone();
            tasks.push(spawn(async move {
                stack(net::TcpStream::connect(server).await.expect("it listens")).await;
            }));
        }
        for task in tasks {
            task.await.expect("it does not panic");
        }
        wait_until_nothing_is_open().await;
    });
    for thread in threads {
        let ended = thread.join();
        // Without the driver nobody has come.
        assert!(ran.is_none() || ended.is_ok(), "the kernel's side has failed");
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    // It wakes also if nobody comes.
    rustix::net::sockopt::set_socket_timeout(listener, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))
        .expect("it is no zero");
    patient(listener.accept().expect("one comes").0)
}

fn connect(stack_listens: &Receiver<SocketAddr>) -> TcpStream {
    let address = stack_listens.recv_timeout(PATIENCE).expect("the stack listens");
    patient(TcpStream::connect_timeout(&address, PATIENCE).expect("it listens"))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("it is no zero");
    stream
}

/// Bytes that say where they are.
pub(crate) fn pattern(begin: usize, len: usize) -> Vec<u8> {
    (begin..begin + len).map(|at| (at / 251 + at * 7).to_le_bytes()[0]).collect()
}

const CHUNK: usize = 30_000;

/// Sends so many bytes.
pub(crate) fn kernel_sends(mut stream: &TcpStream, count: usize) {
    for begin in (0..count).step_by(CHUNK) {
        stream.write_all(&pattern(begin, CHUNK.min(count - begin))).expect("the stack takes it");
    }
}

/// Receives so many bytes.
pub(crate) fn kernel_receives(mut stream: &TcpStream, count: usize) {
    let mut bytes = vec![0; CHUNK];
    let mut came = 0;
    while came < count {
        let most = CHUNK.min(count - came);
        let len = stream.read(&mut bytes[..most]).expect("the stack sends");
        assert!(len > 0, "the end comes after {came} bytes");
        assert!(bytes[..len] == pattern(came, len), "at {came}");
        came += len;
    }
}

/// Receives the end.
pub(crate) fn kernel_hears_the_end(mut stream: &TcpStream) {
    assert_eq!(stream.read(&mut [0]).expect("nobody resets"), 0, "there is more");
}

/// Sends and receives so many bytes at the same time, and the ends of the streams.
pub(crate) fn kernel_talks(stream: &TcpStream, count: usize) {
    thread::scope(|scope| {
        scope.spawn(|| {
            kernel_sends(stream, count);
            stream.shutdown(Shutdown::Write).expect("it is open");
        });
        kernel_receives(stream, count);
        kernel_hears_the_end(stream);
    });
}

/// Sends so many bytes.
pub(crate) async fn stack_sends(writer: &mut net::OwnedWriteHalf, count: usize) {
    for begin in (0..count).step_by(CHUNK) {
        writer.write(pattern(begin, CHUNK.min(count - begin))).await.expect("the kernel takes it");
    }
}

/// Receives so many bytes.
pub(crate) async fn stack_receives(reader: &mut net::OwnedReadHalf, count: usize) {
    let mut came = 0;
    while came < count {
        let bytes = reader.read().await.expect("the kernel sends");
        assert!(!bytes.is_empty(), "the end comes after {came} bytes");
        assert!(bytes[..] == pattern(came, bytes.len()), "at {came}");
        came += bytes.len();
    }
    assert_eq!(came, count);
}

/// Receives the end.
pub(crate) async fn stack_hears_the_end(reader: &mut net::OwnedReadHalf) {
    assert!(reader.read().await.expect("nobody resets").is_empty(), "there is more");
}

/// Sends and receives so many bytes at the same time, and the ends of the streams.
pub(crate) async fn stack_talks(stream: net::TcpStream, count: usize) {
    let (mut reader, mut writer) = stream.into_split();
    let sending = spawn(async move {
        stack_sends(&mut writer, count).await;
        writer.shutdown();
        writer.flush().await.expect("the kernel takes it");
    });
    stack_receives(&mut reader, count).await;
    stack_hears_the_end(&mut reader).await;
    sending.await.expect("it does not panic");
}

/// Whether an address is of this version.
pub(crate) fn of_v4(address: &IpAddr) -> bool {
    address.is_ipv4()
}
