//! Traces for an OpenTelemetry collector, where one is configured: the start and its stages, each interview, each reply and
//! its stages.
//!
//! Spans are made when a thing is over, of times that were taken for the log anyway, so nothing waits for them. They go
//! through a bounded queue to a thread of OpenTelemetry's SDK, which sends them in batches (OTLP over HTTP, protobuf).
//! What the queue can't hold is dropped, and what the collector does not take is lost: traces are no record.
//! They hold names, numbers and ids, never what was said.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanContext, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};
use tokio::runtime::Handle;

use crate::boot::Stage;
use crate::health::{Condition, Health, Need};
use crate::provider::{SetupError, http_client};

/// Spans that wait to be sent: those of some hundred turns.
const QUEUE_MAX: usize = 2048;
/// Spans in one request.
const BATCH_MAX: usize = 512;
/// Between two requests.
const SEND_EVERY: Duration = Duration::from_secs(5);
/// For one request.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// For what is left at the end of the process.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Where a collector takes traces, under its endpoint.
const PATH: &str = "/v1/traces";

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The endpoint or the client for it.
    #[error("log.otlp_endpoint: {0}")]
    Client(#[from] SetupError),
    /// The exporter.
    #[error("log.otlp_endpoint: {0}")]
    Exporter(String),
}

/// The way to the collector; a clone is another handle to it.
#[derive(Debug, Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Traces for the collector at `endpoint`, `http://HOST:4318` for example. Connects to nothing yet; whether it takes
    /// them is in `health`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// The endpoint is no address of a server, or the client for it can't be made.
    pub fn to(endpoint: &str, health: Health) -> Result<Self, TracesError> {
        crate::provider::check_base_url(endpoint)?;
        health.set(
            "traces",
            Need::Optional,
            Condition::Ok,
            format!("to {endpoint}"),
        );
        let client = Client {
            http: http_client(endpoint)?,
            runtime: Handle::current(),
            health,
            failing: Mutex::new(false),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
            .with_timeout(SEND_LIMIT)
            .build()
            .map_err(|e| TracesError::Exporter(e.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let resource = Resource::builder()
            .with_service_name("viva")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        Ok(Self {
            tracer: provider.tracer("viva"),
            provider,
        })
    }

    /// The start that ends now, `elapsed` after it began.
    pub fn started(&self, stages: &[Stage], elapsed: Duration) {
        let zero = SystemTime::now() - elapsed;
        let start = self.span("start", zero, &Context::new());
        let parent = within(start.span_context());
        for stage in stages {
            let begun = zero + Duration::from_millis(stage.started_ms);
            let mut span = self.span(stage.name, begun, &parent);
            if let Some(failure) = &stage.failure {
                span.set_status(Status::error(failure.clone()));
            }
            span.end_with_timestamp(begun + Duration::from_millis(stage.elapsed_ms));
        }
        end(start, zero + elapsed);
    }

    /// An interview that begins, or that this process goes on with.
    #[must_use]
    pub fn interview(&self, id: &str) -> InterviewTrace {
        let mut span = self.span("interview", SystemTime::now(), &Context::new());
        span.set_attribute(KeyValue::new("interview.id", id.to_owned()));
        InterviewTrace {
            traces: self.clone(),
            span,
        }
    }

    /// Sends what is left, for a moment at most. Blocks.
    pub fn close(&self) {
        // What the collector does not take at the end is lost, as at any other time.
        let _ = self.provider.shutdown_with_timeout(CLOSE_LIMIT);
    }

    fn span(
        &self,
        name: &'static str,
        begun: SystemTime,
        parent: &Context,
    ) -> opentelemetry_sdk::trace::Span {
        self.tracer
            .span_builder(name)
            .with_start_time(begun)
            .start_with_context(&self.tracer, parent)
    }
}

fn within(parent: &SpanContext) -> Context {
    Context::new().with_remote_span_context(parent.clone())
}

fn end(mut span: opentelemetry_sdk::trace::Span, at: SystemTime) {
    span.end_with_timestamp(at);
}

/// What is told of one interview; its span ends when this is dropped.
pub struct InterviewTrace {
    traces: Traces,
    span: opentelemetry_sdk::trace::Span,
}

/// The stages of a reply: their names, how long after its begin they began, and how long they took.
pub type Stages<'s> = &'s [(&'static str, Duration, Duration)];

impl InterviewTrace {
    /// The interviewer's reply that begins to sound now, `elapsed` after the candidate's last word.
    pub fn reply(&self, elapsed: Duration, stages: Stages<'_>) {
        let begun = SystemTime::now() - elapsed;
        let reply = self
            .traces
            .span("reply", begun, &within(self.span.span_context()));
        let parent = within(reply.span_context());
        for (name, after, took) in stages {
            let stage_begun = begun + *after;
            let span = self.traces.span(name, stage_begun, &parent);
            end(span, stage_begun + *took);
        }
        end(reply, begun + elapsed);
    }
}

impl fmt::Debug for InterviewTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterviewTrace").finish_non_exhaustive()
    }
}

/// Our HTTP client for the SDK, which calls it from a thread without a runtime.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    health: Health,
    /// Whether the last request failed: each change is said once.
    failing: Mutex<bool>,
}

impl HttpClient for Client {
    fn send_bytes<'c, 'f>(
        &'c self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'c: 'f,
        Self: 'f,
    {
        let http = self.http.clone();
        // Its end is awaited: a panic in it is an error of the request.
        let sending = self.runtime.spawn(async move {
            let send = async {
                let response = http.execute(request.try_into()?).await?;
                let status = response.status();
                // What a collector says beyond its status is for nobody here, and may be long.
                let mut answer = Response::new(Bytes::new());
                *answer.status_mut() = status;
                Ok::<_, reqwest::Error>(answer)
            };
            tokio::time::timeout(SEND_LIMIT, send).await
        });
        Box::pin(async move {
            let outcome = match sending.await {
                Ok(Ok(Ok(answer))) if answer.status().is_success() => Ok(answer),
                Ok(Ok(Ok(answer))) => Err(format!("status {}", answer.status())),
                Ok(Ok(Err(error))) => Err(error.without_url().to_string()),
                Ok(Err(_)) => Err(format!("no answer within {} s", SEND_LIMIT.as_secs())),
                Err(panic) => Err(panic.to_string()),
            };
            self.note(outcome.as_ref().err());
            outcome.map_err(Into::into)
        })
    }
}

impl Client {
    fn note(&self, failure: Option<&String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            Some(cause) => {
                if !*failing {
                    tracing::warn!("the collector takes no traces, they are lost: {cause}");
                }
                self.health
                    .change("traces", Condition::Degraded(cause.clone()));
            }
            None => {
                if *failing {
                    tracing::info!("the collector takes traces again");
                }
                self.health.change("traces", Condition::Ok);
            }
        }
        *failing = failure.is_some();
    }
}
