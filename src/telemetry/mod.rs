//! Where log lines go: to journald under systemd, with their fields, and to standard error otherwise. Whoever logs does
//! not wait for either.

mod journald;
mod lines;
pub mod traces;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use journald::{Journald, JournaldLayer};
use lines::Lines;

/// Time for the last lines when the process ends: longer than a busy disk takes, and nobody's loss if the log is not read.
pub const END_LIMIT: Duration = Duration::from_secs(1);

/// Time for the lines that somebody waits for while the process goes on.
pub const SOON_LIMIT: Duration = Duration::from_millis(100);

/// The way of this process's lines.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter in the settings is not one.
    #[error("log.filter = \"{filter}\" is not a tracing filter: {message}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        message: String,
    },
    /// No thread, or no second handle of standard error.
    #[error("nothing can be logged: {0}")]
    System(#[from] io::Error),
    /// The process has a logger already.
    #[error("logging is set up twice")]
    Twice,
}

/// What is logged; a clone is another handle to it.
#[derive(Debug, Clone)]
pub struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Logs by another filter from now on.
    ///
    /// # Errors
    /// The filter is not valid; the one before stays.
    pub fn change(&self, filter: &str) -> Result<(), TelemetryError> {
        // It can fail for want of a subscriber alone, and then there is nothing to log to.
        self.0
            .reload(parse(filter)?)
            .map_err(|_| TelemetryError::Twice)
    }
}

/// All but spans. That it takes events of every level is said besides, or the other filter's level would not hold before one is made.
fn events() -> FilterFn {
    FilterFn::new((|metadata| !metadata.is_span()) as fn(&Metadata<'_>) -> bool)
        .with_max_level_hint(LevelFilter::TRACE)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|e| TelemetryError::Filter {
        filter: filter.to_owned(),
        message: e.to_string(),
    })
}

/// Sets up logging for the whole process.
///
/// # Errors
/// The filter is not valid, the system gives no thread, or logging was set up before.
pub fn init(filter: &str) -> Result<Filter, TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let journald = is_connected_to_journald()
        .then(|| Journald::at(Path::new(journald::SOCKET)).ok())
        .flatten();
    let (lines, layer) = match journald {
        Some(journald) => {
            let lines = Lines::start(journald)?;
            let layer = JournaldLayer::new(lines.clone())
                .with_filter(filter)
                .boxed();
            (lines, layer)
        }
        None => {
            // A handle of its own: whoever else writes there does not wait for this one.
            let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
            let colours = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = Lines::start(stderr)?;
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(lines.clone())
                .with_ansi(colours)
                .with_target(false)
                .compact()
                // Spans say what a line is about to whoever searches by fields; who reads is told by the line itself.
                .with_filter(filter.and(events()))
                .boxed();
            (lines, layer)
        }
    };
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    // The subscriber could be set, so this is the first.
    LINES.get_or_init(|| lines);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if tracing::enabled!(tracing::Level::ERROR) {
            tell(panic);
        } else {
            usual(panic);
        }
    }));
    Ok(Filter(handle))
}

/// Waits until what was logged before is out, `limit` at most.
pub fn flush(limit: Duration) {
    if let Some(lines) = LINES.get() {
        lines.flush(limit);
    }
}

/// Lines that were lost since the start, because nobody took them.
#[must_use]
pub fn lines_lost() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

/// A panic is a line of the log: the usual way to standard error waits for whoever reads it.
fn tell(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    tracing::error!(
        thread = thread.name(),
        place,
        backtrace =
            (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
        "panicked: {}",
        panic.payload_as_str().unwrap_or("no message")
    );
    // It may be the last of this process.
    flush(SOON_LIMIT);
}

/// systemd names the device and inode of the journal's stream; a redirected standard error is another one.
fn is_connected_to_journald() -> bool {
    use std::os::unix::fs::MetadataExt;
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|v| {
        let (device, inode) = v.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|m| m.dev() == device && m.ino() == inode)
}
