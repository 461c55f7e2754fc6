//! What this process has used.

use std::fs::read_to_string;

use crate::Failure;

/// Ticks of a second in `/proc`: it is 100 on every Linux that there is.
const TICKS_PER_S: f64 = 100.0;

pub struct Usage {
    pub processor_s: f64,
    pub rss_kb: u64,
    pub threads: usize,
}

impl Usage {
    pub fn now() -> Result<Self, Failure> {
        let stat = read_to_string("/proc/self/stat")?;
        // The second field is a name in brackets, which may hold spaces; user and system time are the 14th and 15th.
        let (_, rest) = stat.rsplit_once(')').ok_or("a strange /proc/self/stat")?;
        let ticks: f64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        let status = read_to_string("/proc/self/status")?;
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or("no VmRSS in /proc/self/status")?;
        Ok(Self {
            processor_s: ticks / TICKS_PER_S,
            rss_kb: rss.parse()?,
            threads: std::fs::read_dir("/proc/self/task")?.count(),
        })
    }
}
