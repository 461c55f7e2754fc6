//! What every thread of this process is doing, as the kernel tells it: for the log when a part is stuck.

use std::fmt::Write;
use std::path::Path;

/// Threads that are listed; a process has a few dozen.
const THREADS_MAX: usize = 256;

/// A line for each thread: its number, name, state, the processor time it took in ticks of the clock, and, where the
/// kernel tells, what it waits for in there.
#[must_use]
pub fn dump() -> String {
    dump_of(Path::new("/proc/self/task"))
}

fn dump_of(tasks: &Path) -> String {
    let mut text = String::new();
    let Ok(entries) = std::fs::read_dir(tasks) else {
        return "the kernel does not list the threads".into();
    };
    for task in entries
        .flatten()
        .take(THREADS_MAX)
        .map(|entry| entry.path())
    {
        let read = |file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
        // A thread may end while it is looked at.
        let Some(stat) = Stat::parse(&read("stat")) else {
            continue;
        };
        let waits_for = read("wchan");
        let waits_for = match waits_for.trim() {
            "" | "0" => "",
            place => place,
        };
        let number = task.file_name().unwrap_or_default().to_string_lossy();
        let Stat { name, state, ticks } = stat;
        // Writing into a text can't fail.
        let _written = writeln!(text, "{number} {name} {state} {ticks} {waits_for}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// What proc(5) calls the fields 2, 3, and 14 plus 15 of `stat`.
struct Stat {
    name: String,
    state: char,
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // A name may hold spaces and brackets; the last bracket ends it.
        let (front, fields) = text.rsplit_once(')')?;
        let (_, name) = front.split_once('(')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let time = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            ticks: time(11)? + time(12)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_thread_is_listed_by_its_name_and_state() {
        let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
        let thread = std::thread::Builder::new()
            .name("a (sleeper)".into())
            .spawn(move || held.recv().is_ok())
            .unwrap();
        // It sleeps as soon as it has begun to wait.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !dump().lines().any(|l| l.contains(" a (sleeper) S ")) {
            assert!(std::time::Instant::now() < until, "{}", dump());
            std::thread::yield_now();
        }
        release.send(()).unwrap();
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_kernel_that_tells_nothing_is_no_fault() {
        assert!(dump_of(Path::new("/nowhere")).contains("does not list"));
    }
}
