//! The I/O threads that all peer connections of the process share.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::RtcError;

/// Two threads carry some hundred audio calls (a call is a hundred datagrams a second), and one
/// goes on when a slow callback holds the other up.
const IO_THREADS: usize = 2;

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The runtime for sockets and timers of peer connections: not the caller's, whose tasks could
/// delay media, and never ended, since a thread per process costs nothing and a thread per room would.
pub(crate) fn io_runtime() -> Result<&'static Handle, RtcError> {
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(IO_THREADS)
            .thread_name("webrtc-io")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| error.to_string())
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(RtcError::internal(format!(
            "the I/O threads can't be started: {error}; check the limits on threads and files"
        ))),
    }
}

/// How many tasks run on the I/O threads: one for each peer connection until it is closed, and one for each of its TCP
/// connections and TURN servers. For watching that none is left.
#[must_use]
pub fn io_tasks() -> usize {
    match RUNTIME.get() {
        Some(Ok(runtime)) => runtime.metrics().num_alive_tasks(),
        Some(Err(_)) | None => 0,
    }
}
