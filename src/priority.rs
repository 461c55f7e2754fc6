//! Puts a thread behind those that real-time audio depends on.

/// Lowers the calling thread's priority by `nice` steps. On Linux a priority is a thread's own; lowering it needs no
/// privilege, and where a sandbox forbids even that, the thread works on as it is.
pub(crate) fn lower(nice: i32) {
    if let Err(e) = rustix::process::setpriority_process(None, nice) {
        let thread = std::thread::current();
        tracing::debug!(
            "cannot lower the priority of {}: {e}",
            thread.name().unwrap_or("a thread")
        );
    }
}
