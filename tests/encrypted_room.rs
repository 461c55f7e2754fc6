//! Rooms that are encrypted end to end, with LiveKit's official client (C++ WebRTC) on the other side.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

#[path = "support/livekit_server.rs"]
mod livekit_server;
#[path = "support/tone.rs"]
mod tone;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use livekit::e2ee::EncryptionType;
use livekit::e2ee::key_provider::{KeyProvider, KeyProviderOptions};
use livekit::options::TrackPublishOptions;
use livekit::track::{LocalAudioTrack, LocalTrack, RemoteTrack};
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit::webrtc::audio_stream::native::NativeAudioStream;
use livekit::{DataPacket, E2eeOptions, Room, RoomEvent, RoomOptions};
use livekit_server::LiveKitServer;
use livekit_token::{AccessToken, VideoGrants};
use tokio::sync::mpsc::UnboundedReceiver;
use tone::{RATE_HZ, speak};

const KEY: &str = "a secret of the room";
const OUR_TONE_HZ: f64 = 660.0;
const THEIR_TONE_HZ: f64 = 440.0;
/// Beyond any wait that succeeds.
const LIMIT: Duration = Duration::from_secs(60);
/// A tone may be off by this, after coding and concealment.
const TOLERANCE_HZ: f64 = 15.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_and_data_are_understood_both_ways_and_by_nobody_without_the_key() {
    let server = LiveKitServer::start();
    let (room, mut events) = join(&server, "ours", KEY).await;
    let (stranger, mut strange_events) = join(&server, "stranger", "another secret").await;
    let mut official = Official::start(&server);
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, 200);
    let track = LocalAudioTrack::create_audio_track("tone", RtcAudioSource::Native(source.clone()));
    room.local_participant()
        .publish_track(LocalTrack::Audio(track), TrackPublishOptions::default())
        .await
        .expect("a published track");
    let exchange = async {
        let heard = tone_of(&mut events, "official").await;
        assert!(
            (heard - THEIR_TONE_HZ).abs() < TOLERANCE_HZ,
            "we hear {heard} Hz"
        );
        let message = DataPacket {
            payload: b"secret words".to_vec(),
            reliable: true,
            ..DataPacket::default()
        };
        room.local_participant()
            .publish_data(message)
            .await
            .expect("a sent message");
        assert_eq!(data(&mut events).await, b"sdrow terces");
        assert_eq!(data(&mut events).await, b"moved on");
        let told = official.told();
        assert_eq!(told["data"], "secret words");
        let heard = told["heard_hz"].as_f64().expect("a tone");
        assert!(
            (heard - OUR_TONE_HZ).abs() < TOLERANCE_HZ,
            "they hear {heard} Hz"
        );
        assert_is_silent(&mut strange_events).await;
    };
    tokio::select! {
        done = tokio::time::timeout(LIMIT, exchange) => done.expect("an exchange in time"),
        () = speak(&source, OUR_TONE_HZ) => unreachable!("speaking goes on"),
    }
    room.close().await.expect("a closed room");
    stranger.close().await.expect("a closed room");
}

async fn join(
    server: &LiveKitServer,
    identity: &str,
    key: &str,
) -> (Room, UnboundedReceiver<RoomEvent>) {
    let token = AccessToken::with_api_key(&server.key, &server.secret)
        .with_identity(identity)
        .with_grants(VideoGrants {
            room_join: true,
            room: "encrypted".to_owned(),
            ..VideoGrants::default()
        })
        .to_jwt()
        .expect("a token");
    let keys = KeyProvider::with_shared_key(KeyProviderOptions::default(), key.as_bytes().to_vec());
    let mut options = RoomOptions::default();
    options.encryption = Some(E2eeOptions {
        encryption_type: EncryptionType::Gcm,
        key_provider: keys,
    });
    Room::connect(&server.url, &token, options)
        .await
        .expect("a joined room")
}

async fn subscribed(events: &mut UnboundedReceiver<RoomEvent>, to: &str) -> NativeAudioStream {
    loop {
        if let RoomEvent::TrackSubscribed {
            track: RemoteTrack::Audio(track),
            participant,
            ..
        } = events.recv().await.expect("an event")
            && participant.identity().as_str() == to
        {
            return NativeAudioStream::new(track.rtc_track(), RATE_HZ as i32, 1);
        }
    }
}

/// The frequency of what a participant is heard to send, by its crossings of zero in a second of it.
async fn tone_of(events: &mut UnboundedReceiver<RoomEvent>, participant: &str) -> f64 {
    let mut stream = subscribed(events, participant).await;
    let mut samples = Vec::new();
    while samples.len() < RATE_HZ as usize {
        let frame = stream.next().await.expect("a frame");
        if frame.data.iter().any(|sample| sample.abs() > 4000) {
            samples.extend_from_slice(&frame.data);
        }
    }
    let crossings = samples
        .windows(2)
        .filter(|pair| (pair[0] < 0) != (pair[1] < 0))
        .count();
    crossings as f64 / 2.0 * f64::from(RATE_HZ) / samples.len() as f64
}

async fn data(events: &mut UnboundedReceiver<RoomEvent>) -> Vec<u8> {
    loop {
        if let RoomEvent::DataReceived { payload, .. } = events.recv().await.expect("an event") {
            return payload.to_vec();
        }
    }
}

/// Half a second of another's sound without the key, and no message among all that came.
async fn assert_is_silent(events: &mut UnboundedReceiver<RoomEvent>) {
    let mut stream = subscribed(events, "ours").await;
    for _ in 0..50 {
        let frame = stream.next().await.expect("a frame");
        assert!(
            frame.data.iter().all(|sample| *sample == 0),
            "a stranger hears something"
        );
    }
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(event, RoomEvent::DataReceived { .. }),
            "{event:?}"
        );
    }
}

/// The official client as a process of its own.
struct Official(Child);

impl Official {
    fn start(server: &LiveKitServer) -> Self {
        let python = std::env::var("VIVA_PYTHON").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/venv/bin/python").into()
        });
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/encrypted_peer.py"
        );
        let process = Command::new(&python)
            .args([script, "--room", "encrypted", "--key", KEY])
            .env("LIVEKIT_URL", &server.url)
            .env("LIVEKIT_API_KEY", &server.key)
            .env("LIVEKIT_API_SECRET", &server.secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {python}: {e}; `make test` sets it up"));
        Self(process)
    }

    /// What it prints, which it does before its last message is read.
    fn told(&mut self) -> serde_json::Value {
        let out = self.0.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }
}

impl Drop for Official {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
