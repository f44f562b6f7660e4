use super::*;

#[test]
fn errors_of_the_kernel_are_errors() {
    let mut answer = request(ERROR, &[0; 4], None);
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
