//! A room on a real LiveKit server.

#[path = "../../../tests/support/livekit_server.rs"]
mod livekit_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livekit::options::TrackPublishOptions;
use livekit::prelude::{LocalAudioTrack, LocalTrack, Room, RoomOptions, TrackSource};
use livekit::webrtc::audio::AudioPull;
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit_token::{AccessToken, VideoGrants};
use tokio::sync::mpsc;

use super::*;
use crate::room::CandidateChooser;
use crate::voice::listen::EVENTS_MAX;
use crate::voice::playout::playout;
use livekit_server::LiveKitServer;

const RATE_HZ: u32 = 24_000;
/// For anything that is to happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A tone, until it is told to be silent.
struct Voice {
    is_silent: Arc<AtomicBool>,
    samples: u32,
}

impl AudioPull for Voice {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        let loud = if self.is_silent.load(Ordering::Relaxed) {
            0
        } else {
            8_000
        };
        for sample in out.iter_mut() {
            let high = (self.samples / 30).is_multiple_of(2);
            *sample = if high { loud } else { -loud };
            self.samples = self.samples.wrapping_add(1);
        }
        out.len()
    }
}

fn token(server: &LiveKitServer, identity: &str, kind: &str) -> String {
    let grants = VideoGrants {
        room_join: true,
        room: "interview-r".into(),
        agent: kind == "agent",
        ..VideoGrants::default()
    };
    AccessToken::with_api_key(&server.key, &server.secret)
        .with_identity(identity)
        .with_kind(kind)
        .with_grants(grants)
        .to_jwt()
        .unwrap()
}

/// A candidate who speaks until told to be silent.
async fn candidate(server: &LiveKitServer, is_silent: Arc<AtomicBool>) -> Room {
    let token = token(server, "grace", "standard");
    let joining = Room::connect(&server.url, &token, RoomOptions::default());
    let (room, _events) = joining.await.unwrap();
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, 0);
    source.set_pull(Box::new(Voice {
        is_silent,
        samples: 0,
    }));
    let track = LocalAudioTrack::create_audio_track("voice", RtcAudioSource::Native(source));
    let options = TrackPublishOptions {
        source: TrackSource::Microphone,
        dtx: false,
        red: false,
        ..TrackPublishOptions::default()
    };
    let participant = room.local_participant();
    let publishing = participant.publish_track(LocalTrack::Audio(track), options);
    publishing.await.unwrap();
    room
}

async fn news(venue: &mut LiveKitVenue) -> RoomNews<RtcAudioTrack> {
    let news = tokio::time::timeout(LIMIT, venue.news()).await;
    news.expect("something happens")
}

async fn heard(events: &mut mpsc::Receiver<ListenEvent>) -> ListenEvent {
    let event = tokio::time::timeout(LIMIT, events.recv()).await;
    event.expect("something is heard").expect("an open ear")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_goes_on_through_a_full_reconnection() {
    let server = LiveKitServer::start();
    let is_silent = Arc::new(AtomicBool::new(false));
    let grace = candidate(&server, is_silent.clone()).await;
    let (_mouth, clock) = playout();
    let chooser = CandidateChooser::new(None);
    let viva = token(&server, "viva", "agent");
    let joining = JoinedRoom::join("interview-r", &server.url, &viva, chooser, clock);
    let mut venue = LiveKitVenue {
        room: joining.await.unwrap(),
        vad: VadEngine::energy_only().unwrap(),
        endpointing: EndpointSettings {
            speech_threshold: 0.5,
            pause_ms: 192,
            turn_end_ms: 544,
        },
        ear: None,
    };
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    loop {
        if let RoomNews::Voice { voice, .. } = news(&mut venue).await {
            venue.listen(&voice, sender.clone());
            break;
        }
    }
    assert_eq!(heard(&mut events).await, ListenEvent::Began);
    assert_eq!(heard(&mut events).await, ListenEvent::Sustained);

    venue.room.reconnect().await;
    let (mut is_mended, mut is_heard) = (false, false);
    while !is_mended || !is_heard {
        match news(&mut venue).await {
            RoomNews::Reconnected => is_mended = true,
            RoomNews::Voice { voice, .. } => {
                venue.listen(&voice, sender.clone());
                is_heard = true;
            }
            RoomNews::CandidateGone | RoomNews::VoiceGone | RoomNews::CandidateHere { .. } => {
                panic!("the candidate was there all the time");
            }
            _ => {}
        }
    }
    // They speak on, and end their turn as they would have.
    tokio::time::sleep(Duration::from_millis(500)).await;
    is_silent.store(true, Ordering::Relaxed);
    let mut turn = Vec::new();
    loop {
        let event = heard(&mut events).await;
        let is_over = matches!(event, ListenEvent::Finished { .. });
        turn.push(event);
        if is_over {
            break;
        }
    }
    let began_again = turn
        .iter()
        .any(|e| matches!(e, ListenEvent::Began | ListenEvent::Closed));
    assert!(!began_again, "one turn");
    assert!(matches!(turn.last(), Some(ListenEvent::Finished { silence_ms }) if *silence_ms > 0));

    grace.close().await.unwrap();
    venue.room.leave().await;
}
