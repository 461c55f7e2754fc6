//! The real binary as a service: `viva serve` with a state directory of its own, supervised as systemd would.
#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// For anything that the service is to do, far above what it takes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks where there is no event to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// A `viva serve` that is started and maybe stopped; killed when dropped.
pub struct Service {
    directory: tempfile::TempDir,
    notify: UnixDatagram,
    environment: HashMap<String, String>,
    child: Child,
    told: Vec<String>,
}

/// What the tests' binary is started with, beyond the defaults: models and plans of the source tree, a free port.
pub fn environment() -> HashMap<String, String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let models = std::env::var("VIVA_MODELS").unwrap_or_else(|_| format!("{root}/models/files"));
    HashMap::from([
        ("VIVA_MODELS__DIRECTORY".into(), models),
        (
            "VIVA_INTERVIEWS__PLANS_DIRECTORY".into(),
            format!("{root}/plans"),
        ),
        ("VIVA_INTERVIEWS__DEFAULT_PLAN".into(), "demo".into()),
        ("VIVA_HTTP__LISTEN".into(), "127.0.0.1:0".into()),
        ("LIVEKIT_URL".into(), "ws://127.0.0.1:9".into()),
        ("LIVEKIT_API_KEY".into(), "nobody".into()),
        (
            "LIVEKIT_API_SECRET".into(),
            "a-secret-of-more-than-thirty-two-bytes".into(),
        ),
    ])
}

/// The binary with an environment that holds nothing of the machine's but `PATH`.
pub fn viva(environment: &HashMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viva"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Service {
    /// Starts it with `extra` over [`environment`]; it is not waited for.
    pub fn start(extra: &[(&str, &str)]) -> Self {
        Self::start_by(extra, |environment| {
            let mut command = viva(environment);
            command.arg("serve");
            command
        })
    }

    /// As [`start`](Self::start), by a command that the test makes from the environment.
    pub fn start_by(
        extra: &[(&str, &str)],
        command: impl FnOnce(&HashMap<String, String>) -> Command,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("notify.sock");
        let notify = UnixDatagram::bind(&socket).expect("a notification socket");
        notify
            .set_read_timeout(Some(LOOK))
            .expect("a read time-out");
        let mut environment = environment();
        environment.insert(
            "VIVA_STATE_DIRECTORY".into(),
            directory.path().join("state").display().to_string(),
        );
        environment.insert("NOTIFY_SOCKET".into(), socket.display().to_string());
        environment.extend(
            extra
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        let child = spawn(command(&environment), directory.path());
        Self {
            directory,
            notify,
            environment,
            child,
            told: Vec::new(),
        }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Starts it again on the same state, as systemd would; it is not waited for.
    pub fn start_again(&mut self) {
        self.kill();
        let mut buffer = [0; 4096];
        while self.notify.recv(&mut buffer).is_ok() {}
        self.told.clear();
        let mut command = viva(&self.environment);
        command.arg("serve");
        self.child = spawn(command, self.directory.path());
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Its process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Forgets what the service manager was told, so that it can be waited for again.
    pub fn forget_told(&mut self) {
        self.told.clear();
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("viva.log")).unwrap_or_default()
    }

    /// The log, once it contains `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(
                Instant::now() < deadline,
                "the log does not say {text:?} within {LIMIT:?}:\n{log}"
            );
            std::thread::sleep(LOOK);
        }
    }

    /// All that the service manager was told so far, a line each.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Waits until the service manager is told a line that `is_it`.
    pub fn wait_until_told(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            if self.told.iter().any(|line| is_it(line)) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{what} was not told within {LIMIT:?}:\n{}",
                self.log()
            );
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                panic!("viva ended with {status} before {what}:\n{}", self.log());
            }
            let mut buffer = [0; 4096];
            if let Ok(length) = self.notify.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.told.extend(text.lines().map(str::to_owned));
            }
        }
    }

    /// Waits for READY=1.
    pub fn wait_until_ready(&mut self) {
        self.wait_until_told("READY=1", |line| line == "READY=1");
    }

    /// Waits until it is registered with LiveKit.
    pub fn wait_until_registered(&mut self) {
        self.wait_until_told("the registration", |line| {
            line.starts_with("STATUS=registered")
        });
    }

    /// Waits until something that it can do without is well: the name is that of `/healthz`.
    pub fn wait_until_well(&self, component: &str) {
        let well = format!(r#""{component}":{{"need":"optional","state":"ok""#);
        let deadline = Instant::now() + LIMIT;
        while !self.get("/healthz").1.contains(&well) {
            assert!(
                Instant::now() < deadline,
                "{component} is not well:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for its end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "viva did not end within {LIMIT:?}:\n{}",
                self.log()
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Where its listener is.
    pub fn address(&self) -> String {
        let log = self.log();
        let address = log
            .split("listening on http://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        address
            .unwrap_or_else(|| panic!("the log names no listener:\n{log}"))
            .to_owned()
    }

    /// The answer to a GET of its listener: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).expect("the listener answers");
        stream
            .set_read_timeout(Some(LIMIT))
            .expect("a read time-out");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: viva\r\nConnection: close\r\n\r\n"
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        (status, answer.split("\r\n\r\n").skip(1).collect())
    }

    /// Runs another subcommand on the same state: its status, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        run(
            arguments,
            &[("VIVA_STATE_DIRECTORY", &self.state().display().to_string())],
        )
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The service with its log at the end of the one before.
fn spawn(mut command: Command, directory: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("viva.log"))
        .expect("a log file");
    command
        .stdout(log.try_clone().expect("a second handle of the log"))
        .stderr(log)
        .spawn()
        .expect("viva starts")
}

/// Runs the binary to its end with `extra` over [`environment`]: success, standard output, standard error.
pub fn run(arguments: &[&str], extra: &[(&str, &str)]) -> (bool, String, String) {
    let mut environment = environment();
    environment.extend(
        extra
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    let output = viva(&environment)
        .args(arguments)
        .output()
        .expect("viva runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A recording of the tests' own, fetched with the models.
pub fn recording(name: &str) -> PathBuf {
    let models = environment()
        .remove("VIVA_MODELS__DIRECTORY")
        .unwrap_or_default();
    let path = Path::new(&models).join(name);
    assert!(
        path.exists(),
        "{} is missing; `make setup` fetches it",
        path.display()
    );
    path
}
