//! The native network on a reactor of its own.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use sunstar_device::{Device, Fault, Tap, TapError, TapOptions};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_native::{Frames, Network, NetworkOptions, Prefix, Watch};
use sunstar_net::socket;
use sunstar_packet::{Pool, PoolOptions};
use sunstar_reactor::{Backend, Config, DescriptorWatch, LinuxPlatform, run};
use sunstar_tcpip::configuration::Change;
use sunstar_tcpip::routes::Route;
use sunstar_tcpip::stack::AutoconfOptions;

/// What takes longer than this never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BACKENDS: [Backend; 2] = [Backend::Epoll, Backend::IoUring];

const FRAMES: usize = 16_384;

/// The stack's addresses, and the kernel's at the other end of the TAP.
pub(crate) const STACK_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(crate) const STACK_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2);
pub(crate) const KERNEL_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const KERNEL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1);
/// RFC 8200 §5.
pub(crate) const LEAST_MTU_V6: usize = 1_280;

/// How a stack is run.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) backend: Backend,
    /// What is written behind `--device tap:`.
    pub(crate) tap: &'static str,
    /// What is written behind `--fault`.
    pub(crate) faults: &'static str,
    /// The kernel's addresses, one for each version of IP that is spoken.
    pub(crate) kernel: Vec<IpAddr>,
}

impl Setup {
    /// With the kernel at the other end of the TAP.
    pub(crate) fn new(backend: Backend, tap: &'static str) -> Self {
        Self { backend, tap, faults: "drop=0", kernel: vec![KERNEL_V4.into(), KERNEL_V6.into()] }
    }

    fn speaks_v6(&self) -> bool {
        self.kernel.iter().any(IpAddr::is_ipv6)
    }
}

/// The stack's address by which a peer reaches it.
pub(crate) fn stack_address(peer: IpAddr) -> IpAddr {
    if peer.is_ipv4() { STACK_V4.into() } else { STACK_V6.into() }
}

/// Waits for the queue by the reactor.
struct Descriptor(DescriptorWatch);

impl Watch for Descriptor {
    fn arm(&self, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        self.0.arm(descriptor, readable, writable)
    }
}

/// Runs a program on the stack; nothing if the driver is not available, which is said.
///
/// # Panics
/// If it takes too long.
pub(crate) fn run_on_stack<F, Fut>(setup: &Setup, main: F) -> Option<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output: Send> + 'static,
{
    if let Err(error) = LinuxPlatform::with_backend(Some(setup.backend)) {
        println!("not run with {}: {error}", setup.backend);
        return None;
    }
    let config = Config {
        smp: Some(1),
        overprovisioned: true,
        reactor_backend: Some(setup.backend),
        stop_on_signals: false,
        blocked_reactor_notify: Duration::ZERO,
        ..Config::default()
    };
    let setup = setup.clone();
    let ended = run(config, move || async move {
        install(&setup).await;
        match with_timeout(PATIENCE, main()).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("it takes for ever: {}", what_there_is()),
        }
    });
    Some(ended.expect("it runs"))
}

/// What a failed test tells of the stack.
fn what_there_is() -> String {
    let network = Network::current().expect("one is started");
    let counted = network.with_stack(|stack| format!("{:?}, {:?}", stack.counters(), stack.tcp_counters()));
    format!("{:?}, {counted}", network.levels())
}

/// Opens the TAP. The kernel lets go of what a ring of a stack before was waiting for only some time after that has ended.
async fn open(options: &TapOptions) -> Tap {
    let pause = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        match Tap::open(options) {
            Err(TapError::Busy { .. }) => sleep(pause).await,
            outcome => return outcome.expect("it is made"),
        }
    }
    panic!("somebody has the TAP");
}

/// Opens the TAP, and waits until the addresses are ours.
async fn install(setup: &Setup) {
    let mut tap = open(&setup.tap.parse().expect("options of a TAP")).await;
    let pool = PoolOptions { frame_bytes: 2_048, headroom_bytes: 64, limit_frames: FRAMES };
    let pool = Rc::new(Pool::new(pool).expect("it is no zero"));
    let queue = tap.take_queue(0).expect("nobody has it").attach(Rc::clone(&pool)).expect("it is open");
    let queue = Fault::new(Frames::new(queue, pool, FRAMES), setup.faults.parse().expect("faults"), 0);
    let network = Network::new(NetworkOptions::DEFAULT);
    let watch = DescriptorWatch::new().map(|watch| Box::new(Descriptor(watch)) as Box<dyn Watch>);
    let interface = network.add_queue("tap0", Box::new(queue), watch).expect("there is room");
    network.start();
    socket::install(Rc::new(network.clone()));
    let v4 = Prefix::new(STACK_V4, 24).expect("not too long");
    network.add_address(interface, v4).expect("a station's");
    let mut gateways = vec![(Prefix::ALL_V4, IpAddr::from(KERNEL_V4))];
    if setup.speaks_v6() {
        network.autoconfigure(interface, AutoconfOptions { secret: [7; 16], follows_routers: false }).expect("it fits");
        let address = Prefix::new(STACK_V6, 64).expect("not too long");
        network.configure(Change::AddAddress { interface, address }).expect("a station's");
        network.configured(|stack| stack.is_own(STACK_V6.into())).await;
        gateways.push((Prefix::ALL_V6, KERNEL_V6.into()));
    }
    for (prefix, gateway) in gateways {
        network.add_route(Route { prefix, gateway: Some(gateway), interface, metric: 0 }).expect("there is room");
    }
}

/// Waits until nothing is left of connections but what TIME-WAIT remembers.
pub(crate) async fn wait_until_nothing_is_open() {
    let network = Network::current().expect("one is started");
    loop {
        let levels = network.levels().tcp;
        if levels.connections == 0 && levels.half_open == 0 {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
}
