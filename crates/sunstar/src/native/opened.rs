//! The devices of a native network, and how the shards come to them.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use sunstar_device::{
    Capabilities, Capture, CaptureOptions, DetachedQueue, Device, Fault, Indirection, Pcap, Queue, Recorder,
    SendMemory, SharedMemory, Trace, VhostUserFront, XdpAddresses, split,
};
use sunstar_executor::{Instant, ShardId, current, local, submit_to};
use sunstar_native::{
    Frames, InterfaceId, Network, NetworkOptions, Prefix, SharedDevice, Spread, SpreadOptions, Watch,
};
use sunstar_net::socket;
use sunstar_packet::PoolOptions;
use sunstar_reactor::{DescriptorWatch, clock};
use sunstar_tcpip::configuration::Change;
use sunstar_tcpip::routes::Route;

use super::device::Kind;
use super::{Interface, Plan};
use crate::error::Error;

/// What is received lies in frames of so many bytes, of which each shard has at most so many for each device.
const FRAME_BYTES: usize = 2_048;
const FRAMES: usize = 16_384;
const HEADROOM_BYTES: usize = 64;

/// What the frames of a queue take where the device sees them: slabs are not quite full.
const SHARED_BYTES: usize = FRAMES * (FRAME_BYTES + HEADROOM_BYTES) / 8 * 9;

/// A native network whose devices are open, on its way to the shards.
pub(crate) struct Opened {
    plan: Plan,
    devices: Vec<OpenedDevice>,
    /// Ends the file of captured packets when the shards have ended.
    capture: Option<Capture>,
}

/// A device that is open.
struct OpenedDevice {
    /// With the kind before it.
    name: String,
    device: Box<dyn Device>,
    /// Its queues, and behind them what shards have that have no queue.
    parts: Vec<Part>,
    /// Where what is sent by its queues should lie, of each if that matters.
    sends: Vec<SendMemory>,
    /// The places of its interfaces.
    interfaces: Vec<usize>,
    /// Where it is to be told of the addresses that the stack has there, if it wants to know.
    addresses: Option<XdpAddresses>,
}

impl OpenedDevice {
    /// Adds what shards have that have no queue, if the device has such; `index` is the first number that no queue has.
    fn add_senders(&mut self, shards: usize, index: &mut u32) {
        let queues = self.parts.len();
        for shard in queues..shards {
            let Some(queue) = self.device.take_sender(shard) else { return };
            let beside = self.parts.get(shard % queues).and_then(|part| part.recorder.as_ref());
            let recorder = beside.map(Recorder::another);
            self.parts.push(Part { index: *index, queue, recorder });
            *index += 1;
        }
    }
}

/// A queue on its way to its shard.
struct Part {
    /// A number that no other queue has, whichever its device.
    index: u32,
    queue: DetachedQueue,
    recorder: Option<Recorder>,
}

impl Plan {
    /// Opens the devices.
    ///
    /// # Errors
    /// If a device or a file can't be had.
    pub(crate) fn open(self) -> Result<Opened, Error> {
        let devices = self.devices();
        let names: Vec<String> = devices.iter().map(|(kind, _)| kind.name()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // First what leaves nothing behind if the other fails.
        let capture = match &self.pcap {
            Some(path) => Some(
                capture(path, &names)
                    .map_err(|error| Error::usage(format_args!("cannot write --pcap {}: {error}", path.display())))?,
            ),
            None => None,
        };
        let memory = shared_memory(devices.iter().map(|(kind, _)| kind.shared_queues()).sum())?;
        let mut opened = Vec::new();
        let mut index = 0;
        for (at, (kind, interfaces)) in (0..).zip(devices) {
            let given = interfaces.iter().flat_map(|at| self.given(*at));
            let (mut device, addresses) = kind.open(memory.as_ref(), given)?;
            let (mut parts, mut sends) = (Vec::new(), Vec::new());
            for (number, queue) in (0..).zip(0..device.capabilities().queues) {
                let failed = |error| Error::usage(format_args!("cannot open --device {kind}: {error}"));
                let queue = device.take_queue(queue).map_err(failed)?;
                let recorder = capture.as_ref().map(|capture| capture.recorder(at, number));
                sends.extend(queue.send_memory());
                parts.push(Part { index, queue, recorder });
                index += 1;
            }
            opened.push(OpenedDevice { name: kind.to_string(), device, parts, sends, interfaces, addresses });
        }
        Ok(Opened { plan: self, devices: opened, capture })
    }

    /// The addresses that are given to the interface at a place.
    fn given(&self, at: usize) -> impl Iterator<Item = IpAddr> {
        let v4 = self.interfaces.get(at).and_then(|interface| interface.prefix);
        v4.map(|prefix| prefix.address()).into_iter().chain(self.ipv6.given(at))
    }

    /// Each device as it is named first, with the places of its interfaces.
    fn devices(&self) -> Vec<(Kind, Vec<usize>)> {
        let mut devices: Vec<(Kind, Vec<usize>)> = Vec::new();
        for (at, Interface { device, .. }) in self.interfaces.iter().enumerate() {
            match devices.iter_mut().find(|(kind, _)| kind.name() == device.kind.name()) {
                Some((_, interfaces)) => interfaces.push(at),
                None => devices.push((device.kind.clone(), vec![at])),
            }
        }
        devices
    }
}

/// Memory for so many queues of devices that are other processes: one for all, so that what one of them has received lies where the others
/// can send it from.
fn shared_memory(queues: usize) -> Result<Option<Arc<SharedMemory>>, Error> {
    let bytes = queues * SHARED_BYTES + VhostUserFront::memory_bytes(queues);
    let memory = (queues > 0).then(|| SharedMemory::new(bytes)).transpose();
    let memory = memory.map_err(|error| Error::failure(error.to_string()))?;
    memory.iter().for_each(|memory| memory.tell_pages());
    Ok(memory)
}

fn capture(path: &Path, interfaces: &[&str]) -> io::Result<Capture> {
    let now = clock::Clock::new().now() - Instant::ORIGIN;
    let origin_since_epoch = clock::unix_time().saturating_sub(now);
    Capture::create(path, interfaces, CaptureOptions { origin_since_epoch, ..CaptureOptions::default() })
}

/// A shard's part of a device.
struct End {
    /// None if the shard has no queue of it, and sends by another shard's.
    part: Option<Part>,
    /// Of the shard's queue, or of that which sends for it.
    sends: Option<SendMemory>,
    interfaces: Vec<InterfaceEnd>,
}

/// A shard's part of an interface.
struct InterfaceEnd {
    /// Its place.
    at: usize,
    /// None if there is one shard.
    device: Option<SharedDevice>,
    /// What other shards' ends can do, if that is known already.
    known: Option<Capabilities>,
}

impl Opened {
    /// What ends the file of captured packets, once the shards have ended.
    pub(crate) fn take_capture(&mut self) -> Option<Capture> {
        self.capture.take()
    }

    /// Installs the network on all shards.
    ///
    /// # Errors
    /// If the shards can't share out a device.
    pub(crate) async fn install(self) -> Result<(), Error> {
        let Self { plan, mut devices, capture: _ } = self;
        let shards = current::shard_count();
        for OpenedDevice { name, parts, .. } in &devices {
            let count = parts.len();
            if count > shards {
                let what = format!("{name} is to have {count} queues, more than there are shards ({shards})");
                return Err(Error::usage(what));
            }
        }
        let (free_tcp, free_udp) = plan.free_ports().unwrap_or_default();
        let rss = told_by_all(devices.iter().map(|device| device.device.capabilities().rss.clone()));
        let told = rss.clone().map(|rss| rss.indirection);
        let spread = (shards > 1).then(|| Spread::with_options(SpreadOptions { rss, free_tcp, free_udp }));
        if let (Some(indirection), Some(spread)) = (told, &spread) {
            let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
            log::info!("{}", whose_flows(&names.join(", "), &indirection, shards, spread.follows_devices()));
        }
        plan.warn_of_few_ports(shards, spread.as_deref());
        let mut shared: Vec<Option<SharedDevice>> = vec![None; plan.interfaces.len()];
        for OpenedDevice { parts, interfaces, .. } in &devices {
            for at in interfaces {
                shared[*at] = spread.as_ref().map(|spread| spread.add_device(parts.len()));
            }
        }
        let mut index = devices.iter().flat_map(|device| &device.parts).map(|part| part.index + 1).max().unwrap_or(0);
        for device in &mut devices {
            device.add_senders(shards, &mut index);
            device.parts.reverse();
        }
        // The first shard has a queue of each, and shows what the others' ends can do.
        let mut known: Vec<Option<Capabilities>> = vec![None; plan.interfaces.len()];
        for shard in ShardId::all(shards) {
            let of = |at: &usize| InterfaceEnd { at: *at, device: shared[*at].clone(), known: known[*at].clone() };
            let end = |device: &mut OpenedDevice| End {
                part: device.parts.pop(),
                sends: device.sends.iter().cycle().nth(shard.index()).cloned(),
                interfaces: device.interfaces.iter().map(of).collect(),
            };
            let ends: Vec<End> = devices.iter_mut().map(end).collect();
            let (plan, spread) = (plan.clone(), spread.clone());
            let install = move || async move { plan.install_here(ends, spread) };
            known = submit_to(shard, install).await??;
        }
        let knows = |device: OpenedDevice| device.addresses.zip(device.interfaces.first().copied());
        tell_addresses(devices.into_iter().filter_map(knows).collect());
        plan.configure().await
    }
}

/// Has devices told of addresses that come and go on the interfaces at those places.
fn tell_addresses(devices: Vec<(XdpAddresses, usize)>) {
    let (Some(network), Some(interfaces)) = (Network::current(), local::get::<Interfaces>()) else { return };
    if devices.is_empty() {
        return;
    }
    let at = |(known, place): (XdpAddresses, usize)| Some((known, *interfaces.0.get(place)?));
    let devices: Vec<(XdpAddresses, InterfaceId)> = devices.into_iter().filter_map(at).collect();
    network.follow_configuration(move |change| {
        for (known, id) in &devices {
            let (told, what) = match change {
                Change::AddAddress { interface, address } if interface == id => {
                    (known.add(address.address()), "nothing comes for an address of this host")
                }
                Change::RemoveAddress { interface, address } if interface == id => {
                    (known.remove(*address), "an address that this host has given up is kept from the kernel still")
                }
                _ => continue,
            };
            if let Err(error) = told {
                log::error!("{what}: {error}");
            }
        }
    });
}

impl Plan {
    /// Makes the current shard's network and installs it; answers what its ends of the devices can do.
    fn install_here(&self, ends: Vec<End>, spread: Option<Arc<Spread>>) -> Result<Vec<Option<Capabilities>>, Error> {
        let mut network = Network::new(NetworkOptions::DEFAULT).with_beside(socket::stack()?);
        if let Some((tcp, udp)) = self.free_ports() {
            network = network.with_free_ports(tcp, udp);
        }
        if let Some(spread) = spread {
            network = network.with_spread(spread);
        }
        let mut capabilities = vec![None; self.interfaces.len()];
        let mut ids = vec![InterfaceId::LOOPBACK; self.interfaces.len()];
        for mut end in ends {
            let (queues, sends) = (self.queues(&mut end)?, end.sends);
            for (end, queue) in end.interfaces.into_iter().zip(queues) {
                let at = end.at;
                let (id, what) = self.add(&network, end, queue)?;
                if let Some(sends) = &sends {
                    network.set_send_memory(id, sends).map_err(|_| no_frames())?;
                }
                (ids[at], capabilities[at]) = (id, Some(what));
            }
        }
        for (metric, gateway) in (0..).zip(&self.gateways) {
            if let Some(&interface) = ids.get(gateway.interface) {
                let gateway = Some(gateway.address.into());
                network.add_route(Route { prefix: Prefix::ALL_V4, gateway, interface, metric })?;
            }
        }
        network.publish()?;
        network.start();
        local::set(Rc::new(Interfaces(ids)));
        socket::install(Rc::new(network));
        Ok(capabilities)
    }

    /// The queues of a device's interfaces, of which the first one has the descriptor, if the shard has a queue of it.
    fn queues(&self, end: &mut End) -> Result<Vec<Option<Box<dyn Queue>>>, Error> {
        let interfaces: Vec<&Interface> = end.interfaces.iter().filter_map(|of| self.interfaces.get(of.at)).collect();
        let Some(part) = end.part.take() else { return Ok(interfaces.iter().map(|_| None).collect()) };
        let Some(first) = interfaces.first() else { return Ok(Vec::new()) };
        let queue = self.queue(&first.device.kind.name(), part)?;
        let vlans: Vec<Option<u16>> = interfaces.iter().map(|interface| interface.device.vlan).collect();
        if vlans == [None] {
            return Ok(vec![Some(queue)]);
        }
        let boxed = |queue| Some(Box::new(queue) as Box<dyn Queue>);
        Ok(split(queue, &vlans).into_iter().map(boxed).collect())
    }

    /// Adds an interface to the current shard's network.
    fn add(
        &self,
        network: &Network,
        end: InterfaceEnd,
        queue: Option<Box<dyn Queue>>,
    ) -> Result<(InterfaceId, Capabilities), Error> {
        let interface = &self.interfaces[end.at];
        let name = &interface.device.name();
        let lacking = || Error::failure("the device has no queue");
        let watch = DescriptorWatch::new().map(|watch| Box::new(Descriptor(watch)) as Box<dyn Watch>);
        let (id, capabilities) = match (end.device, queue) {
            (None, queue) => {
                let queue = queue.ok_or_else(lacking)?;
                let capabilities = queue.capabilities().clone();
                (network.add_queue(name, queue, watch)?, capabilities)
            }
            (Some(device), Some(queue)) => {
                let capabilities = queue.capabilities().clone();
                (network.add_shared_queue(name, device.attach(queue), watch)?, capabilities)
            }
            (Some(device), None) => {
                let known = end.known.ok_or_else(lacking)?;
                (network.add_shared_queue(name, device.attach_without_queue(known.clone()), watch)?, known)
            }
        };
        if let Some(prefix) = interface.prefix {
            network.add_address(id, prefix)?;
        }
        Ok((id, capabilities))
    }

    /// A queue with what was asked to stand before it: what is captured and shown is what goes over the wire.
    fn queue(&self, name: &str, part: Part) -> Result<Box<dyn Queue>, Error> {
        let options = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: HEADROOM_BYTES, limit_frames: FRAMES };
        let pool = part.queue.pool(options);
        let pool = Rc::new(pool.map_err(|_| no_frames())?);
        let queue = part.queue.attach(Rc::clone(&pool))?;
        let mut queue: Box<dyn Queue> = Box::new(Frames::new(queue, pool, FRAMES));
        if let Some(recorder) = part.recorder {
            queue = Box::new(Pcap::new(queue, recorder));
        }
        if self.trace {
            queue = Box::new(Trace::new(queue, name));
        }
        if let Some(fault) = self.fault {
            queue = Box::new(Fault::new(queue, fault, part.index));
        }
        Ok(queue)
    }
}

fn no_frames() -> Error {
    Error::failure("there is no memory for frames")
}

/// The interfaces of the current shard's network, in the order of their devices.
pub(super) struct Interfaces(pub(super) Vec<InterfaceId>);

/// Waits for a queue by the reactor.
struct Descriptor(DescriptorWatch);

impl Watch for Descriptor {
    fn arm(&self, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()> {
        self.0.arm(descriptor, readable, writable)
    }
}

/// Which of so many shards flows have if devices tell by which hash they choose queues.
fn whose_flows(names: &str, indirection: &Indirection, shards: usize, is_followed: bool) -> String {
    match indirection {
        _ if !is_followed => format!(
            "what {names} brings by the queue of another shard than its flow's is forwarded: by the queues alone some of {shards} shards \
             would have no flows, or no ports for connections"
        ),
        Indirection::Highest => {
            format!("flows have the shards by whose queues {names} brings them if its other end has {shards}, too")
        }
        Indirection::Table(_) => format!("flows have the shards by whose queues {names} brings them"),
    }
}

/// The one hash for all devices, if all of them tell the same one. A device that tells none may lead to somebody who would aim flows at a
/// shard, if he knew the key.
fn told_by_all<K: PartialEq>(keys: impl IntoIterator<Item = Option<K>>) -> Option<K> {
    let mut keys = keys.into_iter();
    let first = keys.next()??;
    keys.all(|key| key.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use sunstar_device::IndirectionTable;

    use super::*;

    #[test]
    fn a_hash_is_told_by_all_devices_or_secret() {
        assert_eq!(told_by_all([Some(1), Some(1)]), Some(1));
        for keys in [&[][..], &[None], &[Some(1), None], &[None, Some(1)], &[Some(1), Some(2)]] {
            assert_eq!(told_by_all(keys.iter().copied()), None, "{keys:?}");
        }
    }

    #[test]
    fn whose_flows_are_is_told() {
        let table = Indirection::Table(IndirectionTable::new(&[0, 1]).expect("two are a power of two"));
        let of = |indirection, is_followed| whose_flows("xdp:eth0", indirection, 2, is_followed);
        assert_eq!(of(&table, true), "flows have the shards by whose queues xdp:eth0 brings them");
        assert!(of(&Indirection::Highest, true).ends_with(" brings them if its other end has 2, too"));
        for indirection in [&table, &Indirection::Highest] {
            assert!(of(indirection, false).contains("is forwarded: by the queues alone some of 2 shards"));
        }
    }
}
