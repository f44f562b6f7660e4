//! Properties of any stream of packets of the binary protocol.

use proptest::collection::vec;
use proptest::prelude::*;

use super::packets::check_packets;

/// Opcodes with the extras that they have, in bytes, and whether they have a key and a value.
const COMMANDS: &[(u8, u8, bool, bool)] = &[
    (0x00, 0, true, false),
    (0x0d, 0, true, false),
    (0x01, 8, true, true),
    (0x12, 8, true, true),
    (0x19, 0, true, true),
    (0x04, 0, true, false),
    (0x05, 20, true, false),
    (0x08, 4, false, false),
    (0x0a, 0, false, false),
    (0x10, 0, true, false),
    (0x1b, 4, false, false),
    (0x1d, 4, true, false),
    (0x07, 0, false, false),
    (0x21, 0, true, true),
    (0x77, 3, true, true),
];

/// A packet, of whose faults this is one, or none.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let fault = prop_oneof![12 => Just(0_u8), 1 => 1..8_u8];
    (prop::sample::select(COMMANDS), 1..5_usize, 0..40_usize, any::<[u8; 12]>(), fault).prop_map(
        |((opcode, extras, has_key, has_value), key, value, rest, fault)| {
            let mut key = if has_key { key } else { 0 };
            let mut value = if has_value { value } else { 0 };
            let (mut extras, mut magic, mut body_more) = (extras, 0x80, 0);
            match fault {
                1 => key = 251,
                // Longer than an item may be.
                2 | 3 => value = 20_000,
                4 => magic = 0x81,
                5 => extras ^= 4,
                6 => body_more = u32::MAX - 60_000,
                7 => value += 1,
                _ => {}
            }
            let len = usize::from(extras) + key + value;
            let body = u32::try_from(len).unwrap() + body_more;
            let key_bytes = u16::try_from(key).unwrap().to_be_bytes();
            let front = [magic, opcode, key_bytes[0], key_bytes[1], extras, 0, 0, 0];
            [&front[..], &body.to_be_bytes(), &rest, &std::vec![rest[0]; len]].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn property_packets_are_read_as_they_stand(
        seed in any::<[u8; 8]>(),
        packets in vec(packet(), 1..8),
        missing in prop_oneof![Just(0_usize), 0..60_usize],
    ) {
        let mut bytes = [&seed[..], &packets.concat()].concat();
        bytes.truncate(bytes.len() - missing.min(bytes.len() - 8));
        check_packets(&bytes);
    }

    /// Too short a body for what its header says is in it.
    #[test]
    fn property_headers_of_any_numbers_are_looked_at(seed in any::<[u8; 8]>(), headers in vec(any::<[u8; 23]>(), 1..4)) {
        let packets: Vec<u8> = headers.iter().flat_map(|header| {
            let mut packet = [&[0x80][..], header].concat();
            // The numbers are small, so that they mean something.
            for place in [2, 8, 9, 10] {
                packet[place] = 0;
            }
            packet[1] %= 0x26;
            packet
        }).collect();
        check_packets(&[&seed[..], &packets].concat());
    }
}
