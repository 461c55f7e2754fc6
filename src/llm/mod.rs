//! The language model: what it is asked between an answer and the next question, and what is taken of its reply.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::time::Instant;

use crate::config::{self, Secret};
use crate::interview::mind::{MindReply, MindRequest};
use crate::provider::{
    ApiClient, Breaker, BreakerState, Expect, Limit, Provider, ProviderError, SetupError,
    name_api_error, retrying,
};

mod prompts;
mod reply;
mod schema;

/// A reply has some hundred words; the thoughts of a reasoning model, which some servers send along, have more.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A chat model on an OpenAI-compatible server (`POST {base}/chat/completions`).
pub struct Llm {
    provider: Provider,
    client: ApiClient,
    model: String,
    timeout_ms: u64,
    /// Set once the server has refused a request for its JSON schema; it is then no longer sent.
    schema_refused: AtomicBool,
    breaker: Mutex<Breaker>,
}

/// Why there is no reply; the interview then goes on with the plan's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// The server did not do it; the message names its base URL.
    #[error("language model: {0}")]
    Provider(#[from] ProviderError),
    /// The model wrote something that can't be used.
    #[error("{model} at {base_url} wrote {reason}; a larger model keeps to the format")]
    Unusable {
        /// The server's root.
        base_url: String,
        /// The model.
        model: String,
        /// What was there instead of a reply; never its text.
        reason: String,
    },
    /// The server failed before and is not waited for at the moment.
    #[error(
        "{base_url} is set aside after failures ({last_error}); the next try is made by itself"
    )]
    SetAside {
        /// The server's root.
        base_url: String,
        /// What was wrong the last time.
        last_error: String,
    },
}

impl LlmError {
    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Provider(error) => error.is_transient(),
            // Models are not deterministic.
            Self::Unusable { .. } | Self::SetAside { .. } => true,
        }
    }
}

impl Llm {
    /// A model by the settings; connects to nothing yet.
    ///
    /// # Errors
    /// The base URL or the key can't be used.
    pub fn new(settings: &config::Llm, key: Option<&Secret>) -> Result<Self, SetupError> {
        let provider = Provider::new(settings.base_url.as_deref(), key)?;
        let client = provider.api(Expect::Json {
            bytes_max: ANSWER_BYTES_MAX,
        });
        Ok(Self {
            provider,
            client,
            model: settings.model.clone(),
            timeout_ms: settings.timeout_ms.into(),
            schema_refused: AtomicBool::new(false),
            breaker: Mutex::default(),
        })
    }

    /// The server, to warm it up or to ask whether it is there.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// What its circuit breaker lets through.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.breaker().state(Instant::now())
    }

    /// What to say after an answer, within `llm.timeout_ms`. Dropping the future cancels the request.
    ///
    /// # Errors
    /// The server failed or is set aside after failures, or the model wrote something that can't be used.
    pub async fn reply(&self, request: &MindRequest) -> Result<MindReply, LlmError> {
        let admitted = self.admit()?;
        let data = prompts::data(request);
        let limit = Limit {
            base_url: self.provider.base_url(),
            what: "reply",
            ms: self.timeout_ms,
        };
        match retrying(limit, || self.ask(&data)).await {
            Ok(answer) => {
                admitted.settle(Breaker::succeeded);
                let text = text_of(&answer);
                let understood =
                    text.and_then(|text| reply::understand(text, request.follow_up_allowed));
                understood.map_err(|reason| LlmError::Unusable {
                    base_url: self.provider.base_url().to_owned(),
                    model: self.model.clone(),
                    reason,
                })
            }
            Err(error) => {
                let for_long = matches!(error, ProviderError::Unauthorized { .. });
                admitted.settle(|breaker| {
                    breaker.failed(Instant::now(), error.to_string(), for_long);
                });
                Err(error.into())
            }
        }
    }

    /// Asks once, and once more without the schema where the server does not know it.
    async fn ask(&self, data: &str) -> Result<Value, ProviderError> {
        let with_schema = !self.schema_refused.load(Ordering::Relaxed);
        let error = match self.send(data, with_schema).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !with_schema
            || !matches!(
                error,
                ProviderError::Rejected {
                    status: 400 | 422,
                    ..
                }
            )
        {
            return Err(error);
        }
        let answer = self.send(data, false).await?;
        self.schema_refused.store(true, Ordering::Relaxed);
        tracing::info!(
            base_url = self.provider.base_url(),
            "the server takes no JSON schema; going on without"
        );
        Ok(answer)
    }

    async fn send(&self, data: &str, with_schema: bool) -> Result<Value, ProviderError> {
        let request = schema::ChatRequest::new(&self.model, prompts::SYSTEM, data, with_schema);
        let answer = self.client.chat().create_byot(request).await;
        answer.map_err(|error| name_api_error(&self.provider, error))
    }

    fn admit(&self) -> Result<Admitted<'_>, LlmError> {
        let now = Instant::now();
        let mut breaker = self.breaker();
        let closed = breaker.state(now) == BreakerState::Closed;
        if closed || breaker.take_trial(now) {
            return Ok(Admitted {
                llm: self,
                open_trial: !closed,
            });
        }
        Err(LlmError::SetAside {
            base_url: self.provider.base_url().to_owned(),
            last_error: breaker.last_error().unwrap_or("unknown").to_owned(),
        })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A breaker is whole after every call, so a panic elsewhere leaves nothing half done.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Llm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Llm")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// A request that the breaker let through; a trial without an outcome is given up.
struct Admitted<'a> {
    llm: &'a Llm,
    open_trial: bool,
}

impl Admitted<'_> {
    fn settle(mut self, outcome: impl FnOnce(&mut Breaker)) {
        self.open_trial = false;
        outcome(&mut self.llm.breaker());
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.open_trial {
            self.llm.breaker().given_up();
        }
    }
}

/// The text of the first choice, which some servers send in parts.
fn text_of(answer: &Value) -> Result<&str, String> {
    let message = answer
        .pointer("/choices/0/message")
        .ok_or("an answer without choices")?;
    if message.get("refusal").is_some_and(Value::is_string) {
        return Err("a refusal".into());
    }
    let content = message.get("content");
    let text = content.and_then(|content| {
        content
            .as_str()
            .or_else(|| content.pointer("/0/text")?.as_str())
    });
    text.ok_or_else(|| "no text".into())
}
