//! `viva serve` as a child process, supervised the way systemd would: it says READY on a notification socket.

use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::livekit::LiveKitServer;

/// Time from the start of the process to READY=1, far above what is promised: a slow machine is not a broken one.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Time for the service to say goodbye to a running interview and end.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running `viva serve`; killed when dropped.
pub struct Service {
    child: Child,
    /// From exec to READY=1.
    pub ready_ms: u128,
    notify: UnixDatagram,
    log: PathBuf,
}

impl Service {
    /// Starts this very program as `serve` against `livekit` and waits for READY=1.
    pub async fn start(
        livekit: &LiveKitServer,
        directory: &Path,
        extra: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let socket = directory.join("notify.sock");
        // Left over from a demo that was killed.
        if let Err(error) = std::fs::remove_file(&socket) {
            anyhow::ensure!(
                error.kind() == std::io::ErrorKind::NotFound,
                "cannot remove {}: {error}",
                socket.display()
            );
        }
        let notify = StdDatagram::bind(&socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        notify.set_nonblocking(true)?;
        let notify = UnixDatagram::from_std(notify)?;
        let log = directory.join("viva.log");
        let output = std::fs::File::create(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let started = Instant::now();
        let child = Command::new(program)
            .arg("serve")
            .env("NOTIFY_SOCKET", std::path::absolute(&socket)?)
            .env("LIVEKIT_URL", &livekit.url)
            .env("LIVEKIT_API_KEY", &livekit.key)
            .env("LIVEKIT_API_SECRET", &livekit.secret)
            .env("NO_COLOR", "1")
            // It is nobody's interview.
            .env("VIVA_POSTGRES__ENABLE", "false")
            .env("VIVA_WEBHOOK__ENABLE", "false")
            .envs(extra.iter().map(|(k, v)| (*k, v.as_str())))
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start `viva serve`")?;
        let mut service = Self {
            child,
            ready_ms: 0,
            notify,
            log,
        };
        service
            .wait_for(READY_LIMIT, |line| line == "READY=1")
            .await
            .context("`viva serve` did not become ready")?;
        service.ready_ms = started.elapsed().as_millis();
        Ok(service)
    }

    /// Waits until the service manager would be told a line that `is_it`.
    pub async fn wait_for(
        &mut self,
        limit: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut buffer = [0_u8; 4096];
        loop {
            tokio::select! {
                received = self.notify.recv(&mut buffer) => {
                    let text = String::from_utf8_lossy(&buffer[..received?]).into_owned();
                    if text.lines().any(&is_it) {
                        return Ok(());
                    }
                }
                status = self.child.wait() => bail!("it ended with {}:\n{}", status?, self.last_words()),
                () = tokio::time::sleep_until(deadline) => {
                    bail!("nothing came within {} s:\n{}", limit.as_secs(), self.last_words());
                }
            }
        }
    }

    /// SIGTERM, and the end of the process.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?)
                .context("the process has no number")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .context("cannot stop `viva serve`")?;
        }
        match tokio::time::timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                anyhow::ensure!(
                    status.success(),
                    "`viva serve` ended with {status}:\n{}",
                    self.last_words()
                );
                Ok(())
            }
            Err(_) => bail!(
                "`viva serve` did not end within {} s of SIGTERM",
                STOP_LIMIT.as_secs()
            ),
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        format!("  {last}\n  (all of it in {})", self.log.display())
    }
}
