//! What the kernel says of this process and of the cgroup that limits it.

use std::path::Path;

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
    /// Above this the kernel ends a process of the cgroup, where there is such a limit.
    pub limit_bytes: Option<u64>,
    /// Above this it slows them down, or ends them where there is no lower limit for that.
    pub high_bytes: u64,
    /// What is used, by everything in the cgroup.
    pub current_bytes: u64,
    /// What of it can't be taken back without a pause: all but pages of files that nobody has asked for lately.
    pub working_bytes: u64,
}

/// The cgroup at or above that of this process which is the nearest to being slowed down, if any ever is.
#[must_use]
pub fn cgroup_memory() -> Option<Memory> {
    let cgroups = std::fs::read_to_string(Path::new(PROC_SELF).join("cgroup")).ok()?;
    memory_of(&cgroups, Path::new(CGROUP_ROOT))
}

fn memory_of(cgroups: &str, root: &Path) -> Option<Memory> {
    Path::new(unified(cgroups)?)
        .ancestors()
        .filter_map(|path| memory_in(&root.join(path)))
        .min_by_key(|memory| memory.high_bytes.saturating_sub(memory.working_bytes))
}

fn memory_in(directory: &Path) -> Option<Memory> {
    let text = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
    // "max" is no number, and no limit.
    let number = |file: &str| -> Option<u64> { text(file)?.trim().parse().ok() };
    let (high, limit_bytes) = (number("memory.high"), number("memory.max"));
    let high_bytes = high.into_iter().chain(limit_bytes).min()?;
    let current_bytes = number("memory.current")?;
    let idle_files: u64 = text("memory.stat")
        .as_deref()
        .and_then(|stat| {
            stat.lines()
                .find_map(|line| line.strip_prefix("inactive_file "))
        })
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0);
    Some(Memory {
        limit_bytes,
        high_bytes,
        current_bytes,
        working_bytes: current_bytes.saturating_sub(idle_files),
    })
}

/// What the cgroups at and above that of this process leave it, each the tightest of theirs; nothing where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Above this its processes are slowed down or ended.
    pub memory_bytes: Option<u64>,
    /// Processors' time in the time that passes: 1.5 is one and a half processors.
    pub processors: Option<f64>,
    /// Processes and threads.
    pub tasks: Option<Tasks>,
}

/// Processes and threads of the cgroup that is the nearest to its limit of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// So many there may be.
    pub limit: u64,
    /// So many there are.
    pub current: u64,
}

/// The limits as the kernel tells them now.
#[must_use]
pub fn cgroup_limits() -> Limits {
    std::fs::read_to_string(Path::new(PROC_SELF).join("cgroup"))
        .map(|cgroups| limits_of(&cgroups, Path::new(CGROUP_ROOT)))
        .unwrap_or_default()
}

/// The path of this process in the hierarchy of cgroup v2, without the leading slash.
fn unified(cgroups: &str) -> Option<&str> {
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?
        .trim();
    Some(path)
}

fn limits_of(cgroups: &str, root: &Path) -> Limits {
    let Some(ours) = unified(cgroups) else {
        return Limits::default();
    };
    let mut limits = Limits::default();
    for directory in Path::new(ours).ancestors().map(|path| root.join(path)) {
        let text = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
        let number = |file: &str| -> Option<u64> { text(file)?.trim().parse().ok() };
        let memory = [number("memory.high"), number("memory.max")];
        limits.memory_bytes = memory
            .into_iter()
            .chain([limits.memory_bytes])
            .flatten()
            .min();
        let tasks = number("pids.max")
            .zip(number("pids.current"))
            .map(|(limit, current)| Tasks { limit, current });
        limits.tasks = [tasks, limits.tasks]
            .into_iter()
            .flatten()
            .min_by_key(|tasks| tasks.limit.saturating_sub(tasks.current));
        let quota = text("cpu.max").as_deref().and_then(parse_cpu_max);
        limits.processors = [quota, limits.processors]
            .into_iter()
            .flatten()
            .min_by(f64::total_cmp);
    }
    limits
}

/// `cpu.max` of cgroup v2, `QUOTA PERIOD` in microseconds or `max PERIOD`: processors that may be used.
pub(crate) fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (quota > 0.0 && period > 0.0 && quota.is_finite() && period.is_finite()).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_limit_the_tightest_above_us_counts_and_max_is_none() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("a.slice/b");
        std::fs::create_dir_all(&unit).unwrap();
        let limits = || limits_of("1:cpu:/x\n0::/a.slice/b\n", root.path());
        assert_eq!(limits(), Limits::default());
        for (file, text) in [
            ("a.slice/memory.max", "3000\n"),
            ("a.slice/b/memory.max", "max\n"),
            ("a.slice/b/memory.high", "5000\n"),
            ("a.slice/cpu.max", "max 100000\n"),
            ("a.slice/b/cpu.max", "150000 100000\n"),
            ("a.slice/pids.max", "2000\n"),
            ("a.slice/pids.current", "1900\n"),
            ("a.slice/b/pids.max", "1024\n"),
            ("a.slice/b/pids.current", "30\n"),
        ] {
            std::fs::write(root.path().join(file), text).unwrap();
        }
        let tightest = Limits {
            memory_bytes: Some(3000),
            processors: Some(1.5),
            tasks: Some(Tasks {
                limit: 2000,
                current: 1900,
            }),
        };
        assert_eq!(limits(), tightest);
        assert_eq!(limits_of("1:cpu:/x\n", root.path()), Limits::default());
    }

    #[test]
    fn a_quota_is_so_many_processors_and_max_is_none() {
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("100000 0\n"), None);
    }

    #[test]
    fn this_process_has_memory_time_and_files() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1_000_000));
        assert!(cpu_seconds().is_some());
        assert!(open_files().is_some_and(|files| files >= 3));
    }

    fn write(at: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            std::fs::write(at.join(format!("memory.{file}")), text).unwrap();
        }
    }

    #[test]
    fn the_cgroup_that_is_slowed_down_first_counts_and_max_is_no_limit() {
        let root = tempfile::tempdir().unwrap();
        let (slice, unit) = (root.path().join("a.slice"), root.path().join("a.slice/b"));
        std::fs::create_dir_all(&unit).unwrap();
        let memory = || memory_of("0::/a.slice/b\n", root.path());
        write(
            &unit,
            &[("max", "max\n"), ("high", "max\n"), ("current", "10\n")],
        );
        assert_eq!(memory(), None);
        write(&slice, &[("max", "1000\n"), ("current", "900\n")]);
        let tight = Memory {
            limit_bytes: Some(1000),
            high_bytes: 1000,
            current_bytes: 900,
            working_bytes: 900,
        };
        assert_eq!(memory(), Some(tight));
        write(&unit, &[("max", "5000\n")]);
        assert_eq!(memory(), Some(tight));
        // It is far from its end, and near to being slowed down.
        write(&unit, &[("high", "50\n")]);
        let slow = Memory {
            limit_bytes: Some(5000),
            high_bytes: 50,
            current_bytes: 10,
            working_bytes: 10,
        };
        assert_eq!(memory(), Some(slow));
        assert_eq!(memory_of("1:cpu:/x\n", root.path()), None);
    }

    #[test]
    fn pages_of_files_that_nobody_asks_for_are_no_memory_that_is_needed() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("max", "max\n"),
                ("high", "1000\n"),
                ("current", "990\n"),
                ("stat", "anon 300\nactive_file 90\ninactive_file 600\n"),
            ],
        );
        let memory = memory_of("0::/\n", root.path()).unwrap();
        assert_eq!((memory.limit_bytes, memory.working_bytes), (None, 390));
    }
}
