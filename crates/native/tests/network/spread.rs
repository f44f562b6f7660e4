//! One device and several shards.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::{LinkOptions, Queue, link};
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, current, invoke_on_all, spawn, submit_to};
use sunstar_native::{NetworkOptions, SharedDevice, Spread, SpreadCounters};
use sunstar_net::{Error, ListenerOptions, Spread as Sharing, TcpListener, TcpStream, UdpSocket};
use sunstar_sim::Sim;
use sunstar_tcpip::configuration::{Change, Origin};
use sunstar_tcpip::filter::{Direction, Filtered, Verdict};
use sunstar_wire::IpProtocol;

use crate::support::*;

const SHARDS: usize = 3;

/// Installs networks on all shards of the current host, of which the first has the queue.
async fn start_all(queue: impl Queue + 'static) {
    start_all_over(vec![(Box::new(queue), SERVER)]).await;
}

/// The same over several devices.
async fn start_all_over(queues: Vec<(Box<dyn Queue>, Ipv4Addr)>) {
    let spread = Spread::new();
    let known: Vec<_> =
        queues.iter().map(|(queue, address)| (spread.add_device(1), queue.capabilities().clone(), *address)).collect();
    let ends = queues.into_iter().zip(&known).map(|((queue, address), (device, ..))| (device.attach(queue), address));
    start_spread(&spread, ends.collect());
    for shard in ShardId::all(SHARDS).skip(1) {
        let (spread, known) = (Arc::clone(&spread), known.clone());
        let start = move || async move {
            let attach = |(device, capabilities, address): (SharedDevice, _, _)| {
                (device.attach_without_queue(capabilities), address)
            };
            start_spread(&spread, known.into_iter().map(attach).collect());
        };
        submit_to(shard, start).await.expect("the shard runs");
    }
}

/// Runs a server of several shards and a client to their ends.
fn spread_pair<S, C>(server: impl FnOnce() -> S + 'static, client: impl FnOnce() -> C + 'static)
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    let (here, there) = link(LinkOptions::default());
    let mut sim = Sim::new(5);
    sim.background_host("server", SHARDS, move || async move {
        start_all(here).await;
        server().await;
    });
    sim.host("client", 1, move || {
        start(there, CLIENT, NetworkOptions::DEFAULT);
        async move {
            // Until the server listens.
            sleep(Duration::from_secs(1)).await;
            client().await;
        }
    });
    sim.run().expect("the world ends well");
}

fn client_at(port: u16) -> SocketAddr {
    (CLIENT, port).into()
}

/// Serves for a while: each connection is told the shard.
async fn tell_shards(port: u16, options: ListenerOptions) -> u16 {
    tell_shards_at((SERVER, port).into(), options).await
}

async fn tell_shards_at(address: SocketAddr, options: ListenerOptions) -> u16 {
    let mut listener = TcpListener::bind(address, options).await.expect("the port is free");
    let port = listener.local_address().port();
    drop(spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            drop(spawn(async move {
                let request = stream.read().await?;
                let shard = u8::try_from(current::shard_id().index()).expect("there are few");
                stream.write_buffers([request, vec![shard].into()]).await?;
                stream.flush().await
            }));
        }
    }));
    port
}

/// The shard that answers.
async fn asked(port: u16) -> Result<u8, Error> {
    asked_at((SERVER, port).into()).await
}

async fn asked_at(server: SocketAddr) -> Result<u8, Error> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write("?").await?;
    let mut answer = Vec::new();
    while answer.len() < 2 {
        let bytes = stream.read().await?;
        assert!(!bytes.is_empty());
        answer.extend_from_slice(&bytes);
    }
    Ok(answer[1])
}

#[test]
fn connections_stay_on_the_shards_that_their_hashes_choose() {
    let serve = || async {
        invoke_on_all(|| async {
            tell_shards(80, ListenerOptions::default()).await;
        })
        .await
        .unwrap();
        sleep(Duration::from_secs(60)).await;
    };
    spread_pair(serve, || async {
        let mut counts = [0; SHARDS];
        for _ in 0..300 {
            counts[usize::from(asked(80).await.unwrap())] += 1;
        }
        assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    });
}

/// The other address of the server, and who is there.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

#[test]
fn the_flows_of_several_devices_come_to_their_shards() {
    let [(one, here), (other, there)] = [link(LinkOptions::default()), link(LinkOptions::default())];
    let mut sim = Sim::new(5);
    sim.background_host("server", SHARDS, move || async move {
        start_all_over(vec![(Box::new(one), SERVER), (Box::new(other), OTHER)]).await;
        let bind = || async {
            for address in [SERVER, OTHER] {
                tell_shards_at((address, 80).into(), ListenerOptions::default()).await;
            }
            let port = 1_000 + u16::try_from(current::shard_id().index()).unwrap();
            let mut socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
            drop(spawn(async move {
                while let Ok((bytes, from)) = socket.recv_from().await {
                    socket.send_to(bytes, from).await.unwrap();
                }
            }));
        };
        invoke_on_all(bind).await.unwrap();
        sleep(Duration::from_secs(60)).await;
    });
    for (name, queue, server, client) in
        [("client", here, SERVER, CLIENT), ("other client", there, OTHER, OTHER_CLIENT)]
    {
        sim.host(name, 1, move || {
            start(queue, client, NetworkOptions::DEFAULT);
            async move {
                sleep(Duration::from_secs(1)).await;
                let mut shards = BTreeSet::new();
                for _ in 0..60 {
                    shards.insert(asked_at((server, 80).into()).await.unwrap());
                }
                assert_eq!(shards.len(), SHARDS);
                let socket = bind(0);
                for port in [1_000, 1_001, 1_002] {
                    // In fragments, which are put together on one shard for another one.
                    let bytes = pattern(0, 20_000);
                    socket.enqueue(bytes.clone().into(), Some(&SocketAddr::from((server, port)).into()));
                    assert!(receive(&socket).await.unwrap().0.to_vec() == bytes);
                }
            }
        });
    }
    sim.run().expect("the world ends well");
}

#[test]
fn a_shard_that_listens_alone_gets_all() {
    let serve = || async {
        let alone = ListenerOptions { spread: Sharing::Off, ..ListenerOptions::default() };
        let other = alone.clone();
        submit_to(ShardId::new(2), move || async move { tell_shards(80, alone).await }).await.unwrap();
        let again = TcpListener::bind((SERVER, 80).into(), other).await;
        assert_eq!(again.err(), Some(Error::AddressInUse));
        sleep(Duration::from_secs(60)).await;
    };
    spread_pair(serve, || async {
        for _ in 0..50 {
            assert_eq!(asked(80).await, Ok(2));
        }
    });
}

#[test]
fn shards_that_leave_the_port_to_the_network_get_the_same() {
    let serve = || async {
        for _ in 0..2 {
            let mut ports = BTreeSet::new();
            for shard in ShardId::all(SHARDS) {
                let bind = || async { tell_shards(0, ListenerOptions::default()).await };
                ports.insert(submit_to(shard, bind).await.unwrap());
            }
            assert_eq!(ports.len(), 1);
        }
    };
    spread_pair(serve, || async {});
}

#[test]
fn answers_come_to_the_shard_that_has_connected() {
    let serve = || async {
        let connect_all = || async {
            let mut streams = Vec::new();
            for _ in 0..50 {
                let mut stream = TcpStream::connect(client_at(80)).await.unwrap();
                stream.write("hello").await.unwrap();
                streams.push(stream);
            }
            for stream in &mut streams {
                assert_eq!(stream.read().await.unwrap(), b"hello");
            }
        };
        sleep(Duration::from_secs(2)).await;
        invoke_on_all(connect_all).await.unwrap();
    };
    spread_pair(serve, || async {
        let mut listener = TcpListener::bind(client_at(80), ListenerOptions::default()).await.unwrap();
        let ended = Rc::new(RefCell::new(0));
        for _ in 0..50 * SHARDS {
            let (mut stream, ended) = (listener.accept().await.unwrap(), Rc::clone(&ended));
            drop(spawn(async move {
                while let Ok(bytes) = stream.read().await
                    && !bytes.is_empty()
                {
                    stream.write(bytes).await.unwrap();
                }
                *ended.borrow_mut() += 1;
            }));
        }
        while *ended.borrow() < 50 * SHARDS {
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn datagrams_come_to_the_shard_that_has_bound_the_port() {
    let serve = || async {
        let bind = |port| UdpSocket::bind((SERVER, port).into());
        let echo = move || async move {
            let port = 1_000 + u16::try_from(current::shard_id().index()).unwrap();
            let mut socket = bind(port).unwrap();
            for _ in 0..10 {
                let (bytes, from) = socket.recv_from().await.unwrap();
                socket.send_to(bytes, from).await.unwrap();
            }
        };
        invoke_on_all(echo).await.unwrap();
        assert_eq!(bind(1_001).map(drop), Ok(()), "it is free again");
        sleep(Duration::from_secs(1)).await;
    };
    spread_pair(serve, || async {
        let socket = bind(0);
        for round in 0..10 {
            for shard in 0..3 {
                poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
                // Every other one in fragments, which come to a shard by the addresses alone.
                let bytes = pattern(round, if round % 2 == 0 { 100 } else { 20_000 });
                socket.enqueue(bytes.clone().into(), Some(&server(1_000 + shard)));
                let (answer, from) = receive(&socket).await.unwrap();
                assert_eq!((answer.to_vec(), from), (bytes, server(1_000 + shard)));
            }
        }
        sleep(Duration::from_secs(1)).await;
    });
}

/// Of each shard: what its stack has received and sent of TCP, and what it has forwarded.
async fn counted() -> Vec<([u64; 2], SpreadCounters)> {
    let mut counted = Vec::new();
    for shard in ShardId::all(SHARDS) {
        let of_shard = || async {
            let (network, _) = native();
            let tcp = network.with_stack(|stack| stack.tcp().counters());
            ([tcp.segments_received, tcp.segments_sent], network.spread_counters())
        };
        counted.push(submit_to(shard, of_shard).await.expect("it runs"));
    }
    counted
}

#[test]
fn what_a_device_with_fewer_queues_brings_and_sends_is_forwarded_once() {
    let is_done = Rc::new(Cell::new(false));
    let done = Rc::clone(&is_done);
    let serve = || async move {
        let listen = || async {
            tell_shards(80, ListenerOptions::default()).await;
        };
        invoke_on_all(listen).await.unwrap();
        sleep(Duration::from_secs(30)).await;
        let counted = counted().await;
        let (_, first) = counted[0];
        let others = &counted[1..];
        let sum = |direction: usize| others.iter().map(|(segments, _)| segments[direction]).sum::<u64>();
        assert!(sum(0) > 200, "{counted:?}");
        assert_eq!((first.rx_forwarded, first.tx_forwarded), (sum(0), 0), "it has the queue");
        for ([_, sent], other) in others {
            assert_eq!((other.rx_forwarded, other.rx_told, other.dropped), (0, 0, 0), "they have none");
            assert!((*sent..sent + 10).contains(&other.tx_forwarded), "segments, and a few requests for the address");
        }
        done.set(true);
        sleep(Duration::from_secs(60)).await;
    };
    spread_pair(serve, || async move {
        for _ in 0..100 {
            asked(80).await.unwrap();
        }
        sleep(Duration::from_secs(40)).await;
        assert!(is_done.get());
    });
}

/// What one shard's stack is told, those of the others follow, in order, before who waits for it goes on.
#[test]
fn all_shards_follow_what_one_is_told() {
    let is_done = Rc::new(RefCell::new(false));
    let done = Rc::clone(&is_done);
    let serve = || async move {
        let (network, interface) = native();
        network.share_configuration();
        let (told, preferred) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (last, count) = (Rc::clone(&told), Rc::clone(&preferred));
        network.follow_configuration(move |change| match change {
            Change::SetMtu { mtu, .. } => last.set(*mtu),
            _ => count.set(count.get() + 1),
        });
        for mtu in 1_000..1_200 {
            network.configure(Change::SetMtu { interface, origin: Origin::Static, mtu }).expect("there is room");
            // The MTU before is overtaken; this is not.
            let prefer = Change::SetPreferred { interface, address: CLIENT.into(), is_preferred: true };
            network.configure(prefer).expect("there is room");
        }
        network.configured(|stack| stack.interface(interface).is_some_and(|it| it.options().mtu == 1_199)).await;
        assert_eq!((told.get(), preferred.get()), (1_199, 200));
        for shard in ShardId::all(SHARDS) {
            let mtu = submit_to(shard, || async {
                let (network, interface) = native();
                network.with_stack(|stack| stack.interface(interface).expect("it is there").options().mtu)
            });
            assert_eq!(mtu.await.unwrap(), 1_199);
        }
        *done.borrow_mut() = true;
        sleep(Duration::from_secs(60)).await;
    };
    spread_pair(serve, || async move { assert!(*is_done.borrow()) });
}

/// Groups belong to the host: routers hear that it has left one when no shard listens any more, and twice (RFC 3376 §5.1).
#[test]
fn groups_are_left_when_no_shard_listens() {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
    let is_leaving = Rc::new(RefCell::new(false));
    let leaving = Rc::clone(&is_leaving);
    let serve = || async move {
        sleep(Duration::from_secs(2)).await;
        let listen = |seconds| {
            move || async move {
                let port = 1_000 + u16::try_from(current::shard_id().index()).unwrap();
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
                socket.join_group(GROUP.into(), 0).unwrap();
                drop(spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    socket.leave_group(GROUP.into(), 0).unwrap();
                }));
            }
        };
        for (shard, seconds) in ShardId::all(SHARDS).zip([4, 12, 8]) {
            submit_to(shard, listen(seconds)).await.unwrap();
        }
        sleep(Duration::from_secs(11)).await;
        *leaving.borrow_mut() = true;
        sleep(Duration::from_secs(10)).await;
    };
    spread_pair(serve, || async move {
        let (network, _) = native();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let (reports, leaving) = (Rc::clone(&heard), Rc::clone(&is_leaving));
        let listen = move |packet: &mut Filtered<'_>| {
            if packet.protocol() == IpProtocol::IGMP {
                // The type of the first record, behind an IP header with an option and that of the report (RFC 3376 §4.2).
                reports.borrow_mut().push((*leaving.borrow(), packet.front(33)[32]));
            }
            Verdict::Pass
        };
        network.add_filter(Direction::Input, listen).unwrap();
        sleep(Duration::from_secs(20)).await;
        // Joined, and listening still; then left.
        assert_eq!(*heard.borrow(), [(false, 4), (false, 2), (true, 3), (true, 3)]);
    });
}
