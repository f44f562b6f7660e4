//! How connections come to the shards, step by step.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::spawn;

use crate::testing::World;
use crate::{Error, Listener, ListenerOptions, ListenerStats, Spread, Stream, TcpListener, TcpStream, UnixAddress};

pub(super) fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn spread(spread: Spread) -> ListenerOptions {
    ListenerOptions { spread, ..ListenerOptions::default() }
}

fn bind(world: &World, shard: usize, port: u16, options: ListenerOptions) -> TcpListener {
    world.run(shard, TcpListener::bind(address(port), options)).unwrap()
}

fn connect(world: &World, count: usize, port: u16) -> Vec<TcpStream> {
    (0..count).map(|_| world.run(0, TcpStream::connect(address(port))).unwrap()).collect()
}

/// A listener whose streams are kept.
#[derive(Clone)]
struct Server {
    listener: Rc<RefCell<Option<TcpListener>>>,
    streams: Rc<RefCell<Vec<TcpStream>>>,
    end: Rc<RefCell<Option<Error>>>,
}

impl Server {
    fn start(world: &World, shard: usize, listener: TcpListener) -> Self {
        let server =
            Self { listener: Rc::new(RefCell::new(Some(listener))), streams: Rc::default(), end: Rc::default() };
        let it = server.clone();
        drop(world.spawn(shard, async move {
            let accept = |cx: &mut std::task::Context<'_>| match &mut *it.listener.borrow_mut() {
                Some(listener) => listener.poll_accept(cx).map(Some),
                None => std::task::Poll::Ready(None),
            };
            while let Some(accepted) = std::future::poll_fn(accept).await {
                match accepted {
                    Ok(stream) => it.streams.borrow_mut().push(stream),
                    Err(error) => {
                        *it.end.borrow_mut() = Some(error);
                        return;
                    }
                }
            }
        }));
        server
    }

    fn stats(&self) -> ListenerStats {
        self.listener.borrow().as_ref().unwrap().stats()
    }

    fn count(&self) -> usize {
        self.streams.borrow().len()
    }
}

fn serve_on_all(world: &World, shards: usize, options: &ListenerOptions) -> Vec<Server> {
    (0..shards).map(|shard| Server::start(world, shard, bind(world, shard, 80, options.clone()))).collect()
}

#[test]
fn sixty_four_connections_are_shared_equally() {
    for owner in 0..2 {
        let world = World::new(1, 2);
        let first = Server::start(&world, owner, bind(&world, owner, 80, ListenerOptions::default()));
        let second = Server::start(&world, 1 - owner, bind(&world, 1 - owner, 80, ListenerOptions::default()));
        let _clients = connect(&world, 64, 80);
        let expected = ListenerStats { accepted: 32, live: 32, ..ListenerStats::default() };
        assert_eq!(first.stats(), ListenerStats { handed_over_to: 32, ..expected });
        assert_eq!(second.stats(), ListenerStats { handed_over_from: 32, ..expected });
    }
}

#[test]
fn who_has_fewer_live_connections_gets_the_next_ones() {
    let world = World::new(1, 3);
    let servers = serve_on_all(&world, 3, &ListenerOptions::default());
    let _clients = connect(&world, 30, 80);
    world.enter(1, || servers[1].streams.borrow_mut().truncate(4));
    assert_eq!(servers[1].stats().live, 4);
    let _more = connect(&world, 6, 80);
    assert_eq!(servers.iter().map(|server| server.stats().live).collect::<Vec<_>>(), [10, 10, 10]);
    assert_eq!(servers[1].stats().accepted, 16);
}

#[test]
fn a_stream_that_moves_away_counts_no_more() {
    let world = World::new(1, 2);
    let servers = serve_on_all(&world, 2, &ListenerOptions::default());
    let _clients = connect(&world, 4, 80);
    let mut moved: Stream = servers[0].streams.borrow_mut().pop().unwrap().into();
    world.run(0, async move { moved.detach().await.map(drop) }).unwrap();
    assert_eq!(servers[0].stats().live, 1);
    let _more = connect(&world, 1, 80);
    assert_eq!(servers[0].stats().live, 2);
}

#[test]
fn a_port_has_its_shard() {
    let world = World::new(1, 3);
    let servers = serve_on_all(&world, 3, &spread(Spread::ClientPort));
    let _clients = connect(&world, 20, 80);
    for (shard, server) in servers.iter().enumerate() {
        assert!(server.count() >= 6);
        let ports =
            server.streams.borrow().iter().map(|stream| stream.peer_address().unwrap().port()).collect::<Vec<_>>();
        assert!(ports.iter().all(|port| usize::from(*port) % 3 == shard), "{ports:?} at {shard}");
    }
}

#[test]
fn the_kernel_may_share_out_and_a_shard_may_keep_all() {
    let world = World::new(1, 2);
    let servers = serve_on_all(&world, 2, &spread(Spread::ReusePort));
    let _clients = connect(&world, 20, 80);
    assert_eq!(servers[0].count() + servers[1].count(), 20);
    assert!(servers.iter().all(|server| server.count() > 0 && server.stats().handed_over_to == 0));
    let again = world.run(0, TcpListener::bind(address(80), spread(Spread::ReusePort)));
    assert_eq!(again.unwrap_err(), Error::AddressInUse);

    let alone = Server::start(&world, 1, bind(&world, 1, 81, spread(Spread::Off)));
    assert_eq!(
        world.run(0, TcpListener::bind(address(81), ListenerOptions::default())).unwrap_err(),
        Error::AddressInUse
    );
    let _clients = connect(&world, 5, 81);
    assert_eq!(alone.stats(), ListenerStats { accepted: 5, live: 5, ..ListenerStats::default() });
}

#[test]
fn an_address_is_bound_once_per_shard_and_in_one_way() {
    let world = World::new(1, 2);
    let first = bind(&world, 0, 80, ListenerOptions::default());
    for options in [ListenerOptions::default(), spread(Spread::ClientPort), spread(Spread::Off)] {
        let again = world.run(0, TcpListener::bind(address(80), options));
        assert_eq!(again.unwrap_err(), Error::AddressInUse);
    }
    let other = world.run(1, TcpListener::bind(address(80), spread(Spread::ClientPort)));
    assert_eq!(other.unwrap_err(), Error::AddressInUse);
    world.enter(0, || drop(first));
    world.settle();
    bind(&world, 1, 80, spread(Spread::ClientPort));
}

#[test]
fn an_address_is_free_again_at_once() {
    let world = World::new(1, 2);
    let (mut first, mut second) = (bind(&world, 0, 80, spread(Spread::LeastConnections)), None);
    for _ in 0..5 {
        // Without a moment in between.
        first = world.run(0, async move {
            drop(first);
            TcpListener::bind(address(80), ListenerOptions::default()).await.unwrap()
        });
        second = world.run(1, async move {
            drop(second);
            Some(TcpListener::bind(address(80), ListenerOptions::default()).await.unwrap())
        });
    }
    world.enter(0, || drop((first, second)));
    world.settle();
    assert_eq!(world.network.listeners(), 0);
}

#[test]
fn all_shards_bind_at_once() {
    let world = World::new(1, 4);
    let listeners: Vec<_> =
        (0..4).map(|shard| world.spawn(shard, TcpListener::bind(address(0), ListenerOptions::default()))).collect();
    world.settle();
    let listeners: Vec<_> = listeners.into_iter().enumerate().map(|(n, it)| world.output(n, it).unwrap()).collect();
    assert!(listeners.iter().all(|it| it.local_address() == listeners[0].local_address()));
    assert_eq!(world.network.listeners(), 1);
    // The next round of them is another listener, and its port can be named too.
    let more = bind(&world, 0, 0, ListenerOptions::default());
    assert_ne!(more.local_address(), listeners[0].local_address());
    let named = bind(&world, 1, more.local_address().port(), ListenerOptions::default());
    assert_eq!(bind(&world, 2, 0, ListenerOptions::default()).local_address(), named.local_address());
    assert_eq!(world.network.listeners(), 2);
}

#[test]
fn a_bind_that_fails_is_not_remembered() {
    let world = World::new(1, 2);
    let alone = bind(&world, 0, 80, spread(Spread::Off));
    let failing: Vec<_> =
        (0..2).map(|shard| world.spawn(shard, TcpListener::bind(address(80), ListenerOptions::default()))).collect();
    world.settle();
    for (shard, failing) in failing.into_iter().enumerate() {
        assert_eq!(world.output(shard, failing).unwrap_err(), Error::AddressInUse);
    }
    world.enter(0, || drop(alone));
    bind(&world, 1, 80, ListenerOptions::default());
}

#[test]
fn unix_listeners_are_shared_too() {
    let world = World::new(1, 2);
    let name = UnixAddress::new("@stars").unwrap();
    let options = || spread(Spread::ClientPort);
    let mut first = world.run(0, Listener::bind(name.clone(), options())).unwrap();
    let mut second = world.run(1, Listener::bind(name.clone(), options())).unwrap();
    let _clients: Vec<_> = (0..4).map(|_| world.run(0, Stream::connect(name.clone())).unwrap()).collect();
    for shard in [0, 1] {
        let listener = if shard == 0 { &mut first } else { &mut second };
        assert_eq!(listener.stats().waiting, 2, "what has no port goes to the fewest");
    }
    let two = world.run(1, async move { (second.accept().await.is_ok(), second.accept().await.is_ok()) });
    assert_eq!(two, (true, true));
}

#[test]
fn accepting_goes_on_without_the_owners_listener() {
    let world = World::new(1, 3);
    let mut servers = serve_on_all(&world, 3, &ListenerOptions::default());
    let _clients = connect(&world, 9, 80);
    let owner = servers.remove(0);
    world.enter(0, || *owner.listener.borrow_mut() = None);
    world.settle();
    let _more = connect(&world, 9, 80);
    assert_eq!((owner.count(), servers[0].count(), servers[1].count()), (3, 8, 7));
    let again = Server::start(&world, 0, bind(&world, 0, 80, ListenerOptions::default()));
    let _more = connect(&world, 3, 80);
    assert_eq!(again.count(), 3);
    for (shard, server) in [(0, again), (1, servers.remove(0)), (2, servers.remove(0))] {
        world.enter(shard, || *server.listener.borrow_mut() = None);
    }
    world.settle();
    assert_eq!(world.network.listeners(), 0);
    assert_eq!(world.run(0, TcpStream::connect(address(80))).unwrap_err(), Error::ConnectionRefused);
}

#[test]
fn what_waits_with_a_listener_that_goes_is_accepted_elsewhere() {
    for gone in 0..2 {
        let world = World::new(1, 2);
        let idle = bind(&world, gone, 80, ListenerOptions::default());
        let server = Server::start(&world, 1 - gone, bind(&world, 1 - gone, 80, ListenerOptions::default()));
        let _clients = connect(&world, 10, 80);
        assert_eq!((server.count(), idle.stats().waiting), (5, 5));
        world.enter(gone, || drop(idle));
        world.settle();
        assert_eq!(server.count(), 10);
        assert_eq!(world.network.resets(), 0);
    }
}

#[test]
fn a_full_queue_sends_connections_elsewhere_and_full_queues_hold_them_back() {
    let world = World::new(1, 2);
    let options = ListenerOptions { accept_queue: 4, ..ListenerOptions::default() };
    let mut idle = bind(&world, 0, 80, options.clone());
    let server = Server::start(&world, 1, bind(&world, 1, 80, options.clone()));
    let _clients = connect(&world, 12, 80);
    assert_eq!((idle.stats().waiting, server.count()), (4, 8));
    let stats = idle.stats();
    assert_eq!((stats.rerouted, stats.held_back), (4, 0));

    world.enter(1, || *server.listener.borrow_mut() = None);
    world.settle();
    let other = bind(&world, 1, 80, options);
    let _more = connect(&world, 10, 80);
    let stats = idle.stats();
    assert_eq!((stats.waiting, other.stats().waiting, stats.held_back), (4, 4, 1));
    let other = Server::start(&world, 1, other);
    world.settle();
    assert_eq!((idle.stats().waiting, other.count()), (4, 10), "room anywhere lets them in");
    world.run(0, async move {
        for _ in 0..4 {
            idle.accept().await.unwrap();
        }
    });
    assert_eq!(world.network.resets(), 0);
}

#[test]
fn closing_lets_all_that_is_established_in() {
    for spread_by in [Spread::LeastConnections, Spread::ReusePort] {
        let world = World::new(5, 2);
        let options = ListenerOptions { accept_queue: 2, ..spread(spread_by) };
        let listeners = [bind(&world, 0, 80, options.clone()), bind(&world, 1, 80, options)];
        let _clients = connect(&world, 20, 80);
        world.enter(1, || listeners[1].close());
        if spread_by == Spread::ReusePort {
            world.enter(0, || listeners[0].close());
        }
        world.settle();
        assert_eq!(world.run(0, TcpStream::connect(address(80))).unwrap_err(), Error::ConnectionRefused);
        let servers: Vec<_> = listeners.into_iter().enumerate().map(|(n, it)| Server::start(&world, n, it)).collect();
        world.settle();
        assert_eq!(servers[0].count() + servers[1].count(), 20);
        assert!(servers.iter().all(|server| *server.end.borrow() == Some(Error::Stopped)));
        // The address is free although the listeners that ended are still there.
        if spread_by == Spread::LeastConnections {
            bind(&world, 0, 80, ListenerOptions::default());
        }
    }
}

#[test]
fn what_fails_for_a_moment_is_tried_again() {
    for shards in [1, 2] {
        let world = World::new(1, shards);
        let servers = serve_on_all(&world, shards, &ListenerOptions::default());
        world.network.fail_accepts(3);
        let _clients = connect(&world, 4, 80);
        assert_eq!(servers.iter().map(Server::count).sum::<usize>(), 0);
        for _ in 0..3 {
            world.advance(Duration::from_millis(10));
        }
        assert_eq!(servers.iter().map(Server::count).sum::<usize>(), 4);
        assert_eq!(servers[0].stats().failures, 3);

        world.network.fail_attaches(1);
        let _clients = connect(&world, shards, 80);
        let (accepted, refused) =
            servers.iter().map(Server::stats).fold((0, 0), |sum, it| (sum.0 + it.accepted, sum.1 + it.refused));
        assert_eq!((accepted, refused), (3 + shards as u64, 1));
    }
}

#[test]
fn a_listener_can_be_dropped_outside_of_its_shard() {
    let world = World::new(1, 2);
    let listener = bind(&world, 1, 80, ListenerOptions::default());
    drop(listener);
    world.settle();
    assert_eq!(world.network.listeners(), 0);
}

#[test]
fn a_dropped_bind_leaves_nothing() {
    for polls in 0..20 {
        let world = World::new(1, 2);
        let other = (polls % 2 == 1).then(|| bind(&world, 0, 80, ListenerOptions::default()));
        world.run(1, async move {
            let bind = TcpListener::bind(address(80), ListenerOptions::default());
            let listener = spawn(crate::testing::give_up_after(polls, bind)).await.unwrap();
            assert!(polls > 0 || listener.is_none());
        });
        world.enter(0, || drop(other));
        world.settle();
        assert_eq!(world.network.listeners(), 0);
        bind(&world, 1, 80, ListenerOptions::default());
    }
}

#[test]
fn a_listener_that_closes_is_joined_by_nobody() {
    let world = World::new(1, 2);
    let mut closing = bind(&world, 0, 80, ListenerOptions { accept_queue: 1, ..ListenerOptions::default() });
    // They wait in the network still.
    let clients = connect(&world, 3, 80);
    world.enter(0, || closing.close());
    world.settle();
    let bound = world.run(1, TcpListener::bind(address(80), ListenerOptions::default()));
    assert_eq!(bound.err(), Some(Error::AddressInUse));
    world.run(0, async move {
        for _ in &clients {
            closing.accept().await.unwrap();
        }
        assert_eq!(closing.accept().await.err(), Some(Error::Stopped));
    });
    let _server = Server::start(&world, 1, bind(&world, 1, 80, ListenerOptions::default()));
    connect(&world, 1, 80);
}
