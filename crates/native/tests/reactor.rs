//! Native networks under the reactor: two of them on one shard, with a link between them.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use sunstar_device::{Fault, FaultOptions, LinkOptions, Offloads, Queue, link};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::spawn;
use sunstar_native::{Network, NetworkOptions, Prefix};
use sunstar_net::{ListenerOptions, TcpListener, TcpStream, socket};
use sunstar_reactor::{Backend, Config, run};

/// What takes longer than this never comes.
const FUSE: Duration = Duration::from_secs(60);

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn start(queue: impl Queue + 'static, address: Ipv4Addr) -> Rc<Network> {
    let network = Network::new(NetworkOptions::DEFAULT);
    let interface = network.add_queue("link", Box::new(queue), None).expect("there is room");
    let prefix = Prefix::new(IpAddr::V4(address), 24).expect("24 bits are fewer than 32");
    network.add_address(interface, prefix).expect("a station's");
    network.start();
    Rc::new(network)
}

/// Sends questions, each when the one before is answered, over a link that may delay them.
async fn talk(faults: FaultOptions, offloads: Offloads, questions: usize) {
    let (here, there) = link(LinkOptions { offloads, ..LinkOptions::default() });
    socket::install(start(Fault::new(here, faults, 0), SERVER));
    let mut listener = TcpListener::bind((SERVER, 80).into(), ListenerOptions::default()).await.expect("it is free");
    socket::install(start(Fault::new(there, faults, 1), CLIENT));
    let serving = spawn(async move {
        let mut stream = listener.accept().await.expect("one comes");
        while let Ok(bytes) = stream.read().await
            && !bytes.is_empty()
        {
            stream.write(bytes).await.expect("the other side reads");
        }
    });
    let mut stream = TcpStream::connect((SERVER, 80).into()).await.expect("it listens");
    for number in 0..questions {
        let question = number.to_ne_bytes().repeat(100);
        stream.write(question.clone()).await.expect("the other side reads");
        let mut answer = Vec::new();
        while answer.len() < question.len() {
            answer.extend_from_slice(&stream.read().await.expect("the other side answers"));
        }
        assert!(answer == question);
    }
    drop(stream);
    serving.await.expect("it does not panic");
}

fn on_each_driver(faults: &str, offloads: Offloads, questions: usize) {
    let faults: FaultOptions = faults.parse().expect("faults");
    for backend in [Backend::Epoll, Backend::IoUring] {
        if sunstar_reactor::LinuxPlatform::with_backend(Some(backend)).is_err() {
            println!("{backend} is not available here");
            continue;
        }
        let config = Config {
            smp: Some(1),
            overprovisioned: true,
            reactor_backend: Some(backend),
            stop_on_signals: false,
            blocked_reactor_notify: Duration::ZERO,
            ..Config::default()
        };
        let ended = run(config, move || with_timeout(FUSE, talk(faults, offloads, questions)));
        assert_eq!(ended.expect("it runs"), Ok(()), "{backend}");
    }
}

#[test]
fn both_ends_of_a_link_may_be_on_one_shard() {
    on_each_driver("drop=0", Offloads { vlan: false, ..Offloads::ALL }, 2_000);
}

#[test]
fn a_shard_sleeps_until_packets_arrive_that_are_delayed() {
    on_each_driver("delay=1ms", Offloads::NONE, 50);
}
