//! Files where `openat2` is refused.

mod refusal;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use refusal::refuse;
use sunstar_reactor::{Backend, Config, run};
use sunstar_storage::{Directory, Error, Kind};
use tempfile::TempDir;

/// Keeps what is logged about files.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if line.contains("openat2") {
            self.0.lock().expect("no test panics with it").push(line);
        }
    }

    fn flush(&self) {}
}

/// What is opened and what is refused without `openat2`.
async fn look_around(root: &Path) {
    let root = Directory::open(root.to_str().expect("text")).await.expect("it is there");
    for path in ["page", "./page", "sub/leaf", "sub//deep/../leaf", "sub/./deep//file"] {
        let opened = root.open_file(path).await;
        if path.contains("..") {
            assert_eq!(opened.err(), Some(Error::Denied), "{path}");
        } else {
            let file = opened.unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(file.read_at(0, 10).await.expect("it can be read"), path.as_bytes()[path.len() - 4..], "{path}");
        }
    }
    for path in ["", ".", "sub", "sub/", "sub/deep/."] {
        assert_eq!(root.entry(path).await.expect("it is there").metadata().kind, Kind::Directory, "{path}");
    }
    for path in
        ["..", "../secret", "sub/../../secret", "/etc/passwd", "/", "//", "out", "up/secret", "inside", "deeper/file"]
    {
        assert_eq!(root.entry(path).await.err(), Some(Error::Denied), "{path}");
    }
    for path in ["none", "none/page", "page/", "page/.", "page/x", "sub/none"] {
        assert_eq!(root.entry(path).await.err(), Some(Error::NotFound), "{path}");
    }
    assert_eq!(root.entry("pipe").await.err(), Some(Error::WrongKind));
}

#[test]
fn without_openat2_files_are_opened_part_by_part_and_links_refused() {
    log::set_logger(&LINES).expect("nobody else sets one");
    log::set_max_level(log::LevelFilter::Info);
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("sub/deep")).expect("folders");
    for (path, text) in [("../secret", "secret"), ("page", "page"), ("sub/leaf", "leaf"), ("sub/deep/file", "file")] {
        fs::write(root.join(path), text).expect("a file");
    }
    let links = [("out", "../secret"), ("up", ".."), ("inside", "page"), ("deeper", "sub/deep")];
    links.into_iter().for_each(|(name, to)| symlink(to, root.join(name)).expect("a link"));
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().expect("it is installed").success());
    for errno in [libc::ENOSYS, libc::EPERM] {
        for backend in [Backend::Epoll, Backend::IoUring] {
            let root = root.clone();
            // The filter holds for this thread and those of the shard.
            let running = thread::spawn(move || {
                refuse(libc::SYS_openat2, errno);
                let config = Config { smp: Some(1), reactor_backend: Some(backend), ..Config::default() };
                run(config, move || async move { look_around(&root).await })
            });
            running.join().expect("no panic").expect("it runs");
        }
    }
    let lines = LINES.0.lock().expect("no test panics with it");
    let [line] = &lines[..] else { panic!("one line, not {lines:?}") };
    assert!(line.contains("symbolic links and `..` in them are refused"), "{line}");
}
