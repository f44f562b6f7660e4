//! An application: command line, start, and end.

use std::env;
use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use sunstar_reactor::Config;

use crate::config_file;
use crate::error::{Ending, Error};
use crate::logging::{self, LogFilter};
use crate::names::Names;
use crate::native;
use crate::options::{CONFIG, Options};
use crate::telling::Telling;

const APPLICATION_OPTIONS: &str = "Application options";
const FRAMEWORK_OPTIONS: &str = "Framework options";

/// An application on shards: it takes options, runs a main function on shard 0, and ends in order.
///
/// # Options
/// `--help` shows the options that every application has, and the application's own. All of them may be written into
/// a TOML file, under their long names, that `--config` names: `smp = 2`. Flags are `true` or `false` there, and options
/// that take several values have a list. What the command line gives, the file's value is left out for; what remains
/// is checked as if all of it stood on one command line. So `--poll-mode=false` undoes `poll-mode = true`.
///
/// # Stop
/// On `SIGINT` and `SIGTERM`, or [`request_stop`](crate::request_stop), a main function that awaits
/// [`stop_requested`](crate::stop_requested) is told. It then takes no new work, finishes what is in progress and
/// returns, for which it has `--stop-timeout-s`. Usually that is one call: [`Sharded::stop`] has each instance of a
/// service finish on its shard, most often by closing its [`Gate`], which waits for those inside.
///
/// ```no_run
/// use std::rc::Rc;
/// use sunstar::prelude::*;
///
/// #[derive(Default)]
/// struct Server {
///     requests: Rc<Gate>,
/// }
///
/// impl Service for Server {
///     async fn stop(&self) {
///         self.requests.close().await;
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     App::new("server").run(|(): ()| async {
///         let stop = stop_requested();
///         let server = Sharded::start(|| async { Server::default() }).await?;
///         stop.await;
///         server.stop().await?;
///         Ok(())
///     })
/// }
/// ```
///
/// A second signal cuts the time short, a third one ends the process at once. A main function that has no
/// future of `stop_requested` is dropped as soon as a stop is requested, so it makes one before it takes work.
///
/// # Metrics
/// While the main function runs, shard 0 answers Prometheus at `--prometheus-address` (this host, by default) and
/// `--prometheus-port` (9180; 0 for not at all) with the [metrics](crate::metrics) of all shards, at the path `/metrics`. With
/// `--collectd ADDRESS` they are sent to collectd. If the port is in use, the application ends at once, with exit code 2: of several
/// on one host, each needs a port of its own.
///
/// # Exit code
/// | code | when |
/// |---|---|
/// | 0 | the main function returned `Ok`, or was dropped on request without having asked to be told; `--help`, `--version` |
/// | 1 | it returned an error, panicked, or had not returned in time |
/// | 2 | what was asked for can't be had: options that are unknown, impossible or contradict each other, and errors for which [`Error::is_usage`] holds |
///
/// With 1 and 2 goes one last line on standard error, `NAME: error: …`.
///
/// [`Sharded::stop`]: crate::executor::Sharded::stop
/// [`Gate`]: crate::executor::sync::Gate
#[derive(Clone, Copy, Debug)]
pub struct App {
    name: &'static str,
    about: Option<&'static str>,
    version: Option<&'static str>,
    defaults: &'static [(&'static str, &'static str)],
}

impl App {
    /// An application of this name, by which its help and its errors call it.
    pub const fn new(name: &'static str) -> Self {
        Self { name, about: None, version: None, defaults: &[] }
    }

    /// Says in one line what the application is; `--help` shows it.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = Some(about);
        self
    }

    /// Says which version this is, usually `env!("CARGO_PKG_VERSION")`; `--version` shows it.
    #[must_use]
    pub const fn version(mut self, version: &'static str) -> Self {
        self.version = Some(version);
        self
    }

    /// Changes the defaults of options that every application has, by their long names, as in `("log-level", "warn")`: for tools, which
    /// differ from servers in what is of use. `--help` shows them.
    ///
    /// # Panics
    /// [`App::run`] panics if there is no such option, and in debug builds if the value is not one of it.
    #[must_use]
    pub const fn with_defaults(mut self, defaults: &'static [(&'static str, &'static str)]) -> Self {
        self.defaults = defaults;
        self
    }

    /// Parses the process's arguments, runs `main` on shard 0 until it returns or a stop is requested, and answers what
    /// the process should end with.
    ///
    /// `A` derives [`clap::Args`]; `()` stands for no options of one's own. Its options must differ in name and field from
    /// those that every application has, which debug builds check.
    ///
    /// Sets the process's logger, unless there is one, and its panic hook, which logs. Blocks the calling thread; to be
    /// called once, from the process's main function.
    pub fn run<A, F, M>(self, main: F) -> ExitCode
    where
        A: Args + Send + 'static,
        F: FnOnce(A) -> M + Send + 'static,
        M: Future<Output = Result<(), Error>> + 'static,
    {
        let ending = match self.parse::<A>(env::args_os().skip(1).collect()) {
            Ok(request) => request.start(main).unwrap_or_else(Ending::Failed),
            Err(ending) => ending,
        };
        if let Ending::Shown(text) = &ending {
            // Who closed the other end has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
        logging::end(ending.line(self.name));
        ExitCode::from(ending.exit_code())
    }

    /// What the command line and the file that it may name ask for.
    fn parse<A: Args>(&self, arguments: Vec<OsString>) -> Result<Request<A>, Ending> {
        let mut command = self.command::<A>();
        command.build();
        // What the file may add is not known yet, so nothing is missing. What is wrong is found below.
        let given = command.clone().ignore_errors(true).try_get_matches_from(&arguments).map_err(refused)?;
        let Some(file) = given.get_one::<PathBuf>(CONFIG) else {
            return Request::parse(command, arguments);
        };
        let mut all = config_file::arguments(file, &command, &given).map_err(Ending::Failed)?;
        let is_mixed = !all.is_empty();
        all.extend(arguments);
        Request::parse(command, all).map_err(|ending| match ending {
            Ending::Failed(error) if is_mixed => {
                Ending::Failed(Error::usage(format!("{error} (with the options of {})", file.display())))
            }
            ending => ending,
        })
    }

    fn command<A: Args>(&self) -> Command {
        let command = Command::new(self.name).no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
        let command = A::augment_args(command.next_help_heading(APPLICATION_OPTIONS));
        let command = Options::augment_args(command.next_help_heading(FRAMEWORK_OPTIONS));
        let help = Arg::new("help").short('h').long("help").help("Show this help").action(ArgAction::Help);
        let command = command.arg(help.help_heading(FRAMEWORK_OPTIONS));
        let command = match self.version {
            None => command,
            Some(version) => {
                let show = Arg::new("version").short('V').long("version").help("Show the version");
                command.version(version).arg(show.action(ArgAction::Version).help_heading(FRAMEWORK_OPTIONS))
            }
        };
        let command = self.defaults.iter().fold(command, |command, &(name, value)| {
            let id = name.replace('-', "_");
            assert!(command.get_arguments().any(|arg| arg.get_id() == &id), "there is no option --{name}");
            command.mut_arg(id, |arg| arg.default_value(value))
        });
        // A derived `Args` brings the comment of its type as a description, which is not the application's.
        command.about(self.about).long_about(None::<&str>)
    }
}

/// What a valid command line asks for.
struct Request<A> {
    runtime: Config,
    native: Option<native::Plan>,
    names: Names,
    log_level: LogFilter,
    telling: Telling,
    args: A,
}

impl<A: Args> Request<A> {
    fn parse(command: Command, arguments: Vec<OsString>) -> Result<Self, Ending> {
        let matches = command.try_get_matches_from(arguments).map_err(refused)?;
        let options = Options::from_arg_matches(&matches).map_err(refused)?;
        let args = A::from_arg_matches(&matches).map_err(refused)?;
        let runtime = options.runtime().map_err(Ending::Failed)?;
        let native = options.native().map_err(Ending::Failed)?;
        Ok(Self {
            runtime,
            native,
            names: options.names(),
            telling: options.telling(),
            log_level: options.log_level,
            args,
        })
    }

    fn start<F, M>(self, main: F) -> Result<Ending, Error>
    where
        A: Send + 'static,
        F: FnOnce(A) -> M + Send + 'static,
        M: Future<Output = Result<(), Error>> + 'static,
    {
        logging::install(&self.log_level)
            .map_err(|error| Error::failure(format!("cannot start the log's thread: {error}")))?;
        let (args, names, telling) = (self.args, self.names, self.telling);
        let mut opened = self.native.map(native::Plan::open).transpose()?;
        let capture = opened.as_mut().and_then(native::Opened::take_capture);
        let main = move || async move {
            if let Some(opened) = opened {
                opened.install().await?;
            }
            names.install().await?;
            telling.around(async move { main(args).await }).await
        };
        let ended = sunstar_reactor::run(self.runtime, main);
        // All packets are recorded when the shards have ended.
        if let Some(Err(error)) = capture.map(sunstar_device::Capture::finish) {
            log::error!("the capture is not complete: {error}");
        }
        match ended {
            Ok(outcome) => outcome.map(|()| Ending::Done),
            Err(error) => Ok(Ending::of_runtime(error)),
        }
    }
}

/// What the parser has to say instead of giving options.
fn refused(error: clap::Error) -> Ending {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ending::Shown(error.render().to_string()),
        // The parser would show all of the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Ending::Failed(Error::usage("arguments are missing; --help shows which there are"))
        }
        _ => Ending::Failed(Error::usage(in_one_line(&error))),
    }
}

/// What is wrong and perhaps how to mend it, without the usage that follows.
pub(crate) fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let mut line = String::new();
    for part in text[..end.unwrap_or(text.len())].lines().map(str::trim).filter(|part| !part.is_empty()) {
        let separator = if line.is_empty() || line.ends_with(':') { "" } else { ";" };
        let space = if line.is_empty() { "" } else { " " };
        line = format!("{line}{separator}{space}{part}");
    }
    line
}
