//! IGMP and MLD.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::hex;
use crate::checksum::Sum;
use crate::{Error, GroupQuery, GroupRecord, Icmpv6Packet, igmp_report, mld_report};

const MS: Duration = Duration::from_millis(1);

#[test]
fn queries_of_igmp() {
    let parse = |text: &str| GroupQuery::parse_igmp(&hex(text));
    let all = GroupQuery {
        group: Ipv4Addr::UNSPECIFIED,
        max_response: 10_000 * MS,
        is_current: true,
        robustness: 2,
        has_sources: false,
    };
    assert_eq!(parse("1164 0000 00000000 027d 0000"), Ok(all));
    assert_eq!(parse("1164 0000 00000000"), Ok(GroupQuery { is_current: false, robustness: 0, ..all }), "version 2");
    assert_eq!(parse("1100 0000 00000000"), Ok(GroupQuery { is_current: false, robustness: 0, ..all }), "version 1");
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let one = GroupQuery { group, max_response: 100 * MS * (0x1f << 4), has_sources: true, ..all };
    assert_eq!(parse("119f 0000 ef010203 027d 0001 c0000201"), Ok(one), "RFC 3376 §4.1.1");
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
        is_current: true,
        robustness: 2,
        has_sources: false,
    };
    assert_eq!(parse(format!("8200 0000 2710 0000 {group} 027d 0000")), Ok(one));
    assert_eq!(
        parse(format!("8200 0000 2710 0000 {group}")),
        Ok(GroupQuery { is_current: false, robustness: 0, ..one })
    );
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
