//! A real LiveKit server for tests: on free ports of the loopback, gone when it is dropped.
//!
//! The binary is the one that `VIVA_LIVEKIT_SERVER` names, else `livekit-server` from the `PATH`.
//! A test takes it in with `#[path = "support/livekit_server.rs"] mod livekit_server;`.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use livekit_token::{AccessToken, VideoGrants};

/// From start to the first answer; a loaded machine takes a second or two.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// For one HTTP answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Between two looks at a server that is starting: there is no event to wait for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Another process may take a free port before the server does.
const STARTS_MAX: u32 = 5;

/// What every server of these tests takes.
pub const KEY: &str = "APIvivatest";
pub const SECRET: &str = "viva-test-secret-of-more-than-thirty-two-bytes";

/// A running server.
pub struct LiveKitServer {
    /// Its WebSocket address for this machine.
    pub url: String,
    /// An API key that it takes.
    pub key: String,
    /// The secret of the key.
    pub secret: String,
    port: u16,
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl LiveKitServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more lines under `rtc:` of its configuration, such as `"  force_tcp: true\n"`.
    pub fn start_with(rtc: &str) -> Self {
        Self::start_at("127.0.0.1", "lo", rtc)
    }

    /// Where others than this machine reach it: on an address of an interface, and on loopback for this machine.
    pub fn start_on(address: &str, interface: &str) -> Self {
        Self::start_at(address, interface, "")
    }

    /// One that runs already on this machine, and goes on when this is dropped.
    pub fn running(url: &str, key: &str, secret: &str) -> Result<Self, String> {
        let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        Ok(Self {
            url: url.to_owned(),
            key: key.to_owned(),
            secret: secret.to_owned(),
            port: port.ok_or_else(|| format!("{url} does not end with a port"))?,
            directory: tempfile::tempdir().map_err(|e| e.to_string())?,
            process: None,
        })
    }

    fn start_at(address: &str, interface: &str, rtc: &str) -> Self {
        for start in 1..=STARTS_MAX {
            match Self::try_start(address, interface, rtc) {
                Ok(server) => return server,
                Err(why) if start == STARTS_MAX => panic!("{why}"),
                Err(_) => {}
            }
        }
        unreachable!("the last start returns or panics")
    }

    fn try_start(address: &str, interface: &str, rtc: &str) -> Result<Self, String> {
        let (port, rtc_tcp, rtc_udp) = free_ports();
        let (key, secret) = (KEY.to_owned(), SECRET.to_owned());
        let directory = tempfile::tempdir()
            .map_err(|e| format!("no temporary directory for livekit-server: {e}"))?;
        // One interface and nothing else: what a server offers under another interface's address is not always reached
        // there, and loopback is all that every machine has.
        let is_loopback = address == "127.0.0.1";
        let bound = if is_loopback {
            "\"127.0.0.1\"".to_owned()
        } else {
            format!("\"127.0.0.1\", \"{address}\"")
        };
        // No client is to ask the public STUN servers that are named otherwise.
        let config = format!(
            "port: {port}\nbind_addresses: [{bound}]\n\
             rtc:\n  node_ip: {address}\n  tcp_port: {rtc_tcp}\n  udp_port: {rtc_udp}\n  use_external_ip: false\n  \
             stun_servers: [\"127.0.0.1:{rtc_udp}\"]\n  interfaces:\n    includes: [{interface}]\n  enable_loopback_candidate: {is_loopback}\n{rtc}\
             keys:\n  {key}: {secret}\nlogging:\n  level: debug\n"
        );
        std::fs::write(directory.path().join("livekit.yaml"), config)
            .map_err(|e| format!("livekit-server's configuration: {e}"))?;
        let url = format!("ws://127.0.0.1:{port}");
        let mut server = Self {
            url,
            key,
            secret,
            port,
            directory,
            process: None,
        };
        server.launch()?;
        Ok(server)
    }

    /// Its WebSocket address for those who reach this machine by that one.
    pub fn url_at(&self, address: &str) -> String {
        format!("ws://{address}:{}", self.port)
    }

    /// The port of its WebSocket and its API.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again on the same ports and waits until it answers.
    pub fn start_again(&mut self) {
        self.kill();
        self.launch().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Creates a room; `agents` is JSON such as `[{"agentName":"viva","metadata":"x"}]`, or `[]` for
    /// automatic dispatch.
    pub fn create_room(&self, name: &str, agents: &str) -> String {
        let grants = VideoGrants {
            room_create: true,
            ..VideoGrants::default()
        };
        self.api(
            "RoomService/CreateRoom",
            &format!(r#"{{"name":"{name}","agents":{agents}}}"#),
            grants,
        )
    }

    /// Deletes a room and sends everybody out of it.
    pub fn delete_room(&self, name: &str) {
        let grants = VideoGrants {
            room_create: true,
            ..VideoGrants::default()
        };
        self.api(
            "RoomService/DeleteRoom",
            &format!(r#"{{"room":"{name}"}}"#),
            grants,
        );
    }

    /// Calls the server's API with a JSON body and gives the JSON of a good answer.
    pub fn api(&self, method: &str, json: &str, grants: VideoGrants) -> String {
        let token = AccessToken::with_api_key(&self.key, &self.secret)
            .with_grants(grants)
            .to_jwt()
            .expect("a test token");
        let head = format!("POST /twirp/livekit.{method}");
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let (status, body) = self
            .http(&head, &headers, json)
            .unwrap_or_else(|e| panic!("{method} of livekit-server: {e}"));
        assert_eq!(status, 200, "{method} of livekit-server answers {body}");
        body
    }

    /// The status with which the server answers a GET of `path`.
    pub fn get_status(&self, path: &str) -> u16 {
        self.http(&format!("GET {path}"), "", "")
            .unwrap_or_else(|e| panic!("GET {path} of livekit-server: {e}"))
            .0
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("livekit.log")
    }

    fn launch(&mut self) -> Result<(), String> {
        let binary = std::env::var_os("VIVA_LIVEKIT_SERVER")
            .map_or_else(|| PathBuf::from("livekit-server"), PathBuf::from);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(|e| format!("livekit-server's log: {e}"))?;
        let log_too = log
            .try_clone()
            .map_err(|e| format!("livekit-server's log: {e}"))?;
        let process = Command::new(&binary)
            .arg("--config")
            .arg(self.directory.path().join("livekit.yaml"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .map_err(|e| {
                format!("cannot run {}: {e}; name a livekit-server binary in VIVA_LIVEKIT_SERVER, or put one on the PATH", binary.display())
            })?;
        self.process = Some(process);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + READY_LIMIT;
        loop {
            let ended = self
                .process
                .as_mut()
                .and_then(|process| process.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(format!(
                    "livekit-server ended with {status}; its log ends with:\n{}",
                    self.log_tail()
                ));
            }
            if self
                .http("GET /", "", "")
                .is_ok_and(|(status, _)| status == 200)
            {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "livekit-server did not answer within {READY_LIMIT:?}; its log ends with:\n{}",
                    self.log_tail()
                ));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn http(&self, head: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.0\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default();
        Ok((status, body))
    }
}

impl Drop for LiveKitServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three ports that were free a moment ago: HTTP, RTC over TCP, RTC over UDP.
fn free_ports() -> (u16, u16, u16) {
    let tcp = || TcpListener::bind(("127.0.0.1", 0)).expect("a free TCP port");
    let udp = UdpSocket::bind(("127.0.0.1", 0)).expect("a free UDP port");
    // Held together, so that they differ.
    let (http, rtc) = (tcp(), tcp());
    let port = |address: std::io::Result<std::net::SocketAddr>| {
        address.expect("the port of a bound socket").port()
    };
    (
        port(http.local_addr()),
        port(rtc.local_addr()),
        port(udp.local_addr()),
    )
}
