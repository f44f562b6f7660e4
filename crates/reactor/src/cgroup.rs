//! The processor time that the process may use, as control groups (version 2) limit it.
//!
//! A group's `cpu.max` holds a quota and a period in microseconds, `150000 100000`, or `max` for no limit. The limits of
//! the groups around it count too. Version 1 is not looked at.

use std::fs;
use std::num::NonZeroU64;
use std::path::{Component, Path, PathBuf};

/// A limit on processor time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CpuQuota {
    quota_micros: u64,
    period_micros: NonZeroU64,
    /// The file that says so.
    pub(crate) file: PathBuf,
}

impl CpuQuota {
    /// The tightest limit on the calling process, read below `root`, which is `/` but in tests.
    ///
    /// What can't be read is no limit; what breaks the format is none either, and is logged.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let mounted = root.join("sys/fs/cgroup");
        let group = own_group(&fs::read_to_string(root.join("proc/self/cgroup")).ok()?)?;
        let limits = group.ancestors().filter_map(|group| Self::of_group(mounted.join(group).join("cpu.max")));
        limits.min_by(|one, other| {
            let (one, other) = (one.cross(other), other.cross(one));
            one.cmp(&other)
        })
    }

    /// How many processors are needed to use it up.
    pub(crate) fn processors(&self) -> usize {
        usize::try_from(self.quota_micros.div_ceil(self.period_micros.get())).unwrap_or(usize::MAX).max(1)
    }

    fn of_group(file: PathBuf) -> Option<Self> {
        let text = fs::read_to_string(&file).ok()?;
        let mut words = text.split_whitespace();
        let (quota, period) = (words.next(), words.next());
        if quota == Some("max") {
            return None;
        }
        let limit = quota.and_then(|quota| quota.parse().ok()).zip(period.and_then(|period| period.parse().ok()));
        if limit.is_none() {
            log::warn!("{}: {text:?} is not a quota and a period in microseconds; ignored", file.display());
        }
        limit.map(|(quota_micros, period_micros)| Self { quota_micros, period_micros, file })
    }

    /// The two sides of a comparison of fractions.
    fn cross(&self, other: &Self) -> u128 {
        u128::from(self.quota_micros) * u128::from(other.period_micros.get())
    }
}

/// The group of version 2 in the text of `/proc/self/cgroup`, relative to where the groups are mounted. A group outside
/// of what the process can see (`/../..`) is taken for the outermost that it sees.
fn own_group(text: &str) -> Option<PathBuf> {
    let path = Path::new(text.lines().find_map(|line| line.strip_prefix("0::"))?);
    if path.components().any(|part| part == Component::ParentDir) {
        return Some(PathBuf::new());
    }
    Some(path.strip_prefix("/").unwrap_or(path).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixture::{put, temporary_directory};

    /// What is read where these files hold these lines.
    fn read(files: &[(&str, &str)]) -> Option<(usize, String)> {
        let root = temporary_directory();
        files.iter().for_each(|(file, text)| put(&root.path().join(file), text));
        let quota = CpuQuota::read(root.path())?;
        let file = quota.file.strip_prefix(root.path()).expect("it is below the root");
        Some((quota.processors(), file.display().to_string()))
    }

    #[test]
    fn a_quota_is_rounded_up_to_whole_processors() {
        let file = "sys/fs/cgroup/cpu.max";
        for (text, processors) in [("150000 100000", 2), ("200000 100000", 2), ("1000 100000", 1), ("250001 50000", 6)]
        {
            let quota = read(&[("proc/self/cgroup", "0::/"), (file, text)]);
            assert_eq!(quota, Some((processors, file.to_owned())), "{text}");
        }
    }

    #[test]
    fn no_limit_and_what_is_no_limit_are_none() {
        let file = "sys/fs/cgroup/cpu.max";
        for text in ["max 100000", "max", "", "100000", "-1 100000", "100000 0", "many 100000"] {
            assert_eq!(read(&[("proc/self/cgroup", "0::/"), (file, text)]), None, "{text}");
        }
        assert_eq!(read(&[]), None, "no control groups");
        assert_eq!(read(&[("proc/self/cgroup", "0::/")]), None, "no processor controller");
        let first = [("proc/self/cgroup", "4:cpu,cpuacct:/a\n1:name=systemd:/"), (file, "100000 100000")];
        assert_eq!(read(&first), None, "version 1");
    }

    #[test]
    fn the_tightest_of_all_groups_around_counts() {
        let group = ("proc/self/cgroup", "1:name=systemd:/\n0::/pods/web/main");
        let inner = ("sys/fs/cgroup/pods/web/main/cpu.max", "800000 100000");
        let middle = ("sys/fs/cgroup/pods/web/cpu.max", "150000 50000");
        let outer = ("sys/fs/cgroup/pods/cpu.max", "max 100000");
        let other = ("sys/fs/cgroup/pods/other/cpu.max", "100000 100000");
        assert_eq!(read(&[group, inner, middle, outer, other]), Some((3, middle.0.to_owned())));
        assert_eq!(read(&[group, inner, outer, other]), Some((8, inner.0.to_owned())));
    }

    #[test]
    fn a_group_out_of_sight_is_taken_for_the_outermost() {
        let seen = ("sys/fs/cgroup/cpu.max", "400000 100000");
        assert_eq!(read(&[("proc/self/cgroup", "0::/../../x"), seen]), Some((4, seen.0.to_owned())));
    }
}
