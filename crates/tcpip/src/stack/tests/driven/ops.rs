//! What may happen.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

use sunstar_packet::Packet;
use sunstar_tcpip::filter::{Direction, Verdict};
use sunstar_tcpip::udp::{UdpId, UdpOptions};
use sunstar_wire::TcpFlags;

use super::forge::{self, Forged};
use super::input::Input;
use super::link::Fate;
use super::{PORT, SILENT, World, addresses};

/// The port of datagrams.
const DATAGRAMS: u16 = 53;

/// What was sent in datagrams: from whom, and how long each is.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    sockets: Vec<UdpId>,
    lengths: BTreeMap<(usize, u32), usize>,
}

fn content(from: usize, number: u32, len: usize) -> Vec<u8> {
    let word = number.wrapping_mul(0x9e37_79b1).wrapping_add(u32::try_from(from).expect("two"));
    let body = (0..len).zip(0_u32..).map(|(_, at)| word.wrapping_mul(at | 1).to_be_bytes()[0]);
    number.to_be_bytes().into_iter().chain(body).collect()
}

impl World {
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 20 {
            0 | 1 => self.connect(input),
            2..=4 => self.send(input),
            5 => self.receive(input),
            6 => self.end_one(input),
            7..=9 => self.run_for(input.wait()),
            10..=12 => self.plan(input),
            13 => self.guess(input),
            14 => self.smuggle(input),
            15 => self.send_datagram(input),
            16 => self.refuse(input),
            18 => self.configure(input),
            19 => self.run_for(input.wait()),
            _ => self.change_habits(input),
        }
        self.transmit();
    }

    fn connect(&mut self, input: &mut Input<'_>) {
        let from = input.host();
        let port = input.byte();
        // Some use the ports of earlier ones.
        let src_port = if port < 192 { 0 } else { 40_000 + u16::from(port & 3) };
        let all = addresses(self.is_v6);
        let (src, dst) = (SocketAddr::from((all[from], src_port)), SocketAddr::from((all[1 - from], PORT)));
        let host = &mut self.hosts[from];
        let Ok(id) = host.stack.connect(self.now, Some(src), dst, host.options) else { return };
        let flow = host.stack.tcp().flow(id).expect("it is ours");
        self.apps.add(from, id, flow);
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let (at, len) = (input.byte(), input.len());
        if let Some(at) = self.apps.choose(at) {
            let host = self.apps.endpoints[at].host;
            self.apps.send(&mut self.hosts[host].stack, at, len, &self.held);
        }
    }

    fn receive(&mut self, input: &mut Input<'_>) {
        let (at, parts) = (input.byte(), input.byte() % 8);
        if let Some(at) = self.apps.choose(at) {
            let host = self.apps.endpoints[at].host;
            self.apps.receive(&mut self.hosts[host].stack, at, parts.into());
        }
    }

    fn end_one(&mut self, input: &mut Input<'_>) {
        let (at, how) = (input.byte(), input.byte());
        let Some(at) = self.apps.choose(at) else { return };
        let stack = &mut self.hosts[self.apps.endpoints[at].host].stack;
        match how % 4 {
            0 | 1 => self.apps.close(self.now, stack, at),
            2 => self.apps.release(self.now, stack, at),
            _ => self.apps.abort(self.now, stack, at),
        }
    }

    fn configure(&mut self, input: &mut Input<'_>) {
        let (at, how) = (input.byte(), input.byte());
        let Some(at) = self.apps.choose(at) else { return };
        let endpoint = &self.apps.endpoints[at];
        self.hosts[endpoint.host].stack.tcp().configure(endpoint.id, |connection| match how % 4 {
            0 => connection.set_corked(true),
            1 => connection.set_corked(false),
            2 => connection.push_all(),
            _ => connection.set_zero_linger(how & 8 != 0),
        });
    }

    fn plan(&mut self, input: &mut Input<'_>) {
        let (host, kind, after) = (input.host(), input.byte(), input.byte() % 32);
        let link = &mut self.links[host];
        match kind % 8 {
            0..=2 => link.plan(after, Fate::Lost),
            3 => link.plan(after, Fate::Twice),
            4 | 5 => link.plan(after, Fate::Late(input.byte())),
            6 => link.plan(after, Fate::Damaged { at: input.byte(), change: input.byte() }),
            // Of all packets, or of some, or of none any more.
            _ => link.loses_one_of = input.one_of([0, 1, 2, 5, 10, 30]),
        }
    }

    fn change_habits(&mut self, input: &mut Input<'_>) {
        let (host, what) = (input.host(), input.byte());
        match what {
            0..128 => self.change_application(host, what),
            128..160 => self.pause(host),
            160..176 => self.resume(host),
            176..216 => self.change_filter(host, what),
            _ => self.look_elsewhere(host),
        }
    }

    /// The device of a host takes nothing from now on.
    fn pause(&mut self, host: usize) {
        self.excuses.has_paused = true;
        let host = &mut self.hosts[host];
        host.is_paused = true;
        host.waiting.on_pause();
        host.stack.pause(host.interface);
    }

    pub(super) fn resume(&mut self, host: usize) {
        // What has waited leaves later than it would have.
        self.watch.on_disturbance();
        let host = &mut self.hosts[host];
        host.is_paused = false;
        host.stack.resume(host.interface);
    }

    /// From now on one packet of some is dropped before the stack has it, or none any more.
    fn change_filter(&mut self, host: usize, what: u8) {
        let host = &mut self.hosts[host];
        if host.filter.is_some() {
            return host.remove_filter();
        }
        let (dropped, mut count, one_of) = (Rc::clone(&host.filtered), 0, 2 + u32::from(what % 8));
        let filter = host.stack.add_filter(Direction::Input, move |_| {
            count += 1;
            if count % one_of != 0 {
                return Verdict::Pass;
            }
            dropped.set(dropped.get() + 1);
            Verdict::Drop
        });
        host.filter = Some(filter.expect("the first one"));
    }

    /// What leaves by another device does not wait for the one that takes nothing.
    fn look_elsewhere(&mut self, from: usize) {
        let host = &mut self.hosts[from];
        let before = host.elsewhere;
        let Ok(id) = host.stack.connect(self.now, None, (SILENT, PORT).into(), host.options) else { return };
        self.transmit();
        let host = &mut self.hosts[from];
        assert!(host.elsewhere > before, "the other device waits too");
        host.stack.tcp().abort(self.now, id);
    }

    fn change_application(&mut self, host: usize, what: u8) {
        let host = &mut self.hosts[host];
        match what % 8 {
            0..=2 => host.is_reading = !host.is_reading,
            3 | 4 => host.is_accepting = !host.is_accepting,
            5 => host.listen(),
            _ => {
                let Some(listener) = host.listener.take() else { return };
                host.stack.tcp().unlisten(self.now, listener);
                self.excuses.has_refused = true;
            }
        }
    }

    fn guess(&mut self, input: &mut Input<'_>) {
        if let Some(forged) = forge::guess(input, &self.watch, self.excuses.has_paused || self.is_ethernet) {
            // Who guesses the number of an answer to a SYN confirms it before it has arrived (RFC 9293 §3.10.7.4).
            let other = self.watch.get(&forged.flow.reversed());
            self.excuses.has_guessed_answer |= other.is_some_and(|other| other.last.flags.contains(TcpFlags::SYN));
            self.inject(&forged);
        }
    }

    fn smuggle(&mut self, input: &mut Input<'_>) {
        if let Some(forged) = forge::anything(input, &self.watch, self.is_v6) {
            self.inject(&forged);
        }
    }

    fn inject(&mut self, forged: &Forged) {
        let Some(to) = forged.host() else { return };
        if !forged.is_harmless {
            self.apps.taint(forged.flow);
        }
        self.watch.on_disturbance();
        let packet = self.held.packet(forged.to_bytes(self.is_ethernet));
        self.give(to, packet);
    }

    /// An error about the last segment of a host.
    fn refuse(&mut self, input: &mut Input<'_>) {
        let host = input.host();
        let quoted = self.hosts[host].last.clone();
        if quoted.is_empty() {
            return;
        }
        self.excuses.path_errors += 1;
        self.watch.on_disturbance();
        let packet = self.held.packet(forge::error_about(input, &quoted, self.is_ethernet));
        self.give(host, packet);
    }

    pub(super) fn bind_datagrams(&mut self) {
        let sockets = self.hosts.iter_mut().zip(addresses(self.is_v6)).map(|(host, address)| {
            let options = UdpOptions { receive_capacity: 10_000, may_broadcast: false };
            host.stack.udp_bind((address, DATAGRAMS).into(), options).expect("it is free")
        });
        self.datagrams.sockets = sockets.collect();
    }

    fn send_datagram(&mut self, input: &mut Input<'_>) {
        let (from, len) = (input.host(), input.len());
        let number = u32::try_from(self.datagrams.lengths.len()).expect("few");
        let payload = Packet::from(self.held.buffer(content(from, number, len)));
        let (socket, to) = (self.datagrams.sockets[from], (addresses(self.is_v6)[1 - from], DATAGRAMS).into());
        if self.hosts[from].stack.udp_send(self.now, socket, Some(to), payload).is_ok() {
            self.datagrams.lengths.insert((from, number), len);
        }
    }

    /// What arrives is what was sent.
    pub(super) fn receive_datagrams(&mut self, host: usize) {
        let damaged: u32 = self.links.iter().map(|link| link.damaged).sum();
        while let Some(received) = self.hosts[host].stack.udp().receive(self.datagrams.sockets[host]) {
            let bytes = received.payload.buffers().concat();
            let number = bytes.first_chunk().map(|number| u32::from_be_bytes(*number)).expect("it has a number");
            let len = self.datagrams.lengths.get(&(1 - host, number));
            // Two damages in pieces of one datagram may hide each other.
            assert!(damaged > 1 || len.is_some_and(|len| bytes == content(1 - host, number, *len)));
        }
    }
}
