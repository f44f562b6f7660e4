//! What is said when a TAP can't be had.

use std::rc::Rc;

use sunstar_device::{AttachError, Device, TakeError, Tap, TapError};
use sunstar_packet::{Pool, PoolOptions};

use crate::host::open;
use crate::namespace::{in_namespace, ip};

fn refused(options: &str) -> TapError {
    Tap::open(&options.parse().unwrap()).expect_err("it can't be had")
}

#[test]
fn other_interfaces_are_refused() {
    in_namespace(|| {
        ip("tuntap add dev tun0 mode tun multi_queue");
        ip("tuntap add dev single mode tap");
        for name in ["lo", "tun0", "single,queues=2"] {
            let error = refused(name);
            assert!(matches!(error, TapError::Kind { .. }), "{name}: {error:?}");
        }
        assert!(
            refused("lo").to_string().starts_with("lo is no TAP that has 1 queues: it is another kind of interface")
        );
        assert_eq!(open("single").capabilities().queues, 1);
    });
}

#[test]
fn an_interface_in_use_is_refused() {
    in_namespace(|| {
        ip("tuntap add dev single mode tap");
        let _user = open("single");
        let error = refused("single");
        assert!(matches!(error, TapError::Busy { .. }), "{error:?}");
        assert_eq!(error.to_string(), "single is in use: another process is attached to it");
    });
}

#[test]
fn users_without_rights_are_told_what_they_need() {
    in_namespace(|| {
        ip("tuntap add dev theirs mode tap user 1 multi_queue");
        // SAFETY: the call itself changes this thread's user only, unlike the function of the C library; the thread ends with
        // the test. No memory is involved.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
        for name in ["mine", "theirs"] {
            let error = refused(name);
            // Some systems let everybody open the node.
            let expected = match &error {
                TapError::NodePermission(_) => "no permission to use TAP devices: /dev/net/tun: ",
                TapError::MakePermission { name } if name == "mine" => {
                    "there is no interface mine, and no permission to make it"
                }
                TapError::AttachPermission { name } if name == "theirs" => "no permission to attach to theirs",
                _ => panic!("{error:?}"),
            };
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    });
}

#[test]
fn a_queue_is_taken_once_and_needs_fit_frames() {
    in_namespace(|| {
        let mut tap = open("t0");
        let queue = tap.take_queue(0).unwrap();
        assert_eq!(tap.take_queue(0).unwrap_err(), TakeError::Taken { index: 0 });
        assert_eq!(tap.take_queue(1).unwrap_err(), TakeError::NoSuchQueue { index: 1, queues: 1 });
        let options = PoolOptions { frame_bytes: 1024, headroom_bytes: 0, limit_frames: 1 };
        let error = queue.attach(Rc::new(Pool::new(options).unwrap())).err();
        let expected = AttachError::FramesTooSmall { frame_bytes: 1024, max_packet_bytes: 65_557, max_buffers: 64 };
        assert_eq!(error, Some(expected));
    });
}
