//! Where log lines go: to journald under systemd, with their fields, and to the terminal otherwise.

pub mod traces;

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

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

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|e| TelemetryError::Filter {
        filter: filter.to_owned(),
        message: e.to_string(),
    })
}

/// Sets up logging for the whole process.
///
/// # Errors
/// The filter is not valid, or logging was set up before.
pub fn init(filter: &str) -> Result<Filter, TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let journal = if is_connected_to_journald() {
        // INTERVIEW_ID and STAGE, not F_INTERVIEW_ID: what operators search by.
        tracing_journald::layer()
            .ok()
            .map(|layer| layer.with_field_prefix(None))
    } else {
        None
    };
    let layer = match journal {
        Some(journal) => journal.boxed(),
        None => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(colours)
                .with_target(false)
                .compact()
                .boxed()
        }
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|_| TelemetryError::Twice)?;
    Ok(Filter(handle))
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
