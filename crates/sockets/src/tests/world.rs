use core::cell::{Cell, RefCell, RefMut};
use core::net::{Ipv4Addr, SocketAddr};

use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{Limits, Stack};
use sunstar_tcpip::time::Instant;

use crate::calls::Platform;
use crate::descriptors::Fd;
use crate::errno::Errno;
use crate::numbers::{family, kind};
use crate::{Settings, Sockets};

/// Two machines, of which the first one's calls may wait: then the second one runs.
pub(super) struct World {
    now: Cell<u64>,
    pub(super) machines: [RefCell<Sockets>; 2],
    links: [InterfaceId; 2],
    /// What the other side does while a call waits, one after the other.
    pub(super) script: RefCell<Vec<Step>>,
}

type Step = Box<dyn FnOnce(&World)>;

/// Packets take so long, in microseconds.
const DELAY: u64 = 1_000;

pub(super) fn address(machine: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, machine + 1).into(), port)
}

fn machine(index: u8, settings: Settings) -> (Sockets, InterfaceId) {
    let mut stack = Stack::new([index; 16], Limits::DEFAULT);
    let options = InterfaceOptions { link: Link::Ip, mtu: 1_500, capabilities: Capabilities::default() };
    let link = stack.add_interface(options).expect("there is room");
    let prefix = Prefix::new(address(index, 0).ip(), 24).expect("24 bits");
    stack.add_address(Instant::from_micros(1_000_000), link, prefix).expect("it is a station's");
    (Sockets::new(stack, settings), link)
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_settings(Settings::DEFAULT)
    }

    pub(super) fn with_settings(settings: Settings) -> Self {
        let [(one, first), (other, second)] = [machine(0, settings.clone()), machine(1, settings)];
        Self {
            now: Cell::new(1_000_000),
            machines: [RefCell::new(one), RefCell::new(other)],
            links: [first, second],
            script: RefCell::default(),
        }
    }

    pub(super) fn time(&self) -> Instant {
        Instant::from_micros(self.now.get())
    }

    pub(super) fn on<T>(&self, machine: usize, act: impl FnOnce(&mut Sockets, Instant) -> T) -> T {
        act(&mut self.machines[machine].borrow_mut(), self.time())
    }

    /// Carries packets until nobody sends any more; answers whether there were any.
    pub(super) fn run(&self) -> bool {
        let mut is_any = false;
        while self.carry(0) + self.carry(1) > 0 {
            is_any = true;
        }
        is_any
    }

    fn carry(&self, from: usize) -> usize {
        let mut packets = Vec::new();
        {
            let mut sender = self.machines[from].borrow_mut();
            while let Some((_, packet)) = sender.stack().poll_transmit(self.time()) {
                packets.push(packet);
            }
            sender.look(self.time());
        }
        let count = packets.len();
        self.now.set(self.now.get() + if count > 0 { DELAY } else { 0 });
        let mut receiver = self.machines[1 - from].borrow_mut();
        receiver.stack().handle_packets(self.time(), self.links[1 - from], packets);
        receiver.look(self.time());
        count
    }

    /// Lets so many microseconds pass.
    pub(super) fn pass(&self, micros: u64) {
        self.run();
        let until = self.now.get() + micros;
        loop {
            let due = |machine: &RefCell<Sockets>| machine.borrow_mut().stack().deadline();
            let next = self.machines.iter().filter_map(due).min().map(Instant::as_micros);
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now.set(next.max(self.now.get()));
            for machine in &self.machines {
                machine.borrow_mut().stack().handle_timeout(self.time());
            }
            self.run();
        }
        self.now.set(until.max(self.now.get()));
    }

    pub(super) fn socket(&self, machine: usize) -> Fd {
        self.on(machine, |sockets, _| sockets.socket(family::INET.into(), kind::STREAM, 0)).expect("there is room")
    }

    /// A listener of the second machine.
    pub(super) fn listener(&self) -> Fd {
        let fd = self.socket(1);
        self.on(1, |sockets, _| sockets.bind(fd, address(1, 80))).expect("the port is free");
        self.on(1, |sockets, _| sockets.listen(fd, 16)).expect("it is bound");
        fd
    }

    /// A connection: the descriptors of the first machine, and of the second one.
    pub(super) fn connected(&self) -> (Fd, Fd) {
        let (client, listener) = (self.socket(0), self.listener());
        let begun = self.on(0, |sockets, now| sockets.connect(now, client, address(1, 80)));
        assert_eq!(begun, Err(Errno::INPROGRESS));
        self.run();
        assert_eq!(self.on(0, |sockets, now| sockets.connecting(now, client)), Ok(()));
        let server = self.on(1, |sockets, now| sockets.accept(now, listener, 0)).expect("it is open");
        (client, server)
    }

    pub(super) fn send(&self, machine: usize, fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
        let sent = self.on(machine, |sockets, now| sockets.send(now, fd, &[bytes], 0, None));
        self.run();
        sent
    }

    pub(super) fn receive(&self, machine: usize, fd: Fd, flags: i32) -> Result<Vec<u8>, Errno> {
        let mut bytes = [0; 64];
        let received = self.on(machine, |sockets, now| sockets.receive(now, fd, &mut [&mut bytes], flags))?;
        self.run();
        Ok(bytes[..received.bytes].to_vec())
    }
}

/// The first machine, on which calls wait.
impl Platform for World {
    type Guard<'a> = RefMut<'a, Sockets>;

    fn lock(&self) -> RefMut<'_, Sockets> {
        self.machines[0].borrow_mut()
    }

    fn now(&self) -> Instant {
        self.time()
    }

    fn changed(&self, sockets: &mut Sockets) {
        sockets.look(self.time());
    }

    fn wait<'a>(&'a self, guard: RefMut<'a, Sockets>, deadline: Option<Instant>) -> Result<RefMut<'a, Sockets>, Errno> {
        drop(guard);
        if self.run() {
            return Ok(self.lock());
        }
        let step = self.script.borrow_mut().pop();
        match (step, deadline) {
            (Some(step), _) => step(self),
            (None, Some(deadline)) => self.pass((deadline - self.time()).as_micros().try_into().unwrap_or(0)),
            (None, None) => return Err(Errno::INTR),
        }
        self.run();
        Ok(self.lock())
    }
}
