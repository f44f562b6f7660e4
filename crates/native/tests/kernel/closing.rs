//! How connections with a kernel end: in halves and by resets, from either side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use sunstar_net as net;

use super::meeting::{
    here, kernel_hears_the_end, kernel_receives, kernel_sends, meet, pattern, stack_hears_the_end, stack_receives,
    stack_sends,
};
use super::namespace::in_namespace;
use super::stack::{BACKENDS, Setup};
use super::streams::make_tap;

const BYTES: usize = 500_000;

/// Has each driver's stack meet the kernel, at the same time in namespaces of their own.
fn each<S, Fut>(kernel: fn(TcpStream), stack: S)
where
    S: Fn(net::TcpStream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    thread::scope(|scope| {
        for backend in BACKENDS {
            let stack = stack.clone();
            scope.spawn(move || {
                in_namespace(move || {
                    make_tap(1_500);
                    meet(&Setup::new(backend, "tap0"), &here, kernel, stack);
                });
            });
        }
    });
}

#[test]
fn the_kernel_ends_first_and_goes_on_to_receive() {
    each(
        |stream| {
            kernel_sends(&stream, BYTES);
            stream.shutdown(Shutdown::Write).expect("it is open");
            kernel_receives(&stream, BYTES);
            kernel_hears_the_end(&stream);
        },
        |stream| async move {
            let (mut reader, mut writer) = stream.into_split();
            stack_receives(&mut reader, BYTES).await;
            stack_hears_the_end(&mut reader).await;
            stack_sends(&mut writer, BYTES).await;
            writer.shutdown();
            writer.flush().await.expect("the kernel takes it");
        },
    );
}

#[test]
fn the_stack_ends_first_and_goes_on_to_receive() {
    each(
        |stream| {
            kernel_receives(&stream, BYTES);
            kernel_hears_the_end(&stream);
            kernel_sends(&stream, BYTES);
            stream.shutdown(Shutdown::Write).expect("it is open");
            // So that the last acknowledgement is not this process's end.
            drop(stream);
        },
        |stream| async move {
            let (mut reader, mut writer) = stream.into_split();
            stack_sends(&mut writer, BYTES).await;
            writer.shutdown();
            writer.flush().await.expect("the kernel takes it");
            stack_receives(&mut reader, BYTES).await;
            stack_hears_the_end(&mut reader).await;
        },
    );
}

#[test]
fn the_kernel_resets_with_data_in_flight() {
    each(
        |mut stream| {
            kernel_receives(&stream, BYTES);
            // Of these something is under way, and more comes.
            stream.write_all(&pattern(0, BYTES)).expect("the stack takes it");
            let no_linger = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&stream, no_linger).expect("it is a socket");
        },
        |stream| async move {
            let (mut reader, mut writer) = stream.into_split();
            let sending = sunstar_executor::spawn(async move {
                let mut error = None;
                while error.is_none() {
                    error = writer.write(pattern(0, BYTES)).await.err();
                }
                error
            });
            let mut outcome = reader.read().await;
            while outcome.as_ref().is_ok_and(|bytes| !bytes.is_empty()) {
                outcome = reader.read().await;
            }
            assert_eq!(outcome.map(|bytes| bytes.len()), Err(net::Error::ConnectionReset));
            let error = sending.await.expect("it does not panic");
            assert!(matches!(error, Some(net::Error::ConnectionReset | net::Error::BrokenPipe)), "{error:?}");
        },
    );
}

#[test]
fn the_stack_resets_with_data_in_flight() {
    each(
        |mut stream| {
            let mut writer = stream.try_clone().expect("descriptors are free");
            let writing = thread::spawn(move || {
                let chunk = pattern(0, BYTES);
                loop {
                    if let Err(error) = writer.write_all(&chunk) {
                        return error.kind();
                    }
                }
            });
            let mut bytes = vec![0; 10_000];
            let error = loop {
                match stream.read(&mut bytes) {
                    Ok(0) => break None,
                    Ok(_) => {}
                    Err(error) => break Some(error.kind()),
                }
            };
            let other = writing.join().expect("it does not panic");
            // The first one to ask hears of the reset, the other one only that nothing more comes or goes.
            let both = [error, Some(other)];
            assert!(both.contains(&Some(ErrorKind::ConnectionReset)), "{both:?}");
        },
        |mut stream| async move {
            stream.write(pattern(0, BYTES)).await.expect("the kernel takes it");
            let mut came = 0;
            while came < BYTES {
                came += stream.read().await.expect("the kernel sends").len();
            }
            stream.abort();
        },
    );
}

/// Who closes with bytes that he has not read resets (RFC 2525 §2.17), which is heard.
#[test]
fn the_kernel_closes_without_having_read() {
    each(
        |mut stream| {
            let mut first = [0];
            stream.read_exact(&mut first).expect("the stack sends");
        },
        |mut stream| async move {
            stream.write(pattern(0, 20_000)).await.expect("the kernel takes it");
            assert_eq!(stream.read().await.map(|bytes| bytes.len()), Err(net::Error::ConnectionReset));
        },
    );
}
