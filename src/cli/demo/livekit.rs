//! A livekit-server of our own on loopback, for as long as the demo lasts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// Time for the server to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running livekit-server; killed when dropped.
pub struct LiveKitServer {
    child: Child,
    /// Its WebSocket address.
    pub url: String,
    /// API key.
    pub key: String,
    /// API secret, made for this run.
    pub secret: String,
    log: PathBuf,
}

impl LiveKitServer {
    /// Starts `program` with a configuration in `directory` on free ports and waits until it answers.
    pub async fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        let (http, tcp, udp) = (free_tcp_port()?, free_tcp_port()?, free_udp_port()?);
        let key = "viva-demo".to_owned();
        let secret = random_hex()?;
        let config = directory.join("livekit.yaml");
        // The demo is of this machine alone: nobody asks the public STUN servers that LiveKit would name.
        let text = format!(
            "port: {http}\nbind_addresses: [127.0.0.1]\nrtc:\n  node_ip: 127.0.0.1\n  udp_port: {udp}\n  tcp_port: {tcp}\n  use_external_ip: false\n  stun_servers: [\"127.0.0.1:{udp}\"]\n  interfaces:\n    includes: [lo]\n  enable_loopback_candidate: true\nkeys:\n  {key}: {secret}\nlogging:\n  level: info\n"
        );
        write_private(&config, &text)
            .with_context(|| format!("cannot write {}", config.display()))?;
        let log = directory.join("livekit.log");
        let output = std::fs::File::create(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot run {}; `make setup` builds livekit-server, or name one with --livekit-server", program.display())
            })?;
        let mut server = Self {
            child,
            url: format!("ws://127.0.0.1:{http}"),
            key,
            secret,
            log,
        };
        server.wait_until_it_answers(http).await?;
        Ok(server)
    }

    async fn wait_until_it_answers(&mut self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut poll = tokio::time::interval(Duration::from_millis(50));
        loop {
            poll.tick().await;
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "livekit-server ended with {status}; its last words are in {}",
                    self.log.display()
                );
            }
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "livekit-server did not answer within {} s; see {}",
                    START_LIMIT.as_secs(),
                    self.log.display()
                );
            }
        }
    }
}

fn free_tcp_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn free_udp_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// 32 random bytes in hex: LiveKit asks for a secret of at least 32 characters.
fn random_hex() -> anyhow::Result<String> {
    use std::io::Read;
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
