//! The native network of an application: its options, its device, and how the shards come to it.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args};
use sunstar_device::{
    Capabilities, Capture, CaptureOptions, DetachedQueue, Device, Fault, FaultOptions, Pcap, Queue, Recorder, Tap,
    TapOptions, Trace,
};
use sunstar_executor::combine::with_timeout;
use sunstar_executor::{Instant, ShardId, current, local, submit_to};
use sunstar_native::{Frames, InterfaceId, Network, NetworkOptions, Prefix, Spread, Watch};
use sunstar_net::socket;
use sunstar_packet::{Pool, PoolOptions};
use sunstar_reactor::{DescriptorWatch, clock};
use sunstar_tcpip::dhcpv4;
use sunstar_tcpip::routes::Route;

use crate::error::Error;
use crate::options::truth;

/// What is received lies in frames of so many bytes, of which each shard has at most so many.
const FRAME_BYTES: usize = 2_048;
const FRAMES: usize = 16_384;
const HEADROOM_BYTES: usize = 64;

/// How long the start waits for a DHCP server: it is asked four times meanwhile.
const DHCP_TIME: Duration = Duration::from_secs(30);

const DEVICE_HELP: &str =
    "Device of the native stack: tap:NAME[,queues=N][,mtu=BYTES][,txqueue=PACKETS][,offload=on|off]";

#[derive(Args, Debug)]
#[group(skip)]
pub(crate) struct NativeOptions {
    #[arg(long, value_name = "DEVICE", value_parser = device, help = DEVICE_HELP)]
    device: Option<TapOptions>,

    /// Whether DHCP gives the native stack its IPv4 address, 0 or 1; one of --host-ipv4-addr wins [default: 1 without that]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, value_parser = truth)]
    dhcp: Option<bool>,

    /// Address of the native stack, as in 192.0.2.2
    #[arg(long, value_name = "ADDRESS")]
    host_ipv4_addr: Option<Ipv4Addr>,

    /// Netmask that goes with it [default: 255.255.255.0]
    #[arg(long, value_name = "MASK", value_parser = netmask)]
    netmask_ipv4_addr: Option<u8>,

    /// Gateway of the native stack to other networks [default: none]
    #[arg(long, value_name = "ADDRESS")]
    gw_ipv4_addr: Option<Ipv4Addr>,

    /// Capture the native stack's packets in a file that tshark reads
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Disturb the native stack's packets, as in drop=0.01,delay=10ms,seed=7
    #[arg(long, value_name = "FAULTS", value_parser = str::parse::<FaultOptions>)]
    fault: Option<FaultOptions>,

    /// Show the native stack's packets in the log
    #[arg(long)]
    trace: bool,
}

impl NativeOptions {
    /// What is asked for; nothing if the network is the kernel's.
    ///
    /// # Errors
    /// If options are missing, or make no sense together.
    pub(crate) fn plan(&self, is_native: bool) -> Result<Option<Plan>, Error> {
        if !is_native {
            return match self.first() {
                Some(option) => Err(Error::usage(format_args!("{option} needs --network-stack native"))),
                None => Ok(None),
            };
        }
        let needs = |what| Error::usage(format_args!("--network-stack native needs {what}"));
        let device = self.device.clone().ok_or_else(|| needs("--device, as in --device tap:NAME"))?;
        let ipv4 = self.ipv4()?;
        let (pcap, fault, trace) = (self.pcap.clone(), self.fault, self.trace);
        Ok(Some(Plan { device, ipv4, pcap, fault, trace }))
    }

    /// Where the IPv4 address comes from.
    fn ipv4(&self) -> Result<Ipv4, Error> {
        let Some(address) = self.host_ipv4_addr else {
            let given = [
                ("--netmask-ipv4-addr", self.netmask_ipv4_addr.is_some()),
                ("--gw-ipv4-addr", self.gw_ipv4_addr.is_some()),
            ];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => Err(Error::usage(format_args!("{option} needs --host-ipv4-addr"))),
                None if self.dhcp == Some(false) => {
                    Err(Error::usage("--network-stack native needs --host-ipv4-addr or DHCP, as in --dhcp 1"))
                }
                None => Ok(Ipv4::Dhcp),
            };
        };
        let prefix = Prefix::new(address, self.netmask_ipv4_addr.unwrap_or(24)).map_err(Error::usage)?;
        if !is_host(address, prefix) {
            return Err(Error::usage(format_args!("--host-ipv4-addr {address}: no host can have that address")));
        }
        if let Some(gateway) = self.gw_ipv4_addr.filter(|gateway| !prefix.contains((*gateway).into())) {
            let (network, len) = (prefix.address(), prefix.len());
            return Err(Error::usage(format_args!(
                "--gw-ipv4-addr {gateway} is not in the network of {network}/{len}"
            )));
        }
        Ok(Ipv4::Static { prefix, gateway: self.gw_ipv4_addr, is_asked_for_dhcp: self.dhcp == Some(true) })
    }

    /// The first option that was given.
    fn first(&self) -> Option<&'static str> {
        let given = [
            (self.device.is_some(), "--device"),
            (self.dhcp.is_some(), "--dhcp"),
            (self.host_ipv4_addr.is_some(), "--host-ipv4-addr"),
            (self.netmask_ipv4_addr.is_some(), "--netmask-ipv4-addr"),
            (self.gw_ipv4_addr.is_some(), "--gw-ipv4-addr"),
            (self.pcap.is_some(), "--pcap"),
            (self.fault.is_some(), "--fault"),
            (self.trace, "--trace"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, option)| option)
    }
}

/// Whether a host of the network may have an address (RFC 1122 §3.2.1.3).
fn is_host(address: Ipv4Addr, prefix: Prefix) -> bool {
    let first = address.octets()[0];
    let host_bits = u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
    // Networks of one or two addresses have no address that stands for all (RFC 3021).
    let names_network = prefix.len() < 31 && address.to_bits() & host_bits == 0;
    (1..224).contains(&first) && first != 127 && prefix.broadcast() != Some(address) && !names_network
}

fn device(text: &str) -> Result<TapOptions, String> {
    match text.split_once(':') {
        Some(("tap", options)) => options.parse().map_err(|error: sunstar_device::TapError| error.to_string()),
        Some((kind, _)) => Err(format!("there are no devices of the kind {kind:?}; there is tap:NAME")),
        None => Err("a device is a kind and a name, as in tap:NAME".to_owned()),
    }
}

fn netmask(text: &str) -> Result<u8, String> {
    let mask: Ipv4Addr = text.parse().map_err(|_| "it must be a mask such as 255.255.255.0".to_owned())?;
    let bits = u32::from(mask);
    if bits.leading_ones() + bits.trailing_zeros() != 32 && bits != 0 {
        return Err("its ones must come before its zeros, as in 255.255.255.0".to_owned());
    }
    u8::try_from(bits.leading_ones()).map_err(|error| error.to_string())
}

/// Where the IPv4 address of a network comes from.
#[derive(Clone, Copy, Debug)]
enum Ipv4 {
    /// It was given.
    Static { prefix: Prefix, gateway: Option<Ipv4Addr>, is_asked_for_dhcp: bool },
    /// A server is asked.
    Dhcp,
}

/// A native network that is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    device: TapOptions,
    ipv4: Ipv4,
    pcap: Option<PathBuf>,
    fault: Option<FaultOptions>,
    trace: bool,
}

/// A native network whose device is open, on its way to the shards.
pub(crate) struct Opened {
    plan: Plan,
    queues: Vec<Part>,
    /// Ends the file of captured packets when the shards have ended.
    capture: Option<Capture>,
}

/// A queue on its way to its shard.
struct Part {
    index: u32,
    queue: DetachedQueue,
    recorder: Option<Recorder>,
}

impl Plan {
    /// Opens the device.
    ///
    /// # Errors
    /// If the device or a file can't be had.
    pub(crate) fn open(self) -> Result<Opened, Error> {
        let name = self.device.name.clone();
        let failed = |error: &dyn fmt::Display| Error::usage(format_args!("cannot open --device tap:{name}: {error}"));
        // First what leaves nothing behind if the other fails.
        let capture = match &self.pcap {
            Some(path) => Some(
                capture(path, &name)
                    .map_err(|error| Error::usage(format_args!("cannot write --pcap {}: {error}", path.display())))?,
            ),
            None => None,
        };
        let mut device = Tap::open(&self.device).map_err(|error| failed(&error))?;
        let mut queues = Vec::new();
        for index in 0..device.capabilities().queues {
            let queue = device.take_queue(index).map_err(|error| failed(&error))?;
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let recorder = capture.as_ref().map(|capture| capture.recorder(index));
            queues.push(Part { index, queue, recorder });
        }
        Ok(Opened { plan: self, queues, capture })
    }
}

fn capture(path: &Path, interface: &str) -> io::Result<Capture> {
    let now = clock::Clock::new().now() - Instant::ORIGIN;
    let origin_since_epoch = clock::unix_time().saturating_sub(now);
    Capture::create(path, interface, CaptureOptions { origin_since_epoch, ..CaptureOptions::default() })
}

impl Opened {
    /// What ends the file of captured packets, once the shards have ended.
    pub(crate) fn take_capture(&mut self) -> Option<Capture> {
        self.capture.take()
    }

    /// Installs the network on all shards.
    ///
    /// # Errors
    /// If the shards can't share out the device.
    pub(crate) async fn install(self) -> Result<(), Error> {
        let Self { plan, queues, capture: _ } = self;
        let (shards, count) = (current::shard_count(), queues.len());
        if count > shards {
            let what =
                format!("tap:{} is to have {count} queues, more than there are shards ({shards})", plan.device.name);
            return Err(Error::usage(what));
        }
        let spread = (shards > 1).then(|| Spread::new(count));
        let mut queues = queues.into_iter();
        // The first shard has a queue, and shows what the others' ends can do.
        let mut capabilities = None;
        for shard in ShardId::all(shards) {
            let (plan, part, spread) = (plan.clone(), queues.next(), spread.clone());
            let known = capabilities.clone();
            let install = move || async move { plan.install_here(part, spread, known) };
            capabilities = Some(submit_to(shard, install).await??);
        }
        plan.configure().await
    }
}

impl Plan {
    /// Makes the current shard's network and installs it; answers what its end of the device can do. One without a queue has to be
    /// told that.
    fn install_here(
        &self,
        part: Option<Part>,
        spread: Option<Arc<Spread>>,
        known: Option<Capabilities>,
    ) -> Result<Capabilities, Error> {
        let mut network = Network::new(NetworkOptions::DEFAULT).with_beside(socket::stack()?);
        let queue = part.map(|part| self.queue(part)).transpose()?;
        let queue = match (&spread, queue, known) {
            (Some(spread), Some(queue), _) => Some(spread.attach(queue)),
            (Some(spread), None, Some(known)) => Some(spread.attach_without_queue(known)),
            (_, queue, _) => queue,
        };
        let queue = queue.ok_or_else(|| Error::failure("the device has no queue"))?;
        let capabilities = queue.capabilities().clone();
        if let Some(spread) = spread {
            network = network.with_spread(spread);
        }
        let watch = DescriptorWatch::new().map(|watch| Box::new(Descriptor(watch)) as Box<dyn Watch>);
        let interface = network.add_queue(queue, watch)?;
        if let Ipv4::Static { prefix, gateway, .. } = self.ipv4 {
            network.add_address(interface, prefix)?;
            if let Some(gateway) = gateway {
                let gateway = Some(gateway.into());
                network.add_route(Route { prefix: Prefix::ALL_V4, gateway, interface, metric: 0 })?;
            }
        }
        network.publish(&self.device.name)?;
        network.start();
        local::set(Rc::new(Here { network: network.clone(), interface }));
        socket::install(Rc::new(network));
        Ok(capabilities)
    }

    /// Configures the networks of all shards from the current one, as far as others say how; waits for an address, for a limited time.
    async fn configure(&self) -> Result<(), Error> {
        let Some(here) = local::get::<Here>() else { return Ok(()) };
        let (network, interface, name) = (&here.network, here.interface, &self.device.name);
        network.share_configuration();
        match self.ipv4 {
            Ipv4::Static { is_asked_for_dhcp: false, .. } => return Ok(()),
            Ipv4::Static { .. } => {
                log::warn!("--dhcp 1 is not followed, since --host-ipv4-addr is given");
                return Ok(());
            }
            Ipv4::Dhcp => {}
        }
        log::info!("waiting for an address by DHCP on tap:{name}, for at most {} s", DHCP_TIME.as_secs());
        network.start_dhcp(interface, dhcpv4::Options::default())?;
        let bound = network.configured(|stack| stack.dhcpv4_lease(interface).is_some());
        if with_timeout(DHCP_TIME, bound).await.is_err() {
            let state = network.with_stack(|stack| stack.dhcpv4_state(interface));
            let why = match state {
                dhcpv4::State::Init | dhcpv4::State::Selecting => "no DHCP server has offered an address",
                _ => "a DHCP server has offered an address and not given it",
            };
            let seconds = DHCP_TIME.as_secs();
            return Err(Error::failure(format!("{why} on tap:{name} in {seconds} s; --host-ipv4-addr needs none")));
        }
        Ok(())
    }

    /// A queue with what was asked to stand before it: what is captured and shown is what goes over the wire.
    fn queue(&self, part: Part) -> Result<Box<dyn Queue>, Error> {
        let options = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: HEADROOM_BYTES, limit_frames: FRAMES };
        let pool = Rc::new(Pool::new(options).map_err(|_| Error::failure("there is no memory for frames"))?);
        let queue = part.queue.attach(Rc::clone(&pool))?;
        let mut queue: Box<dyn Queue> = Box::new(Frames::new(queue, pool, FRAMES));
        if let Some(recorder) = part.recorder {
            queue = Box::new(Pcap::new(queue, recorder));
        }
        if self.trace {
            queue = Box::new(Trace::new(queue, &self.device.name));
        }
        if let Some(fault) = self.fault {
            queue = Box::new(Fault::new(queue, fault, part.index));
        }
        Ok(queue)
    }
}

/// The current shard's network, and its interface.
struct Here {
    network: Network,
    interface: InterfaceId,
}

/// Waits for a queue by the reactor.
struct Descriptor(DescriptorWatch);

impl Watch for Descriptor {
    fn arm(&self, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        self.0.arm(descriptor, readable, writable)
    }
}
