//! What the kernel says of this process and of the cgroup that limits it.

use std::path::{Path, PathBuf};

/// Where the kernel tells it.
const PROC_SELF: &str = "/proc/self";
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// A page of memory on every machine that Viva is built for.
const PAGE_BYTES: u64 = 4096;
/// Ticks of a second in `/proc`, the same on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// Memory that the process has in use.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string(Path::new(PROC_SELF).join("statm")).ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

/// Processor time that it took, of user and system together.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string(Path::new(PROC_SELF).join("stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let ticks = |at: usize| fields.split_whitespace().nth(at)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "centuries of ticks fit")]
    let ticks = (ticks(11)? + ticks(12)?) as f64;
    Some(ticks / TICKS_PER_S)
}

/// Files and sockets that it has open.
#[must_use]
pub fn open_files() -> Option<usize> {
    Some(
        std::fs::read_dir(Path::new(PROC_SELF).join("fd"))
            .ok()?
            .count(),
    )
}

/// Memory of the cgroup that limits the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What may be used.
    pub limit_bytes: u64,
    /// What is used, by everything in the cgroup.
    pub current_bytes: u64,
}

/// The tightest memory limit at or above the cgroup of this process, if there is one.
#[must_use]
pub fn cgroup_memory() -> Option<Memory> {
    let cgroups = std::fs::read_to_string(Path::new(PROC_SELF).join("cgroup")).ok()?;
    memory_of(&cgroups, Path::new(CGROUP_ROOT))
}

fn memory_of(cgroups: &str, root: &Path) -> Option<Memory> {
    let ours = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |directory: &PathBuf, file: &str| -> Option<u64> {
        let text = std::fs::read_to_string(directory.join(file)).ok()?;
        text.trim().parse().ok()
    };
    Path::new(ours.trim())
        .ancestors()
        .map(|path| root.join(path))
        .filter_map(|directory| {
            Some(Memory {
                // "max" is no number, and no limit.
                limit_bytes: number(&directory, "memory.max")?,
                current_bytes: number(&directory, "memory.current")?,
            })
        })
        .min_by_key(|memory| memory.limit_bytes.saturating_sub(memory.current_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_time_and_files() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1_000_000));
        assert!(cpu_seconds().is_some());
        assert!(open_files().is_some_and(|files| files >= 3));
    }

    #[test]
    fn the_tightest_limit_above_us_counts_and_max_is_none() {
        let root = tempfile::tempdir().unwrap();
        let (slice, unit) = (root.path().join("a.slice"), root.path().join("a.slice/b"));
        std::fs::create_dir_all(&unit).unwrap();
        let write = |at: &Path, max: &str, current: &str| {
            std::fs::write(at.join("memory.max"), max).unwrap();
            std::fs::write(at.join("memory.current"), current).unwrap();
        };
        write(&unit, "max\n", "10\n");
        assert_eq!(memory_of("0::/a.slice/b\n", root.path()), None);
        write(&slice, "1000\n", "900\n");
        let tight = Memory {
            limit_bytes: 1000,
            current_bytes: 900,
        };
        assert_eq!(memory_of("0::/a.slice/b\n", root.path()), Some(tight));
        write(&unit, "5000\n", "10\n");
        assert_eq!(memory_of("0::/a.slice/b\n", root.path()), Some(tight));
        assert_eq!(memory_of("1:cpu:/x\n", root.path()), None);
    }
}
