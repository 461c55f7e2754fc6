//! A collector is told of the start, of interviews and of replies, and never of what was said.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/official_client.rs"]
mod official_client;
#[path = "support/service.rs"]
mod service;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use livekit_server::LiveKitServer;
use official_client::{candidate, start};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::Value;
use service::{LIMIT, Service};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// A collector on a port of its own, which answers with one status and keeps what it gets.
struct Collector {
    runtime: Runtime,
    endpoint: String,
    bodies: mpsc::Receiver<Bytes>,
}

impl Collector {
    fn start(status: StatusCode) -> Self {
        let runtime = Runtime::new().unwrap();
        let (got, bodies) = mpsc::channel(1024);
        let take = async move |body: Bytes| {
            got.send(body).await.unwrap();
            status
        };
        let endpoint = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let app = Router::new().route("/v1/traces", post(take));
            tokio::spawn(async move { axum::serve(listener, app).await });
            endpoint
        });
        Self {
            runtime,
            endpoint,
            bodies,
        }
    }

    fn body(&mut self) -> Bytes {
        let received = async { tokio::time::timeout(LIMIT, self.bodies.recv()).await };
        let body = self.runtime.block_on(received);
        body.expect("the collector is told something").unwrap()
    }

    /// Spans as they come, until `enough` of those that came.
    fn spans_until(&mut self, enough: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut spans = Vec::new();
        while !enough(&spans) {
            let request = ExportTraceServiceRequest::decode(self.body()).unwrap();
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|resource| resource.scope_spans);
            spans.extend(scopes.flat_map(|scope| scope.spans));
        }
        spans
    }
}

fn traces(service: &Service) -> Value {
    let (_, body) = service.get("/healthz");
    let told: Value = serde_json::from_str(&body).unwrap();
    told["components"]["traces"].clone()
}

/// The names of a span's children.
fn children<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s str> {
    let of_it = spans.iter().filter(|s| {
        s.parent_span_id == parent.span_id && s.trace_id == parent.trace_id && {
            s.start_time_unix_nano >= parent.start_time_unix_nano
                && s.end_time_unix_nano <= parent.end_time_unix_nano + 1_000_000
        }
    });
    of_it.map(|s| s.name.as_str()).collect()
}

#[test]
fn a_collector_sees_the_start_and_each_reply_with_its_stages_and_no_words() {
    let mut collector = Collector::start(StatusCode::OK);
    let server = LiveKitServer::start();
    let endpoint = collector.endpoint.clone();
    let mut service = start(&server, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    candidate(&server, &service, "interview-traced", &["--answers", "2"]);
    // What is left is sent when it ends.
    service.signal("TERM");
    assert!(service.wait_for_end().success(), "{}", service.log());
    let spans = collector.spans_until(|spans| {
        let count = |name: &str| spans.iter().filter(|s| s.name == name).count();
        count("start") == 1 && count("reply") == 2 && count("interview") == 1
    });

    let named: HashMap<&str, &Span> = spans.iter().map(|s| (s.name.as_str(), s)).collect();
    let stages = children(&spans, named["start"]);
    for stage in ["journal", "plans", "listener", "vad", "turn", "stt", "tts"] {
        assert!(stages.contains(&stage), "{stage}: {stages:?}");
    }
    let interview = named["interview"];
    assert_eq!(children(&spans, interview), ["reply", "reply"]);
    for reply in spans.iter().filter(|s| s.name == "reply") {
        let stages = children(&spans, reply);
        assert!(
            stages.contains(&"words") && stages.contains(&"tts"),
            "{stages:?}"
        );
    }
    let told = format!("{spans:?}");
    assert!(told.contains("traced"), "the interview's id is told");
    assert!(!told.contains("best of times") && !told.contains("programming language"));
}

#[test]
fn a_collector_that_takes_nothing_is_named_and_costs_no_more() {
    let mut collector = Collector::start(StatusCode::INTERNAL_SERVER_ERROR);
    let endpoint = collector.endpoint.clone();
    let mut service = Service::start(&[("VIVA_LOG__OTLP_ENDPOINT", &endpoint)]);
    service.wait_until_ready();
    collector.body();
    let until = Instant::now() + LIMIT;
    while traces(&service)["state"] != "degraded" {
        assert!(Instant::now() < until, "{}", traces(&service));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        traces(&service)["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("500")),
        "{}",
        traces(&service)
    );
    assert_eq!(service.get("/readyz").0, 200);
    let log = service.log();
    assert_eq!(log.matches("takes no traces").count(), 1, "{log}");
    service.signal("TERM");
    assert!(service.wait_for_end().success());
}
