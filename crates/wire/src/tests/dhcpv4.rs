//! RFC 2131 §2, RFC 2132, RFC 3396, RFC 3442.

use core::net::Ipv4Addr;

use crate::dhcpv4::{ClasslessRoute, Code, Header, Kind, MAX_MESSAGE_BYTES, Message, Writer};
use crate::{Error, MacAddr, TooLong};

const HEADER: Header = Header {
    is_reply: true,
    xid: 0x1234_5678,
    secs: 7,
    is_broadcast: true,
    ciaddr: Ipv4Addr::new(192, 0, 2, 1),
    yiaddr: Ipv4Addr::new(192, 0, 2, 2),
    chaddr: MacAddr([2, 0, 0, 0, 0, 9]),
};

#[test]
fn what_is_written_is_read() {
    let mut writer = Writer::new(&HEADER, Kind::Offer);
    writer.option(Code::LEASE_TIME, &[0, 0, 0, 60]).unwrap();
    writer.option(Code::ROUTERS, &[192, 0, 2, 3, 192, 0, 2, 4, 9]).unwrap();
    let bytes = writer.as_bytes();
    assert_eq!((bytes.len(), &bytes[236..244]), (300, &[99, 130, 83, 99, 53, 1, 2, 51][..]));
    let message = Message::parse(bytes).unwrap();
    assert_eq!((message.header(), message.kind()), (HEADER, Some(Kind::Offer)));
    assert_eq!(message.fixed_option(Code::LEASE_TIME), Some([0, 0, 0, 60]));
    assert_eq!(message.fixed_option::<3>(Code::LEASE_TIME), None, "it is longer");
    assert_eq!(message.fixed_option::<5>(Code::LEASE_TIME), None, "it is shorter");
    assert_eq!(message.fixed_option::<0>(Code::MTU), Some([]), "of none there is nothing");
    let routers: Vec<_> = message.addresses(Code::ROUTERS).collect();
    assert_eq!(routers, [[192, 0, 2, 3], [192, 0, 2, 4]].map(Ipv4Addr::from));
}

#[test]
fn long_options_are_split_and_joined() {
    let data: Vec<u8> = (0..=255).chain(0..20).collect();
    let mut writer = Writer::new(&HEADER, Kind::Ack);
    writer.option(Code::DOMAIN_SEARCH, &data).unwrap();
    writer.option(Code::MTU, &[5, 220]).unwrap();
    assert_eq!(writer.option(Code::HOST_NAME, &[0; 60]), Err(TooLong));
    let message = Message::parse(writer.as_bytes()).unwrap();
    assert_eq!(message.options().count(), 4);
    assert!(message.bytes_of(Code::DOMAIN_SEARCH).eq(data));
    let rest = MAX_MESSAGE_BYTES - 244 - 280 - 4 - 2;
    writer.option(Code::HOST_NAME, &vec![1; rest]).unwrap();
    assert_eq!(writer.option(Code::PAD, &[]), Err(TooLong));
    assert_eq!(writer.as_bytes().len(), MAX_MESSAGE_BYTES);
}

/// RFC 2132 §9.3, RFC 3396 §5: the options, then the file, then the server's name.
#[test]
fn options_may_lie_where_file_and_name_would() {
    let mut writer = Writer::new(&HEADER, Kind::Ack);
    writer.option(Code::HOST_NAME, b"a").unwrap();
    writer.option(Code::OVERLOAD, &[3]).unwrap();
    let mut bytes = writer.as_bytes().to_vec();
    bytes[44..48].copy_from_slice(&[12, 1, b'c', 255]);
    bytes[108..112].copy_from_slice(&[12, 1, b'b', 255]);
    let name = |bytes: &[u8]| -> Vec<u8> { Message::parse(bytes).unwrap().bytes_of(Code::HOST_NAME).collect() };
    assert_eq!(name(&bytes), b"abc");
    let at = bytes.windows(2).position(|window| window == [52, 1]).unwrap() + 2;
    for (overload, there) in [(1, &b"ab"[..]), (2, b"ac"), (0, b"a"), (4, b"a")] {
        bytes[at] = overload;
        assert_eq!(name(&bytes), there);
    }
}

#[test]
fn what_is_cut_off_ends_the_options() {
    let mut writer = Writer::new(&HEADER, Kind::Ack);
    writer.option(Code::HOST_NAME, &[7; 100]).unwrap();
    let bytes = writer.as_bytes();
    assert_eq!(Message::parse(&bytes[..300]).unwrap().options().count(), 1);
    assert_eq!(Message::parse(&bytes[..244]).unwrap().options().count(), 1);
    assert_eq!(Message::parse(&bytes[..240]).unwrap().kind(), None);
    assert_eq!(Message::parse(&bytes[..239]).unwrap_err(), Error::Truncated);
    for (at, value) in [(0, 3), (1, 6), (2, 8), (236, 0)] {
        let mut other = bytes.to_vec();
        other[at] = value;
        assert_eq!(Message::parse(&other).unwrap_err(), Error::Dhcpv4);
    }
}

/// RFC 3442, with its own examples.
#[test]
fn routes_are_as_short_as_their_prefixes() {
    let router = Ipv4Addr::new(10, 0, 0, 1);
    let table: [(&[u8], Ipv4Addr, u8); 5] = [
        (&[0], Ipv4Addr::UNSPECIFIED, 0),
        (&[8, 10], Ipv4Addr::new(10, 0, 0, 0), 8),
        (&[24, 10, 0, 0], Ipv4Addr::new(10, 0, 0, 0), 24),
        (&[25, 10, 229, 0, 128], Ipv4Addr::new(10, 229, 0, 128), 25),
        (&[32, 10, 198, 122, 47], Ipv4Addr::new(10, 198, 122, 47), 32),
    ];
    let mut all = Vec::new();
    for (bytes, network, prefix_len) in table {
        let route = ClasslessRoute { network, prefix_len, router };
        let (written, len) = route.to_bytes();
        assert_eq!(written[..len], [bytes, &[10, 0, 0, 1]].concat());
        all.extend_from_slice(&written[..len]);
    }
    let read = |bytes: &[u8]| -> Vec<ClasslessRoute> {
        let mut writer = Writer::new(&HEADER, Kind::Ack);
        writer.option(Code::CLASSLESS_ROUTES, bytes).unwrap();
        Message::parse(writer.as_bytes()).unwrap().classless_routes().collect()
    };
    assert!(read(&all).iter().map(|route| (route.network, route.prefix_len)).eq(table.map(|(_, a, b)| (a, b))));
    assert_eq!(read(&all[..all.len() - 1]).len(), 4, "the last one is cut off");
    assert_eq!(read(&[&[33, 1, 2, 3, 4, 5, 6, 7, 8, 9], &all[..]].concat()), [], "what follows can't be found");
    let [route] = read(&[9, 10, 255, 10, 0, 0, 1])[..] else { panic!("there is one") };
    assert_eq!(route.network, Ipv4Addr::new(10, 128, 0, 0), "bits behind the prefix mean nothing");
}

#[test]
fn kinds_have_numbers() {
    assert_eq!((1..=8).filter_map(Kind::new).map(Kind::value).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert_eq!([0, 9, 255].map(Kind::new), [None; 3]);
}
