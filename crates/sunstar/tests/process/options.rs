//! Help, and options that can't be had.

use std::net::TcpListener;

use super::{ANYWHERE, ended, last_line, refusal};

const HELP: &str = r#"Plays parts

Usage: fixture [OPTIONS]

Application options:
      --play <PLAY>         What to do [default: show] [possible values: show, shards, fail, refuse, panic, listen, wait, deaf, linger, log, abort, flood, resolve, gather]
      --word <WORD>         Words
      --pair <PAIR> <PAIR>  A pair
      --quiet               A flag
      --ratio <RATIO>       A number
  -v, --verbose...          How often
      --address <ADDRESS>   Where to listen

Framework options:
  -c, --smp <N>                         Shards to run [default: one per processor]
      --cpuset <LIST>                   Processors to run on, as in 0,2-3 [default: all]
      --overprovisioned[=<BOOL>]        Share the processors with others: don't pin, don't poll, allow more shards than processors
      --thread-affinity <BOOL>          Whether to pin each shard to its processor, 0 or 1 [default: 1, 0 if overprovisioned]
      --reactor-backend <NAME>          Driver: io_uring or epoll [default: the best that works]
      --poll-mode[=<BOOL>]              Poll for ever rather than sleep when idle
      --idle-poll-time-us <US>          Microseconds to poll without work before sleeping [default: 200, 0 if overprovisioned]
      --task-quota-ms <MS>              Milliseconds that tasks of one scheduling group run before others get their turn; may have a fraction [default: 0.5]
      --blocked-reactor-notify-ms <MS>  Milliseconds after which a task that has not yielded is reported; 0 for never [default: 25]
      --network-stack <NAME>            Network stack: posix, the kernel's, or native, Sunstar's own over a device [default: posix]
      --device <DEVICE>                 Device of the native stack: tap:NAME[,queues=N][,mtu=BYTES][,txqueue=PACKETS][,offload=on|off][,vlan=ID], xdp:IFNAME[,queues=N][,checksum=ignore][,mac=shared][,tcp=PORTS][,udp=PORTS], or vhost-user:PATH[,back][,server][,queues=N][,mtu=BYTES][,mac=ADDRESS][,offload=on|off][,rss=symmetric|secret][,ring=split|packed][,vlan=ID]; may be repeated, also for other VLANs of a device
      --dhcp <BOOL>                     Whether DHCP gives the devices their IPv4 addresses, 0 or 1; those of --host-ipv4-addr win [default: 1 without them]
      --dhcp-host-name <NAME>           Name by which DHCP servers are to know this host
      --dhcp-client-id <ID>             What DHCP servers tell this host by: text, or bytes as in 01:02:00:00:00:00:07 [default: the device's address]
      --dhcp-previous-addr <ADDRESS>    IPv4 address that a device had before, which is asked for first: one for each device, in their order
      --dhcpv6 <WHAT>                   What is asked for by DHCPv6: off, stateful (addresses and name servers), stateless (name servers), or auto, which is what routers say [default: auto where routers configure IPv6]
      --host-ipv4-addr <ADDRESS>        Address of the native stack, as in 192.0.2.2: one for each device, in their order
      --netmask-ipv4-addr <MASK>        Netmask that goes with it: one for all addresses, or one for each [default: 255.255.255.0]
      --gw-ipv4-addr <ADDRESS>          Gateway to other networks, in that of some device; of several the first one is taken [default: none]
      --host-ipv6-addr <ADDRESS/LEN>    IPv6 address of the native stack, as in 2001:db8::2/64, or NAME=2001:db8::2/64 if not for the first device; may be repeated
      --gw-ipv6-addr <ADDRESS>          IPv6 gateway to other networks: in that of some address, or link-local and then on the first device [default: none]
      --slaac <BOOL>                    Whether routers configure IPv6 on the devices, 0 or 1; --host-ipv6-addr wins [default: 1 without it]
      --pcap <FILE>                     Capture the native stack's packets in a file that tshark reads
      --fault <FAULTS>                  Disturb the native stack's packets, as in drop=0.01,delay=10ms,seed=7
      --trace                           Show the native stack's packets in the log
      --name-server <ADDRESS>           Server to be asked for names, in the place of those that resolv.conf or DHCP names; may be repeated
      --stop-timeout-s <S>              Seconds that work in progress has to end after SIGINT or SIGTERM; may have a fraction [default: 10]
      --log-level <LEVELS>              off, error, warn, info, debug or trace, also for single modules, as in net=debug,info [default: info]
      --prometheus-address <ADDRESS>    Address at which Prometheus gets metrics [default: 127.0.0.1]
      --prometheus-port <PORT>          Port at which Prometheus gets metrics; 0 for none [default: 9180]
      --collectd <ADDRESS>              Send metrics to collectd there, as in 192.0.2.1 or 192.0.2.1:25826 [default port: 25826]
      --collectd-poll-period-ms <MS>    Milliseconds from one report to collectd to the next [default: 1000]
      --collectd-hostname <NAME>        What collectd calls this host [default: its name]
      --config <FILE>                   TOML file with any of these options by their long names; the command line wins
  -h, --help                            Show this help
  -V, --version                         Show the version
"#;

#[test]
fn help_groups_the_options() {
    let (code, out, errors) = ended(&["--help"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(out, HELP);
}

#[test]
fn the_version_is_shown() {
    assert_eq!(ended(&["-V"]), (Some(0), "fixture 1.2.3\n".to_owned(), String::new()));
}

#[test]
fn unknown_options_are_refused_with_a_tip() {
    let line = refusal(&["--smq", "2"]);
    assert_eq!(line, "unexpected argument '--smq' found; tip: a similar argument exists: '--smp'");
    assert_eq!(refusal(&["--memory", "4G"]), "unexpected argument '--memory' found");
}

#[test]
fn impossible_values_name_the_option_and_the_rule() {
    for (arguments, line) in [
        (["--smp", "0"], "invalid value '0' for '--smp <N>': there must be at least one shard"),
        (["-c", "1025"], "invalid value '1025' for '--smp <N>': there are at most 1024 shards"),
        (["-c", "x"], "invalid value 'x' for '--smp <N>': it must be a whole number"),
        (["-c", "-1"], "invalid value '-1' for '--smp <N>': it must be a whole number"),
        (["--thread-affinity", "2"], "invalid value '2' for '--thread-affinity <BOOL>': it must be 0 or 1"),
        (
            ["--blocked-reactor-notify-ms", "1.5"],
            "invalid value '1.5' for '--blocked-reactor-notify-ms <MS>': it must be a whole number from 0 to 4294967295",
        ),
        (
            ["--cpuset", "2-"],
            "invalid value '2-' for '--cpuset <LIST>': \"2-\" is no list of processors: items are decimal numbers or \
             ranges, as in \"0,2-3\"",
        ),
        (
            ["--reactor-backend", "kqueue"],
            "invalid value 'kqueue' for '--reactor-backend <NAME>'; [possible values: io_uring, epoll]",
        ),
        (
            ["--collectd", "localhost"],
            "invalid value 'localhost' for '--collectd <ADDRESS>': it must be an IP address, with or without a port",
        ),
        (
            ["--collectd-poll-period-ms", "0"],
            "invalid value '0' for '--collectd-poll-period-ms <MS>': it must be more than 0",
        ),
        (
            ["--collectd-poll-period-ms", "-5"],
            "invalid value '-5' for '--collectd-poll-period-ms <MS>': it must be a whole number from 0 to 4294967295",
        ),
        (
            ["--prometheus-port", "-1"],
            "invalid value '-1' for '--prometheus-port <PORT>': it must be a whole number from 0 to 65535",
        ),
        (["--collectd", "[::1]:0"], "invalid value '[::1]:0' for '--collectd <ADDRESS>': nobody listens on port 0"),
        (["--collectd-hostname", ""], "a value is required for '--collectd-hostname <NAME>' but none was supplied"),
        (["--task-quota-ms", "0"], "invalid value '0' for '--task-quota-ms <MS>': it must be more than 0"),
        (
            ["--stop-timeout-s", "inf"],
            "invalid value 'inf' for '--stop-timeout-s <S>': it must be a number between 0 and 31622400",
        ),
        (
            ["--log-level", "loud"],
            "invalid value 'loud' for '--log-level <LEVELS>': \"loud\" is neither a level (off, error, warn, info, \
             debug, trace) nor MODULE=LEVEL",
        ),
    ] {
        assert_eq!(refusal(&arguments), line);
    }
}

#[test]
fn impossible_networks_name_the_option_and_the_rule() {
    for (arguments, line) in [
        (
            ["--network-stack", "dpdk"],
            "invalid value 'dpdk' for '--network-stack <NAME>'; [possible values: posix, native]",
        ),
        (
            ["--device", "tap0"],
            "invalid value 'tap0' for '--device <DEVICE>': a device is a kind and a name, as in tap:NAME",
        ),
        (
            ["--device", "wlan:0"],
            "invalid value 'wlan:0' for '--device <DEVICE>': there are no devices of the kind \"wlan\"; there are tap:NAME, \
             vhost-user:PATH and xdp:IFNAME",
        ),
        (
            ["--device", "tap:x,vlan=4095"],
            "invalid value 'tap:x,vlan=4095' for '--device <DEVICE>': \"vlan=4095\": a VLAN has a number from 1 to 4094",
        ),
        (
            ["--device", "tap:x,vlan=1,vlan=2"],
            "invalid value 'tap:x,vlan=1,vlan=2' for '--device <DEVICE>': a --device has one VLAN; others of the device have a \
             --device of their own",
        ),
        (
            ["--device", "vhost-user:"],
            "invalid value 'vhost-user:' for '--device <DEVICE>': a vhost-user device needs the path of a socket: \
             vhost-user:PATH",
        ),
        (
            ["--device", "vhost-user:/run/x,queues=0"],
            "invalid value 'vhost-user:/run/x,queues=0' for '--device <DEVICE>': 0 queues: a vhost-user device has 1 to 128",
        ),
        (
            ["--device", "vhost-user:/run/x,back,ring=packed"],
            "invalid value 'vhost-user:/run/x,back,ring=packed' for '--device <DEVICE>': \"ring=packed\" is no option of the back \
             end of a vhost-user device: there are server, queues=N, mtu=BYTES, mac=ADDRESS, offload=on|off, \
             rss=symmetric|secret and back",
        ),
        (
            ["--device", "tap:"],
            "invalid value 'tap:' for '--device <DEVICE>': a TAP needs the name of an interface: tap:NAME",
        ),
        (
            ["--host-ipv4-addr", "10.0.0"],
            "invalid value '10.0.0' for '--host-ipv4-addr <ADDRESS>': invalid IPv4 address syntax",
        ),
        (
            ["--netmask-ipv4-addr", "255.0.255.0"],
            "invalid value '255.0.255.0' for '--netmask-ipv4-addr <MASK>': its ones must come before its zeros, as in \
             255.255.255.0",
        ),
        (
            ["--fault", "drop=2"],
            "invalid value 'drop=2' for '--fault <FAULTS>': drop=2: expected a probability from 0 to 1",
        ),
    ] {
        assert_eq!(refusal(&arguments), line);
    }
}

#[test]
fn interfaces_for_af_xdp_are_checked() {
    for (arguments, line) in [
        (
            ["--device", "xdp:"],
            "invalid value 'xdp:' for '--device <DEVICE>': AF_XDP needs the name of an interface: xdp:IFNAME",
        ),
        (
            ["--device", "xdp:x,mtu=9000"],
            "invalid value 'xdp:x,mtu=9000' for '--device <DEVICE>': \"mtu=9000\" is no option of AF_XDP: there are queues=N, \
             checksum=ignore, mac=shared, tcp=PORTS and udp=PORTS",
        ),
        (
            ["--device", "xdp:x,vlan=5"],
            "invalid value 'xdp:x,vlan=5' for '--device <DEVICE>': AF_XDP has no VLANs: tags are taken out of frames before the stack sees them, \
             by the interface or by the kernel",
        ),
    ] {
        assert_eq!(refusal(&arguments), line);
    }
    let shared = ["--network-stack", "native", "--device", "xdp:x,mac=shared"];
    let expected =
        "--device xdp:x with mac=shared needs --host-ipv4-addr, or --dhcp 0: servers tell hosts by that address";
    assert_eq!(last_line(2, &shared), expected);
    let nobody = ["--network-stack", "native", "--device", "xdp:nobody", "--host-ipv4-addr", "10.0.0.2"];
    assert_eq!(last_line(2, &nobody), "cannot open --device xdp:nobody: there is no interface nobody");
}

#[test]
fn processors_that_are_not_there_are_refused() {
    let line = refusal(&["--cpuset", "8191"]);
    assert!(line.starts_with("cpuset 8191: processors 8191 are offline or not allowed; usable are "), "{line}");
    let line = refusal(&["--smp", "1000"]);
    assert!(
        line.starts_with("smp 1000: more shards than processors (") && line.ends_with("or say overprovisioned"),
        "{line}"
    );
}

#[test]
fn contradictions_are_refused() {
    assert_eq!(
        refusal(&["--poll-mode", "--idle-poll-time-us", "5"]),
        "--poll-mode contradicts --idle-poll-time-us: who polls for ever never sleeps"
    );
    assert_eq!(
        refusal(&["--poll-mode", "--overprovisioned"]),
        "--poll-mode contradicts --overprovisioned: who polls for ever takes a processor, which would be shared"
    );
    let allowed =
        ["--poll-mode=false", "--idle-poll-time-us", "5", "--task-quota-ms", "0.25", "--thread-affinity", "0"];
    assert_eq!(ended(&[&ANYWHERE[..], &allowed].concat()).0, Some(0));
}

#[test]
fn options_of_collectd_without_its_address_are_refused() {
    for option in [["--collectd-hostname", "here"], ["--collectd-poll-period-ms", "20"]] {
        let refusal = refusal(&option);
        assert!(refusal.contains("--collectd <ADDRESS>"), "{refusal}");
    }
}

#[test]
fn a_native_network_needs_a_device_and_an_address_and_others_need_it() {
    let native = |more: &[&str]| refusal(&[&["--network-stack", "native"], more].concat());
    assert_eq!(native(&[]), "--network-stack native needs --device, as in --device tap:NAME");
    let with_device = |more: &[&str]| native(&[&["--device", "tap:x"], more].concat());
    assert_eq!(with_device(&["--dhcp", "0"]), "--network-stack native without DHCP needs --host-ipv4-addr");
    for option in [["--dhcp-host-name", "web"], ["--dhcp-client-id", "web"], ["--dhcp-previous-addr", "10.0.0.2"]] {
        let line = with_device(&["--dhcp", "0", "--slaac", "1", option[0], option[1]]);
        assert_eq!(line, format!("{} is for DHCP, which no device asks", option[0]));
    }
    let line = with_device(&["--dhcp-previous-addr", "10.0.0.2", "--dhcp-previous-addr", "10.0.0.3"]);
    assert_eq!(line, "--dhcp-previous-addr stands once for each device: there are 2 for 1");
    let line = with_device(&["--slaac", "0", "--dhcpv6", "auto"]);
    assert_eq!(line, "--dhcpv6 auto does what routers say, who are not followed: it needs --slaac 1");
    for option in [["--gw-ipv4-addr", "10.0.0.1"], ["--netmask-ipv4-addr", "255.0.0.0"]] {
        assert_eq!(with_device(&option), format!("{} needs --host-ipv4-addr", option[0]));
    }
    let at = |address, more: &[&str]| native(&[&["--device", "tap:x", "--host-ipv4-addr", address], more].concat());
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "10.0.0.255", "10.0.0.0", "255.255.255.255"] {
        assert_eq!(at(address, &[]), format!("--host-ipv4-addr {address}: no host can have that address"));
    }
    let line = at("10.0.0.2", &["--gw-ipv4-addr", "10.0.1.1"]);
    assert_eq!(line, "--gw-ipv4-addr 10.0.1.1 is not in the network of 10.0.0.2/24");
    let line = at("10.0.0.2", &["--pcap", "/nowhere/x"]);
    assert!(line.starts_with("cannot write --pcap /nowhere/x: "), "{line}");
    for option in [
        &["--device", "tap:x"][..],
        &["--dhcp", "1"],
        &["--dhcp-host-name", "web"],
        &["--dhcpv6", "stateful"],
        &["--host-ipv4-addr", "10.0.0.2"],
        &["--netmask-ipv4-addr", "255.255.255.0"],
        &["--gw-ipv4-addr", "10.0.0.1"],
        &["--pcap", "x"],
        &["--fault", "drop=0.1"],
        &["--trace"],
    ] {
        assert_eq!(refusal(option), format!("{} needs --network-stack native", option[0]));
    }
}

#[test]
fn several_devices_have_an_address_and_a_network_each() {
    let native = |more: &str| {
        let devices = "--network-stack native --device tap:x --device tap:y";
        refusal(&format!("{devices} {more}").split(' ').collect::<Vec<_>>())
    };
    for (more, line) in [
        ("--host-ipv4-addr 10.0.0.2", "each --device needs one --host-ipv4-addr, in the same order: there are 2 and 1"),
        (
            "--host-ipv4-addr 10.0.0.2 --host-ipv4-addr 10.0.0.3",
            "--host-ipv4-addr 10.0.0.2 and 10.0.0.3 are in one network, in which only one device can be",
        ),
        (
            "--host-ipv4-addr 10.0.0.2 --host-ipv4-addr 10.0.1.2 --netmask-ipv4-addr 255.255.255.0 \
             --netmask-ipv4-addr 255.255.0.0",
            "--host-ipv4-addr 10.0.0.2 and 10.0.1.2 are in one network, in which only one device can be",
        ),
        (
            "--host-ipv4-addr 10.0.0.2 --host-ipv4-addr 10.0.1.2 --gw-ipv4-addr 10.0.1.1 --gw-ipv4-addr 10.0.2.1",
            "--gw-ipv4-addr 10.0.2.1 is not in the network of 10.0.0.2/24 or 10.0.1.2/24",
        ),
        (
            "--device tap:y --host-ipv4-addr 10.0.0.2 --host-ipv4-addr 10.0.1.2 --host-ipv4-addr 10.0.2.2",
            "--device tap:y stands there twice",
        ),
        ("--device vhost-user:y", "--device vhost-user:y: another one has that name, and an interface is known by it"),
        ("--device vhost-user:a/b --device vhost-user:a/b", "--device vhost-user:a/b stands there twice"),
        ("--device tap:y,vlan=5 --device tap:y,vlan=5", "--device tap:y,vlan=5 stands there twice"),
        (
            "--device tap:y,vlan=5,mtu=9000",
            "--device tap:y,vlan=5: what it is like is to be said where it is named first",
        ),
        (
            "--device tap:y,vlan=5 --host-ipv6-addr y.6=2001:db8::2/64",
            "--host-ipv6-addr y.6=2001:db8::2/64: there is no --device of that name",
        ),
        (
            "--device tap:z --host-ipv4-addr 10.0.0.2 --host-ipv4-addr 10.0.1.2 --host-ipv4-addr 10.0.2.2 \
             --netmask-ipv4-addr 255.255.255.0 --netmask-ipv4-addr 255.255.255.0",
            "--netmask-ipv4-addr stands once for all devices, or once for each: there are 2 for 3",
        ),
    ] {
        assert_eq!(native(more), line);
    }
}

#[test]
fn shards_may_outnumber_processors_if_that_is_asked_for() {
    let (code, out, _) = ended(&["-c", "12", "--overprovisioned", "--prometheus-port", "0", "--play", "shards"]);
    assert_eq!((code, out.as_str()), (Some(0), "12\n"));
}

#[test]
fn addresses_that_cannot_be_had_end_with_2() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let line = last_line(2, &["--play", "listen", "--quiet", "--address", &address]);
    assert_eq!(line, format!("cannot listen on {address}: Address already in use (os error 98)"));
}

#[test]
fn main_functions_that_fail_end_with_1_or_say_that_it_is_the_users_fault() {
    assert_eq!(last_line(1, &["--play", "fail"]), "the disk\\nis full");
    assert_eq!(last_line(2, &["--play", "refuse"]), "no such plan");
    assert_eq!(last_line(1, &["--play", "panic"]), "the main function panicked: as the test\\nwants");
}

#[test]
fn arguments_forge_no_line() {
    // What clap does with escape sequences depends on which of its features the whole build has.
    let line = refusal(&["--smp", "\x1b[2J"]);
    assert!(
        line.starts_with("invalid value '") && line.ends_with("' for '--smp <N>': it must be a whole number"),
        "{line}"
    );
    assert!(!line.contains(char::is_control), "{line:?}");
}
