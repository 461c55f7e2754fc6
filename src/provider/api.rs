//! async-openai over a [`Provider`]: its request types and paths, with our own limits, errors and silence.
//!
//! By itself that client retries behind our deadlines, reads bodies of any length, drops `Retry-After`, and logs what
//! a server said, which may be what a candidate said. So requests run through a service of ours that sends once,
//! reads a bounded body and turns everything that is not a good answer into a [`ProviderError`].

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::SecretString;

use super::{Provider, ProviderError};

/// async-openai's client for one provider.
pub(crate) type ApiClient = Client<Access>;

/// What a good answer looks like.
#[derive(Clone, Copy)]
pub(crate) enum Expect {
    /// JSON of at most this many bytes.
    Json {
        /// The limit.
        bytes_max: usize,
    },
    /// Anything of at most this many bytes.
    Anything {
        /// The limit.
        bytes_max: usize,
    },
}

/// Base URL and key, as async-openai wants them; none of its environment variables are read.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    provider: Provider,
    /// Always empty: the key travels in [`Config::headers`], marked as sensitive.
    no_key: SecretString,
}

impl Config for Access {
    fn headers(&self) -> HeaderMap {
        let bearer = self.provider.inner.bearer.clone();
        bearer
            .into_iter()
            .map(|value| (AUTHORIZATION, value))
            .collect()
    }

    fn url(&self, path: &str) -> String {
        self.provider.url(path)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        self.provider.base_url()
    }

    fn api_key(&self) -> &SecretString {
        &self.no_key
    }
}

impl Provider {
    /// A client whose every request is sent once.
    pub(crate) fn api(&self, expect: Expect) -> ApiClient {
        let access = Access {
            provider: self.clone(),
            no_key: SecretString::default(),
        };
        let provider = self.clone();
        let service = tower::service_fn(move |request: HttpRequestFactory| {
            let provider = provider.clone();
            async move {
                let request = request.build().await?;
                let answer = provider.answer(request, expect).await;
                answer.map_err(|error| OpenAIError::Boxed(Box::new(error)))
            }
        });
        Client::build(self.inner.http.clone(), access).with_http_service(service)
    }

    /// Sends once and returns the answer with its body in memory.
    async fn answer(
        &self,
        request: reqwest::Request,
        expect: Expect,
    ) -> Result<reqwest::Response, ProviderError> {
        let mut response = self
            .successful(self.inner.http.execute(request).await)
            .await?;
        let (Expect::Json { bytes_max } | Expect::Anything { bytes_max }) = expect;
        let body = self.body(&mut response, bytes_max).await?;
        // Checked here, because the client logs the whole body when it is no JSON.
        if matches!(expect, Expect::Json { .. })
            && serde_json::from_slice::<serde_json::Value>(&body).is_err()
        {
            return Err(self.garbled("something that is not JSON"));
        }
        let (head, _read) = http::Response::<reqwest::Body>::from(response).into_parts();
        Ok(http::Response::from_parts(head, body).into())
    }
}

/// Takes our error out of the client's; its own ones, which come before a request is sent, are named.
pub(crate) fn name_api_error(provider: &Provider, error: OpenAIError) -> ProviderError {
    match error {
        OpenAIError::Boxed(inner) => match inner.downcast::<ProviderError>() {
            Ok(ours) => *ours,
            Err(_) => provider.garbled("an error that has no name"),
        },
        OpenAIError::Reqwest(error) => provider.broken(error),
        OpenAIError::InvalidArgument(_) => {
            provider.garbled("nothing: the request could not be built")
        }
        OpenAIError::JSONDeserialize(..) => provider.garbled("JSON of another shape"),
        _ => provider.garbled("something that async-openai does not understand"),
    }
}
