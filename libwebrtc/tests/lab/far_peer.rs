//! A peer in a process of its own, and so with a network namespace or an environment of its own.
//!
//! The process is this test binary again, which runs [`serve`] alone. Both sides speak in lines of JSON over a socket in the
//! file system, which network namespaces do not divide.
#![allow(dead_code)] // Each test binary uses its part of this.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use libwebrtc::peer_connection_factory::IceServer;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "near_peer.rs"]
mod near_peer;

pub use near_peer::serve;

/// Names the socket to the process.
const SOCKET: &str = "VIVA_FAR_PEER";
/// The test that is no test, in each binary that takes this in.
const ROLE: &str = "peer_of_another_process";
/// Beyond any wait that succeeds, on a machine that is busy with other things. Consent alone takes half a minute to expire.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether the process is there: it says nothing before.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Frames of 10 ms that are listened to at once.
const FRAMES: u32 = 100;

/// Where and how a peer runs.
pub struct Place {
    namespace: Option<String>,
    environment: Vec<(String, PathBuf)>,
    relay_only: bool,
}

impl Place {
    pub fn here() -> Self {
        Self {
            namespace: None,
            environment: Vec::new(),
            relay_only: false,
        }
    }

    pub fn in_namespace(name: &str) -> Self {
        Self {
            namespace: Some(name.to_owned()),
            ..Self::here()
        }
    }

    pub fn with_variable(mut self, name: &str, value: PathBuf) -> Self {
        self.environment.push((name.to_owned(), value));
        self
    }

    pub fn relay_only(mut self) -> Self {
        self.relay_only = true;
        self
    }
}

/// The peer; its process ends when this is dropped.
pub struct FarPeer {
    process: Child,
    stream: UnixStream,
    lines: Receiver<Value>,
    _directory: TempDir,
    /// Candidates that nobody has taken yet.
    pub candidates: VecDeque<String>,
    /// All candidates that the other side was told of.
    told: Vec<String>,
    /// All states that it went through.
    pub states: Vec<String>,
    /// All states of ICE.
    ice_states: Vec<String>,
    /// All errors of candidates.
    pub errors: Vec<Value>,
    /// Whether it has offered its sound.
    speaks: bool,
}

impl FarPeer {
    pub fn start(place: Place, servers: &[IceServer]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peer");
        let listener = UnixListener::bind(&path).unwrap();
        let binary = std::env::current_exe().unwrap();
        let mut command = match &place.namespace {
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let mut process = command
            .args(["--ignored", "--exact", ROLE])
            .env(SOCKET, &path)
            .envs(place.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stream = accept(&listener, &mut process);
        let reader = BufReader::new(stream.try_clone().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let said = serde_json::from_str(&line).unwrap();
                if sender.send(said).is_err() {
                    break;
                }
            }
        });
        let mut peer = Self {
            process,
            stream,
            lines,
            _directory: directory,
            candidates: VecDeque::new(),
            told: Vec::new(),
            states: Vec::new(),
            ice_states: Vec::new(),
            errors: Vec::new(),
            speaks: false,
        };
        let servers: Vec<Value> = servers
            .iter()
            .map(|s| json!({ "urls": s.urls, "username": s.username, "password": s.password }))
            .collect();
        peer.ask(json!({ "do": "open", "servers": servers, "relay_only": place.relay_only }));
        peer
    }

    /// Makes an offer, with sound of its own, and sets it.
    pub fn offer(&mut self, restart: bool) -> Value {
        self.speaks = true;
        self.ask(json!({ "do": "offer", "restart": restart }))
    }

    pub fn answer(&mut self, offer: &Value) -> Value {
        self.ask(json!({ "do": "answer", "sdp": offer }))
    }

    pub fn accept(&mut self, answer: &Value) {
        self.ask(json!({ "do": "accept", "sdp": answer }));
    }

    pub fn add_candidate(&mut self, line: &str) {
        self.ask(json!({ "do": "candidate", "line": line }));
    }

    /// The two ends of the path in use: `kind`, `address` and `port` each.
    pub fn path(&mut self) -> Value {
        self.ask(json!({ "do": "path" }))
    }

    /// How many of the next frames are loud, and how much of what came in before was made up.
    pub fn listen(&mut self) -> Heard {
        let heard = self.ask(json!({ "do": "listen", "frames": FRAMES }));
        Heard {
            loud: heard["loud"].as_u64().unwrap(),
            concealed: heard["concealed"].as_u64().unwrap(),
            samples: heard["samples"].as_u64().unwrap(),
            lost: heard["lost"].as_i64().unwrap(),
            resent: heard["resent"].as_u64().unwrap(),
        }
    }

    pub fn is(&self, state: &str) -> bool {
        self.states.last().is_some_and(|last| last == state)
    }

    /// Waits until both hear the other, who offers his sound if he has not.
    pub fn hears(&mut self, other: &mut Self) {
        if !other.speaks {
            begin(other, self, false);
        }
        self.hears_mostly();
        other.hears_mostly();
    }

    fn hears_mostly(&mut self) {
        let until = Instant::now() + PATIENCE;
        let mut loud = 0;
        while Instant::now() < until {
            loud = self.listen().loud;
            if loud > u64::from(FRAMES) / 2 {
                return;
            }
        }
        panic!("{loud} of {FRAMES} frames have sound");
    }

    /// Waits until something is so.
    pub fn wait_for(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.take_line(what, until);
        }
    }

    /// Takes what it has said without waiting for more.
    fn catch_up(&mut self) {
        while let Ok(said) = self.lines.try_recv() {
            self.note(said);
        }
    }

    fn ask(&mut self, question: Value) -> Value {
        writeln!(self.stream, "{question}").unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(reply) = self.take_line(&question.to_string(), until) {
                return reply;
            }
        }
    }

    /// Takes the next line; its content if it is a reply.
    fn take_line(&mut self, what: &str, until: Instant) -> Option<Value> {
        let left = until.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(said) => self.note(said),
            Err(RecvTimeoutError::Timeout) => panic!("{what}: did not happen; {:?}", self.states),
            Err(RecvTimeoutError::Disconnected) => panic!("{what}: the peer is gone"),
        }
    }

    fn note(&mut self, mut said: Value) -> Option<Value> {
        if let Some(candidate) = said["candidate"].as_str() {
            self.told.push(candidate.to_owned());
            self.candidates.push_back(candidate.to_owned());
        } else if let Some(state) = said["state"].as_str() {
            self.states.push(state.to_owned());
        } else if let Some(state) = said["ice"].as_str() {
            self.ice_states.push(state.to_owned());
        } else if !said["error"].is_null() {
            self.errors.push(said["error"].take());
        } else {
            return Some(said["reply"].take());
        }
        None
    }
}

impl std::fmt::Debug for FarPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FarPeer")
            .field("states", &self.states)
            .field("ice_states", &self.ice_states)
            .field("errors", &self.errors)
            .field("told", &self.told)
            .finish()
    }
}

impl Drop for FarPeer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// What a peer heard.
#[derive(Debug)]
pub struct Heard {
    /// Frames with sound.
    pub loud: u64,
    /// Of all samples since the beginning, those that were made up.
    pub concealed: u64,
    pub samples: u64,
    /// Packets that did not come, since the beginning.
    pub lost: i64,
    /// Packets that came when they were asked for again.
    pub resent: u64,
}

fn accept(listener: &UnixListener, process: &mut Child) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        if let Some(status) = process.try_wait().unwrap() {
            panic!("the peer's process ended with {status}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("the peer's process does not report");
}

/// Lets `a` offer to `b`, and carries candidates until both are connected.
pub fn connect(a: &mut FarPeer, b: &mut FarPeer) {
    begin(a, b, false);
    carry_candidates(a, b);
}

/// The same again, for another path between two that were connected.
pub fn reconnect(a: &mut FarPeer, b: &mut FarPeer) {
    a.candidates.clear();
    b.candidates.clear();
    let seen = (a.states.len(), b.states.len());
    begin(a, b, true);
    for (peer, seen) in [(&mut *a, seen.0), (&mut *b, seen.1)] {
        peer.wait_for("another search", |peer| {
            peer.states[seen..].iter().any(|state| state != "Failed")
        });
    }
    carry_candidates(a, b);
}

fn begin(a: &mut FarPeer, b: &mut FarPeer, restart: bool) {
    let offer = a.offer(restart);
    let answer = b.answer(&offer);
    a.accept(&answer);
}

/// Carries candidates until both are connected.
pub fn carry_candidates(a: &mut FarPeer, b: &mut FarPeer) {
    let until = Instant::now() + PATIENCE;
    while !(a.is("Connected") && b.is("Connected")) {
        assert!(Instant::now() < until, "not connected: {a:?} {b:?}");
        while let Some(line) = a.candidates.pop_front() {
            b.add_candidate(&line);
        }
        while let Some(line) = b.candidates.pop_front() {
            a.add_candidate(&line);
        }
        a.catch_up();
        b.catch_up();
        std::thread::sleep(LOOK_EVERY);
    }
}
