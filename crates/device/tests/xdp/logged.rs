//! What is logged, by each thread for itself.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl Log for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
    }

    fn flush(&self) {}
}

/// Warnings and errors that this thread logs meanwhile.
pub(crate) fn warnings_of(act: impl FnOnce()) -> Vec<String> {
    lines_of(act).into_iter().filter(|line| !line.starts_with("INFO")).collect()
}

/// The same with what else it tells.
pub(crate) fn lines_of(act: impl FnOnce()) -> Vec<String> {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| {
        log::set_logger(&Lines).expect("nobody else logs");
        log::set_max_level(LevelFilter::Info);
    });
    LINES.take();
    act();
    LINES.take()
}
