//! Any bytes as each of the headers: the check behind the fuzz target and the properties.
//!
//! What can be read is built and read again, and must be the same; what is added up is added up in a plain way too.

use sunstar_wire::checksum::{Fill, Sum, update};
use sunstar_wire::dhcpv4::{Code, Kind, Message, Writer};
use sunstar_wire::dhcpv6;
use sunstar_wire::{
    Arp, EtherType, EthernetFrame, GroupQuery, Icmpv4Header, Icmpv4Packet, Icmpv6Header, Icmpv6Packet, IpProtocol,
    Ipv4Packet, Ipv6Extension, Ipv6Extensions, Ipv6Header, Ipv6OptionIter, Ipv6Packet, NdpMessage, OptionIter, Quoted,
    QuotedV6, TcpHeader, TcpOptions, TcpSegment, UdpDatagram, UnreachableCode,
};

/// Reads the bytes as a frame, and as everything that may be in one.
pub(crate) fn check(bytes: &[u8]) {
    frame(bytes);
    arp(bytes);
    ipv4(bytes);
    ipv6(bytes);
    quoted(bytes);
    icmpv4(bytes);
    icmpv6(bytes);
    let _ = GroupQuery::parse_igmp(bytes);
    udp(bytes);
    tcp(bytes);
    dhcpv4(bytes);
    dhcpv6(bytes);
    sums(bytes);
}

fn frame(bytes: &[u8]) {
    let Ok(frame) = EthernetFrame::parse(bytes) else { return };
    assert_eq!(frame.header_len() + frame.payload().len(), bytes.len());
    assert_eq!(EtherType::new(frame.ethertype().value()), Some(frame.ethertype()));
    let built = [&frame.header().to_bytes()[..], frame.payload()].concat();
    let again = EthernetFrame::parse(&built).expect("it was built");
    assert_eq!((again.header(), again.payload()), (frame.header(), frame.payload()));
    assert_eq!((again.dst(), again.src(), again.vlan()), (frame.dst(), frame.src(), frame.vlan()));
    match frame.ethertype() {
        EtherType::IPV4 => ipv4(frame.payload()),
        EtherType::IPV6 => ipv6(frame.payload()),
        EtherType::ARP => arp(frame.payload()),
        _ => {}
    }
}

fn arp(bytes: &[u8]) {
    let Ok(arp) = Arp::parse(bytes) else { return };
    assert_eq!(arp.to_bytes(), bytes[..Arp::LEN]);
    let reply = arp.reply(arp.tha);
    assert_eq!(Arp::parse(&reply.to_bytes()), Ok(reply));
}

fn ipv4(bytes: &[u8]) {
    let Ok(packet) = Ipv4Packet::parse(bytes) else { return };
    options(packet.options());
    options(packet.header().options.iter());
    assert_eq!(packet.header_len() + packet.payload().len(), usize::from(packet.total_len()));
    assert_eq!(packet.payload().len(), packet.payload_len());
    assert_eq!(packet.header().header_len(), packet.header_len());
    let header = packet.header().to_bytes(packet.payload_len()).expect("it was no longer");
    let built = [&header[..], packet.payload(), b"padding"].concat();
    let again = Ipv4Packet::parse(&built).expect("it was built");
    assert!(again.has_valid_checksum());
    assert_eq!((again.header(), again.payload()), (packet.header(), packet.payload()));
    assert_eq!(header[12..], bytes[12..packet.header_len()], "what no checksum and no flag is in comes back as it was");
    head_is_enough(bytes, packet);
    match packet.protocol() {
        IpProtocol::ICMP => icmpv4(packet.payload()),
        IpProtocol::TCP => tcp(packet.payload()),
        IpProtocol::UDP => udp(packet.payload()),
        _ => {}
    }
}

/// However much of the payload lies in the first piece, the header is the same.
fn head_is_enough(bytes: &[u8], packet: Ipv4Packet<'_>) {
    for head_len in [packet.header_len(), packet.header_len().midpoint(bytes.len())] {
        let head = Ipv4Packet::parse_head(&bytes[..head_len], bytes.len()).expect("the header is there");
        assert_eq!((head.header(), head.payload_len()), (packet.header(), packet.payload_len()));
        assert!(packet.payload().starts_with(head.payload()));
    }
    assert!(Ipv4Packet::parse_head(&bytes[..packet.header_len() - 1], bytes.len()).is_err());
}

fn ipv6(bytes: &[u8]) {
    let Ok(packet) = Ipv6Packet::parse(bytes) else { return };
    assert_eq!(packet.payload().len(), packet.payload_len());
    let header = packet.header().to_bytes(packet.payload_len()).expect("it was no longer");
    assert_eq!(header, bytes[..Ipv6Header::LEN], "every bit has a meaning");
    let head = Ipv6Packet::parse_head(&bytes[..Ipv6Header::LEN], bytes.len()).expect("the header is there");
    assert_eq!((head.header(), head.payload()), (packet.header(), &[][..]));
    let (protocol, carried) = carried(&packet);
    match protocol {
        IpProtocol::TCP => tcp(carried),
        IpProtocol::UDP => udp(carried),
        IpProtocol::ICMPV6 => icmpv6(carried),
        _ => {}
    }
}

/// Goes through extension headers, which must lead on and stay inside.
fn carried<'a>(packet: &Ipv6Packet<'a>) -> (IpProtocol, &'a [u8]) {
    let mut extensions = packet.extensions();
    let mut count = 0;
    while let Some(extension) = extensions.next() {
        count += 1;
        assert!(count <= 9, "extension headers without end");
        let before = Ipv6Header::LEN + packet.payload().len() - extensions.rest().len();
        assert!(extension.is_err() || before == extensions.position(), "{before}");
        assert!(extensions.named_at() < extensions.position());
        match extension {
            Ok(Ipv6Extension::HopByHop(options) | Ipv6Extension::Destination(options)) => {
                ipv6_options(options, packet.payload().len());
            }
            Ok(Ipv6Extension::Fragment(fragment)) => {
                let bytes = fragment.to_bytes();
                let built = [&bytes[..], extensions.rest()].concat();
                let header = Ipv6Header { next_header: IpProtocol::FRAGMENT, ..packet.header() };
                let built = [&header.to_bytes(built.len()).expect("no longer")[..], &built].concat();
                let again = Ipv6Packet::parse(&built).expect("it was built");
                let Some(Ok(Ipv6Extension::Fragment(again))) = again.extensions().next() else { panic!("{built:?}") };
                assert_eq!(again, fragment);
                let _ = Ipv6Extensions::behind_fragment(extensions.protocol(), extensions.rest()).count();
            }
            Ok(Ipv6Extension::Routing { .. }) => {}
            Err(_) => assert!(extensions.next().is_none(), "nothing can be read behind what is malformed"),
        }
    }
    (extensions.protocol(), extensions.rest())
}

fn ipv6_options(options: Ipv6OptionIter<'_>, len: usize) {
    let items: Vec<_> = options.take(len + 1).collect();
    assert!(items.len() <= len, "options without end");
    let places: Vec<_> = items.iter().flatten().map(|option| option.at).collect();
    assert!(places.is_sorted() && places.iter().all(|at| (42..40 + len).contains(at)), "{places:?}");
}

fn icmpv6(bytes: &[u8]) {
    let Ok(packet) = Icmpv6Packet::parse(bytes) else { return };
    let header = packet.header();
    let built = [&header.to_bytes(Sum::of(packet.body()))[..], packet.body()].concat();
    assert!(Sum::of(&built).is_valid());
    let again = Icmpv6Packet::parse(&built).expect("it was built");
    assert_eq!((again.header(), again.body()), (header, packet.body()));
    if header.is_error() {
        quoted_v6(packet.body());
    }
    if let Icmpv6Header::PacketTooBig { mtu } = header {
        assert_eq!(mtu.to_be_bytes(), bytes[4..8]);
    }
    let _ = GroupQuery::parse_mld(&packet);
    let Ok((message, options)) = NdpMessage::parse(&packet) else { return };
    let (mut built, mut expected) = (Vec::new(), Vec::new());
    for option in options.take(bytes.len()) {
        if let Ok(bytes) = option.to_bytes() {
            built.extend_from_slice(&bytes);
            expected.push(option);
        }
    }
    let body = [&message.fixed()[..], &built].concat();
    let built = [&message.header().to_bytes(Sum::of(&body))[..], &body].concat();
    let again = Icmpv6Packet::parse(&built).expect("it was built");
    let (message_again, options) = NdpMessage::parse(&again).expect("it was built");
    assert_eq!((message_again, options.collect::<Vec<_>>()), (message, expected));
}

fn quoted_v6(bytes: &[u8]) {
    let Ok(quoted) = QuotedV6::parse(bytes) else { return };
    if let Some(flow) = quoted.four_tuple() {
        assert_eq!(flow.addresses, quoted.packet().addresses());
    }
    if quoted.seq().is_some() {
        assert!(quoted.four_tuple().is_some(), "the ports stand before it");
    }
    assert!(quoted.total_len() >= Ipv6Header::LEN);
}

fn quoted(bytes: &[u8]) {
    let Ok(quoted) = Quoted::parse(bytes) else { return };
    options(quoted.packet().options());
    if let Some(flow) = quoted.four_tuple() {
        assert_eq!(flow.addresses, quoted.packet().addresses());
        assert_eq!(flow.reversed().reversed(), flow);
    }
    if quoted.seq().is_some() {
        assert!(quoted.four_tuple().is_some(), "the ports stand before it");
    }
}

fn icmpv4(bytes: &[u8]) {
    let Ok(packet) = Icmpv4Packet::parse(bytes) else { return };
    let header = packet.header();
    let built = [&header.to_bytes(Sum::of(packet.body()))[..], packet.body()].concat();
    let again = Icmpv4Packet::parse(&built).expect("it was built");
    assert!(again.has_valid_checksum());
    assert_eq!((again.header(), again.body()), (header, packet.body()));
    if let Icmpv4Header::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu } = header {
        assert_eq!(next_hop_mtu.to_be_bytes(), bytes[6..8]);
    }
    if header.is_error() {
        quoted(packet.body());
    }
}

fn udp(bytes: &[u8]) {
    let Ok(datagram) = UdpDatagram::parse(bytes) else { return };
    assert_eq!(datagram.payload().len(), datagram.payload_len());
    let fill = Fill::Complete(Sum::of(datagram.payload()));
    let header = datagram.header().to_bytes(datagram.payload_len(), fill).expect("it was no longer");
    let built = [&header[..], datagram.payload(), b"padding"].concat();
    let again = UdpDatagram::parse(&built).expect("it was built");
    assert_eq!((again.header(), again.payload()), (datagram.header(), datagram.payload()));
    assert!(again.checksum().is_some(), "zero says that there is none");
}

fn dhcpv4(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let options: Vec<_> = message.options().collect();
    let total: usize = options.iter().map(|(_, data)| 2 + data.len()).sum();
    assert!(total <= bytes.len(), "options of {total} bytes");
    assert!(options.iter().all(|(code, _)| !matches!(*code, Code::PAD | Code::END)));
    for (code, data) in &options {
        let at = data.as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!((Code(bytes[at - 2]), usize::from(bytes[at - 1])), (*code, data.len()), "options are whole");
        let parts = options.iter().filter(|(other, _)| other == code).flat_map(|(_, data)| data.iter().copied());
        assert!(parts.eq(message.bytes_of(*code)));
    }
    assert_eq!(message.addresses(Code::ROUTERS).count(), message.bytes_of(Code::ROUTERS).count() / 4);
    for route in message.classless_routes() {
        let (bytes, len) = route.to_bytes();
        assert!(len <= bytes.len() && route.prefix_len <= 32);
    }
    dhcpv4_again(message, &options);
}

fn dhcpv6(bytes: &[u8]) {
    let Ok(message) = dhcpv6::Message::parse(bytes) else { return };
    let options: Vec<_> = message.options().collect();
    let total: usize = options.iter().map(|(_, data)| 4 + data.len()).sum();
    assert_eq!(4 + total, bytes.len(), "options are whole");
    for (code, data) in &options {
        assert!(message.options().of_code(*code).any(|other| other == *data));
        let Some(ia) = dhcpv6::IaNa::parse(data) else { continue };
        assert!(ia.addresses().all(|address| address.preferred_s <= address.valid_s));
        assert!(ia.addresses().count() * 28 <= data.len());
    }
    let mut writer = dhcpv6::Writer::new(message.kind(), message.transaction_id());
    let is_written = options.iter().all(|(code, data)| writer.option(*code, data).is_ok());
    assert!(!is_written || writer.as_bytes() == bytes, "every bit has a meaning");
}

/// What was read is written, as far as there is room, and read again.
fn dhcpv4_again(message: Message<'_>, options: &[(Code, &[u8])]) {
    let kind = message.kind().unwrap_or(Kind::Discover);
    let mut writer = Writer::new(&message.header(), kind);
    let is_own = |code: Code| matches!(code, Code::MESSAGE_TYPE | Code::OVERLOAD);
    let written: Vec<_> =
        options.iter().filter(|(code, data)| !is_own(*code) && writer.option(*code, data).is_ok()).copied().collect();
    let built = Message::parse(writer.as_bytes()).expect("it was built");
    assert_eq!((built.header(), built.kind()), (message.header(), Some(kind)));
    assert!(built.options().skip(1).eq(written));
}

fn tcp(bytes: &[u8]) {
    let Ok(segment) = TcpSegment::parse(bytes) else { return };
    // First, since what comes after asks for all of them.
    options(segment.raw_options());
    assert_eq!(segment.header_len() + segment.payload().len(), bytes.len());
    let (header, built) = rebuilt(segment);
    assert!(header.options.sack.len() <= segment.options().sack.len());
    let sack = header.options.sack;
    assert_eq!(sack[..], segment.options().sack[..sack.len()], "the first blocks are kept");
    // A cookie beside blocks may have no room.
    let cookie = segment.options().fast_open.filter(|_| sack.is_empty() || header.options.fast_open.is_some());
    let kept = TcpOptions { sack, fast_open: cookie, ..segment.options() };
    assert_eq!(header, TcpHeader { options: kept, ..segment.header() });
    if let Some(timestamps) = segment.lone_timestamps() {
        assert_eq!(segment.options().timestamps, Some(timestamps));
    }
    let (header_again, built_again) = rebuilt(TcpSegment::parse(&built).expect("it was built"));
    assert_eq!((header_again, built_again), (header, built), "what was built is built again");
}

/// The header that is read from what is built from a segment's header, and the bytes.
fn rebuilt(segment: TcpSegment<'_>) -> (TcpHeader, Vec<u8>) {
    let header = segment.header();
    let bytes = header.to_bytes(Fill::Complete(Sum::of(segment.payload())));
    assert_eq!(bytes.len(), header.header_len());
    assert!(bytes.len().is_multiple_of(4) && bytes.len() <= 60);
    let built = [&bytes[..], segment.payload()].concat();
    assert!(Sum::of(&built).is_valid());
    let again = TcpSegment::parse(&built).expect("it was built");
    assert_eq!(again.payload(), segment.payload());
    (again.header(), built)
}

/// Goes through options, of which there are at most as many as bytes.
fn options(options: OptionIter<'_>) {
    let items: Vec<_> = options.take(41).collect();
    assert!(items.len() <= 40, "options without end");
    if let Some((_, before)) = items.split_last() {
        assert!(before.iter().all(Result::is_ok), "nothing can be read behind a malformed option");
    }
    let bytes: usize = items.iter().flatten().map(|option| 2 + option.data.len()).sum();
    assert!(bytes <= 40, "options of {bytes} bytes");
}

fn sums(bytes: &[u8]) {
    let right = naive(bytes);
    assert_eq!(Sum::of(bytes).partial(), right);
    assert_eq!(Sum::of(bytes).checksum(), !right);
    // Pieces of the lengths that the bytes themselves name.
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while let Some(&len) = rest.first() {
        let (piece, others) = rest.split_at(usize::from(len % 80).min(rest.len()).max(1));
        pieces.push(piece);
        rest = others;
    }
    assert_eq!(Sum::of_chain(pieces).partial(), right);
    updated(bytes);
}

/// Replaces one word by another one, of which neither is the whole.
fn updated(bytes: &[u8]) {
    let Some((&[at, new_0, new_1], covered)) = bytes.split_first_chunk() else { return };
    let mut covered = covered.to_vec();
    let at = usize::from(at) * 2;
    // With nothing but zeros beside it the sum has two forms.
    let Some(&[old_0, old_1]) = covered.get(at..at + 2) else { return };
    if covered.iter().enumerate().all(|(place, &byte)| byte == 0 || (at..at + 2).contains(&place)) {
        return;
    }
    let before = !naive(&covered);
    covered[at..at + 2].copy_from_slice(&[new_0, new_1]);
    assert_eq!(update(before, Sum::of(&[old_0, old_1]), Sum::of(&[new_0, new_1])), !naive(&covered));
}

/// RFC 1071 §1, word by word.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0_u16;
    for word in bytes.chunks(2) {
        let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    sum
}
