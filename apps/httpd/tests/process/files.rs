//! Files below `--root`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::client::{Client, HELLO};
use super::server::{Httpd, Setup, command, with_each, with_each_backend};

/// Bytes that differ from place to place.
pub(super) fn content(len_bytes: usize) -> Vec<u8> {
    (0_u32..).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).take(len_bytes).collect()
}

/// Makes a directory of its own for a test, and beside it something that nobody may get.
pub(super) fn root(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("files-{name}"));
    drop(fs::remove_dir_all(&folder));
    let root = folder.join("root");
    fs::create_dir_all(root.join("sub")).expect("it can be made");
    fs::write(folder.join("secret"), "secret").expect("it can be written");
    fs::write(root.join("sub/index.html"), "<p>").expect("it can be written");
    fs::write(root.join("large"), content(3_000_000)).expect("it can be written");
    fs::write(root.join("page.txt"), "Hello world\n".repeat(10_000)).expect("it can be written");
    root
}

pub(super) fn serve(setup: Setup, root: &Path) -> Httpd {
    Httpd::run(command(setup).arg("--root").arg(root))
}

#[test]
fn files_are_served_whole_and_in_parts() {
    let root = root("whole");
    with_each(|setup| {
        let httpd = serve(setup, &root);
        let mut client = Client::connect(httpd.address).unwrap();
        for _ in 0..3 {
            assert!(client.get("/file/large").unwrap().body == content(3_000_000));
            assert_eq!(client.get("/file/sub/").unwrap().body, b"<p>");
            assert_eq!(client.get("/").unwrap().body, HELLO);
            client.send(b"GET /file/large HTTP/1.1\r\nHost: a\r\nRange: bytes=1000001-2000000\r\n\r\n").unwrap();
            let part = client.answer().unwrap();
            assert!(part.status() == "206" && part.body == content(3_000_000)[1_000_001..2_000_001]);
        }
        // All at once.
        client
            .send(b"GET /file/large HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10).as_slice())
            .unwrap();
        for _ in 0..10 {
            assert!(client.answer().unwrap().body == content(3_000_000));
            assert_eq!(client.answer().unwrap().body, HELLO);
        }
        client.send(b"GET /file/large HTTP/1.0\r\n\r\n").unwrap();
        assert!(client.rest().unwrap().ends_with(&content(3_000_000)));
        httpd.stop();
    });
}

#[test]
fn files_are_read_only_and_say_so() {
    let root = root("methods");
    let httpd = serve(Setup { backend: "epoll", shards: 1 }, &root);
    for (method, status) in [("OPTIONS", "204"), ("PUT", "405"), ("BREW", "405")] {
        let mut client = Client::connect(httpd.address).unwrap();
        client
            .send(format!("{method} /file/large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let answer = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{answer}");
    }
    httpd.stop();
}

#[test]
fn without_a_root_there_are_no_files_and_a_bad_one_is_told() {
    with_each_backend(|setup| {
        let httpd = Httpd::start(setup);
        assert_eq!(Client::connect(httpd.address).unwrap().get("/file/x").unwrap().status(), "404");
        httpd.stop();
        let output = command(setup).args(["--root", "/no/such/place", "--log-level", "warn"]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), errors.as_str()),
            (Some(2), "httpd: error: cannot serve /no/such/place: there is no such directory\n")
        );
    });
}

#[test]
fn no_path_leads_out_of_the_root() {
    let root = root("escape");
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("sub/../../secret", root.join("round")).unwrap();
    symlink("/proc/self", root.join("self")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("page.txt", root.join("inside")).unwrap();
    fs::write(root.join(".hidden"), "hidden").unwrap();
    with_each_backend(|setup| {
        let httpd = serve(setup, &root);
        let mut client = Client::connect(httpd.address).unwrap();
        for path in [
            "/file/../secret",
            "/file/%2e%2e/secret",
            "/file/.%2e/secret",
            "/file/%252e%252e/secret",
            "/file/..%2fsecret",
            "/file/..%5csecret",
            "/file/%2e%2e%2fsecret",
            "/file/sub/../../secret",
            "/file/sub/%2e%2e/%2e%2e/secret",
            "/file//etc/passwd",
            "/file/%2fetc/passwd",
            "/file/absolute",
            "/file/out",
            "/file/round",
            "/file/self/environ",
            "/file/self/root/etc/passwd",
            "/file/up/secret",
            "/file/./page.txt",
            "/file/.hidden",
            "/file/page.txt%00",
            "/file/page.txt/",
            "/file/%c0%ae%c0%ae/secret",
            "/file/....//secret",
            "/file/..;/secret",
            "/file/%uff0e%uff0e/secret",
            "/file/~root/x",
            "/file/page.txt/../../secret",
            "/filesecret",
            "/file",
        ] {
            let answer = client.get(path).unwrap();
            assert!(matches!(answer.status(), "400" | "403" | "404"), "{path}: {}", answer.status());
            assert!(answer.body.len() < 20 && !answer.body.starts_with(b"secret"), "{path}");
        }
        assert_eq!(client.get("/file/inside").unwrap().status(), "200");
        httpd.stop();
    });
}

#[test]
fn a_pipe_in_the_root_stops_nobody() {
    let root = root("pipe");
    assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    with_each_backend(|setup| {
        let httpd = serve(setup, &root);
        assert_eq!(Client::connect(httpd.address).unwrap().get("/file/pipe").unwrap().status(), "404");
        httpd.stop();
    });
}

#[test]
fn downloads_that_are_given_up_leave_nothing_behind() {
    let root = root("given-up");
    with_each(|setup| {
        let httpd = serve(setup, &root);
        let mut steady = Client::connect(httpd.address).unwrap();
        steady.get("/file/large").unwrap();
        let before = httpd.descriptors();
        let give_up = |number: usize| {
            let mut client = Client::connect(httpd.address).unwrap();
            let fields = ["", "Accept-Encoding: zstd\r\n", "Range: bytes=0-9,50-99999\r\n"][number % 3];
            let path = if number % 3 == 1 { "page.txt" } else { "large" };
            client.send(format!("GET /file/{path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap();
            if number.is_multiple_of(2) {
                // Some of it has arrived.
                let mut some = [0; 1];
                std::io::Read::read_exact(&mut client.stream, &mut some).unwrap();
            }
            client.reset();
        };
        (0..200).for_each(give_up);
        let resident_kib = httpd.resident_kib();
        (0..2000).for_each(give_up);
        assert!(steady.get("/file/large").unwrap().body == content(3_000_000));
        httpd.wait_for_descriptors(before);
        let grown_kib = httpd.resident_kib().saturating_sub(resident_kib);
        assert!(grown_kib < 4096, "{grown_kib} KiB more than after a tenth of them");
        drop(steady);
        httpd.stop();
    });
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_ends_the_connection_and_one_that_is_removed_does_not() {
    let root = root("cut");
    with_each_backend(|setup| {
        let httpd = serve(setup, &root);
        for is_cut in [true, false] {
            let path = root.join("victim");
            fs::write(&path, content(40_000_000)).unwrap();
            let mut client = Client::connect(httpd.address).unwrap();
            client.send(b"GET /file/victim HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            // More than the kernel's buffers hold is still to come.
            sleep(Duration::from_millis(200));
            if is_cut {
                fs::File::options().write(true).open(&path).unwrap().set_len(30_000_000).unwrap();
                assert!(client.answer().is_err(), "the response has no end");
            } else {
                fs::remove_file(&path).unwrap();
                assert!(client.answer().unwrap().body == content(40_000_000));
                assert_eq!(client.answer().unwrap().body, HELLO);
            }
        }
        assert_eq!(Client::connect(httpd.address).unwrap().get("/").unwrap().body, HELLO);
        httpd.stop();
    });
}
