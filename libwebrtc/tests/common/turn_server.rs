//! coturn, for one test: STUN and TURN on one address, with TLS if there is a certificate.
#![allow(dead_code)] // Each test binary uses its part of this.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libwebrtc::peer_connection_factory::IceServer;

const START_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at a server that starts: there is no event to wait for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Another process may take a free port before the server does.
const STARTS_MAX: u32 = 5;
/// In a namespace of its own nobody else is on the usual ports.
const USUAL_PORT: u16 = 3478;
const USUAL_TLS_PORT: u16 = 5349;

/// A certificate and its key, as files.
#[derive(Clone, Copy)]
pub struct Certificate<'a> {
    pub chain: &'a Path,
    pub key: &'a Path,
}

/// A running server; ended when dropped.
pub struct TurnServer {
    process: Child,
    address: String,
    pub port: u16,
    pub tls_port: u16,
}

impl TurnServer {
    /// On loopback.
    pub fn start(certificate: Option<Certificate<'_>>) -> Self {
        for _ in 0..STARTS_MAX {
            let (Some(port), Some(tls_port)) = (free_port(), free_port()) else {
                continue;
            };
            let command = Command::new("turnserver");
            if let Some(server) = Self::run(command, "127.0.0.1", (port, tls_port), certificate) {
                return server;
            }
        }
        panic!("turnserver does not start");
    }

    /// In a network namespace, on an address that it has.
    pub fn start_in(namespace: &str, address: &str) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "turnserver"]);
        Self::run(command, address, (USUAL_PORT, USUAL_TLS_PORT), None)
            .unwrap_or_else(|| panic!("turnserver does not start in {namespace}"))
    }

    fn run(
        mut command: Command,
        address: &str,
        (port, tls_port): (u16, u16),
        certificate: Option<Certificate<'_>>,
    ) -> Option<Self> {
        let log = tempfile::NamedTempFile::new().unwrap();
        command
            .args(["-n", "-v", "--no-cli", "--no-dtls", "--log-file=stdout"])
            .args(["--allow-loopback-peers", "--lt-cred-mech", "--fingerprint"])
            .args(["--user=viva:secret", "--realm=example", "--pidfile="])
            .arg(format!("--listening-ip={address}"))
            .arg(format!("--relay-ip={address}"))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--tls-listening-port={tls_port}"));
        match certificate {
            Some(Certificate { chain, key }) => {
                command.arg(format!("--cert={}", chain.display()));
                command.arg(format!("--pkey={}", key.display()));
            }
            None => {
                command.arg("--no-tls");
            }
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(log.reopen().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run turnserver: {e}; install coturn"));
        let mut server = Self {
            process,
            address: address.to_owned(),
            port,
            tls_port,
        };
        let until = Instant::now() + START_LIMIT;
        let tcp_port = if certificate.is_some() {
            tls_port
        } else {
            port
        };
        let opened = [
            format!("UDP listener opened on: {address}:{port}"),
            format!("TCP listener opened on : {address}:{tcp_port}"),
        ];
        while Instant::now() < until {
            let said = std::fs::read_to_string(log.path()).unwrap_or_default();
            if opened.iter().all(|line| said.contains(line.as_str())) {
                return Some(server);
            }
            if server.process.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        None
    }

    /// Its address for a configuration; the transport is `udp`, `tcp` or `tls`.
    pub fn relay(&self, transport: &str, password: &str) -> IceServer {
        let address = &self.address;
        let url = match transport {
            "tls" => format!("turns:{address}:{}", self.tls_port),
            plain => format!("turn:{address}:{}?transport={plain}", self.port),
        };
        IceServer {
            urls: vec![url],
            username: "viva".to_owned(),
            password: password.to_owned(),
        }
    }

    pub fn stun_url(&self) -> String {
        format!("stun:{}:{}", self.address, self.port)
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A port that is free for both, which the server takes over.
fn free_port() -> Option<u16> {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let _udp = UdpSocket::bind(("127.0.0.1", port)).ok()?;
    Some(port)
}
