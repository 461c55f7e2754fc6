//! How busy this machine is, for LiveKit's choice among several appliances.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::health::process::parse_cpu_max;

/// How often the processor is looked at.
pub const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Samples that are averaged: as many as fall between two reports to LiveKit, so that a report
/// covers what has happened since the last one and a short peak does not send callers elsewhere.
const SAMPLES: usize = 5;

/// Where the kernel tells it.
const PROC_STAT: &str = "/proc/stat";
const PROC_CGROUP: &str = "/proc/self/cgroup";
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Processor time, in any unit that is the same for both figures.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CpuTimes {
    busy: f64,
    available: f64,
}

impl CpuTimes {
    /// The busy share of the time between two readings, 0–1; `None` when no time has passed.
    fn since(self, earlier: Self) -> Option<f32> {
        let (busy, available) = (self.busy - earlier.busy, self.available - earlier.available);
        (available > 0.0).then(|| (busy / available).clamp(0.0, 1.0) as f32)
    }
}

/// What the processor is measured by.
#[derive(Debug)]
enum Source {
    /// The cgroup that limits this service: its quota is what there is.
    Cgroup {
        directory: PathBuf,
        started: Instant,
    },
    /// The whole machine: without a quota, others' work slows the interviews as much as our own.
    Machine,
}

/// Measures the processor. Reading these files waits for no disk: the kernel makes them up.
#[derive(Debug)]
pub struct CpuMeter {
    source: Source,
    last: Option<CpuTimes>,
    samples: VecDeque<f32>,
}

impl Default for CpuMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl CpuMeter {
    /// Measures against the nearest cgroup v2 quota, or against the whole machine where there is none.
    pub fn new() -> Self {
        let cgroups = std::fs::read_to_string(PROC_CGROUP).unwrap_or_default();
        let source = match limited_cgroup(&cgroups, Path::new(CGROUP_ROOT)) {
            Some(directory) => Source::Cgroup {
                directory,
                started: Instant::now(),
            },
            None => Source::Machine,
        };
        Self {
            source,
            last: None,
            samples: VecDeque::with_capacity(SAMPLES),
        }
    }

    /// Takes a sample and gives the average of the last few, 0–1. It is 0 until there are two
    /// readings, and stays 0 where the kernel has no such files: then sessions alone are the load.
    pub fn sample(&mut self) -> f32 {
        let times = self.read();
        if let (Some(now), Some(before)) = (times, self.last)
            && let Some(share) = now.since(before)
        {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(share);
        }
        self.last = times;
        if self.samples.is_empty() {
            return 0.0;
        }
        self.samples.iter().sum::<f32>() / self.samples.len() as f32
    }

    fn read(&self) -> Option<CpuTimes> {
        match &self.source {
            Source::Machine => parse_proc_stat(&std::fs::read_to_string(PROC_STAT).ok()?),
            Source::Cgroup { directory, started } => {
                let cores =
                    parse_cpu_max(&std::fs::read_to_string(directory.join("cpu.max")).ok()?)?;
                let usage_us =
                    parse_cpu_stat(&std::fs::read_to_string(directory.join("cpu.stat")).ok()?)?;
                let elapsed_us = started.elapsed().as_secs_f64() * 1e6;
                Some(CpuTimes {
                    busy: usage_us,
                    available: elapsed_us * cores,
                })
            }
        }
    }
}

/// The first line of `/proc/stat` (proc(5)): user nice system idle iowait irq softirq steal …
///
/// Waiting for a disk leaves the processor free. Stolen time is busy: it can't be had. Guest time
/// is already in user time.
fn parse_proc_stat(text: &str) -> Option<CpuTimes> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .take(8)
        .map_while(|n| n.parse().ok())
        .collect();
    let [_user, _nice, _system, idle, iowait, ..] = ticks.as_slice() else {
        return None;
    };
    let available: f64 = ticks.iter().sum();
    Some(CpuTimes {
        busy: available - idle - iowait,
        available,
    })
}

/// `usage_usec` of a cgroup's `cpu.stat`.
fn parse_cpu_stat(text: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?
        .trim()
        .parse()
        .ok()
}

/// The nearest cgroup v2 at or above ours that has a quota.
fn limited_cgroup(cgroups: &str, root: &Path) -> Option<PathBuf> {
    let ours = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?
        .trim();
    Path::new(ours)
        .ancestors()
        .map(|path| root.join(path))
        .find(|path| {
            std::fs::read_to_string(path.join("cpu.max"))
                .is_ok_and(|text| parse_cpu_max(&text).is_some())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_disk_waits_are_free_time_and_stolen_time_is_not() {
        let before = parse_proc_stat("cpu  100 0 100 700 50 0 0 50 10 0\ncpu0 1 2 3 4\n").unwrap();
        let after = parse_proc_stat("cpu  130 0 110 740 60 0 0 60 40 0\n").unwrap();
        let share = after.since(before).unwrap();
        assert!((share - 0.5).abs() < 1e-6, "{share}");
    }

    #[test]
    fn two_readings_at_the_same_moment_say_nothing() {
        let times = CpuTimes {
            busy: 5.0,
            available: 9.0,
        };
        assert_eq!(times.since(times), None);
    }

    #[test]
    fn the_nearest_quota_above_us_counts() {
        let root = tempfile::tempdir().unwrap();
        let ours = root.path().join("system.slice/viva.service");
        std::fs::create_dir_all(&ours).unwrap();
        std::fs::write(ours.join("cpu.max"), "max 100000").unwrap();
        assert_eq!(
            limited_cgroup("0::/system.slice/viva.service\n", root.path()),
            None
        );
        let slice = root.path().join("system.slice");
        std::fs::write(slice.join("cpu.max"), "200000 100000").unwrap();
        assert_eq!(
            limited_cgroup("9:cpu:/x\n0::/system.slice/viva.service\n", root.path()),
            Some(slice)
        );
    }

    #[test]
    fn a_cgroup_is_busy_by_what_it_used_of_its_quota() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cpu.max"), "50000 100000").unwrap();
        std::fs::write(
            directory.path().join("cpu.stat"),
            "usage_usec 1000000\nuser_usec 1\n",
        )
        .unwrap();
        let started = Instant::now().checked_sub(Duration::from_secs(4)).unwrap();
        let source = Source::Cgroup {
            directory: directory.path().to_owned(),
            started,
        };
        let meter = CpuMeter {
            source,
            last: Some(CpuTimes {
                busy: 0.0,
                available: 0.0,
            }),
            samples: VecDeque::new(),
        };
        let share = { meter }.sample();
        assert!(
            (share - 0.5).abs() < 0.05,
            "one of two seconds that half a core gives in four: {share}"
        );
    }

    #[test]
    fn this_machine_can_be_measured() {
        let mut meter = CpuMeter::new();
        meter.sample();
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let share = meter.sample();
        assert!(share > 0.0 && share <= 1.0, "{share}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_of_a_kernel_is_read_or_refused(text in "(cpu |usage_usec |0::/|max |[0-9 .\n-]{0,12}){0,6}") {
            let _ = parse_cpu_max(&text);
            let _ = parse_cpu_stat(&text);
            if let Some(times) = parse_proc_stat(&text) {
                let share = times.since(CpuTimes { busy: 0.0, available: 0.0 });
                proptest::prop_assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
        }
    }
}
