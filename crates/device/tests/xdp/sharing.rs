//! A hardware address that is the kernel's and the stack's: what comes for it goes to either by its IP address, and by its port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sunstar_device::{Device, MAX_XDP_ADDRESSES, Xdp, XdpError};
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{Arp, EtherType, EthernetHeader, Ipv4Packet, MacAddr, Vlan};

use crate::errors::is_detached;
use crate::kernel_socket;
use crate::namespace::{in_namespace, ip};
use crate::wire::{HERE_MAC, HOST, Host, KERNEL, UDP_PORT, bytes, meet, open, pair};

/// Somebody else who is to be reached there.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);

/// The device `here`, whose hardware address is shared.
fn share(options: &str) -> Xdp {
    let device = Xdp::open(&format!("here,mac=shared{options}").parse().unwrap());
    let device = device.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((device.kernel_mac(), device.capabilities().mac), (HERE_MAC, HERE_MAC));
    meet(HERE_MAC);
    ip(&format!("neigh replace {OTHER} lladdr {HERE_MAC} dev there"));
    device
}

/// The contents of the datagrams that come until one that says `last`.
fn texts(host: &mut Host, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != last) {
        let packet = bytes(&host.receive(EtherType::IPV4));
        let datagram = Ipv4Packet::parse(&packet[14..]).unwrap();
        texts.push(String::from_utf8(datagram.payload()[8..].to_vec()).unwrap());
    }
    texts
}

#[test]
fn an_address_is_the_stacks_as_long_as_it_has_it() {
    in_namespace(|| {
        pair(1);
        let mut device = share("");
        let addresses = device.addresses().expect("they tell what is whose");
        let mut host = Host::new(&mut device, 0);
        let kernel = kernel_socket();
        let send = |text: &str, to| kernel.send_to(text.as_bytes(), (to, UDP_PORT)).unwrap();
        send("too early", HOST);
        addresses.add(HOST.into()).unwrap();
        send("one", HOST);
        send("to another one", OTHER);
        addresses.add(OTHER.into()).unwrap();
        addresses.add(HOST.into()).unwrap();
        send("two", OTHER);
        addresses.remove(HOST.into()).unwrap();
        addresses.remove(HOST.into()).unwrap();
        send("too late", HOST);
        send("three", OTHER);
        assert_eq!(texts(&mut host, "three"), ["one", "two", "three"]);
        let packet = host.datagram(&[Buffer::from_static(b"and back")]);
        host.send(packet);
        assert_eq!(kernel.recv(&mut [0; 64]).unwrap(), 8);
    });
}

#[test]
fn of_an_address_of_both_only_ports_are_the_stacks() {
    in_namespace(|| {
        pair(1);
        let mut device = share(&format!(",udp={UDP_PORT},udp=5000-5001"));
        device.addresses().unwrap().add(HOST.into()).unwrap();
        let mut host = Host::new(&mut device, 0);
        let kernel = kernel_socket();
        for port in [UDP_PORT, UDP_PORT + 1, 4_999, 5_000, 5_001, 5_002] {
            kernel.send_to(port.to_string().as_bytes(), (HOST, port)).unwrap();
        }
        kernel.send_to(b"last", (HOST, UDP_PORT)).unwrap();
        assert_eq!(texts(&mut host, "last"), ["9", "5000", "5001", "last"]);
    });
}

/// An error of ICMP, which comes about a datagram to a port that nobody has.
fn error_about_a_datagram(host: &mut Host) -> Vec<u8> {
    let packet = host.datagram_to(UDP_PORT + 1, &[Buffer::from_static(b"to nobody")]);
    host.send(packet);
    let error = bytes(&host.receive(EtherType::IPV4));
    assert_eq!((error[23], error[34]), (1, 3), "it is ICMP: the destination is unreachable");
    error
}

#[test]
fn errors_come_once_and_answers_of_arp_too() {
    for ports in ["", ",udp=9"] {
        in_namespace(move || {
            pair(1);
            let mut device = share(ports);
            device.addresses().unwrap().add(HOST.into()).unwrap();
            let mut host = Host::new(&mut device, 0);
            let kernel = kernel_socket();
            let error = error_about_a_datagram(&mut host);
            assert_eq!(error[30..34], HOST.octets());
            let ethernet = EthernetHeader {
                dst: MacAddr::BROADCAST,
                src: HERE_MAC,
                vlan: Vlan::Untagged,
                ethertype: EtherType::ARP,
            };
            let request = Arp::request(HERE_MAC, HOST, KERNEL).to_bytes();
            host.send(Packet::from(Buffer::from([&ethernet.to_bytes()[..], &request].concat())));
            // Copies come in order: there would be another one of the error before this.
            let come: Vec<_> = host.receive_until(EtherType::ARP).iter().map(bytes).collect();
            let (answer, before) = come.split_last().unwrap();
            assert!(before.iter().all(|frame| frame[12..14] != [8, 0]), "the error came twice");
            assert_eq!(answer[..6], HERE_MAC.0);
            assert_eq!(answer[20..22], [0, 2], "it is an answer");
            assert_eq!(answer[28..32], KERNEL.octets());
            kernel.send_to(b"last", (HOST, UDP_PORT)).unwrap();
            assert_eq!(texts(&mut host, "last"), ["last"]);
        });
    }
}

#[test]
fn what_is_for_groups_comes_as_ever() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut share(""), 0);
        ip(&format!("neigh del {HOST} dev there"));
        kernel_socket().send_to(b"who is it", (HOST, UDP_PORT)).unwrap();
        let request = bytes(&host.receive(EtherType::ARP));
        assert_eq!(request[..6], [0xff; 6]);
    });
}

#[test]
fn addresses_that_can_not_be_told_apart_are_refused() {
    in_namespace(|| {
        pair(1);
        assert!(open("here").addresses().is_none(), "it has a hardware address of its own");
        ip("addr add 2001:db8::1/64 dev there nodad");
        // A second one of the same prefix: the kernel does not send from that to itself.
        ip("addr add 10.9.0.5/24 dev there");
        // One that it is still asking others about.
        std::fs::write("/proc/sys/net/ipv6/conf/there/dad_transmits", "60").unwrap();
        ip("addr add 2001:db8::5/64 dev there");
        let v6 = |last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let kernels = [IpAddr::from(KERNEL), v6(1), [10, 9, 0, 5].into(), v6(5)];
        let device = share("");
        for address in kernels {
            let error = device.addresses().unwrap().add(address).unwrap_err();
            let expected = format!(
                "the kernel has {address} as well: with mac=shared the stack needs another one, or ports of its own, as in tcp=80"
            );
            assert_eq!(error.to_string(), expected);
        }
        drop(device);
        is_detached();
        let device = share(",tcp=80");
        kernels.into_iter().for_each(|address| device.addresses().unwrap().add(address).unwrap());
    });
}

#[test]
fn link_local_addresses_of_the_kernels_are_refused_with_ports_or_without() {
    in_namespace(|| {
        pair(1);
        ip("addr add fe80::7/64 dev here nodad");
        ip("addr add fe80::8/64 dev there nodad");
        let link_local = |last| IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last));
        for ports in ["", ",udp=9"] {
            let device = share(ports);
            let addresses = device.addresses().unwrap();
            let error = addresses.add(link_local(7)).unwrap_err();
            let expected = "the kernel has fe80::7 as well: with mac=shared the stack needs another one";
            assert_eq!(error.to_string(), expected);
            addresses.add(link_local(8)).expect("the kernel has it at another interface only");
            drop((device, addresses));
            is_detached();
        }
    });
}

#[test]
fn there_are_so_many_addresses_at_most() {
    in_namespace(|| {
        pair(1);
        let addresses = share("").addresses().unwrap();
        let v4 = |n: u8| IpAddr::from([198, 51, 100, n]);
        let v6 = |n: u8| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()));
        for n in 0..=u8::MAX {
            addresses.add(v4(n)).unwrap();
            addresses.add(v6(n)).unwrap();
        }
        assert_eq!(usize::from(u8::MAX) + 1, MAX_XDP_ADDRESSES);
        let error = addresses.add(HOST.into()).unwrap_err();
        assert!(matches!(error, XdpError::Addresses { .. }), "{error}");
        assert_eq!(error.to_string(), "here is shared for 256 addresses of each version of IP, not more");
        addresses.remove(v4(0)).unwrap();
        addresses.add(HOST.into()).unwrap();
    });
}
