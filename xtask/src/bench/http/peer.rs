//! Who is measured, and how the other programs come here.

use std::path::absolute;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, program, run, target_dir};

/// Who is measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    Floor,
    Nginx,
    IoUring,
    Epoll,
    Rust(Runtime),
    Given(Given),
}

impl Peer {
    pub(super) const OURS_AND_BOUNDS: [Self; 4] = [Self::Floor, Self::Nginx, Self::IoUring, Self::Epoll];

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Floor => "floor (bare epoll)",
            Self::Nginx => "nginx",
            Self::IoUring => "httpd io_uring",
            Self::Epoll => "httpd epoll",
            Self::Rust(runtime) => runtime.name(),
            Self::Given(given) => &given.name,
        }
    }

    /// Whether it serves the file that is downloaded.
    pub(super) fn has_files(&self) -> bool {
        matches!(self, Self::Nginx | Self::IoUring | Self::Epoll)
    }

    /// Whether the rest can be measured without it.
    pub(super) fn may_fail(&self) -> bool {
        matches!(self, Self::Rust(_) | Self::Given(_))
    }
}

/// The runtimes with a server in `bench/peers/http`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Runtime {
    Hyper,
    Monoio,
    Compio,
    Glommio,
}

impl Runtime {
    const ALL: [Self; 4] = [Self::Hyper, Self::Monoio, Self::Compio, Self::Glommio];

    fn name(self) -> &'static str {
        match self {
            Self::Hyper => "tokio + hyper",
            Self::Monoio => "monoio + httparse",
            Self::Compio => "compio + httparse",
            Self::Glommio => "glommio + httparse",
        }
    }

    /// The feature of the server's package, and the end of its program's name.
    fn feature(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Monoio => "monoio",
            Self::Compio => "compio",
            Self::Glommio => "glommio",
        }
    }

    fn program(self) -> String {
        format!("http-{}", self.feature())
    }

    /// Its server, with the arguments for where and on what to run.
    pub(super) fn command(self, address: &str, port: &str, cpu: &str) -> Command {
        let path = target_dir("peers").join("release").join(self.program());
        program(&path.to_string_lossy(), &["--address", address, "--port", port, "--cpu", cpu])
    }

    fn builds(of: &[Self]) -> Result<bool> {
        let features: Vec<&str> = of.iter().map(|runtime| runtime.feature()).collect();
        let mut build = cargo(&["build", "--release", "--locked", "--manifest-path", "bench/peers/Cargo.toml"]);
        build.args(["--package", "sunstar-bench-peers-http", "--no-default-features", "--features"]);
        build.arg(features.join(",")).arg("--target-dir").arg(target_dir("peers"));
        build.args(of.iter().flat_map(|runtime| ["--bin".to_owned(), runtime.program()]));
        Ok(run(&mut build)?.success)
    }

    /// Builds all, and answers which could be built.
    ///
    /// # Errors
    /// If cargo can't be started.
    pub(super) fn build() -> Result<Vec<Self>> {
        if Self::builds(&Self::ALL)? {
            return Ok(Self::ALL.to_vec());
        }
        let each = Self::ALL.into_iter().map(|runtime| Ok((runtime, Self::builds(&[runtime])?)));
        let each: Vec<(Self, bool)> = each.collect::<Result<_>>()?;
        Ok(each.into_iter().filter(|(_, builds)| *builds).map(|(runtime, _)| runtime).collect())
    }

    /// The names of those that are not among `built`.
    pub(super) fn missing(built: &[Self]) -> Vec<&'static str> {
        Self::ALL.into_iter().filter(|runtime| !built.contains(runtime)).map(Self::name).collect()
    }
}

/// A server that the user has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Given {
    name: String,
    /// The program and its arguments, with `{address}`, `{port}` and `{cpu}` in them.
    words: Vec<String>,
}

impl Given {
    /// Reads `NAME=COMMAND`.
    ///
    /// # Errors
    /// If there is no name or no command, or the name is another's.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("a peer is NAME=COMMAND")?;
        let mut words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let [path, arguments @ ..] = &mut *words else { return Err(format!("what is the command of {name}?")) };
        if name.is_empty() || taken(name) {
            return Err(format!("a peer can't have the name `{name}`"));
        }
        if path.contains('/') {
            *path = absolute(&*path).map_err(|error| format!("{path}: {error}"))?.to_string_lossy().into_owned();
        }
        if arguments.is_empty() {
            let usual = ["--address", "{address}", "--port", "{port}", "--cpu", "{cpu}"];
            words.extend(usual.map(str::to_owned));
        }
        Ok(Self { name: name.to_owned(), words })
    }

    /// The command for where and on what to run.
    ///
    /// # Errors
    /// Never: a command has a first word.
    pub(super) fn command(&self, address: &str, port: &str, cpu: &str) -> Result<Command> {
        let fill = |word: &String| word.replace("{address}", address).replace("{port}", port).replace("{cpu}", cpu);
        let words: Vec<String> = self.words.iter().map(fill).collect();
        let (path, arguments) = words.split_first().context("a command has a first word")?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(program(path, &arguments))
    }

    /// The command as it was given.
    pub(super) fn text(&self) -> String {
        format!("{}: `{}`", self.name, self.words.join(" "))
    }
}

fn taken(name: &str) -> bool {
    let ours = Peer::OURS_AND_BOUNDS.iter().map(Peer::name);
    ours.chain(Runtime::ALL.into_iter().map(Runtime::name)).any(|other| other == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(given: &Given) -> String {
        let command = given.command("127.0.0.1", "81", "0").unwrap();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_given_peer_gets_its_place() {
        let seastar = Given::parse("seastar=/opt/httpd --smp 1 --port={port} --cpuset {cpu} --x=y").unwrap();
        assert_eq!(line(&seastar), "/opt/httpd --smp 1 --port=81 --cpuset 0 --x=y");
        let bare = Given::parse("mine=/opt/mine").unwrap();
        assert_eq!(line(&bare), "/opt/mine --address 127.0.0.1 --port 81 --cpu 0");
    }

    #[test]
    fn a_given_peer_needs_a_name_and_a_command() {
        for text in ["/opt/httpd", "=/opt/httpd", "x=", "x=  ", "nginx=/opt/httpd"] {
            assert!(Given::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_not_built_is_named() {
        assert_eq!(Runtime::missing(&Runtime::ALL), Vec::<&str>::new());
        assert_eq!(Runtime::missing(&[Runtime::Monoio, Runtime::Compio, Runtime::Glommio]), ["tokio + hyper"]);
    }
}
