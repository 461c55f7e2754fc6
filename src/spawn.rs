//! Named background tasks: one place where tasks are started, so that a panic is never silent.

use std::future::Future;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Threads of the runtime of everything that is not media. Two are enough for the work, none of which computes; each of the
/// others can be held by a session that stands still and can't be ended, as often as one interview is tried.
pub const THREADS: usize = 5;

/// Starts a task that logs its own panic under its name. What it logs has the fields of the span in which it was started.
pub fn supervised<F>(name: &'static str, task: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let task = async move {
        if let Err(panic) = std::panic::AssertUnwindSafe(task).catch_unwind().await {
            tracing::error!(
                task = name,
                "the task {name} broke down: {}",
                panic_text(panic.as_ref())
            );
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    tokio::spawn(task.in_current_span())
}

/// The message of a panic, where it has one.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use tracing::Span;

    use super::*;

    #[tokio::test]
    async fn a_task_is_in_the_span_in_which_it_was_started() {
        let _here = tracing::subscriber::set_default(tracing_subscriber::registry());
        let name = || Span::current().metadata().map(tracing::Metadata::name);
        let (told, tells) = tokio::sync::oneshot::channel();
        tracing::error_span!("interview").in_scope(|| {
            supervised("task", async move {
                let _ = told.send(name());
            })
        });
        assert_eq!(name(), None);
        assert_eq!(tells.await, Ok(Some("interview")));
    }
}
