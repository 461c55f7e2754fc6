//! What a process holds.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::support::{Failure, process};

/// Counts of one moment.
pub struct Figures {
    /// Tasks on the application's runtime, the SDK's among them.
    pub tasks: usize,
    /// Tasks on the engine's own threads.
    pub engine_tasks: usize,
    pub threads: usize,
    /// Of these, the ones that sound is made on: they are few, start when they are needed, and stay.
    pub audio_threads: usize,
    pub files: usize,
    pub rss_kb: u64,
}

impl Figures {
    pub fn now() -> Result<Self, Failure> {
        Ok(Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            engine_tasks: livekit::webrtc::io_tasks(),
            threads: process::threads()?,
            audio_threads: livekit::webrtc::audio::clock_stats().threads,
            files: process::files()?,
            rss_kb: process::rss_kb()?,
        })
    }

    pub fn head() -> String {
        "| rooms | s | tasks | engine tasks | threads | files | RSS, MB |\n| --- | --- | --- | --- | --- | --- | --- |".to_owned()
    }

    pub fn line(&self, rooms: u64, elapsed: Duration) -> String {
        let Self {
            tasks,
            engine_tasks,
            threads,
            files,
            rss_kb,
            ..
        } = self;
        format!(
            "| {rooms} | {} | {tasks} | {engine_tasks} | {threads} | {files} | {:.1} |",
            elapsed.as_secs(),
            *rss_kb as f64 / 1e3
        )
    }

    /// Whether nothing is left that was not there before; memory is for the reader to judge.
    pub fn no_more_than(&self, before: &Self) -> Result<(), Failure> {
        let others = |of: &Self| of.threads - of.audio_threads;
        let left = [
            ("tasks", self.tasks, before.tasks),
            ("engine tasks", self.engine_tasks, before.engine_tasks),
            ("threads", others(self), others(before)),
            ("files", self.files, before.files),
        ];
        match left.into_iter().find(|(_, now, before)| now > before) {
            None => Ok(()),
            Some((what, now, before)) => Err(format!("{now} {what} are left of {before}").into()),
        }
    }
}
