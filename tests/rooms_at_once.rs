//! Many rooms that open in the same moment: whoever listens in one of them, on the official Python client, hears the
//! voice that LiveKit's Rust SDK publishes there over our engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

#[path = "support/livekit_server.rs"]
mod livekit_server;

use std::process::Stdio;

use livekit::options::TrackPublishOptions;
use livekit::prelude::*;
use livekit::webrtc::audio::AudioPull;
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit_server::LiveKitServer;
use livekit_token::{AccessToken, VideoGrants};
use serde_json::Value;

/// More than two cores can set up without waiting for each other, handshakes and all.
const ROOMS: usize = 8;
/// The listeners give up after 30 s by themselves.
const LISTENERS_LIMIT_S: &str = "60";

const RATE_HZ: u32 = 24_000;

/// A square wave that is anything but silence.
#[derive(Default)]
struct Tone {
    samples: u32,
}

impl AudioPull for Tone {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        for sample in out.iter_mut() {
            let high = (self.samples / 30).is_multiple_of(2);
            *sample = if high { 8_000 } else { -8_000 };
            self.samples = self.samples.wrapping_add(1);
        }
        out.len()
    }
}

async fn speak(server_url: String, token: String, single: bool) -> Room {
    let mut options = RoomOptions::default();
    options.single_peer_connection = single;
    let (room, _events) = Room::connect(&server_url, &token, options).await.unwrap();
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, 0);
    source.set_pull(Box::new(Tone::default()));
    let track = LocalAudioTrack::create_audio_track("voice", RtcAudioSource::Native(source));
    let options = TrackPublishOptions {
        source: TrackSource::Microphone,
        dtx: false,
        red: false,
        ..TrackPublishOptions::default()
    };
    room.local_participant()
        .publish_track(LocalTrack::Audio(track), options)
        .await
        .unwrap();
    room
}

async fn everybody_hears(server: LiveKitServer, rooms: usize, prefix: &str, single: bool) {
    let python = std::env::var("VIVA_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/venv/bin/python").into());
    let listeners = tokio::process::Command::new("timeout")
        .args(["--kill-after=5", LISTENERS_LIMIT_S, &python])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/listeners.py"
        ))
        .args(["--prefix", prefix, "--rooms", &rooms.to_string()])
        .env("LIVEKIT_URL", &server.url)
        .env("LIVEKIT_API_KEY", &server.key)
        .env("LIVEKIT_API_SECRET", &server.secret)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let speakers = (0..rooms).map(|n| {
        let grants = VideoGrants {
            room_join: true,
            room: format!("{prefix}{n}"),
            ..VideoGrants::default()
        };
        let token = AccessToken::with_api_key(&server.key, &server.secret)
            .with_identity("speaker")
            .with_grants(grants)
            .to_jwt()
            .unwrap();
        speak(server.url.clone(), token, single)
    });
    let speakers = futures_util::future::join_all(speakers);
    let (output, speakers) = tokio::join!(listeners, speakers);
    let output =
        output.unwrap_or_else(|e| panic!("cannot run {python}: {e}; `make test` sets it up"));
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        told.len(),
        rooms,
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for listener in &told {
        assert!(listener["loud_ms"].is_u64(), "{listener}");
    }
    for room in speakers {
        room.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_the_voice_in_rooms_opened_at_once_on_one_peer_connection() {
    everybody_hears(LiveKitServer::start(), ROOMS, "single-", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_hears_the_voice_in_rooms_opened_at_once_on_two_peer_connections() {
    everybody_hears(LiveKitServer::start(), ROOMS, "dual-", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_offers_no_udp_is_reached_over_tcp_on_one_peer_connection() {
    let server = LiveKitServer::start_with("  force_tcp: true\n");
    everybody_hears(server, 2, "tcp-single-", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_offers_no_udp_is_reached_over_tcp_on_two_peer_connections() {
    let server = LiveKitServer::start_with("  force_tcp: true\n");
    everybody_hears(server, 2, "tcp-dual-", false).await;
}
