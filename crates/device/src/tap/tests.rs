use super::*;

fn error(text: &str) -> String {
    text.parse::<TapOptions>().unwrap_err().to_string()
}

#[test]
fn options_are_read() {
    assert_eq!("tap0".parse::<TapOptions>().unwrap(), TapOptions::new("tap0"));
    let options: TapOptions = "t%d,queues=4,mtu=9000,txqueue=7,offload=off".parse().unwrap();
    let (mtu_bytes, tx_queue_packets) = (Some(9000), Some(7));
    let expected =
        TapOptions { queues: 4, mtu_bytes, tx_queue_packets, offloads: Offloads::NONE, ..TapOptions::new("t%d") };
    assert_eq!(options, expected);
}

#[test]
fn wrong_options_say_what_is_wrong() {
    assert_eq!(error(""), "a TAP needs the name of an interface: tap:NAME");
    assert_eq!(error("abcdefghijklmnop"), "\"abcdefghijklmnop\" is no name of an interface: it may have 15 bytes");
    for name in ["a b", "a/b", "a:b", "..", "ä"] {
        let expected = "is no name of an interface: it may have no spaces, slashes and colons";
        assert!(error(name).ends_with(expected), "{name}");
    }
    assert_eq!(error("t,queues=0"), "0 queues: a TAP has 1 to 256");
    assert_eq!(error("t,queues=257"), "257 queues: a TAP has 1 to 256");
    for option in ["queues=x", "queue=1", "queues", "mtu=-1", "txqueue=-1", "txqueue=0", "offload=maybe", ""] {
        let expected = format!(
            "{option:?} is no option of a TAP: there are queues=N, mtu=BYTES, txqueue=PACKETS and offload=on|off"
        );
        assert_eq!(error(&format!("t,{option}")), expected);
    }
}

#[test]
fn the_stack_has_an_address_of_its_own() {
    assert_eq!(beside(MacAddr([0x52, 0x54, 0, 0, 0, 1])), MacAddr([0x52, 0x54, 0, 0, 0, 0]));
    assert_eq!(beside(MacAddr([0, 1, 2, 3, 4, 4])), MacAddr([2, 1, 2, 3, 4, 5]));
}
