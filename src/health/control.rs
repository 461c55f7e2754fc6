//! The control socket of a running service: who is on, and the word to take no more interviews.
//!
//! A line in (`status` or `drain`), JSON lines out, one at every change and at least every [`BEAT`]. It lies in the
//! state directory, and only its owner and root are answered.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::spawn::supervised;

/// The socket's name in the state directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Between two lines when nothing changes, so that either side notices when the other is gone.
pub const BEAT: Duration = Duration::from_secs(5);
/// Time for a client to say what it wants, and to take each line.
const CLIENT_LIMIT: Duration = Duration::from_secs(2);
/// Longer than any request.
const REQUEST_BYTES_MAX: u64 = 64;
/// People who watch at the same time; one more is turned away.
const CLIENTS_MAX: usize = 8;
/// After an accept that failed, which means that file descriptors are short.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// How many interviews are on, and whether more are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Interviews that are on.
    pub interviews: u32,
    /// No more are taken.
    pub draining: bool,
    /// The last one is over, and LiveKit knows.
    pub drained: bool,
}

/// The bound socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds it in `directory`, in the place of one that a killed process has left. Whoever holds the journal's lock is
    /// alone there.
    ///
    /// # Errors
    /// The directory can't be written, or its path is longer than the 108 bytes of a socket's address.
    pub fn bind(directory: &Path) -> std::io::Result<Self> {
        let path = directory.join(CONTROL_SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until `stop`. `drain` is cancelled when somebody who may asks for it.
    pub async fn serve(
        self,
        held: watch::Receiver<Held>,
        drain: CancellationToken,
        stop: CancellationToken,
    ) {
        let clients = std::sync::Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((client, _)) => {
                    let Ok(place) = clients.clone().try_acquire_owned() else {
                        continue;
                    };
                    let (held, drain, stop) = (held.clone(), drain.clone(), stop.clone());
                    supervised("control", async move {
                        let _place = place;
                        tokio::select! {
                            // A client that is gone or mumbles is no fault of ours.
                            _ = answer(client, held, drain) => {}
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("the control socket takes nobody in: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Left behind, it would be removed by the next start.
        let _removed = std::fs::remove_file(&self.path);
    }
}

/// Takes no more interviews from now on, and waits a moment until what is told is true of a service that drains; false where there
/// is no service any more.
pub async fn begin_to_drain(
    by: &str,
    held: &mut watch::Receiver<Held>,
    drain: &CancellationToken,
) -> bool {
    if !drain.is_cancelled() {
        tracing::info!("asked to drain {by}: no more interviews are taken");
        drain.cancel();
    }
    let waiting = held.wait_for(|held| held.draining);
    !matches!(
        tokio::time::timeout(CLIENT_LIMIT, waiting).await,
        Ok(Err(_))
    )
}

async fn answer(
    mut client: UnixStream,
    mut held: watch::Receiver<Held>,
    drain: CancellationToken,
) -> std::io::Result<()> {
    let uid = client.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        tracing::warn!(uid, "the control socket answers its owner and root alone");
        return Ok(());
    }
    let (reading, mut writing) = client.split();
    let mut request = String::new();
    let mut reading = BufReader::new(reading.take(REQUEST_BYTES_MAX));
    within(reading.read_line(&mut request)).await?;
    let follows = match request.trim() {
        "status" => false,
        "drain" => {
            if !begin_to_drain(&format!("by user {uid}"), &mut held, &drain).await {
                return Ok(());
            }
            true
        }
        _ => return Ok(()),
    };
    loop {
        let now = *held.borrow_and_update();
        let mut line = serde_json::to_string(&now)?;
        line.push('\n');
        within(writing.write_all(line.as_bytes())).await?;
        if !follows || now.drained {
            return Ok(());
        }
        if let Ok(Err(_)) = tokio::time::timeout(BEAT, held.changed()).await {
            return Ok(());
        }
    }
}

async fn within<T>(io: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(CLIENT_LIMIT, io)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Running {
        directory: tempfile::TempDir,
        held: watch::Sender<Held>,
        drain: CancellationToken,
        _stop: tokio_util::sync::DropGuard,
    }

    fn running() -> Running {
        let directory = tempfile::tempdir().unwrap();
        let (held, watched) = watch::channel(Held::default());
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let control = Control::bind(directory.path()).unwrap();
        supervised(
            "control",
            control.serve(watched, drain.clone(), stop.clone()),
        );
        Running {
            directory,
            held,
            drain,
            _stop: stop.drop_guard(),
        }
    }

    impl Running {
        async fn ask(&self, request: &str) -> BufReader<UnixStream> {
            let path = self.directory.path().join(CONTROL_SOCKET);
            let mut client = UnixStream::connect(path).await.unwrap();
            client.write_all(request.as_bytes()).await.unwrap();
            BufReader::new(client)
        }
    }

    async fn line(client: &mut BufReader<UnixStream>) -> Option<Held> {
        let mut line = String::new();
        client.read_line(&mut line).await.unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    #[tokio::test]
    async fn a_question_for_the_status_changes_nothing() {
        let running = running();
        let mut client = running.ask("status\n").await;
        assert_eq!(line(&mut client).await, Some(Held::default()));
        assert_eq!(line(&mut client).await, None);
        assert!(!running.drain.is_cancelled());
    }

    #[tokio::test]
    async fn whoever_drains_is_told_until_the_last_interview_is_over() {
        let running = running();
        let mut client = running.ask("drain\n").await;
        running.drain.cancelled().await;
        for (interviews, drained) in [(2, false), (1, false), (0, true)] {
            let now = Held {
                interviews,
                draining: true,
                drained,
            };
            running.held.send_replace(now);
            assert_eq!(line(&mut client).await, Some(now));
        }
        assert_eq!(line(&mut client).await, None);
    }

    #[tokio::test]
    async fn another_word_is_hung_up_on() {
        let running = running();
        for request in ["stop\n", "\n", &"d".repeat(4000)] {
            let mut client = running.ask(request).await;
            let mut said = String::new();
            // Hung up on with words unread, it may be told that the connection was reset.
            let _read = client.read_line(&mut said).await;
            assert_eq!(said, "");
        }
        assert!(!running.drain.is_cancelled());
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_replaced_and_the_end_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(CONTROL_SOCKET);
        std::fs::write(&path, "").unwrap();
        let control = Control::bind(directory.path()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stop = CancellationToken::new();
        stop.cancel();
        let (_sender, held) = watch::channel(Held::default());
        control.serve(held, CancellationToken::new(), stop).await;
        assert!(!path.exists());
    }
}
