//! What the tests share: running on each driver, and the contract of sockets in the form of async functions.

use std::env;
use std::fs;
use std::future::{Future, poll_fn};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_net::socket::{
    ConnectOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack, StreamSocket, stack,
};
use sunstar_net::{Address, Error, UnixAddress};
use sunstar_packet::Buffer;
use sunstar_reactor::{Backend, Config, LinuxPlatform, run};

pub(crate) type Stream = Rc<dyn StreamSocket>;
pub(crate) type Listener = Rc<dyn ListenSocket>;
pub(crate) type Datagrams = Rc<dyn DatagramSocket>;

/// Long enough for whatever is to happen; only tests that fail wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A test that takes longer hangs.
const FUSE: Duration = Duration::from_secs(300);

/// The drivers that the machine has.
pub(crate) fn backends() -> impl Iterator<Item = Backend> {
    [Backend::Epoll, Backend::IoUring].into_iter().filter(|&backend| {
        let works = LinuxPlatform::with_backend(Some(backend)).is_ok();
        if !works {
            println!("{backend} is not available here");
        }
        works
    })
}

/// Runs a test on so many shards on each driver.
pub(crate) fn on_each_driver<F>(shards: usize, test: impl Fn() -> F + Copy + Send + 'static)
where
    F: Future + 'static,
{
    for backend in backends() {
        on_driver(backend, shards, test);
    }
}

/// Runs a test on so many shards.
pub(crate) fn on_driver<F>(backend: Backend, shards: usize, test: impl Fn() -> F + Copy + Send + 'static)
where
    F: Future + 'static,
{
    println!("on {backend}");
    let config = Config {
        smp: Some(shards),
        overprovisioned: true,
        reactor_backend: Some(backend),
        stop_on_signals: false,
        // Debug builds on busy machines are slow.
        blocked_reactor_notify: Duration::ZERO,
        ..Config::default()
    };
    let ended = run(config, move || async move { with_timeout(FUSE, test()).await.map(drop) });
    ended.expect("the test passes").expect("the test ends");
}

/// Runs the rest of test `name` in a process of its own: the answer is whether this is that process.
pub(crate) fn is_alone(name: &str) -> bool {
    const ALONE: &str = "SUNSTAR_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let mut child = Command::new(env::current_exe().expect("tests run from a file"));
    child.args([name, "--exact", "--nocapture", "--test-threads=1", "--include-ignored"]).env(ALONE, "1");
    assert!(child.status().expect("this program can be started").success());
    false
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("the system has it").count()
}

pub(crate) fn network() -> Rc<dyn Stack> {
    stack().expect("the reactor has installed one")
}

pub(crate) fn loopback() -> Address {
    Address::Inet("127.0.0.1:0".parse().expect("an address"))
}

/// One address of each kind; the folder is for those in the file system.
pub(crate) fn addresses(folder: &tempfile::TempDir) -> [Address; 4] {
    let path = folder.path().join("socket");
    let name = format!("@sunstar-test-{}-{}", std::process::id(), folder.path().display());
    [
        loopback(),
        Address::Inet("[::1]:0".parse().expect("an address")),
        UnixAddress::new(path.as_os_str().as_encoded_bytes()).expect("temporary paths are short").into(),
        UnixAddress::new(name).expect("temporary paths are short").into(),
    ]
}

pub(crate) fn listen(address: &Address) -> (Listener, Address) {
    let listener = network().listen(address, &ListenOptions::default()).expect("the address is free");
    let address = listener.local_address().expect("it is bound");
    (listener, address)
}

pub(crate) async fn accept(listener: &Listener) -> Result<Detached, Error> {
    poll_fn(|cx| listener.poll_accept(cx)).await
}

pub(crate) fn attach(stream: Detached) -> Stream {
    network().attach(stream).expect("it is a stream of this network")
}

pub(crate) async fn connect(address: &Address) -> Result<Stream, Error> {
    network().connect(address, &ConnectOptions::default()).await
}

/// Two streams that are connected with each other: the one that connected, and the one that was accepted.
pub(crate) async fn pair_at(address: &Address) -> (Stream, Stream) {
    let (listener, address) = listen(address);
    let client = connect(&address).await.expect("it listens");
    (client, attach(accept(&listener).await.expect("one has connected")))
}

pub(crate) async fn pair() -> (Stream, Stream) {
    pair_at(&loopback()).await
}

pub(crate) async fn read(stream: &Stream) -> Result<Buffer, Error> {
    poll_fn(|cx| stream.poll_read(cx)).await
}

pub(crate) async fn read_to_end(stream: &Stream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        let bytes = read(stream).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

/// Reads so many bytes and no more than come with the last of them.
pub(crate) async fn read_bytes(stream: &Stream, count: usize) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while all.len() < count {
        let bytes = read(stream).await?;
        if bytes.is_empty() {
            break;
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

pub(crate) async fn writable(stream: &Stream) -> Result<(), Error> {
    poll_fn(|cx| stream.poll_writable(cx)).await
}

pub(crate) async fn write(stream: &Stream, bytes: impl Into<Buffer>) -> Result<(), Error> {
    writable(stream).await?;
    stream.enqueue(bytes.into());
    Ok(())
}

pub(crate) async fn flush(stream: &Stream) -> Result<(), Error> {
    poll_fn(|cx| stream.poll_flush(cx)).await
}

pub(crate) async fn detach(stream: &Stream) -> Result<Detached, Error> {
    poll_fn(|cx| stream.poll_detach(cx)).await
}

/// Bytes that say where they are.
pub(crate) fn pattern(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len).map(|place| u8::try_from(place % 251).expect("it is below 251")).collect()
}
