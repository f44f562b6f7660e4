use std::fs;
use std::future::Future;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use sunstar_storage::{Directory, Error, File};
use tempfile::TempDir;

use super::*;
use crate::{Backend, Config, run};

/// Runs it on a shard of each driver.
fn on_shard<M: Future<Output = ()> + 'static>(root: &Path, main: impl Fn(PathBuf) -> M + Copy + Send + 'static) {
    for backend in [Backend::Epoll, Backend::IoUring] {
        let config = Config { smp: Some(1), reactor_backend: Some(backend), ..Config::default() };
        let root = root.to_owned();
        run(config, move || main(root)).unwrap();
    }
}

fn name(path: &Path) -> Vec<u8> {
    path.to_str().unwrap().as_bytes().to_vec()
}

async fn opened(root: &Path, path: &[u8]) -> Result<File, Error> {
    Directory::open(name(root)).await.unwrap().entry(path).await
}

async fn content(file: &File) -> Vec<u8> {
    file.read_at(0, 1000).await.unwrap().to_vec()
}

/// A root with files, and something outside of it that nobody may read.
fn tree() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("sub/deep")).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    fs::write(root.join("page"), "page").unwrap();
    fs::write(root.join("sub/leaf"), "leaf").unwrap();
    (folder, root)
}

#[test]
fn files_are_opened_and_read() {
    let (_folder, root) = tree();
    on_shard(&root, |root| {
        async move {
            for (path, text) in
                [(&b"page"[..], "page"), (b"sub/leaf", "leaf"), (b"sub/../page", "page"), (b"./page", "page")]
            {
                // The second time it is in the kernel's cache.
                for _ in 0..2 {
                    let file = opened(&root, path).await.unwrap();
                    assert_eq!((file.metadata().len_bytes, content(&file).await), (4, text.as_bytes().to_vec()));
                    assert_eq!(file.read_at(2, 1).await.unwrap(), text.as_bytes()[2..3]);
                    assert!(
                        file.read_at(4, 10).await.unwrap().is_empty()
                            && file.read_at(1 << 40, 10).await.unwrap().is_empty()
                    );
                }
            }
            assert_eq!(opened(&root, b"").await.unwrap().metadata().kind, Kind::Directory);
            assert_eq!(opened(&root, b"sub").await.unwrap().metadata().kind, Kind::Directory);
        }
    });
}

#[test]
fn no_path_leads_out() {
    let (folder, root) = tree();
    symlink("../secret", root.join("out")).unwrap();
    symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
    symlink(root.join("page"), root.join("absolute-inside")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/proc/self/root", root.join("proc")).unwrap();
    symlink("circle", root.join("circle")).unwrap();
    symlink("sub/leaf", root.join("inside")).unwrap();
    symlink("../page", root.join("sub/inside")).unwrap();
    on_shard(&root, |root| async move {
        for path in [
            "../secret",
            "sub/../../secret",
            "sub/deep/../../../secret",
            "/etc/passwd",
            "out",
            "absolute",
            "absolute-inside",
            "up/secret",
            "proc/etc/passwd",
            "circle",
            "..",
            "sub/../..",
        ] {
            for _ in 0..2 {
                assert_eq!(opened(&root, path.as_bytes()).await.err(), Some(Error::Denied), "{path}");
            }
        }
        assert_eq!(content(&opened(&root, b"inside").await.unwrap()).await, b"leaf");
        assert_eq!(content(&opened(&root, b"sub/inside").await.unwrap()).await, b"page");
        for path in
            [&b"nobody"[..], b"page/", b"page/x", b"pa\0ge", [b'x'; 300].as_slice(), b"x/".repeat(3000).as_slice()]
        {
            assert_eq!(opened(&root, path).await.err(), Some(Error::NotFound));
        }
    });
}

#[test]
fn the_kernels_own_links_are_not_followed() {
    on_shard(Path::new("/proc"), |root| async move {
        for path in ["self/root/etc/passwd", "self/fd/0", "self/cwd", "self/exe", "thread-self/root"] {
            let outcome = opened(&root, path.as_bytes()).await.map(|file| *file.metadata());
            assert_eq!(outcome, Err(Error::Denied), "{path}");
        }
    });
}

#[test]
fn pipes_sockets_and_devices_are_refused_at_once() {
    let (_folder, root) = tree();
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    on_shard(&root, |root| async move {
        for path in ["pipe", "socket"] {
            assert_eq!(opened(&root, path.as_bytes()).await.err(), Some(Error::WrongKind), "{path}");
        }
        for path in ["null", "zero", "tty"] {
            let outcome = opened(Path::new("/dev"), path.as_bytes()).await;
            assert!(matches!(outcome.err(), Some(Error::WrongKind | Error::Denied)), "{path}");
        }
        assert_eq!(Directory::open(name(&root.join("page"))).await.err(), Some(Error::NotFound));
        assert_eq!(Directory::open(name(&root.join("nobody"))).await.err(), Some(Error::NotFound));
    });
}

#[test]
fn what_changes_has_another_identity() {
    let (_folder, root) = tree();
    on_shard(&root, |root| {
        async move {
            let identity = async || opened(&root, b"page").await.unwrap().metadata().identity;
            let first = identity().await;
            assert_eq!(identity().await, first);
            // The file system's clock may stand still for some milliseconds.
            sunstar_executor::timer::sleep(Duration::from_millis(20)).await;
            fs::write(root.join("page"), "same").unwrap();
            let second = identity().await;
            assert_ne!(second, first);
            fs::write(root.join("new"), "page").unwrap();
            fs::rename(root.join("new"), root.join("page")).unwrap();
            assert_ne!(identity().await.inode, second.inode);
        }
    });
}

#[test]
fn dropped_waits_leave_no_descriptor() {
    let (_folder, root) = tree();
    on_shard(&root, |root| {
        async move {
            let directory = Directory::open(name(&root)).await.unwrap();
            // The helper thread and its bell are there from now on.
            drop(directory.entry("page").await);
            let count = || {
                fs::read_dir("/proc/self/fd")
                    .unwrap()
                    .filter(|entry| {
                        let target = entry.as_ref().ok().and_then(|entry| fs::read_link(entry.path()).ok());
                        target.is_some_and(|target| target.starts_with(&root) && target != root)
                    })
                    .count()
            };
            let before = count();
            for number in 0..1000 {
                let path = format!("page-{number}");
                fs::write(root.join(&path), "x").unwrap();
                let mut wait = std::pin::pin!(directory.entry(path.as_bytes()));
                let polled = futures_poll(wait.as_mut());
                drop(polled);
            }
            // What the helper thread still had to do is done when it has done this.
            blocking(|| ()).await.unwrap();
            assert_eq!(count(), before);
        }
    });
}

/// Polls once.
fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
