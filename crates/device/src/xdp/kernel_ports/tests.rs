use super::*;

#[test]
fn ports_that_are_not_reserved_may_be_chosen() {
    let ports = XdpPorts { tcp: vec![80..=80, 32_000..=32_999], udp: vec![40_000..=40_000] };
    let first = |chosen, reserved| first_chosen(&ports, chosen, reserved);
    assert_eq!(first("32768\t60999\n", "\n"), Some(32_768));
    assert_eq!(first("32768\t60999\n", "80,32768-32998\n"), Some(32_999));
    assert_eq!(first("32768\t60999\n", "32768-32999\n"), Some(40_000));
    assert_eq!(first("32768\t60999\n", "40000,32000-33000\n"), None);
    assert_eq!(first("10000\t20000\n", "\n"), None);
    assert_eq!(first("1\t65535\n", "\n"), Some(80));
    assert_eq!(first("what", "\n"), None);
}

#[test]
fn sockets_at_ports_of_the_stack_are_found() {
    let word = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
    let v6 = |words: [[u8; 4]; 4]| words.map(word).concat();
    let line = |ip: &str, port: u16, state: &str| {
        format!("   7: {ip}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000")
    };
    let any = word([0; 4]);
    let lines = [
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when".to_owned(),
        line(&any, 80, "0A"),
        line(&word([192, 0, 2, 7]), 81, "01"),
        line(&word([127, 0, 0, 53]), 82, "0A"),
        line(&any, 83, "06"),
        line(&any, 79, "0A"),
        line(&v6([[0; 4]; 4]), 84, "0A"),
        line(&v6([[0; 4], [0; 4], [0; 4], [0, 0, 0, 1]]), 85, "0A"),
        line(&v6([[0; 4], [0; 4], [0, 0, 0xff, 0xff], [127, 0, 0, 1]]), 86, "0A"),
        line(&v6([[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 1]]), 87, "07"),
        line("what", 88, "0A"),
        String::new(),
    ];
    let used = used(&[80..=86, 87..=90], lines.iter().map(String::as_str));
    assert_eq!(used, BTreeSet::from([80, 81, 84, 87]));
}

#[test]
fn a_few_ports_are_named() {
    assert_eq!(listed(&(80..=81).collect()), "80, 81");
    assert_eq!(listed(&(1..=10).collect()), "1, 2, 3, 4, 5, 6, 7, 8 and 2 others");
}
