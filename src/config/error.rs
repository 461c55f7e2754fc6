//! What is wrong with settings.

use std::io::ErrorKind;
use std::path::PathBuf;

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line is not there or can't be read.
    #[error("cannot read the configuration {path}: {source}; name an existing file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, with the line.
        message: String,
    },
    /// A key that does not exist or a value of the wrong kind.
    #[error("{origin}: {key}: {message}")]
    Invalid {
        /// The file, or the environment variable.
        origin: String,
        /// The dotted path of the setting.
        key: String,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// A secret that is needed and is nowhere.
    #[error("{what} is not set: {hint}")]
    SecretMissing {
        /// Which secret.
        what: &'static str,
        /// Where it may be put.
        hint: String,
    },
    /// A secret's file that has not the form it must have.
    #[error("cannot use {path} for {what}: {message}")]
    SecretMalformed {
        /// Which secret.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, never with the content.
        message: String,
    },
    /// A secret's file that can't be read.
    #[error("cannot use {path} for {what}: {source}")]
    SecretUnreadable {
        /// Which secret.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl ConfigError {
    /// Whether the settings are wrong, and will be as wrong the next time; else the system did not give what they name, which it
    /// may do a moment later.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Syntax { .. }
            | Self::Invalid { .. }
            | Self::SecretMissing { .. }
            | Self::SecretMalformed { .. } => true,
            // A file of settings that is not there is another one than was meant; a secret may be put there later.
            Self::Read { source, .. } => {
                matches!(source.kind(), ErrorKind::NotFound | ErrorKind::InvalidData)
            }
            Self::SecretUnreadable { source, .. } => source.kind() == ErrorKind::InvalidData,
        }
    }
}
