//! Where urgent data end, as each segment of the wire says it (RFC 9293 §3.8.5).

use sunstar_packet::CopyCounter;
use sunstar_wire::{Ipv4Packet, Seq, TcpFlags, TcpSegment};

use super::world::{World, bare};
use crate::configuration::{Change, Origin};
use crate::interface::{Capabilities, InterfaceOptions};
use crate::tcp::connection::{Options, PathProbing};
use crate::tcp::test_stream::data;

/// How many bytes of segments that are too large for their link leave, and up to where each says that they are urgent, both from the
/// first one on.
fn pieces(capabilities: Capabilities, bytes: usize, urgent: usize) -> Vec<(usize, Option<u32>)> {
    let mut world = World::new([InterfaceOptions { capabilities, ..bare() }, bare()]);
    let options = Options { mss: 1_460, path_probing: PathProbing::Off, is_no_delay: true, ..Options::DEFAULT };
    let [client, _] = world.connected(options);
    let (now, interface) = (world.now, world.hosts[0].link);
    let change = Change::SetMtu { interface, origin: Origin::Dhcpv4, mtu: 576 };
    world.stack(0).configure(now, change).expect("there is room");
    let tcp = world.stack(0).tcp();
    tcp.send(client, data(0, urgent)).expect("there is room");
    tcp.configure(client, |connection| connection.end_urgent());
    tcp.send(client, data(u32::try_from(urgent).expect("short"), bytes - urgent)).expect("there is room");
    let mut first: Option<Seq> = None;
    core::iter::from_fn(|| world.stack(0).poll_transmit(now))
        .map(|(_, packet)| {
            let bytes = packet.into_buffer(&CopyCounter::default());
            let ip = Ipv4Packet::parse(&bytes).expect("it is well formed");
            let segment = TcpSegment::parse(ip.payload()).expect("it is well formed");
            let header = segment.header();
            let begin = header.seq - *first.get_or_insert(header.seq);
            let is_urgent = header.flags.contains(TcpFlags::URG);
            (segment.payload().len(), is_urgent.then(|| begin + u32::from(header.urgent_pointer)))
        })
        .collect()
}

/// Also if a segment was made for a link that was wider, and leaves in pieces: none says that anything else is urgent.
#[test]
fn pieces_of_a_segment_say_where_its_urgent_data_end() {
    let plain = Capabilities::default();
    let cuts = Capabilities { completes_checksums: true, segmentation_bytes: Some(65_535) };
    for capabilities in [plain, cuts] {
        assert_eq!(
            pieces(capabilities, 1_448, 896)[..],
            [(524, Some(896)), (524, Some(896)), (400, None)],
            "{capabilities:?}"
        );
        assert_eq!(pieces(capabilities, 1_448, 1_448)[2], (400, Some(1_448)));
    }
}
