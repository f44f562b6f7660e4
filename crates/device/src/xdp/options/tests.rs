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
fn wrong_options_say_what_is_wrong() {
    assert_eq!(error(""), "AF_XDP needs the name of an interface: xdp:IFNAME");
    assert_eq!(error("abcdefghijklmnop"), "\"abcdefghijklmnop\" is no name of an interface: it may have 15 bytes");
    assert!(error("a b").ends_with("is no name of an interface: it may have no spaces, slashes and colons"));
    assert_eq!(error("e,queues=0"), "0 queues: AF_XDP has 1 to 256");
    assert_eq!(error("e,queues=257"), "257 queues: AF_XDP has 1 to 256");
    for option in ["queues=x", "queues", "mtu=9000", "checksum=", ""] {
        let expected = format!("{option:?} is no option of AF_XDP: there are queues=N and checksum=ignore");
        assert_eq!(error(&format!("e,{option}")), expected);
    }
}
