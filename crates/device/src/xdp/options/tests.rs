use super::*;

fn error(text: &str) -> String {
    text.parse::<XdpOptions>().unwrap_err().to_string()
}

#[test]
fn options_are_read() {
    assert_eq!("eth0".parse::<XdpOptions>().unwrap(), XdpOptions::new("eth0"));
    let expected = XdpOptions { queues: Some(4), ignores_checksums: true, ..XdpOptions::new("eth0") };
    assert_eq!("eth0,queues=4,checksum=ignore".parse::<XdpOptions>().unwrap(), expected);
}

#[test]
fn what_is_shared_is_read() {
    let shared = |tcp: &[RangeInclusive<u16>], udp: &[RangeInclusive<u16>]| XdpOptions {
        mac: XdpMac::Shared(XdpPorts { tcp: tcp.to_vec(), udp: udp.to_vec() }),
        ..XdpOptions::new("eth0")
    };
    assert_eq!("eth0,mac=shared".parse::<XdpOptions>().unwrap(), shared(&[], &[]));
    let ports = "eth0,tcp=80,mac=shared,udp=53,tcp=8000-8999,tcp=65535";
    assert_eq!(ports.parse::<XdpOptions>().unwrap(), shared(&[80..=80, 8_000..=8_999, 65_535..=65_535], &[53..=53]));
}

#[test]
fn wrong_options_say_what_is_wrong() {
    assert_eq!(error(""), "AF_XDP needs the name of an interface: xdp:IFNAME");
    assert_eq!(error("abcdefghijklmnop"), "\"abcdefghijklmnop\" is no name of an interface: it may have 15 bytes");
    assert!(error("a b").ends_with("is no name of an interface: it may have no spaces, slashes and colons"));
    assert_eq!(error("e,queues=0"), "0 queues: AF_XDP has 1 to 256");
    assert_eq!(error("e,queues=257"), "257 queues: AF_XDP has 1 to 256");
    let expected =
        "tcp=PORTS and udp=PORTS need mac=shared: all that comes for its own hardware address is the stack's";
    assert_eq!(error("e,tcp=80"), expected);
    assert_eq!(error("e,udp=80"), expected);
    for option in ["tcp=", "tcp=x", "udp=0", "udp=65536", "tcp=2-1", "tcp=1-", "tcp=-1", "tcp=1-2-3", "udp=80;81"] {
        let expected = format!("{option:?}: ports are one, as in tcp=80, or a range of them, as in tcp=8000-8999");
        assert_eq!(error(&format!("e,mac=shared,{option}")), expected);
    }
    let many = "e,mac=shared".to_owned() + &",tcp=1,udp=2".repeat(64);
    many.parse::<XdpOptions>().unwrap();
    assert_eq!(error(&format!("{many},tcp=1")), "the ports of a protocol may be 64 ranges");
    assert_eq!(error(&format!("{many},udp=1")), "the ports of a protocol may be 64 ranges");
    for option in ["mac=own", "queues=x", "queues", "mtu=9000", "checksum=", ""] {
        let expected = format!(
            "{option:?} is no option of AF_XDP: there are queues=N, checksum=ignore, mac=shared, tcp=PORTS and udp=PORTS"
        );
        assert_eq!(error(&format!("e,{option}")), expected);
    }
}
