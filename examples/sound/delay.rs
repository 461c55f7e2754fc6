//! How long sound takes from one participant's source to another's sink, over a real server on loopback.

use std::io::Write;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use livekit::RoomEvent;
use livekit::options::TrackPublishOptions;
use livekit::track::{LocalAudioTrack, LocalTrack, RemoteTrack};
use livekit::webrtc::audio::AudioPull;
use livekit::webrtc::audio_frame::AudioFrame;
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::clicks::{Clicks, Ear, RATE_HZ};
use crate::livekit_server::LiveKitServer;
use crate::{Failure, PATIENCE, enter};

/// The jitter buffer has found its size by then.
const SETTLING: Duration = Duration::from_secs(5);
/// A click that is heard belongs to the last one that was made, unless it took longer than this.
const DELAY_MAX: Duration = Duration::from_millis(450);
const BEAT: Duration = Duration::from_millis(10);
/// The source's queue, as interviews have it.
const QUEUE_MS: u32 = 100;

/// How a program hands its sound over.
#[derive(Clone, Copy)]
enum Way {
    Pull,
    Capture,
}

pub async fn run(seconds: u64) -> Result<(), Failure> {
    let server = LiveKitServer::start();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| sound is handed over | clicks | median | 95 % | worst |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- |")?;
    for (name, way) in [
        ("by the engine's beat (`AudioPull`)", Way::Pull),
        ("by `capture_frame` every 10 ms", Way::Capture),
    ] {
        let mut delays = measure(&server, way, seconds).await?;
        delays.sort();
        let ms = |share: f64| match delays.len() {
            0 => f64::NAN,
            count => delays[((count - 1) as f64 * share) as usize].as_secs_f64() * 1e3,
        };
        writeln!(
            out,
            "| {name} | {} | {:.1} ms | {:.1} ms | {:.1} ms |",
            delays.len(),
            ms(0.5),
            ms(0.95),
            ms(1.0)
        )?;
    }
    Ok(())
}

async fn measure(server: &LiveKitServer, way: Way, seconds: u64) -> Result<Vec<Duration>, Failure> {
    let room = match way {
        Way::Pull => "delay-pull",
        Way::Capture => "delay-capture",
    };
    let (url, key, secret) = (&server.url, &server.key, &server.secret);
    let (listener, mut events) = enter(url, key, secret, room, "ear").await?;
    let (speaker, _events) = enter(url, key, secret, room, "clicker").await?;
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, QUEUE_MS);
    let (begun, made) = channel();
    let clicks = Clicks { at: 0, begun };
    let track =
        LocalAudioTrack::create_audio_track("clicks", RtcAudioSource::Native(source.clone()));
    speaker
        .local_participant()
        .publish_track(LocalTrack::Audio(track), TrackPublishOptions::default())
        .await?;
    let feeding = match way {
        Way::Pull => {
            source.set_pull(Box::new(clicks));
            None
        }
        Way::Capture => Some(tokio::spawn(feed(source, clicks))),
    };
    let track = timeout(PATIENCE, async {
        loop {
            if let RoomEvent::TrackSubscribed {
                track: RemoteTrack::Audio(track),
                ..
            } = events.recv().await.ok_or("the events ended")?
            {
                return Ok::<_, Failure>(track.rtc_track());
            }
        }
    })
    .await??;
    let (heard, hearing) = channel();
    let sink = track.add_sink(RATE_HZ, 1, Box::new(Ear { heard, deaf: 0 }));
    sleep(SETTLING).await;
    let _ = hearing.try_iter().count();
    sleep(Duration::from_secs(seconds)).await;
    drop(sink);
    if let Some(feeding) = feeding {
        feeding.abort();
    }
    speaker.close().await?;
    listener.close().await?;
    Ok(delays(&made, &hearing))
}

/// Hands sound over as an application does that has a clock of its own.
async fn feed(source: NativeAudioSource, mut clicks: Clicks) {
    let mut beat = interval(BEAT);
    // Beats that are missed for want of a processor are not made up for: that would fill the queue for good.
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        beat.tick().await;
        let mut samples = [0; RATE_HZ as usize / 100];
        clicks.fill(&mut samples);
        let frame = AudioFrame {
            data: samples.as_slice().into(),
            sample_rate: RATE_HZ,
            num_channels: 1,
            samples_per_channel: samples.len() as u32,
        };
        if source.capture_frame(&frame).await.is_err() {
            return;
        }
    }
}

/// From each click that was made to when it was heard.
fn delays(made: &Receiver<Instant>, heard: &Receiver<Instant>) -> Vec<Duration> {
    let made: Vec<Instant> = made.try_iter().collect();
    heard
        .try_iter()
        .filter_map(|heard| {
            let last = made.iter().rfind(|made| **made <= heard)?;
            Some(heard - *last).filter(|delay| *delay < DELAY_MAX)
        })
        .collect()
}
