//! Whether LiveKit is there and takes our key, for `viva check`: a connection that is closed before it registers.

use std::time::Duration;

use super::connect::connect;
use super::endpoint::{BadUrl, Endpoint};
use super::error::WorkerError;
use crate::config::LiveKitKey;

/// Why LiveKit can't be worked for.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The address.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The connection or the key.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// No answer.
    #[error("{url} does not answer within {} s", limit.as_secs())]
    Late {
        /// The server.
        url: String,
        /// The limit.
        limit: Duration,
    },
}

/// Opens the worker's connection and closes it again.
///
/// # Errors
/// The URL is none, the server does not answer within `limit`, or refuses the key.
pub async fn probe(url: &str, key: &LiveKitKey, limit: Duration) -> Result<(), ProbeError> {
    let endpoint = Endpoint::parse(url)?;
    match tokio::time::timeout(limit, connect(&endpoint, key)).await {
        Ok(connected) => Ok(connected.map(drop)?),
        Err(_) => Err(ProbeError::Late {
            url: url.to_owned(),
            limit,
        }),
    }
}
