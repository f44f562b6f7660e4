use super::*;

const FUNCTION_TOEPLITZ: u8 = 1;
const FUNCTION_XOR: u8 = 2;
const SYMMETRIC_XOR: u8 = 1;
const SYMMETRIC_OR_XOR: u8 = 2;

/// `RXH_IP_SRC | RXH_IP_DST`.
const ADDRESSES: u64 = 0x30;
const ALL: [Option<u64>; 4] = [Some(ADDRESSES_AND_PORTS); 4];

/// A key of so many bytes, no two of which are alike.
fn key(bytes: u8) -> Vec<u8> {
    (100..100 + bytes).collect()
}

/// A table of so many entries, as drivers have it at first.
fn round_robin(entries: u32, queues: u32) -> Vec<u32> {
    (0..entries).map(|place| place % queues).collect()
}

/// `struct ethtool_rxfh` as the kernel fills it.
fn answered(function: u8, transformation: u8, table: &[u32], key: &[u8]) -> Vec<u32> {
    let mut bytes = Vec::new();
    let sizes = [table.len(), key.len()].map(|size| u32::try_from(size).unwrap());
    [0x46, 0, sizes[0], sizes[1]].iter().for_each(|word: &u32| bytes.extend(word.to_ne_bytes()));
    bytes.extend([function, transformation, 0, 0, 0, 0, 0, 0]);
    table.iter().for_each(|queue| bytes.extend(queue.to_ne_bytes()));
    bytes.extend(key);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect()
}

/// What is known of a hash of Toeplitz, for so many queues.
fn known_of(
    table: &[u32],
    key: &[u8],
    fields: [Option<u64>; 4],
    queues: usize,
) -> Result<(FlowHash, Vec<&'static str>), Unusable> {
    known("eth0", &Answers { hash: answered(FUNCTION_TOEPLITZ, 0, table, key), fields }, queues)
}

#[track_caller]
fn assert_unusable(known: Result<(FlowHash, Vec<&'static str>), Unusable>, expected: &str) {
    assert_eq!(known.expect_err("it is of no use").to_string(), expected);
}

/// As ixgbe, mlx5 and i40e have it, the last with a longer key.
#[test]
fn key_and_table_are_taken_as_they_are() {
    for (entries, bytes, queues) in [(128, 40, 16), (256, 40, 6), (512, 52, 8)] {
        let table = round_robin(entries, queues);
        let (hash, others) = known_of(&table, &key(bytes), ALL, queues as usize).unwrap();
        assert_eq!(hash.key[..], key(40));
        let Indirection::Table(known) = hash.indirection else { panic!("it is a table") };
        assert!(known.queues().iter().copied().map(u32::from).eq(table));
        assert!(others.is_empty());
    }
}

/// The queues need not have equal parts, nor all have one.
#[test]
fn any_table_that_leads_to_queues_that_are_taken_is() {
    for table in [[0, 0, 0, 1], [1, 1, 1, 1], [3, 0, 2, 1]] {
        let (hash, _) = known_of(&table, &key(40), ALL, 4).unwrap();
        let Indirection::Table(known) = hash.indirection else { panic!("it is a table") };
        assert!(known.queues().iter().copied().map(u32::from).eq(table));
    }
    for (queues, table, queue) in
        [(2, vec![0, 1, 2, 0], 2), (3, round_robin(128, 4), 3), (2, vec![0, u32::MAX], u32::MAX)]
    {
        let expected =
            format!("its table leads to queue {queue}, too, which is not taken (`ethtool -X eth0 equal {queues}`)");
        assert_unusable(known_of(&table, &key(40), ALL, queues), &expected);
    }
}

#[test]
fn other_functions_are_of_no_use() {
    for function in [0, FUNCTION_XOR, 4] {
        let hash = answered(function, 0, &round_robin(128, 4), &key(40));
        let expected = "its hash is not Toeplitz's (`ethtool -X eth0 hfunc toeplitz`)";
        assert_unusable(known("eth0", &Answers { hash, fields: ALL }, 4), expected);
    }
    let transformed = |by| Answers { hash: answered(FUNCTION_TOEPLITZ, by, &[0, 1], &key(40)), fields: ALL };
    for by in [SYMMETRIC_XOR, SYMMETRIC_OR_XOR] {
        let expected = "its hash is not of addresses and ports as they are (`ethtool -X eth0 xfrm none`)";
        assert_unusable(known("eth0", &transformed(by), 2), expected);
    }
    assert!(known("eth0", &transformed(0xff), 2).is_ok(), "the driver knows nothing of that");
}

#[test]
fn what_is_too_short_is_of_no_use() {
    for bytes in [0, 16, 39] {
        let expected = format!("its driver tells {bytes} bytes of the hash's key, which are less than 40");
        assert_unusable(known_of(&round_robin(128, 4), &key(bytes), ALL, 4), &expected);
    }
    for entries in [0, 96, 8_192] {
        let expected =
            format!("its driver tells a table of {entries} queues, by which places are not the lowest bits of hashes");
        assert_unusable(known_of(&round_robin(entries, 4), &key(40), ALL, 4), &expected);
    }
    assert!(known_of(&[], &[], ALL, 4).is_err());
    // Fewer words than the sizes say, or none at all.
    let whole = answered(FUNCTION_TOEPLITZ, 0, &round_robin(128, 4), &key(40));
    for len in 0..whole.len() {
        let cut = Answers { hash: whole[..len].to_vec(), fields: ALL };
        assert!(known("eth0", &cut, 4).is_err(), "{len} words");
    }
}

#[test]
fn flows_that_are_hashed_otherwise_are_named() {
    let of = |fields| known_of(&round_robin(512, 4), &key(52), fields, 4).map(|(_, others)| others);
    let [by_ports, by_addresses] = [Some(ADDRESSES_AND_PORTS), Some(ADDRESSES)];
    // So most drivers have it at first, for the sake of fragments.
    assert_eq!(of([by_ports, by_ports, by_addresses, by_addresses]).unwrap(), ["udp4", "udp6"]);
    assert_eq!(of([by_ports, None, by_ports, Some(0)]).unwrap(), ["tcp6", "udp6"]);
    assert_eq!(of([by_addresses, by_ports, by_ports, by_ports]).unwrap(), ["tcp4"]);
    // VLANs are hashed, too (`RXH_VLAN`).
    assert_eq!(of([by_ports, by_ports, Some(ADDRESSES_AND_PORTS | 4), by_ports]).unwrap(), ["udp4"]);
    for tcp in [by_addresses, None, Some(0)] {
        let expected = "its hash is not of addresses and ports for TCP (`ethtool -N eth0 rx-flow-hash tcp4 sdfn`)";
        let known = known_of(&round_robin(512, 4), &key(52), [tcp, tcp, by_ports, by_ports], 4);
        assert_unusable(known, expected);
    }
}
