//! A shard's native network.

use std::cell::Cell;
use std::fmt;
use std::future::ready;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use sunstar_device::{Queue, SendMemory};
use sunstar_executor::{add_poller, current, local};
use sunstar_metrics::RegisterError;
use sunstar_net::socket::{
    ConnectOptions, Connecting, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack,
    StreamSocket,
};
use sunstar_net::{Address, Error};
use sunstar_packet::{BufferMut, OutOfMemory};
use sunstar_tcpip::filter::{Direction, FilterId, Filtered, TooManyFilters, Verdict};
use sunstar_tcpip::free_ports::FreePorts;
use sunstar_tcpip::interface::InterfaceId;
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::routes::Route;
use sunstar_tcpip::stack::{self, AutoconfOptions, ConfigError, Limits};
use sunstar_tcpip::tcp::connection;
use sunstar_tcpip::tcp::sockets::OpenError;
use sunstar_tcpip::udp::UdpOptions;
use sunstar_tcpip::zone::plain_flow;
use sunstar_wire::{AddressPair, FourTuple, IpProtocol};

use crate::datagram::Datagrams;
use crate::error::of_open;
use crate::listener::Listener;
use crate::metrics;
use crate::port::{Port, Watch};
use crate::shared::Shared;
use crate::spread::{CONFIGURED, Claim, Lease, SharedDevice, SharedQueue, Spread, SpreadCounters};
use crate::stream::{Held, Stream};

/// What a network is made with.
#[derive(Clone, Copy, Debug)]
pub struct NetworkOptions {
    /// How much there may be of everything.
    pub limits: Limits,
    /// What streams are made with.
    pub tcp: connection::Options,
    /// What datagram sockets are made with.
    pub udp: UdpOptions,
}

impl NetworkOptions {
    /// For servers. Segments are as large as the link takes; small ones are sent at once, as the contract of sockets says.
    pub const DEFAULT: Self = Self {
        limits: Limits::DEFAULT,
        tcp: connection::Options { mss: u16::MAX, is_no_delay: true, ..connection::Options::DEFAULT },
        udp: UdpOptions::DEFAULT,
    };
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The native network of one shard.
///
/// Its clones are handles to the same one. It works from [`Network::start`] on, until the shard ends.
#[derive(Clone)]
pub struct Network {
    shared: Rc<Shared>,
    udp: UdpOptions,
    /// The network of the platform, for what is none of ours.
    beside: Option<Rc<dyn Stack>>,
    /// How it shares its devices with other shards' networks.
    spread: Option<Arc<Spread>>,
    /// How often a shared port was asked for without naming one.
    unnamed: Rc<Cell<usize>>,
    /// Ports for who listens without naming one.
    free_tcp: FreePorts,
}

impl Network {
    /// A network of the current shard, without devices.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn new(options: NetworkOptions) -> Self {
        let mut key = [0; 16];
        current::entropy(&mut key);
        let stack = stack::Stack::new(key, options.limits);
        let (shared, unnamed) = (Rc::new(Shared::new(stack, options.tcp)), Rc::default());
        Self { shared, udp: options.udp, beside: None, spread: None, unnamed, free_tcp: FreePorts::default() }
    }

    /// Has ports be chosen from those, of TCP and of UDP, where none is named: for devices by which nothing comes for others. Networks that share
    /// their addresses have a spread [of the same ports](crate::SpreadOptions).
    #[must_use]
    pub fn with_free_ports(self, tcp: FreePorts, udp: FreePorts) -> Self {
        {
            let mut state = self.shared.state();
            state.stack.tcp().set_free_ports(tcp.clone());
            state.stack.udp().set_free_ports(udp);
        }
        Self { free_tcp: tcp, ..self }
    }

    /// Has the network share its addresses with those of the program's other shards, which have the same `spread`. Its queues are those
    /// of that one's [devices](Spread::add_device).
    #[must_use]
    pub fn with_spread(self, spread: Arc<Spread>) -> Self {
        let (here, hash) = (current::shard_id().index(), Arc::clone(&spread));
        let is_ours = move |flow: &FourTuple| hash.owner(IpProtocol::TCP, plain_flow(flow).reversed()) == here;
        {
            let mut state = self.shared.state();
            state.stack.tcp().set_port_filter(is_ours);
            state.stack.hand_out_reassembled();
            if here != CONFIGURED {
                state.stack.hand_out_groups();
                state.groups.spread = Some(Arc::clone(&spread));
            }
        }
        self.shared.ending.set_spread(&spread);
        Self { spread: Some(spread), ..self }
    }

    /// Leaves Unix sockets and loopback addresses to another network, the platform's: so the host's own programs are reached as
    /// ever.
    #[must_use]
    pub fn with_beside(self, network: Rc<dyn Stack>) -> Self {
        Self { beside: Some(network), ..self }
    }

    /// Adds a queue of a device as an interface. Logs and metrics call it by `name`. `watch` waits for its descriptor; without it, a queue
    /// that has one is polled and the shard never sleeps.
    ///
    /// # Errors
    /// [`ConfigError::Full`].
    pub fn add_queue(
        &self,
        name: &str,
        queue: Box<dyn Queue>,
        watch: Option<Box<dyn Watch>>,
    ) -> Result<InterfaceId, ConfigError> {
        let mut state = self.shared.state();
        let interface = state.stack.add_interface(Port::interface_options(&*queue))?;
        state.ports.push(Port::new(interface, name, queue, watch));
        Ok(interface)
    }

    /// The same for this shard's end of a device of the network's [`Spread`].
    ///
    /// # Errors
    /// [`ConfigError::Full`].
    pub fn add_shared_queue(
        &self,
        name: &str,
        queue: SharedQueue,
        watch: Option<Box<dyn Watch>>,
    ) -> Result<InterfaceId, ConfigError> {
        let device = queue.device().clone();
        let interface = self.add_queue(name, Box::new(queue), watch)?;
        if let Some(port) = self.shared.state().ports.last_mut() {
            port.shared = Some(device);
        }
        Ok(interface)
    }

    /// Has what is sent by an interface lie in memory of its device, from which that sends without copying: headers, and what applications
    /// [get buffers for](sunstar_net::allocate_buffer).
    ///
    /// # Errors
    /// When frames there are larger than what can be addressed.
    pub fn set_send_memory(&self, interface: InterfaceId, memory: &SendMemory) -> Result<(), OutOfMemory> {
        let (headers, buffers) = (memory.headers()?, memory.buffers()?);
        let mut state = self.shared.state();
        state.stack.set_header_pool(interface, headers);
        if let Some(port) = state.ports.iter_mut().find(|port| port.interface == interface) {
            port.buffers = Some(buffers);
        }
        Ok(())
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn add_address(&self, interface: InterfaceId, address: Prefix) -> Result<(), ConfigError> {
        let now = self.shared.now();
        self.shared.state().stack.add_address(now, interface, address)
    }

    /// Has an Ethernet interface speak IPv6 on its link, and be configured by its routers if that is wanted, see
    /// [`Stack::autoconfigure`](stack::Stack::autoconfigure). Other shards' networks follow if [`Network::share_configuration`] was
    /// called here.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn autoconfigure(&self, interface: InterfaceId, options: AutoconfOptions) -> Result<(), ConfigError> {
        let now = self.shared.now();
        self.shared.state().stack.autoconfigure(now, interface, options)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn add_route(&self, route: Route) -> Result<(), ConfigError> {
        self.shared.state().stack.add_route(route)
    }

    /// Has the network polled in the current shard's rounds from now on. To be called once, on the shard where it was made.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn start(&self) {
        add_poller(Rc::clone(&self.shared) as Rc<dyn sunstar_executor::Poller>);
        local::set(Rc::new(self.clone()));
    }

    /// The current shard's network: of those that were started the last one.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn current() -> Option<Self> {
        local::get::<Self>().map(|network| Self::clone(&network))
    }

    /// The same if it shares its addresses with those that have this `spread`.
    pub(crate) fn current_of(spread: &Arc<Spread>) -> Option<Self> {
        Self::current().filter(|network| network.spread.as_ref().is_some_and(|other| Arc::ptr_eq(other, spread)))
    }

    /// Has a function asked what becomes of each packet of the current shard that comes in, or leaves, after those that were added before,
    /// see [`filter`](crate::filter). It runs inside of the network: it must not use sockets on it.
    ///
    /// # Errors
    /// If there are [`MAX_FILTERS`](crate::filter::MAX_FILTERS) of that direction.
    pub fn add_filter(
        &self,
        direction: Direction,
        filter: impl FnMut(&mut Filtered<'_>) -> Verdict + 'static,
    ) -> Result<FilterId, TooManyFilters> {
        // What it owns, sockets perhaps, may be dropped only while nobody holds the network.
        if !self.shared.look(|state| state.stack.has_room_for_filter(direction)) {
            return Err(TooManyFilters);
        }
        self.shared.state().stack.add_filter(direction, filter)
    }

    /// Asks a filter no more, and drops it. Answers whether there was one.
    pub fn remove_filter(&self, id: FilterId) -> bool {
        let removed = self.shared.state().stack.remove_filter(id);
        removed.is_some()
    }

    /// Looks at the stack, for what it has counted. What is changed is looked at by the next round.
    pub fn with_stack<R>(&self, f: impl FnOnce(&mut stack::Stack) -> R) -> R {
        f(&mut self.shared.state().stack)
    }

    /// How full the stack is; nothing changes by looking.
    pub fn levels(&self) -> stack::Levels {
        self.shared.look(|state| state.stack.levels())
    }

    /// Shows what the stack and its devices count in the metrics of the current shard, as long as that lives.
    ///
    /// # Errors
    /// If a network has been published on this shard already.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn publish(&self) -> Result<(), RegisterError> {
        metrics::publish(self)
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// How it shares its devices with other shards.
    pub(crate) fn spread(&self) -> Option<&Arc<Spread>> {
        self.spread.as_ref()
    }

    pub(crate) fn with_ports<R>(&self, f: impl FnOnce(&[Port]) -> R) -> R {
        self.shared.look(|state| f(&state.ports))
    }

    /// What the current shard has forwarded to others.
    pub fn spread_counters(&self) -> SpreadCounters {
        let count = |port: &Port| port.shared.as_ref().map(SharedDevice::counters).unwrap_or_default();
        self.with_ports(|ports| ports.iter().map(count).fold(SpreadCounters::default(), SpreadCounters::plus))
    }

    /// Who is to deal with an address, if not we.
    fn other(&self, address: &Address) -> Option<&Rc<dyn Stack>> {
        let is_local = inet(address).map_or(true, |address| address.ip().is_loopback());
        self.beside.as_ref().filter(|_| is_local)
    }

    fn listen_at(&self, address: SocketAddr, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error> {
        let backlog = usize::try_from(options.backlog).unwrap_or(usize::MAX);
        // As the kernel has it (ipv6(7), `IPV6_V6ONLY`).
        let is_dual = address.ip() == Ipv6Addr::UNSPECIFIED && !options.ipv6_only;
        let listen = |port, lease| {
            let at = SocketAddr::new(address.ip(), port);
            let (options, mut state) = (Rc::clone(&self.shared.options), self.shared.state());
            let id = match is_dual {
                true => state.stack.tcp().listen_dual(port, backlog, options),
                false => state.stack.listen(at, backlog, options),
            }?;
            Ok(Rc::new(Listener::new(Rc::clone(&self.shared), id, at, lease)) as Rc<dyn ListenSocket>)
        };
        let lease = self.lease(IpProtocol::TCP, address.port(), options.is_shared)?;
        let outcome = match (&lease, address.port()) {
            (Some(Lease { port, .. }), _) => listen(*port, lease),
            (None, 0) => {
                let mut tries = self.free_tcp.all_from(random().into()).map(|port| listen(port, None));
                let outcome = tries.find(|outcome| !matches!(outcome, Err(OpenError::InUse)));
                outcome.unwrap_or(Err(OpenError::InUse))
            }
            (None, port) => listen(port, None),
        };
        outcome.map_err(of_open)
    }

    /// Opens a port among the shards, if there are others.
    fn lease(&self, protocol: IpProtocol, port: u16, is_shared: bool) -> Result<Option<Lease>, Error> {
        let Some(spread) = &self.spread else { return Ok(None) };
        let claim = if is_shared { Claim::Shared } else { Claim::Alone };
        let nth = self.unnamed.get();
        self.unnamed.set(nth + usize::from(is_shared && port == 0));
        spread.open(protocol, port, claim, nth).map(Some).ok_or(Error::AddressInUse)
    }

    /// Answers to a port that was chosen by the application must come to this shard.
    fn check_source(&self, from: Option<SocketAddr>, to: &Address) -> Result<(), Error> {
        let Some((spread, from)) = self.spread.as_ref().zip(from.filter(|from| from.port() != 0)) else {
            return Ok(());
        };
        let to = inet(to)?;
        let nearest = || self.shared.look(|state| state.stack.source_for(to.ip())).ok_or(Error::NetworkUnreachable);
        let ip = if from.ip().is_unspecified() { nearest()? } else { from.ip() };
        let addresses = AddressPair::new(to.ip(), ip).ok_or(Error::Unsupported)?;
        let flow = FourTuple { addresses, src_port: to.port(), dst_port: from.port() };
        let is_ours = spread.owner(IpProtocol::TCP, flow) == current::shard_id().index();
        if is_ours { Ok(()) } else { Err(Error::AddressNotAvailable) }
    }

    fn connect_to(&self, to: &Address, from: Option<&Address>) -> Result<Rc<dyn StreamSocket>, Error> {
        let from = from.map(inet).transpose()?;
        self.check_source(from, to)?;
        let now = self.shared.now();
        let options = Rc::clone(&self.shared.options);
        let id = self.shared.state().stack.connect(now, from, inet(to)?, options).map_err(of_open)?;
        if to.inet().is_some_and(|to| to.is_ipv6()) {
            self.shared.state().stack.tcp().show_as_v6(id);
        }
        Stream::open(Held::new(Rc::clone(&self.shared), id)).ok_or(Error::NotConnected)
    }
}

/// A number that nobody can guess.
pub(crate) fn random() -> u16 {
    let mut bytes = [0; 2];
    current::entropy(&mut bytes);
    u16::from_ne_bytes(bytes)
}

/// An address of either version of IP; there are no others. One of IPv4 in the form of IPv6 is one of IPv4 (RFC 4291 §2.5.5.2).
pub(crate) fn inet(address: &Address) -> Result<SocketAddr, Error> {
    let address = address.inet().ok_or(Error::Unsupported)?;
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => Ok((v4, address.port()).into()),
        IpAddr::V6(_) => Ok(address),
    }
}

/// An address as a socket of IPv6 shows it, which the kernel's do with those of IPv4 too.
pub(crate) fn in_v6_form(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => address,
    }
}

impl Stack for Network {
    fn listen(&self, address: &Address, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error> {
        match self.other(address) {
            Some(other) => other.listen(address, options),
            None => self.listen_at(inet(address)?, options),
        }
    }

    fn connect(&self, address: &Address, options: &ConnectOptions) -> Connecting {
        if let Some(other) = self.other(address) {
            return other.connect(address, options);
        }
        match self.connect_to(address, options.from.as_ref()) {
            Ok(stream) => Connecting::Socket(stream),
            Err(error) => Connecting::new(ready(Err(error))),
        }
    }

    fn attach(&self, stream: Detached) -> Result<Rc<dyn StreamSocket>, Error> {
        match (&self.beside, stream.is::<sunstar_executor::Foreign<Held>>()) {
            (Some(other), false) => other.attach(stream),
            _ => Stream::attach(stream.into_inner()?),
        }
    }

    fn bind(&self, address: &Address, options: &DatagramOptions) -> Result<Rc<dyn DatagramSocket>, Error> {
        if let Some(other) = self.other(address) {
            return other.bind(address, options);
        }
        let udp = UdpOptions { may_broadcast: options.broadcast, ..self.udp };
        let mut at = inet(address)?;
        let lease = self.lease(IpProtocol::UDP, at.port(), options.reuse_port)?;
        at.set_port(lease.as_ref().map_or(at.port(), |lease| lease.port));
        let id = self.shared.state().stack.udp_bind(at, udp).map_err(of_open)?;
        Ok(Rc::new(Datagrams::new(Rc::clone(&self.shared), id, lease)))
    }

    fn allocate_buffer(&self, bytes: usize) -> BufferMut {
        self.shared.look(|state| state.allocate_buffer(bytes, None))
    }

    fn default_address(&self) -> IpAddr {
        let address = self.shared.look(|state| {
            let interfaces = state.ports.iter().filter_map(|port| state.stack.interface(port.interface));
            // One of IPv4 for each interface that has one, or one of IPv6 that means something everywhere.
            let is_wide = |address: &IpAddr| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            let mut addresses = interfaces.filter_map(|interface| {
                let all = interface.addresses().iter().map(|prefix| prefix.address());
                all.filter(is_wide).min_by_key(IpAddr::is_ipv6)
            });
            let first = addresses.next()?;
            // Of several, all are meant.
            let all = if first.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            Some(if addresses.next().is_none() { first } else { all })
        });
        address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn is_spread(&self, address: &Address) -> bool {
        self.other(address).is_none_or(|other| other.is_spread(address))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}
