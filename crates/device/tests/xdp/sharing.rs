//! A hardware address that is the kernel's and the stack's: what comes for it goes to either by its IP address, and by its port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use sunstar_device::{Device, MAX_XDP_ADDRESSES, Xdp, XdpError};
use sunstar_packet::{Buffer, Packet};
use sunstar_wire::{Arp, EtherType, EthernetHeader, Ipv4Packet, MacAddr, Vlan};

use crate::errors::is_detached;
use crate::kernel_socket;
use crate::logged::warnings_of;
use crate::namespace::{in_namespace, ip};
use crate::wire::{HERE_MAC, HOST, Host, KERNEL, NOW, UDP_PORT, bytes, meet, open, pair};

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

/// How many packets of IPv4 have come to the kernel in this namespace.
fn kernel_has_received() -> u64 {
    let counters = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let [names, values] = [0, 1].map(|nth| counters.lines().filter(|line| line.starts_with("Ip: ")).nth(nth).unwrap());
    let at = names.split(' ').position(|name| name == "InReceives").unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

#[test]
fn what_comes_for_the_stack_by_queues_that_it_does_not_have_is_lost_and_not_the_kernels() {
    in_namespace(|| {
        pair(2);
        let mut device = None;
        let warnings = warnings_of(|| device = Some(share(&format!(",queues=1,udp={UDP_PORT}"))));
        assert_eq!(warnings, ["WARN xdp:here: what comes for the stack by 1 of its 2 queues is lost"]);
        let mut device = device.unwrap();
        device.addresses().unwrap().add(HOST.into()).unwrap();
        let mut host = Host::new(&mut device, 0);
        let sockets: Vec<_> = (0..64).map(|_| UdpSocket::bind((KERNEL, 0)).unwrap()).collect();
        let before = kernel_has_received();
        let send = |port: u16| {
            for socket in &sockets {
                socket.send_to(b"by either", (HOST, port)).unwrap();
            }
        };
        send(UDP_PORT);
        // These are the kernel's, and come by either queue behind those.
        send(UDP_PORT + 1);
        let all_have_come = (0..1_000).any(|_| {
            sleep(Duration::from_millis(10));
            kernel_has_received() >= before + 64
        });
        assert!(all_have_come);
        assert_eq!(kernel_has_received(), before + 64);
        while host.queue.rx_burst(NOW, &mut host.arrived, 32).unwrap() > 0 {}
        let received = host.take(EtherType::IPV4).len();
        assert!((1..64).contains(&received), "{received}");
    });
}

#[test]
fn a_hardware_address_of_the_kernels_that_changes_is_told_of() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut share(""), 0);
        let mut after = |seconds| {
            let now = NOW + Duration::from_secs(seconds);
            warnings_of(|| assert!(host.queue.rx_burst(now, &mut host.arrived, 32).is_ok()))
        };
        assert!(after(0).is_empty());
        ip("link set here address 02:00:00:00:00:77");
        let told = "ERROR xdp:here: its hardware address is 02:00:00:00:00:77 now, and the stack's is 02:00:00:00:00:20 still: nothing \
                    comes for the stack until it is that again, or this process is started again";
        assert_eq!(after(1), [told]);
        assert!(after(2).is_empty(), "it is told once");
        ip(&format!("link set here address {HERE_MAC}"));
        assert!(after(3).is_empty());
        ip("link set here address 02:00:00:00:00:77");
        assert_eq!(after(4), [told]);
    });
}

/// What is told when a shard sleeps, and something happens.
fn told_after_sleep(host: &mut Host, act: impl FnOnce()) -> Vec<String> {
    // What the kernel tells of itself by IPv6 may come at any time.
    let mut told = Vec::new();
    host.burst();
    act();
    for _ in 0..100 {
        host.wait();
        told = warnings_of(|| host.burst());
        if !told.is_empty() {
            break;
        }
    }
    told
}

#[test]
fn a_shard_that_sleeps_hears_of_another_hardware_address() {
    in_namespace(|| {
        pair(1);
        let mut host = Host::new(&mut share(""), 0);
        let told = told_after_sleep(&mut host, || ip("link set here address 02:00:00:00:00:77"));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("its hardware address is 02:00:00:00:00:77 now"), "{told:?}");
    });
}

#[test]
fn an_address_that_the_kernel_gets_later_is_the_kernels_until_it_gives_it_up() {
    in_namespace(|| {
        pair(1);
        let mut device = share("");
        let addresses = device.addresses().unwrap();
        addresses.add(HOST.into()).unwrap();
        addresses.add(OTHER.into()).unwrap();
        let mut host = Host::new(&mut device, 0);
        let kernel = kernel_socket();
        let send = |text: &str, to| kernel.send_to(text.as_bytes(), (to, UDP_PORT)).unwrap();
        let told = told_after_sleep(&mut host, || ip(&format!("addr add {HOST}/32 dev lo")));
        let expected = format!(
            "ERROR xdp:here: the kernel has got {HOST}, which is the stack's: what comes for it is the kernel's until it gives that up; \
             the stack needs another one, or ports of its own, as in tcp=80"
        );
        assert_eq!(told, [expected]);
        // The route to itself is the kernel's own now: the peer is in the same namespace.
        ip(&format!("route del local {HOST} dev lo table local"));
        let before = kernel_has_received();
        send("to the kernel", HOST);
        send("to the stack", OTHER);
        assert_eq!(texts(&mut host, "to the stack"), ["to the stack"]);
        assert!(kernel_has_received() > before, "the kernel has it");
        assert!(addresses.add(HOST.into()).is_err());
        let told = told_after_sleep(&mut host, || ip(&format!("addr del {HOST}/32 dev lo")));
        assert_eq!(told, [format!("WARN xdp:here: {HOST} is the stack's again")]);
        send("to the stack again", HOST);
        assert_eq!(texts(&mut host, "to the stack again"), ["to the stack again"]);
        // What the stack gives up meanwhile is not its again.
        told_after_sleep(&mut host, || ip(&format!("addr add {HOST}/32 dev lo")));
        addresses.remove(HOST.into()).unwrap();
        ip(&format!("addr del {HOST}/32 dev lo"));
        send("to nobody", HOST);
        send("last", OTHER);
        assert_eq!(texts(&mut host, "last"), ["last"]);
    });
}

#[test]
fn addresses_of_both_stay_with_the_stacks_ports() {
    in_namespace(|| {
        pair(1);
        let mut device = share(&format!(",udp={UDP_PORT}"));
        device.addresses().unwrap().add(HOST.into()).unwrap();
        let mut host = Host::new(&mut device, 0);
        let warnings = warnings_of(|| {
            ip(&format!("addr add {HOST}/32 dev lo"));
            for seconds in 0..3 {
                host.queue.rx_burst(NOW + Duration::from_secs(seconds), &mut host.arrived, 32).unwrap();
            }
        });
        assert!(warnings.is_empty(), "{warnings:?}");
    });
}

#[test]
fn a_port_of_a_bridge_is_told_of_and_can_not_be_shared() {
    in_namespace(|| {
        pair(1);
        ip("link add br0 type bridge");
        let mut host = Host::new(&mut open("here"), 0);
        let told = told_after_sleep(&mut host, || ip("link set here master br0"));
        let expected = "WARN xdp:here: it is a port of the bridge br0: the stack is reached only from the other end of its wire, by no \
                        other port and not by the kernel (xdp:IFNAME needs an interface that is no port)";
        assert_eq!(told, [expected]);
        drop(host);
        is_detached();
        assert_eq!(warnings_of(|| drop(open("here"))), [expected]);
        is_detached();
        let error = Xdp::open(&"here,mac=shared".parse().unwrap()).unwrap_err();
        let expected = "here is a port of the bridge br0: the kernel's addresses are that one's, and mac=shared needs xdp:IFNAME of it, \
                        or an interface that is no port";
        assert_eq!(error.to_string(), expected);
        ip("link set here nomaster");
        assert!(warnings_of(|| drop(share(""))).is_empty());
    });
}

#[test]
fn ports_that_the_kernel_listens_at_are_told_of() {
    in_namespace(|| {
        pair(1);
        ip("addr add 2001:db8::1/64 dev there nodad");
        let _listeners =
            ["0.0.0.0:5000", "127.0.0.1:5001", "[2001:db8::1]:5002", "0.0.0.0:5004"].map(TcpListener::bind);
        let _socket = UdpSocket::bind((KERNEL, 5_003)).unwrap();
        let warnings = warnings_of(|| drop(share(",tcp=5000-5003,udp=5000-5003")));
        let told = |protocol, ports| {
            let what = "that are the stack's, and hears nothing there at addresses of both";
            format!("WARN xdp:here: the kernel has sockets at ports of {protocol} {what}: {ports}")
        };
        assert_eq!(warnings, [told("TCP", "5000, 5002"), told("UDP", "5003")]);
        is_detached();
        assert!(warnings_of(|| drop(share(",tcp=5001,udp=5002"))).is_empty());
    });
}
