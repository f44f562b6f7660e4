//! Large pages of the machine, reserved for a test, and given back.

use std::fs::{self, File};

/// What the kernel tells of pages of 2 MiB, and is told.
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

/// So often more are reserved while others, who take large pages where there are any, are faster.
const ATTEMPTS: u64 = 8;

/// The pool, which is what it was when this is dropped. Nobody else of the tests changes it meanwhile.
pub(crate) struct LargePages {
    before: u64,
    _lock: File,
}

impl LargePages {
    /// Where the pool can't be changed, the test fails in continuous integration, and says so elsewhere.
    pub(crate) fn new() -> Option<Self> {
        let lock = File::create(std::env::temp_dir().join("sunstar-large-pages")).expect("the folder is there");
        lock.lock().expect("it is a file");
        let changed = count().and_then(|before| fs::write(POOL, before.to_string()).map(|()| before));
        match changed {
            Ok(before) => Some(Self { before, _lock: lock }),
            Err(error) => {
                let message = format!("{POOL}: {error}; tests of large pages need root");
                assert!(std::env::var_os("CI").is_none(), "{message}");
                eprintln!("not run: {message}");
                None
            }
        }
    }

    /// Makes something of so many pages.
    ///
    /// # Panics
    /// If the kernel does not find as many, or others take them each time.
    pub(crate) fn make<T>(&self, pages: u64, make: impl Fn() -> Option<T>) -> T {
        for attempt in 1..=ATTEMPTS {
            let wanted = self.before + attempt * pages;
            fs::write(POOL, wanted.to_string()).expect("it was written to before");
            let found = count().expect("it was read before");
            assert!(found >= wanted, "of {wanted} pages of 2 MiB the kernel only finds {found}");
            if let Some(made) = make() {
                return made;
            }
        }
        panic!("others take all large pages");
    }
}

impl Drop for LargePages {
    fn drop(&mut self) {
        // What somebody has yet is given back when he is done.
        let result = fs::write(POOL, self.before.to_string());
        assert!(result.is_ok() || std::thread::panicking(), "{result:?}");
    }
}

fn count() -> std::io::Result<u64> {
    fs::read_to_string(POOL)?.trim().parse().map_err(std::io::Error::other)
}
