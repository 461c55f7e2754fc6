//! A room of a real LiveKit server behind a link that loses packets: both sides ask for them and get them again.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

#[path = "support/livekit_server.rs"]
mod livekit_server;
#[allow(dead_code, reason = "no NAT is needed here")]
#[path = "../libwebrtc/tests/lab/namespaces.rs"]
mod namespaces;
#[path = "support/tone.rs"]
mod tone;
#[allow(dead_code, reason = "nothing is cut here")]
#[path = "../libwebrtc/tests/lab/weather.rs"]
mod weather;

use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use livekit::options::TrackPublishOptions;
use livekit::track::{LocalAudioTrack, LocalTrack, RemoteAudioTrack, RemoteTrack};
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit::webrtc::audio_stream::native::NativeAudioStream;
use livekit::webrtc::stats::RtcStats;
use livekit::{Room, RoomEvent, RoomOptions};
use livekit_server::LiveKitServer;
use livekit_token::{AccessToken, VideoGrants};
use namespaces::Namespace;
use tokio::sync::mpsc::UnboundedReceiver;
use tone::{RATE_HZ, speak};
use weather::{INTERFACE, Link, Weather};

const SERVER_ADDRESS: &str = "10.9.0.1";
const CLIENT_ADDRESS: &str = "10.9.0.2";
const WEATHER: Weather = Weather {
    loss_percent: 5,
    delay_ms: 4,
    jitter_ms: 0,
    hasty_percent: 0,
};
/// Where the clients of `a_server_beside_the_link` are to be.
const CLIENTS_ARE_IN: &str = "VIVA_TEST_CLIENTS_ARE_IN";
const URL: &str = "VIVA_TEST_URL";
/// Heard before it is counted what came: some 500 packets, of which 25 are lost each way.
const HEARD_S: usize = 10;
/// Beyond any wait that succeeds.
const LIMIT: Duration = Duration::from_secs(90);

/// Runs another test of this file in a namespace, and expects it to pass.
fn passes_in(namespace: &str, test: &str, environment: &[(&str, &str)]) {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(environment.iter().copied())
        .output()
        .expect("ip");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{test}: {out}\n{err}"
    );
}

#[test]
fn what_is_lost_on_the_way_to_the_server_and_back_is_sent_again() {
    let (Some(server), Some(clients)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    let ends = ((&server, SERVER_ADDRESS), (&clients, CLIENT_ADDRESS));
    let _link = Link::lay(ends.0, ends.1, WEATHER).expect("a link");
    passes_in(
        &server.name,
        "a_server_beside_the_link",
        &[(CLIENTS_ARE_IN, &clients.name)],
    );
}

#[test]
#[ignore = "what the test above runs where the server is"]
fn a_server_beside_the_link() {
    let server = LiveKitServer::start_on(SERVER_ADDRESS, INTERFACE);
    let clients = std::env::var(CLIENTS_ARE_IN).expect("the clients' namespace");
    passes_in(
        &clients,
        "two_clients_behind_the_link",
        &[(URL, &server.url_at(SERVER_ADDRESS))],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "what the test above runs where the clients are"]
async fn two_clients_behind_the_link() {
    let (listener, mut events) = join("listener").await;
    let (speaker, _) = join("speaker").await;
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, 200);
    let track = LocalAudioTrack::create_audio_track("tone", RtcAudioSource::Native(source.clone()));
    speaker
        .local_participant()
        .publish_track(
            LocalTrack::Audio(track.clone()),
            TrackPublishOptions::default(),
        )
        .await
        .expect("a published track");
    let listen = async {
        let heard = subscribed(&mut events).await;
        let mut stream = NativeAudioStream::new(heard.rtc_track(), RATE_HZ as i32, 1);
        let mut samples = 0;
        while samples < HEARD_S * RATE_HZ as usize {
            samples += stream.next().await.expect("a frame").data.len();
        }
        heard
    };
    let heard = tokio::select! {
        heard = tokio::time::timeout(LIMIT, listen) => heard.expect("sound in time"),
        () = speak(&source, 440.0) => unreachable!("speaking goes on"),
    };

    let sent = track.get_stats().await.expect("the speaker's statistics");
    let sent = sent.iter().find_map(|entry| match entry {
        RtcStats::OutboundRtp(stats) => Some(&stats.outbound),
        _ => None,
    });
    let sent = sent.expect("what was sent");
    assert!(sent.nack_count > 0, "the server asks: {sent:?}");
    assert!(sent.retransmitted_packets_sent > 0, "{sent:?}");

    let stats = heard.get_stats().await.expect("the listener's statistics");
    let received = stats.iter().find_map(|entry| match entry {
        RtcStats::InboundRtp(stats) => Some((&stats.inbound, &stats.received)),
        _ => None,
    });
    let (inbound, received) = received.expect("what was received");
    assert!(inbound.nack_count > 0, "we ask: {inbound:?}");
    assert!(inbound.retransmitted_packets_received > 0, "{inbound:?}");
    // Of 25 lost on each half of the way.
    assert!(received.packets_lost <= 10, "{received:?}");
    listener.close().await.expect("a closed room");
    speaker.close().await.expect("a closed room");
}

async fn join(identity: &str) -> (Room, UnboundedReceiver<RoomEvent>) {
    let url = std::env::var(URL).expect("the server's address");
    // The same as the server's, which is another process.
    let token = AccessToken::with_api_key(livekit_server::KEY, livekit_server::SECRET)
        .with_identity(identity)
        .with_grants(VideoGrants {
            room_join: true,
            room: "lossy".to_owned(),
            ..VideoGrants::default()
        })
        .to_jwt()
        .expect("a token");
    Room::connect(&url, &token, RoomOptions::default())
        .await
        .expect("a joined room")
}

async fn subscribed(events: &mut UnboundedReceiver<RoomEvent>) -> RemoteAudioTrack {
    loop {
        if let RoomEvent::TrackSubscribed {
            track: RemoteTrack::Audio(track),
            ..
        } = events.recv().await.expect("an event")
        {
            return track;
        }
    }
}
