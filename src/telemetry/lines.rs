//! The way of log lines out of the process: a bounded queue and one thread that writes, so that nobody who logs waits for
//! a disk, a pipe or journald. Lines that find no room are lost, and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: the log of some minutes, should nobody read it.
const LINES_MAX: usize = 4096;

/// Their bytes: what is waited with is memory.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Where lines go in the end. One thread calls it, and only that one waits for it.
pub(super) trait Outlet: Send + 'static {
    /// Writes one line, however long that takes.
    ///
    /// # Errors
    /// The line is lost; the next one may not be.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;
}

impl<W: Write + Send + 'static> Outlet for W {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_all(line)
    }
}

/// Takes lines without waiting; a clone is the same queue.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    lost: u64,
    /// Of those, the ones that the log has told of.
    lost_told: u64,
}

impl Lines {
    /// Starts the thread that writes to `outlet`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(outlet: impl Outlet) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || own.write_all(outlet))?;
        Ok(Self(shared))
    }

    /// Takes a line, or loses it.
    pub(super) fn push(&self, line: Vec<u8>) {
        let mut queue = self.0.queue();
        if queue.waiting.len() >= LINES_MAX || queue.bytes + line.len() > BYTES_MAX {
            queue.lost += 1;
            return;
        }
        queue.bytes += line.len();
        queue.waiting.push_back(line);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Waits until all is written that was pushed before, `limit` at most; whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut queue = self.0.queue();
        while queue.is_writing || !queue.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Lines that were lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.0.queue().lost
    }
}

impl Shared {
    /// Held for a moment only, never while something is written.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut outlet: impl Outlet) {
        loop {
            let (mut lines, lost) = self.take();
            if lost > 0 {
                // A line like the others: the queue is empty now.
                tracing::warn!(
                    lost,
                    "{lost} log lines are lost: whoever takes them was too slow"
                );
            }
            let failed = lines
                .drain(..)
                .filter(|line| outlet.write(line).is_err())
                .count();
            let mut queue = self.queue();
            let failed = u64::try_from(failed).unwrap_or(u64::MAX);
            queue.lost += failed;
            // The log can't be told of what it does not take.
            queue.lost_told += failed;
            queue.is_writing = false;
            if queue.waiting.is_empty() {
                self.emptied.notify_all();
            }
        }
    }

    /// All that waits, once something does, and how many were lost before it.
    fn take(&self) -> (VecDeque<Vec<u8>>, u64) {
        let mut queue = self.queue();
        while queue.waiting.is_empty() {
            let woken = self.filled.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes = 0;
        queue.is_writing = true;
        let lost = queue.lost - queue.lost_told;
        queue.lost_told = queue.lost;
        (std::mem::take(&mut queue.waiting), lost)
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// A line that comes as a whole: the layer that formats it writes it at once.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const LIMIT: Duration = Duration::from_secs(10);

    /// Takes a line when the test takes it.
    struct Slow(SyncSender<Vec<u8>>);

    impl Outlet for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            self.0.send(line.to_vec()).map_err(io::Error::other)
        }
    }

    fn slow() -> (Lines, Receiver<Vec<u8>>) {
        let (sender, taken) = sync_channel(0);
        (Lines::start(Slow(sender)).unwrap(), taken)
    }

    #[test]
    fn lines_come_out_in_their_order_and_a_flush_waits_for_the_last() {
        let (lines, taken) = slow();
        for number in 0..100_u8 {
            lines.push(vec![number]);
        }
        let reading = std::thread::spawn(move || {
            let all: Vec<u8> = (0..100)
                .map(|_| taken.recv_timeout(LIMIT).unwrap()[0])
                .collect();
            all
        });
        assert!(lines.flush(LIMIT));
        assert_eq!(reading.join().unwrap(), (0..100).collect::<Vec<u8>>());
        assert_eq!(lines.lost(), 0);
    }

    #[test]
    fn a_reader_that_stands_still_makes_nobody_wait_and_what_is_lost_is_counted() {
        let (lines, taken) = slow();
        lines.push(b"first".to_vec());
        // It is under way; whatever comes now waits behind it.
        while !lines.0.queue().is_writing {
            std::thread::yield_now();
        }
        for _ in 0..LINES_MAX + 7 {
            lines.push(b"line".to_vec());
        }
        assert_eq!(lines.lost(), 7);
        assert!(!lines.flush(Duration::from_millis(10)));
        for _ in 0..=LINES_MAX {
            taken.recv_timeout(LIMIT).unwrap();
        }
        lines.push(b"last".to_vec());
        assert_eq!(taken.recv_timeout(LIMIT).unwrap(), b"last");
        assert_eq!(lines.lost(), 7);
    }

    #[test]
    fn long_lines_take_no_more_memory_than_short_ones() {
        let (lines, taken) = slow();
        lines.push(b"first".to_vec());
        while !lines.0.queue().is_writing {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            lines.push(vec![b'x'; BYTES_MAX / 2]);
        }
        assert_eq!(lines.lost(), 1);
        drop(taken);
        // Nobody takes anything any more: what waited is lost, and the thread goes on.
        assert!(lines.flush(LIMIT));
        assert_eq!(lines.lost(), 4);
    }
}
