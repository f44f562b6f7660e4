//! Listeners on several shards, on the kernel's sockets.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::{ShardId, current, invoke_on_all, local, spawn, submit_to};
use sunstar_net::{Error, ListenerOptions, ListenerStats, Spread, Stream, TcpListener, TcpStream};

use crate::net_streams::{any_port, read_to_end};
use crate::support::{PATIENCE, on_each_driver};

const SHARDS: usize = 2;

/// What serves on a shard.
#[derive(Default)]
struct Server {
    listener: RefCell<Option<TcpListener>>,
    end: RefCell<Option<Error>>,
}

impl Server {
    fn here() -> Rc<Self> {
        local::get().unwrap_or_else(|| {
            let server = Rc::<Self>::default();
            local::set(Rc::clone(&server));
            server
        })
    }

    /// Listens on this shard, without accepting.
    async fn bind(address: SocketAddr, options: ListenerOptions) -> SocketAddr {
        let listener = TcpListener::bind(address, options).await.expect("the address is free");
        let address = listener.local_address();
        *Self::here().listener.borrow_mut() = Some(listener);
        address
    }

    /// Tells each client which shard serves it, until the listener is gone or closed.
    async fn serve() {
        let server = Self::here();
        loop {
            let accepted = std::future::poll_fn(|cx| match &mut *server.listener.borrow_mut() {
                Some(listener) => listener.poll_accept(cx).map(Some),
                None => std::task::Poll::Ready(None),
            });
            match accepted.await {
                Some(Ok(stream)) => drop(spawn(tell(stream))),
                Some(Err(error)) => {
                    *server.end.borrow_mut() = Some(error);
                    return;
                }
                None => return,
            }
        }
    }
}

/// Says the shard's number, and stays until the client goes.
async fn tell(mut stream: TcpStream) -> Result<(), Error> {
    stream.write(current::shard_id().to_string().into_bytes()).await?;
    read_to_end(&mut stream).await.map(drop)
}

/// Listens on all shards at a free port, and serves.
async fn serve_on_all(spread: Spread) -> SocketAddr {
    let address = listen_on_all(ListenerOptions { spread, ..ListenerOptions::default() }).await;
    invoke_on_all(async || drop(spawn(Server::serve()))).await.expect("all run");
    address
}

async fn listen_on_all(options: ListenerOptions) -> SocketAddr {
    let address = Server::bind(any_port(), options.clone()).await;
    let one = move || async move { Server::bind(address, options).await };
    assert_eq!(submit_to(ShardId::new(1), one).await.expect("it runs"), address);
    address
}

async fn stats(shard: u16) -> ListenerStats {
    let stats = async || Server::here().listener.borrow().as_ref().expect("it listens").stats();
    submit_to(ShardId::new(shard), stats).await.expect("it runs")
}

/// A client and the shard that serves it.
async fn client(address: SocketAddr) -> (TcpStream, usize) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let answer = with_timeout(PATIENCE, stream.read()).await.expect("it is served").expect("it is not reset");
    let shard = std::str::from_utf8(&answer).ok().and_then(|shard| shard.parse().ok());
    (stream, shard.expect("it says its shard"))
}

async fn clients(address: SocketAddr, count: usize) -> Vec<(TcpStream, usize)> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(client(address).await);
    }
    clients
}

fn served_by(clients: &[(TcpStream, usize)], shard: usize) -> usize {
    clients.iter().filter(|(_, by)| *by == shard).count()
}

#[test]
fn sixty_four_connections_are_shared_equally() {
    on_each_driver(SHARDS, || async {
        let address = serve_on_all(Spread::LeastConnections).await;
        let clients = clients(address, 64).await;
        assert_eq!((served_by(&clients, 0), served_by(&clients, 1)), (32, 32));
        let (zero, one) = (stats(0).await, stats(1).await);
        assert_eq!((zero.accepted, zero.live, zero.handed_over_to), (32, 32, 32));
        assert_eq!((one.accepted, one.live, one.handed_over_from), (32, 32, 32));
    });
}

#[test]
fn connections_that_come_all_at_once_are_shared_equally() {
    on_each_driver(SHARDS, || async {
        let address = serve_on_all(Spread::LeastConnections).await;
        let clients: Vec<_> = (0..64).map(|_| spawn(client(address))).collect();
        let mut served = Vec::new();
        for client in clients {
            served.push(client.await.expect("it does not panic"));
        }
        assert_eq!((served_by(&served, 0), served_by(&served, 1)), (32, 32));
    });
}

#[test]
fn a_port_has_its_shard() {
    on_each_driver(SHARDS, || async {
        let address = serve_on_all(Spread::ClientPort).await;
        for (stream, shard) in clients(address, 20).await {
            assert_eq!(usize::from(stream.local_address().unwrap().port()) % SHARDS, shard);
        }
    });
}

#[test]
fn the_kernel_shares_out_too() {
    on_each_driver(SHARDS, || async {
        let address = serve_on_all(Spread::ReusePort).await;
        let clients = clients(address, 64).await;
        let (zero, one) = (stats(0).await, stats(1).await);
        assert_eq!((served_by(&clients, 0) as u64, served_by(&clients, 1) as u64), (zero.accepted, one.accepted));
        assert_eq!((zero.handed_over_to, one.handed_over_to), (0, 0));
    });
}

#[test]
fn accepting_goes_on_without_the_owners_listener() {
    on_each_driver(SHARDS, || async {
        let address = listen_on_all(ListenerOptions::default()).await;
        // What waits on the owner's shard goes to the other one.
        let mut waiting = Vec::new();
        for _ in 0..10 {
            waiting.push(TcpStream::connect(address).await.unwrap());
        }
        while stats(0).await.waiting < 5 {
            sunstar_executor::yield_now().await;
        }
        drop(Server::here().listener.take());
        let one = ShardId::new(1);
        submit_to(one, async || drop(spawn(Server::serve()))).await.unwrap();
        for stream in &mut waiting {
            assert_eq!(with_timeout(PATIENCE, stream.read()).await.expect("it is served"), Ok("1".into()));
        }
        assert_eq!(client(address).await.1, 1);
        submit_to(one, async || drop(Server::here().listener.take())).await.unwrap();
        // Once nobody listens, the address is free.
        Server::bind(address, ListenerOptions::default()).await;
    });
}

#[test]
fn closing_lets_all_that_is_established_in() {
    on_each_driver(SHARDS, || async {
        let address = listen_on_all(ListenerOptions { accept_queue: 2, ..ListenerOptions::default() }).await;
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(TcpStream::connect(address).await.unwrap());
        }
        Server::here().listener.borrow().as_ref().unwrap().close();
        invoke_on_all(async || drop(spawn(Server::serve()))).await.unwrap();
        for stream in &mut waiting {
            let answer = with_timeout(PATIENCE, stream.read()).await.expect("it is served").expect("it is not reset");
            assert!(!answer.is_empty());
        }
        for shard in 0..2 {
            let end = async || *Server::here().end.borrow();
            while submit_to(ShardId::new(shard), end).await.unwrap() != Some(Error::Stopped) {
                sunstar_executor::yield_now().await;
            }
        }
        assert_eq!(TcpStream::connect(address).await.unwrap_err(), Error::ConnectionRefused);
        let _again: Stream = {
            Server::bind(address, ListenerOptions::default()).await;
            TcpStream::connect(address).await.unwrap().into()
        };
    });
}
