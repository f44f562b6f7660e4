use super::*;

/// An attribute as it lies in a message.
fn encoded(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn attributes_are_found_behind_others() {
    let all = [encoded(1, &[7; 4]), encoded(3 | 0x8000, &[1; 5]), encoded(4, &[9; 4])].concat();
    assert_eq!(attribute(&all, 1), Some(&[7; 4][..]));
    assert_eq!(attribute(&all, 3), Some(&[1; 5][..]));
    assert_eq!(attribute(&all, 4), Some(&[9; 4][..]));
    assert_eq!(attribute(&all, 2), None);
    assert_eq!(attribute(&[], 1), None);
}

#[test]
fn attributes_without_sense_end_the_search() {
    for len in [0_u16, 3, 9, u16::MAX] {
        let broken = [&len.to_ne_bytes()[..], &[0; 6]].concat();
        assert_eq!(attribute(&broken, 4), None, "{len}");
    }
}

#[test]
fn errors_of_the_kernel_are_errors() {
    let mut answer = message(ERROR, 0, 0, &[]);
    answer[16..20].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
    assert_eq!(attributes(&answer).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    for short in [0, 5, 19] {
        let kind = attributes(&answer[..short]).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
    }
}

/// The first interface is the loopback, which reads no frames itself.
#[test]
fn the_kernel_answers() {
    match of(1) {
        Ok(segments) => assert_eq!(segments, None),
        // A kernel that knows no such family.
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOENT)),
    }
    if let Err(error) = of(u32::MAX >> 1) {
        assert!(matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)), "{error}");
    }
}
