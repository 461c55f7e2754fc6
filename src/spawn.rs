//! Named background tasks: one place where tasks are started, so that a panic is never silent.

use std::future::Future;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

/// Threads of the runtime of everything that is not media. Two are enough for the work, none of which computes; each of the
/// others can be held by a session that stands still and can't be ended, as often as one interview is tried.
pub const THREADS: usize = 5;

/// Starts a task that logs its own panic under its name.
pub fn supervised<F>(name: &'static str, task: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    tokio::spawn(async move {
        if let Err(panic) = std::panic::AssertUnwindSafe(task).catch_unwind().await {
            tracing::error!(
                task = name,
                "the task {name} broke down: {}",
                panic_text(panic.as_ref())
            );
        }
    })
}

/// The message of a panic, where it has one.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
