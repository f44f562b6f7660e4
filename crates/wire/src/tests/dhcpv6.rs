//! RFC 8415 §8, §21.

use core::net::Ipv6Addr;

use super::hex;
use crate::dhcpv6::{Code, IaAddress, IaNa, Kind, MAX_MESSAGE_BYTES, Message, Status, Writer};
use crate::{Error, TooLong};

const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

#[test]
fn what_is_written_is_read() {
    let mut writer = Writer::new(Kind::Request, 0xff12_3456);
    writer.option(Code::CLIENT_ID, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 7]).unwrap();
    writer.ia_na(7, [ADDRESS]).unwrap();
    writer.option(Code::RAPID_COMMIT, &[]).unwrap();
    let expected = "03123456 0001000a 00030001020000000007 0003 0028 00000007 00000000 00000000 \
                    0005 0018 20010db8000000000000000000000001 00000000 00000000 000e 0000";
    assert_eq!(writer.as_bytes(), hex(expected));
    let message = Message::parse(writer.as_bytes()).unwrap();
    assert_eq!((message.kind(), message.transaction_id()), (Kind::Request, 0x12_3456));
    assert_eq!(message.options().count(), 3);
    let ia = IaNa::parse(message.options().find_code(Code::IA_NA).unwrap()).unwrap();
    assert_eq!((ia.iaid, ia.options.status()), (7, Status::SUCCESS));
    assert_eq!(ia.addresses().map(|address| address.address).collect::<Vec<_>>(), [ADDRESS]);
}

#[test]
fn what_is_cut_off_is_refused() {
    let mut writer = Writer::new(Kind::Reply, 1);
    writer.ia_na(7, [ADDRESS]).unwrap();
    let bytes = writer.as_bytes();
    assert!(Message::parse(&bytes[..4]).is_ok(), "without options");
    for len in (0..4).chain(5..bytes.len()) {
        assert_eq!(Message::parse(&bytes[..len]).unwrap_err(), Error::Truncated, "{len} bytes");
    }
    for kind in [0, 12, 13, 255] {
        assert_eq!(Message::parse(&[kind, 0, 0, 1]).unwrap_err(), Error::Dhcpv6);
    }
    let data = &bytes[8..];
    assert!((0..data.len()).filter(|len| *len != 12).all(|len| IaNa::parse(&data[..len]).is_none()));
    let address = &data[16..];
    assert!((0..address.len()).all(|len| IaAddress::parse(&address[..len]).is_none()));
}

/// RFC 8415 §21.4, §21.6.
#[test]
fn times_make_sense() {
    let ia = |t1: u32, t2: u32| IaNa::parse(&[[0; 4], t1.to_be_bytes(), t2.to_be_bytes()].concat()).is_some();
    assert!(ia(1, 2) && ia(2, 2) && ia(2, 0) && ia(0, 2) && !ia(3, 2));
    let address = |preferred: u32, valid: u32| {
        IaAddress::parse(&[&ADDRESS.octets()[..], &preferred.to_be_bytes(), &valid.to_be_bytes()].concat()).is_some()
    };
    assert!(address(1, 2) && address(0, 0) && !address(3, 2));
}

#[test]
fn options_say_what_they_say() {
    let mut writer = Writer::new(Kind::Reply, 1);
    writer.option(Code::NAME_SERVERS, &[&ADDRESS.octets()[..], &[1, 2]].concat()).unwrap();
    writer.option(Code::SOL_MAX_RT, &[0, 0, 0, 60]).unwrap();
    writer.option(Code::INF_MAX_RT, &[0, 60]).unwrap();
    writer.option(Code::STATUS_CODE, b"\0\x02no address").unwrap();
    let options = Message::parse(writer.as_bytes()).unwrap().options();
    assert!(options.addresses(Code::NAME_SERVERS).eq([ADDRESS]));
    assert_eq!((options.number(Code::SOL_MAX_RT), options.number(Code::INF_MAX_RT)), (Some(60), None));
    assert_eq!(options.status(), Status::NO_ADDRS_AVAIL);
    let mut writer = Writer::new(Kind::Reply, 1);
    writer.option(Code::STATUS_CODE, &[0]).unwrap();
    assert_eq!(Message::parse(writer.as_bytes()).unwrap().options().status(), Status::UNSPECIFIED_FAILURE);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut writer = Writer::new(Kind::Solicit, 1);
    writer.option(Code::CLIENT_ID, &[1; 10]).unwrap();
    let before = writer.as_bytes().to_vec();
    assert_eq!(writer.option(Code::DOMAIN_LIST, &[0; MAX_MESSAGE_BYTES]), Err(TooLong));
    assert_eq!(writer.ia_na(1, [ADDRESS; 50]), Err(TooLong));
    assert_eq!(writer.as_bytes(), before);
    let room = MAX_MESSAGE_BYTES - before.len() - 4;
    writer.option(Code::DOMAIN_LIST, &vec![0; room]).unwrap();
    assert_eq!(writer.as_bytes().len(), MAX_MESSAGE_BYTES);
}

#[test]
fn kinds_have_numbers() {
    assert!((1..=11).filter_map(Kind::new).map(Kind::value).eq(1..=11));
}
