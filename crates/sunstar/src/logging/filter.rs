//! Which records are logged.

use std::fmt;
use std::str::FromStr;

use log::LevelFilter;
use thiserror::Error;

/// Which levels are logged: of all modules, or of single ones.
///
/// Its text form is a list of levels and `MODULE=LEVEL`, separated by commas, as in `net=debug,info`. A level alone is for
/// all modules that the list does not name; without one it is `info`. A module stands for those inside of it too
/// (`net` for `net::tcp`), and of several that fit, the longest counts. Sunstar's own crates are named without their
/// prefix: `net` is `sunstar_net`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFilter {
    default: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
}

/// Why a text is no [`LogFilter`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{item:?} is neither a level (off, error, warn, info, debug, trace) nor MODULE=LEVEL")]
pub struct LogFilterError {
    /// The part of the list that is wrong.
    pub item: String,
}

impl LogFilter {
    /// The highest level that is logged of the module `target`.
    pub(super) fn level_of(&self, target: &str) -> LevelFilter {
        let fitting = self.modules.iter().filter(|(module, _)| contains(module, target));
        fitting.max_by_key(|(module, _)| module.len()).map_or(self.default, |(_, level)| *level)
    }

    /// The highest level that is logged of any module.
    pub(super) fn max_level(&self) -> LevelFilter {
        self.modules.iter().map(|(_, level)| *level).fold(self.default, Ord::max)
    }
}

/// Whether `target` is `module` or inside of it.
fn contains(module: &str, target: &str) -> bool {
    let short = target.strip_prefix("sunstar_").or_else(|| target.strip_prefix("sunstar::"));
    [Some(target), short]
        .into_iter()
        .flatten()
        .any(|target| target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { default: LevelFilter::Info, modules: Vec::new() }
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut filter = Self::default();
        for item in text.split(',').map(str::trim) {
            let wrong = || LogFilterError { item: item.to_owned() };
            let (module, level) = item.split_once('=').map_or(("", item), |(module, level)| (module.trim(), level));
            let level = level.trim().parse().map_err(|_| wrong())?;
            match module {
                "" if item.contains('=') => return Err(wrong()),
                "" => filter.default = level,
                // Crates are written with dashes, and are modules with underscores.
                module => filter.modules.push((module.replace('-', "_"), level)),
            }
        }
        Ok(filter)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.modules.iter().try_for_each(|(module, level)| write!(f, "{module}={level},"))?;
        self.default.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> LogFilter {
        text.parse().expect("a good list")
    }

    #[test]
    fn a_level_is_for_all_modules() {
        assert_eq!(filter("debug").level_of("httpd::routes"), LevelFilter::Debug);
        assert_eq!(filter("Off").max_level(), LevelFilter::Off);
    }

    #[test]
    fn the_longest_module_counts() {
        let filter = filter("net=debug, warn, net::tcp=trace,my-app=error");
        assert_eq!(filter.level_of("sunstar_net"), LevelFilter::Debug);
        assert_eq!(filter.level_of("sunstar_net::udp"), LevelFilter::Debug);
        assert_eq!(filter.level_of("sunstar_net::tcp::accept"), LevelFilter::Trace);
        assert_eq!(filter.level_of("network"), LevelFilter::Warn);
        assert_eq!(filter.level_of("my_app::x"), LevelFilter::Error);
        assert_eq!(filter.max_level(), LevelFilter::Trace);
        assert_eq!(filter.to_string().parse(), Ok(filter));
    }

    #[test]
    fn modules_without_a_level_keep_the_default() {
        assert_eq!(filter("stall=error").level_of("httpd"), LevelFilter::Info);
        assert_eq!(filter("stall=error").level_of("sunstar::stall"), LevelFilter::Error);
    }

    #[test]
    fn what_is_no_level_is_named() {
        for (text, item) in [("", ""), ("net", "net"), ("info,=debug", "=debug"), ("a=b", "a=b"), ("info,", "")] {
            assert_eq!(text.parse::<LogFilter>(), Err(LogFilterError { item: item.to_owned() }), "{text:?}");
        }
    }
}
