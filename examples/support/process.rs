//! What this process holds and has used, from `/proc`.
#![allow(dead_code, reason = "no example needs all of it")]

use std::fs::{read_dir, read_to_string};

use super::Failure;

/// Ticks of a second in `/proc`: it is 100 on every Linux that there is.
const TICKS_PER_S: f64 = 100.0;

pub fn threads() -> Result<usize, Failure> {
    entries("task")
}

pub fn files() -> Result<usize, Failure> {
    entries("fd")
}

/// Resident memory in kB.
pub fn rss_kb() -> Result<u64, Failure> {
    let status = read_to_string("/proc/self/status")?;
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no VmRSS in /proc/self/status")?;
    Ok(rss.parse()?)
}

/// Seconds of processor time, in user and system mode.
pub fn processor_s() -> Result<f64, Failure> {
    let stat = read_to_string("/proc/self/stat")?;
    // The second field is a name in brackets, which may hold spaces; user and system time are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')').ok_or("a strange /proc/self/stat")?;
    let ticks = rest.split_whitespace().skip(11).take(2);
    Ok(ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_S)
}

fn entries(of: &str) -> Result<usize, Failure> {
    Ok(read_dir(format!("/proc/self/{of}"))?.count())
}
