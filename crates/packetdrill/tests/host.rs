//! The plug-in as packetdrill uses it: loaded by its file, driven through the structure of functions, with packets made here.

mod plug_in;

use std::ffi::{c_int, c_void};
use std::thread;

use libc::{AF_INET, SOCK_STREAM, sockaddr_in};
use plug_in::Host;
use sunstar_packet::Buffer;
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{AddressPair, IpProtocol, Ipv4Header, Ipv4Packet, Seq, TcpFlags, TcpHeader, TcpOptions, TcpSegment};

const OURS: [u8; 4] = [192, 168, 0, 1];
const THEIRS: [u8; 4] = [192, 0, 2, 1];
const PORT: u16 = 8_080;

/// A peer, in packets.
impl Host {
    /// Sends a packet to the stack.
    fn inject(self, header: TcpHeader, payload: &[u8]) {
        let addresses = AddressPair::V4 { src: THEIRS.into(), dst: OURS.into() };
        let header = TcpHeader { src_port: 40_000, dst_port: PORT, window: 60_000, ..header };
        let len = u32::try_from(header.header_len() + payload.len()).expect("short");
        let sum = pseudo_header(addresses, IpProtocol::TCP, len) + Sum::of(payload);
        let tcp = header.to_bytes(Fill::Complete(sum));
        let ip = Ipv4Header::new(IpProtocol::TCP, THEIRS.into(), OURS.into());
        let ip = ip.to_bytes(len as usize).expect("short");
        let bytes = [&ip[..], &tcp[..], payload].concat();
        assert_eq!((self.functions.netdev_send)(self.data(), bytes.as_ptr().cast(), bytes.len()), 0);
    }

    /// The next packet from the stack: when it left, its header, how many bytes it carries.
    fn sniff(self) -> (i64, TcpHeader, usize) {
        let (mut bytes, mut at) = ([0_u8; 2_048], 0);
        let mut len = bytes.len();
        assert_eq!((self.functions.netdev_receive)(self.data(), bytes.as_mut_ptr().cast(), &mut len, &mut at), 0);
        assert_ne!(len, 0, "something leaves");
        let ip = Ipv4Packet::parse(&bytes[..len]).expect("a packet");
        let segment = TcpSegment::parse(ip.payload()).expect("a segment");
        assert!(segment.has_valid_checksum(AddressPair::V4 { src: OURS.into(), dst: THEIRS.into() }));
        (at, segment.header(), segment.payload().len())
    }

    fn listener(self) -> c_int {
        let fd = (self.functions.socket)(self.data(), AF_INET, SOCK_STREAM, 0);
        assert!(fd > 2);
        let address = sockaddr_in {
            sin_family: 2,
            sin_port: PORT.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(OURS) },
            sin_zero: [0; 8],
        };
        let len = u32::try_from(size_of::<sockaddr_in>()).expect("small");
        assert_eq!((self.functions.bind)(self.data(), fd, std::ptr::from_ref(&address).cast(), len), 0);
        assert_eq!((self.functions.listen)(self.data(), fd, 4), 0);
        fd
    }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// One after the other, since there is one world for a process.
#[test]
fn a_script_of_calls_and_packets() {
    let host = plug_in::load("ipv4=192.168.0.1/16");
    let listener = host.listener();
    assert_eq!(time_passes_when_it_is_waited_for(host), 0);
    let accepted = a_call_that_blocks_ends_in_its_time(host, listener);
    bytes_go_both_ways(host, accepted);
    bad_memory_is_refused(host, accepted);
    info_is_told_through_the_interface(host, accepted);
    assert_eq!((host.functions.close)(host.data(), accepted), 0);
    let (_, header, _) = host.sniff();
    assert!(header.flags.contains(TcpFlags::FIN));
    assert_eq!((host.functions.close)(host.data(), accepted), -1);
    assert_eq!(errno(), libc::EBADF);
    (host.functions.free)(host.data());
}

fn time_passes_when_it_is_waited_for(host: Host) -> c_int {
    let before = host.micros();
    let done = (host.functions.usleep)(host.data(), 60_000_000);
    let passed = host.micros() - before;
    assert!((60_000_000..60_000_100).contains(&passed), "{passed}");
    done
}

fn a_call_that_blocks_ends_in_its_time(host: Host, listener: c_int) -> c_int {
    let began = host.micros();
    let (tell, told) = std::sync::mpsc::channel();
    let waiting = thread::spawn(move || {
        // All of it crosses.
        let host = host;
        tell.send(()).expect("somebody listens");
        let no_address = (std::ptr::null_mut(), std::ptr::null_mut());
        let fd = (host.functions.accept)(host.data(), listener, no_address.0, no_address.1);
        (fd, host.micros())
    });
    told.recv().expect("it has begun");
    (host.functions.usleep)(host.data(), 100_000);
    let mss = 1_000.try_into().ok();
    let options = TcpOptions { mss, ..TcpOptions::default() };
    host.inject(TcpHeader { flags: TcpFlags::SYN, options, ..TcpHeader::default() }, b"");
    let (_, answer, _) = host.sniff();
    assert_eq!((answer.flags, answer.ack), (TcpFlags::SYN | TcpFlags::ACK, Seq::new(1)));
    (host.functions.usleep)(host.data(), 100_000);
    host.inject(
        TcpHeader { flags: TcpFlags::ACK, seq: Seq::new(1), ack: answer.seq + 1, ..TcpHeader::default() },
        b"hello",
    );
    let (fd, ended) = waiting.join().expect("it does not panic");
    assert!(fd >= 0);
    assert!((200_000..201_000).contains(&(ended - began)), "{}", ended - began);
    fd
}

fn bytes_go_both_ways(host: Host, fd: c_int) {
    let mut bytes = [0_u8; 16];
    assert_eq!((host.functions.read)(host.data(), fd, bytes.as_mut_ptr().cast(), 16), 5);
    assert_eq!(&bytes[..5], b"hello");
    let (_, acknowledgement, _) = host.sniff();
    assert_eq!(acknowledgement.ack, Seq::new(6));
    let answer = Buffer::from_static(b"good day");
    assert_eq!((host.functions.write)(host.data(), fd, answer.as_ptr().cast(), answer.len()), 8);
    let (at, header, len) = host.sniff();
    assert_eq!((len, header.flags.contains(TcpFlags::PSH)), (8, true));
    let (again, repeated, _) = host.sniff();
    assert_eq!(repeated.seq, header.seq, "nobody has acknowledged it");
    assert!(again - at > 200_000, "{}", again - at);
}

fn bad_memory_is_refused(host: Host, fd: c_int) {
    let nowhere = std::ptr::without_provenance::<c_void>(8);
    assert_eq!((host.functions.write)(host.data(), fd, nowhere, 10), -1);
    assert_eq!(errno(), libc::EFAULT);
    assert_eq!((host.functions.read)(host.data(), fd, nowhere.cast_mut(), 10), -1);
    assert_eq!(errno(), libc::EFAULT);
}

fn info_is_told_through_the_interface(host: Host, fd: c_int) {
    let mut info = [0_u8; 280];
    let mut len = 280;
    let told = (host.functions.getsockopt)(
        host.data(),
        fd,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        info.as_mut_ptr().cast(),
        &mut len,
    );
    assert_eq!((told, len, info[0]), (0, 280, 1), "established");
}
