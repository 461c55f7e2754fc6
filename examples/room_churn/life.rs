//! The life of one room.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use livekit::options::TrackPublishOptions;
use livekit::track::{LocalAudioTrack, LocalTrack, RemoteTrack};
use livekit::webrtc::audio_frame::AudioFrame;
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit::webrtc::audio_stream::native::NativeAudioStream;
use livekit::{DataPacket, Room, RoomEvent};
use livekit_token::VideoGrants;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use viva::room::leave;

use crate::support::livekit_server::LiveKitServer;
use crate::support::{Failure, join};

const RATE_HZ: u32 = 48_000;
/// Nobody gives a close up before, unless that is the point.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);
/// A close takes some milliseconds, and joining some tens: a cancellation lands anywhere in it, or just after it.
const CLOSE_CANCELLED_MS_MAX: u64 = 12;
const JOIN_CANCELLED_MS_MAX: u64 = 60;

/// Who leaves the rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The SDK, as Viva leaves a room with it.
    Viva,
    /// The SDK by itself.
    Plain,
}

impl Client {
    /// Leaves a room. Whoever waits for it gives up after `patience`.
    async fn leave(self, room: Arc<Room>, patience: Duration) -> Result<(), Failure> {
        match self {
            // It is over or goes on by itself.
            Self::Viva => {
                leave(room, patience).await;
            }
            Self::Plain => tokio::select! {
                // It begins in any case.
                biased;
                closed = room.close() => closed?,
                () = sleep(patience) => {}
            },
        }
        Ok(())
    }
}

/// How a room ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// Both leave, one after the other has seen it go.
    Closed,
    /// Both leave at once, one of them while the other still publishes.
    ClosedTogether,
    /// The server deletes the room.
    Deleted,
    /// The server sends one out; the other leaves.
    Removed,
    /// Both leave, and what waits for that gives up at a random moment.
    CloseCancelled,
    /// Joining is given up at a random moment.
    JoinCancelled,
}

/// How the room of this number ends, if not all are to end in the same way.
pub fn ending(number: u64, only: Option<&str>) -> Result<Ending, Failure> {
    use Ending::{CloseCancelled, Closed, ClosedTogether, Deleted, JoinCancelled, Removed};
    const ENDINGS: [Ending; 6] = [
        Closed,
        ClosedTogether,
        Deleted,
        Removed,
        CloseCancelled,
        JoinCancelled,
    ];
    let turn = ENDINGS[(number % ENDINGS.len() as u64) as usize];
    match only {
        None => Ok(turn),
        Some(name) => ENDINGS
            .into_iter()
            .find(|ending| format!("{ending:?}") == name)
            .ok_or_else(|| format!("{name} is none of {ENDINGS:?}").into()),
    }
}

/// Lives it.
pub async fn live(
    server: &Arc<LiveKitServer>,
    number: u64,
    ending: Ending,
    client: Client,
) -> Result<(), Failure> {
    let leave = |room: &Arc<Room>| client.leave(Arc::clone(room), CLOSE_LIMIT);
    let name = format!("churn-{number}");
    // The SDK's two ways to connect, both with all endings.
    let single = (number / 6).is_multiple_of(2);
    if matches!(ending, Ending::JoinCancelled) {
        let patience = Duration::from_millis(fastrand::u64(0..=JOIN_CANCELLED_MS_MAX));
        let joining = join(server, &name, "one", single);
        return match tokio::time::timeout(patience, joining).await {
            Ok(joined) => leave(&Arc::new(joined?.0)).await,
            Err(_) => Ok(()),
        };
    }
    let (speaker, mut speaker_events) = join(server, &name, "speaker", single).await?;
    let (listener, mut listener_events) = join(server, &name, "listener", single).await?;
    talk(
        &speaker,
        &mut speaker_events,
        &listener,
        &mut listener_events,
    )
    .await?;
    let (speaker, listener) = (Arc::new(speaker), Arc::new(listener));
    match ending {
        Ending::Closed => {
            leave(&speaker).await?;
            left_alone(&mut listener_events).await?;
            leave(&listener).await?;
        }
        Ending::ClosedTogether => {
            tokio::try_join!(leave(&speaker), leave(&listener))?;
        }
        Ending::Deleted => {
            let (server, name) = (Arc::clone(server), name.clone());
            tokio::task::spawn_blocking(move || server.delete_room(&name)).await?;
            disconnected(&mut speaker_events).await?;
            disconnected(&mut listener_events).await?;
        }
        Ending::Removed => {
            let server = Arc::clone(server);
            tokio::task::spawn_blocking(move || remove(&server, &name, "listener")).await?;
            disconnected(&mut listener_events).await?;
            leave(&speaker).await?;
        }
        Ending::CloseCancelled => {
            for room in [&speaker, &listener] {
                let patience =
                    Duration::from_micros(fastrand::u64(0..=CLOSE_CANCELLED_MS_MAX * 1000));
                client.leave(Arc::clone(room), patience).await?;
            }
        }
        Ending::JoinCancelled => {}
    }
    Ok(())
}

/// Sound one way and a message the other, so that every part of both connections has been in use.
async fn talk(
    speaker: &Room,
    speaker_events: &mut UnboundedReceiver<RoomEvent>,
    listener: &Room,
    listener_events: &mut UnboundedReceiver<RoomEvent>,
) -> Result<(), Failure> {
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, 200);
    let track =
        LocalAudioTrack::create_audio_track("sound", RtcAudioSource::Native(source.clone()));
    speaker
        .local_participant()
        .publish_track(LocalTrack::Audio(track), TrackPublishOptions::default())
        .await?;
    let heard = async {
        let track = loop {
            let event = listener_events.recv().await;
            if let RoomEvent::TrackSubscribed {
                track: RemoteTrack::Audio(track),
                ..
            } = event.ok_or("the listener's events ended")?
            {
                break track;
            }
        };
        let mut stream = NativeAudioStream::new(track.rtc_track(), RATE_HZ as i32, 1);
        while let Some(frame) = stream.next().await {
            if frame.data.iter().any(|sample| sample.abs() > 1000) {
                return Ok::<_, Failure>(());
            }
        }
        Err("the track ended before it was heard".into())
    };
    let speaking = async {
        let samples: Vec<i16> = (0..RATE_HZ / 100)
            .map(|n| if n % 96 < 48 { 8000 } else { -8000 })
            .collect();
        loop {
            let frame = AudioFrame {
                data: samples.as_slice().into(),
                sample_rate: RATE_HZ,
                num_channels: 1,
                samples_per_channel: RATE_HZ / 100,
            };
            source.capture_frame(&frame).await?;
        }
    };
    tokio::select! {
        heard = heard => heard?,
        failed = speaking => return failed,
    }
    let message = DataPacket {
        payload: b"heard".to_vec(),
        reliable: true,
        ..DataPacket::default()
    };
    listener.local_participant().publish_data(message).await?;
    loop {
        if let RoomEvent::DataReceived { .. } = speaker_events
            .recv()
            .await
            .ok_or("the speaker's events ended")?
        {
            return Ok(());
        }
    }
}

async fn left_alone(events: &mut UnboundedReceiver<RoomEvent>) -> Result<(), Failure> {
    while let Some(event) = events.recv().await {
        if let RoomEvent::ParticipantDisconnected(_) = event {
            return Ok(());
        }
    }
    Err("the events ended".into())
}

async fn disconnected(events: &mut UnboundedReceiver<RoomEvent>) -> Result<(), Failure> {
    while let Some(event) = events.recv().await {
        if let RoomEvent::Disconnected { .. } = event {
            return Ok(());
        }
    }
    Err("the events ended".into())
}

fn remove(server: &LiveKitServer, room: &str, identity: &str) {
    let grants = VideoGrants {
        room_admin: true,
        room: room.to_owned(),
        ..VideoGrants::default()
    };
    let body = format!(r#"{{"room":"{room}","identity":"{identity}"}}"#);
    server.api("RoomService/RemoveParticipant", &body, grants);
}
