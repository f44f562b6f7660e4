use proptest::prelude::*;

use super::*;

/// A request as it is on the wire of a little-endian machine.
fn golden(request: &Request, bytes: &[u8]) {
    assert_eq!(request.encode(false), bytes, "{request:?}");
    assert_eq!(decode(bytes, request.files().1), Ok(request.clone()));
}

fn decode(bytes: &[u8], files: usize) -> Result<Request, MessageError> {
    let (header, payload) = bytes.split_first_chunk().expect("a header");
    let header = Header::decode(header)?;
    assert_eq!(header.payload_bytes, payload.len(), "the test's message is whole");
    Request::decode(header, payload, files)
}

#[test]
#[cfg(target_endian = "little")]
fn messages_are_as_the_specification_says() {
    golden(&Request::GetFeatures, &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let features = Request::SetFeatures(0x1_4000_8001);
    golden(&features, &[2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 0x80, 0, 0x40, 1, 0, 0, 0]);
    golden(&Request::GetVringBase { index: 3 }, &[11, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    let kick = Request::SetVringKick(RingFile { index: 5, has_file: true });
    golden(&kick, &[12, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let call = Request::SetVringCall(RingFile { index: 255, has_file: false });
    golden(&call, &[13, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 255, 1, 0, 0, 0, 0, 0, 0]);
    let enable = Request::SetVringEnable(RingState { index: 1, value: 1 });
    golden(&enable, &[18, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
#[cfg(target_endian = "little")]
fn memory_and_rings_are_as_the_specification_says() {
    let region = RegionDescription { guest_address: 1, bytes: 2, user_address: 3, file_offset: 4 };
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut table = vec![5, 0, 0, 0, 1, 0, 0, 0, 72, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
    table.extend(words(&[1, 2, 3, 4, 1, 2, 3, 4]));
    golden(&Request::SetMemTable(vec![region; 2]), &table);
    let mut one = vec![37, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    one.extend(words(&[1, 2, 3, 4]));
    golden(&Request::AddMemReg(region), &one);
    let mut addresses = vec![9, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    // The used ring stands before the available one.
    addresses.extend(words(&[0x1000, 0x3000, 0x2000, 0]));
    let ring = RingAddresses { index: 1, flags: 0, descriptors: 0x1000, available: 0x2000, used: 0x3000, log: 0 };
    golden(&Request::SetVringAddr(ring), &addresses);
}

#[test]
fn answers_are_told_from_requests() {
    let request = Request::GetVringBase { index: 1 };
    let bytes = Reply::Ring(RingState { index: 1, value: 77 }).encode(11);
    assert_eq!(decode(&bytes, 0), Err(MessageError::NotRequest { number: 11 }));
    let (header, payload) = bytes.split_first_chunk().expect("a header");
    let header = Header::decode(header).expect("a header");
    assert!(header.is_reply && !header.needs_reply);
    assert_eq!(Reply::decode(&request, header, payload, 0), Ok(Reply::Ring(RingState { index: 1, value: 77 })));
    let wrong = Reply::decode(&Request::GetFeatures, header, payload, 0);
    assert_eq!(wrong, Err(MessageError::NotReply { number: 11, wanted: 1 }));
    let files = Reply::decode(&request, header, payload, 1);
    assert_eq!(files, Err(MessageError::Files { number: 11, files: 1, wanted: 0 }));
    let asked = Request::SetOwner.encode(true);
    assert!(Header::decode(asked.first_chunk().expect("a header")).expect("a header").needs_reply);
}

#[test]
fn the_room_for_all_regions_may_be_sent() {
    let region = RegionDescription { guest_address: 1, bytes: 2, user_address: 3, file_offset: 4 };
    let mut payload = Request::SetMemTable(vec![region]).encode(false).split_off(HEADER_BYTES);
    payload.resize(MAX_PAYLOAD_BYTES, 0xee);
    assert_eq!(decode(&message(5, VERSION, &payload), 1), Ok(Request::SetMemTable(vec![region])));
}

#[test]
fn hostile_messages_say_what_is_wrong() {
    let header = |number, flags, len: u32| {
        let bytes = [number, flags, len].map(u32::to_ne_bytes).concat();
        Header::decode(bytes.first_chunk().expect("a header"))
    };
    assert_eq!(header(1, 2, 0), Err(MessageError::Version { version: 2 }));
    assert_eq!(header(5, 1, 265), Err(MessageError::TooLong { number: 5, bytes: 265 }));
    assert_eq!(header(5, 1, u32::MAX), Err(MessageError::TooLong { number: 5, bytes: u32::MAX }));
    let with = |number, payload: &[u8], files| decode(&message(number, VERSION, payload), files);
    for number in [0, 6, 7, 19, 21, 35, 39, 40, 41, u32::MAX] {
        assert_eq!(with(number, &[], 0), Err(MessageError::Unknown { number }));
    }
    assert_eq!(with(1, &[0], 0), Err(MessageError::Length { number: 1, bytes: 1, wanted: 0 }));
    assert_eq!(with(2, &[0; 7], 0), Err(MessageError::Length { number: 2, bytes: 7, wanted: 8 }));
    assert_eq!(with(5, &[0; 7], 0), Err(MessageError::Length { number: 5, bytes: 7, wanted: 8 }));
    assert_eq!(with(5, &[0; 8], 0), Err(MessageError::Regions { regions: 0 }));
    assert_eq!(with(5, &[9, 0, 0, 9, 0, 0, 0, 0], 0), Err(MessageError::Regions { regions: 0x0900_0009 }));
    let two = Request::SetMemTable(vec![RegionDescription::default(); 2]).encode(false).split_off(HEADER_BYTES);
    assert_eq!(with(5, &two[..71], 2), Err(MessageError::Length { number: 5, bytes: 71, wanted: 72 }));
    assert_eq!(with(5, &two, 1), Err(MessageError::Files { number: 5, files: 1, wanted: 2 }));
    assert_eq!(with(1, &[], 1), Err(MessageError::Files { number: 1, files: 1, wanted: 0 }));
    let kick = |flag, files| with(12, &[0, flag, 0, 0, 0, 0, 0, 0], files);
    assert_eq!(kick(0, 0), Err(MessageError::Files { number: 12, files: 0, wanted: 1 }));
    assert_eq!(kick(1, 1), Err(MessageError::Files { number: 12, files: 1, wanted: 0 }));
    let text = MessageError::Files { number: 12, files: 0, wanted: 1 }.to_string();
    assert_eq!(text, "request 12 with 0 descriptors, which should be 1");
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_an_error(bytes in prop::collection::vec(any::<u8>(), 12..300), files in 0_usize..9) {
        let (header, payload) = bytes.split_first_chunk().expect("a header");
        let request = Header::decode(header).and_then(|header| Request::decode(header, payload, files));
        if let Ok(request) = request {
            prop_assert_eq!(decode(&request.encode(false), request.files().1), Ok(request));
        }
    }
}
