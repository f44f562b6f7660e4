//! IGMP and MLD.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::hex;
use crate::checksum::Sum;
use crate::{Error, GroupQuery, GroupRecord, Icmpv6Packet, OldGroupMessage, igmp_report, mld_report};

const MS: Duration = Duration::from_millis(1);

#[test]
fn queries_of_igmp() {
    let parse = |text: &str| GroupQuery::parse_igmp(&hex(text));
    let all = GroupQuery {
        group: Ipv4Addr::UNSPECIFIED,
        max_response: 10_000 * MS,
        version: 3,
        robustness: 2,
        has_sources: false,
    };
    assert_eq!(parse("1164 0000 00000000 027d 0000"), Ok(all));
    assert_eq!(parse("1164 0000 00000000"), Ok(GroupQuery { version: 2, robustness: 0, ..all }));
    assert_eq!(parse("1100 0000 00000000"), Ok(GroupQuery { version: 1, robustness: 0, ..all }));
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let one = GroupQuery { group, max_response: 100 * MS * (0x1f << 4), has_sources: true, ..all };
    assert_eq!(parse("119f 0000 ef010203 027d 0001 c0000201"), Ok(one), "RFC 3376 §4.1.1");
    assert_eq!(parse("1164 0000 00000000 027d"), Err(Error::Truncated), "of no version (RFC 3376 §7.1)");
    assert_eq!(parse("1664 0000 00000000"), Err(Error::MessageKind));
    assert_eq!(parse("1164 0000 000000"), Err(Error::Truncated));
}

#[test]
fn queries_of_mld() {
    let group = "ff05000000000000 0000000000000007";
    let parse = |text: String| GroupQuery::parse_mld(&Icmpv6Packet::parse(&hex(&text))?);
    let one = GroupQuery {
        group: Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7),
        max_response: 10_000 * MS,
        version: 2,
        robustness: 2,
        has_sources: false,
    };
    assert_eq!(parse(format!("8200 0000 2710 0000 {group} 027d 0000")), Ok(one));
    assert_eq!(parse(format!("8200 0000 2710 0000 {group}")), Ok(GroupQuery { version: 1, robustness: 0, ..one }));
    let long = GroupQuery { max_response: MS * (0x1fff << 4), ..one };
    assert_eq!(parse(format!("8200 0000 9fff 0000 {group} 027d 0000")), Ok(long), "RFC 3810 §5.1.3");
    assert_eq!(parse(format!("8f00 0000 2710 0000 {group}")), Err(Error::MessageKind));
    assert_eq!(parse("8200 0000 2710 0000".to_owned()), Err(Error::Truncated));
}

#[test]
fn reports() {
    let record = GroupRecord::Joins.igmp_bytes(Ipv4Addr::new(239, 1, 2, 3));
    let report = [igmp_report(1, Sum::of(&record)), record].concat();
    assert_eq!(report, hex("2200 e8f9 0000 0001 04000000 ef010203"));
    assert!(Sum::of(&report).is_valid());
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    assert_eq!(GroupRecord::IsListening.mld_bytes(group)[..], hex("02000000 ff02000000000000 00000001ff000001"));
    assert_eq!(GroupRecord::Leaves.mld_bytes(group)[0], 3);
    assert_eq!(mld_report(2).to_bytes(Sum::ZERO)[..2], [143, 0]);
    assert_eq!(mld_report(2).to_bytes(Sum::ZERO)[4..], [0, 0, 0, 2]);
}

/// RFC 1112, appendix I; RFC 2236 §2; RFC 2710 §3.
#[test]
fn messages_of_old() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    for (message, kind) in
        [(OldGroupMessage::ReportV1, 0x12), (OldGroupMessage::Report, 0x16), (OldGroupMessage::Leave, 0x17)]
    {
        let bytes = message.igmp_bytes(group);
        assert_eq!((bytes[0], bytes.len(), Sum::of(&bytes).is_valid()), (kind, 8, true));
        assert_eq!(OldGroupMessage::parse_igmp(&bytes), Ok((message, group)));
    }
    assert_eq!(OldGroupMessage::parse_igmp(&hex("2200 0000 00000000")), Err(Error::MessageKind));
    assert_eq!(OldGroupMessage::parse_igmp(&hex("1600 0000 000000")), Err(Error::Truncated));
    let group = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 7);
    for (message, kind) in [(OldGroupMessage::Report, 131), (OldGroupMessage::Leave, 132)] {
        let bytes = [&message.mld_header().to_bytes(Sum::ZERO)[..], &group.octets()].concat();
        assert_eq!(bytes[..2], [kind, 0]);
        assert_eq!(
            Icmpv6Packet::parse(&bytes).and_then(|view| OldGroupMessage::parse_mld(&view)),
            Ok((message, group))
        );
        assert_eq!(
            Icmpv6Packet::parse(&bytes[..20]).and_then(|view| OldGroupMessage::parse_mld(&view)),
            Err(Error::Truncated)
        );
    }
}
