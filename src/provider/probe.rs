//! Whether a provider is there and takes our key, and a connection opened before it is needed.

use std::time::Duration;

use tokio::time::timeout;

use super::{Provider, ProviderError, tls};

/// Limit of a probe: it is a person who waits for it.
const PROBE: Duration = Duration::from_secs(3);
/// A list of models may be long; a longer one is not read to its end, and that is no failure.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// It answers. Whether it has the model is known after the first request.
    Reachable,
    /// It answers and refuses the key.
    Unauthorized,
    /// It does not answer, or not as a server that is well.
    Unreachable(String),
}

impl Provider {
    /// Asks for the list of models (`GET {base}/models`), within 3 s. Servers without such a list count as reachable.
    pub async fn probe(&self) -> Reachability {
        if self.base_url().starts_with("https:")
            && let Ok(Err(reason)) =
                tokio::task::spawn_blocking(|| tls::read_roots().map(|_| ())).await
        {
            let base_url = self.base_url().to_owned();
            return Reachability::Unreachable(
                ProviderError::Unreachable { base_url, reason }.to_string(),
            );
        }
        let asked = async {
            let request = self.authorized(self.inner.http.get(self.url("/models")));
            let mut response = self.successful(request.send().await).await?;
            // Read to its end, so that the connection can be used again.
            self.body(&mut response, LIST_BYTES_MAX).await
        };
        let Ok(outcome) = timeout(PROBE, asked).await else {
            return Reachability::Unreachable(format!(
                "{} does not answer within 3 s",
                self.base_url()
            ));
        };
        match outcome {
            Ok(_)
            | Err(
                ProviderError::Rejected { .. }
                | ProviderError::Garbled { .. }
                | ProviderError::RateLimited { .. },
            ) => Reachability::Reachable,
            Err(ProviderError::Unauthorized { .. }) => Reachability::Unauthorized,
            Err(error) => Reachability::Unreachable(error.to_string()),
        }
    }

    /// Opens a connection and leaves it in the pool, so that the first request saves the handshakes. A failure shows
    /// itself at that request; here it does not matter.
    pub async fn warm(&self) {
        self.probe().await;
    }
}
