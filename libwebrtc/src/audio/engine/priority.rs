//! The audio threads' place before the other threads of the machine.

/// A step short of what sound servers take for themselves. Real-time scheduling would be surer, and could take the
/// machine from everybody else.
#[cfg(target_os = "linux")]
const NICE: i32 = -10;

/// Puts the calling thread before those of usual priority, where the system lets it: for that it takes a privilege or
/// `RLIMIT_NICE`. Where it does not, the thread works on as it is.
pub(super) fn raise() {
    // On Linux a priority is a thread's own; elsewhere it would be the whole process's.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        log::debug!("an audio thread keeps the usual priority: {error}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use rustix::process::{getpriority_process, setpriority_process};

    #[test]
    fn a_thread_comes_before_the_others_where_it_may() {
        let may = thread::spawn(|| setpriority_process(None, super::NICE).is_ok())
            .join()
            .unwrap();
        let usual = getpriority_process(None).unwrap();
        let raised = thread::spawn(|| {
            super::raise();
            getpriority_process(None).unwrap()
        });
        let wanted = if may { super::NICE } else { usual };
        assert_eq!(raised.join().unwrap(), wanted);
        assert_eq!(getpriority_process(None).unwrap(), usual);
    }
}
