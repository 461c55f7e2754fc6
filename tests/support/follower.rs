//! A candidate on LiveKit's official Python client who stays, says nothing, and tells what they notice.
#![allow(dead_code, reason = "no test needs all of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::livekit_server::LiveKitServer;
use super::service::recording;

/// For anything that the candidate is to notice.
const LIMIT: Duration = Duration::from_secs(60);
/// More than any test makes.
const NOTES_MAX: usize = 10_000;

/// The candidate; gone when dropped.
pub struct Follower {
    child: Child,
    notes: Receiver<Value>,
    /// All that was noticed so far.
    pub noticed: Vec<Value>,
}

impl Follower {
    /// Lets the candidate join the room and waits until they are in it.
    pub fn join(server: &LiveKitServer, room: &str) -> Self {
        let python = std::env::var("VIVA_PYTHON").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/venv/bin/python").into()
        });
        let mut child = Command::new(&python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/python/candidate.py"
            ))
            .args(["--follow", "--limit", "600", "--room", room, "--wav"])
            .arg(recording("recordings/two_cities.wav"))
            .env("LIVEKIT_URL", &server.url)
            .env("LIVEKIT_API_KEY", &server.key)
            .env("LIVEKIT_API_SECRET", &server.secret)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {python}: {e}; `make test` sets it up"));
        let output = child.stdout.take().expect("its output");
        let (sender, notes) = sync_channel(NOTES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                let note = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(note).is_err() {
                    return;
                }
            }
        });
        let mut follower = Self {
            child,
            notes,
            noticed: Vec::new(),
        };
        follower.wait_for("being in the room", |note| note["what"] == "connected");
        follower
    }

    /// The next thing noticed that `is_it`.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.wait_within(LIMIT, what, is_it)
    }

    fn wait_within(
        &mut self,
        limit: Duration,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.notes.recv_timeout(left) {
                Ok(note) => {
                    self.noticed.push(note.clone());
                    if is_it(&note) {
                        return note;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the candidate did not notice {what}: {:#?}", self.noticed)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the candidate ended before {what}: {:#?}", self.noticed)
                }
            }
        }
    }

    /// The interviewer's words with `text` in them are shown.
    pub fn wait_for_words(&mut self, text: &str) -> Value {
        self.wait_for_late_words(text, LIMIT)
    }

    /// The same, for what comes late by design.
    pub fn wait_for_late_words(&mut self, text: &str, limit: Duration) -> Value {
        self.wait_within(limit, text, |note| {
            note["what"] == "transcript"
                && note["who"] != "candidate"
                && note["text"].as_str().is_some_and(|t| t.contains(text))
        })
    }

    /// The interviewer is heard after having been silent.
    pub fn wait_for_voice(&mut self) -> Value {
        self.wait_for("a voice", |note| note["what"] == "onset")
    }

    /// The same, for a voice that comes late by design.
    pub fn wait_for_late_voice(&mut self, limit: Duration) -> Value {
        self.wait_within(limit, "a voice", |note| note["what"] == "onset")
    }

    /// The interviewer says that the candidate has the floor.
    pub fn wait_for_the_floor(&mut self) -> Value {
        self.wait_for("the floor", |note| note["state"] == "listening")
    }

    /// The most interviewers that were in the room at once.
    pub fn agents_max(&self) -> u64 {
        let counts = self.noticed.iter().filter(|n| n["what"] == "agents");
        counts
            .filter_map(|n| n["count"].as_u64())
            .max()
            .unwrap_or(0)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
