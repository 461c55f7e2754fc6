//! How punctual sound is and what it costs in sessions that hear each other without a server, all in this process.
//!
//! cargo run --release -p libwebrtc --example pairs [SESSIONS] [SECONDS]
//!
//! Each session is a peer connection that sends a made-up vowel and receives its partner's; `session_cost` of the project has
//! the same with a server, which takes as much of the processor as they do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../../examples/support/process.rs"]
mod process;

use std::time::Duration;

use common::{Peer, connected, negotiate, peer, within};
use libwebrtc::audio::{AudioPull, AudioSink, SinkHandle, clock_stats};
use libwebrtc::audio_source::native::NativeAudioSource;
use libwebrtc::peer_connection_factory::native::PeerConnectionFactoryExt;
use libwebrtc::prelude::*;

type Failure = Box<dyn std::error::Error>;

const SPOKEN_HZ: u32 = 24_000;
const HEARD_HZ: u32 = 16_000;
/// From the last joining until it counts.
const SETTLING: Duration = Duration::from_secs(10);

/// Harmonics of a low voice that get louder and softer four times a second, from anywhere in it on.
struct Vowel(u32);

impl AudioPull for Vowel {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        for sample in out.iter_mut() {
            let t = (self.0 % (SPOKEN_HZ / 2)) as f32 / SPOKEN_HZ as f32;
            let loudness = 0.6 + 0.4 * (t * 4.0).fract();
            *sample = (((t * 130.0).fract() - 0.5) * 12_000.0 * loudness) as i16;
            self.0 = self.0.wrapping_add(1);
        }
        out.len()
    }
}

struct Ear(f32);

impl AudioSink for Ear {
    fn on_frame(&mut self, frame: &[i16]) {
        self.0 += frame.iter().map(|s| f32::from(*s).powi(2)).sum::<f32>();
    }
}

/// One who speaks and listens.
struct Session {
    peer: Peer,
    heard: RtcAudioTrack,
    _sink: SinkHandle,
}

impl Session {
    fn concealed(&self) -> u64 {
        let heard = self.heard.remote().map(|remote| remote.stats());
        heard.map_or(0, |stats| stats.samples_concealed)
    }
}

/// Lets `from` speak to `to`, and gives what is heard there.
async fn speak(from: &Peer, to: &mut Peer, number: u32) -> RtcAudioTrack {
    let source = NativeAudioSource::new(AudioSourceOptions::default(), SPOKEN_HZ, 1, 100);
    source.set_pull(Box::new(Vowel(number * 997)));
    let track = PeerConnectionFactory::default().create_audio_track("voice", source);
    let init = RtpTransceiverInit {
        direction: RtpTransceiverDirection::SendOnly,
        stream_ids: vec!["stream".to_owned()],
        send_encodings: Vec::new(),
    };
    from.pc.add_transceiver(track.into(), init).unwrap();
    negotiate(from, to).await;
    match within("the track", to.tracks.recv()).await.unwrap().track {
        MediaStreamTrack::Audio(track) => track,
        MediaStreamTrack::Video(_) => panic!("not audio"),
    }
}

fn listen(peer: Peer, heard: RtcAudioTrack) -> Session {
    let sink = heard.add_sink(HEARD_HZ, 1, Box::new(Ear(0.0)));
    Session {
        peer,
        heard,
        _sink: sink,
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let mut sessions = Vec::new();
    while sessions.len() < count {
        let (mut a, mut b) = (peer(), peer());
        let number = sessions.len() as u32;
        let at_b = speak(&a, &mut b, number).await;
        connected(&mut a, &mut b).await;
        let at_a = speak(&b, &mut a, number + 1).await;
        sessions.push(listen(a, at_a));
        sessions.push(listen(b, at_b));
    }
    tokio::time::sleep(SETTLING).await;
    let (begin_s, clock) = (process::processor_s()?, clock_stats());
    let concealed: u64 = sessions.iter().map(Session::concealed).sum();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (used_s, later) = (process::processor_s()? - begin_s, clock_stats());
    let concealed = sessions.iter().map(Session::concealed).sum::<u64>() - concealed;
    let count = sessions.len() as f64;
    let late = later.lateness.since(&clock.lateness);
    let ms = |share| late.quantile(share).as_secs_f64() * 1e3;
    println!(
        "| sessions | a session, of one core | all, memory | threads | concealed | late, p50 | p99 | p99.9 | beats left out | threads in a hurry |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n\
         | {count} | {:.2} % | {:.1} MB | {} | {:.3} % | {:.2} ms | {:.2} ms | {:.2} ms | {} | {} of {} |",
        used_s / seconds as f64 / count * 100.0,
        process::rss_kb()? as f64 / 1e3,
        process::threads()?,
        concealed as f64 / (count * seconds as f64 * 48_000.0) * 100.0,
        ms(0.5),
        ms(0.99),
        ms(0.999),
        later.skipped - clock.skipped,
        later.hurried,
        later.threads,
    );
    for session in &sessions {
        session.peer.pc.close();
    }
    Ok(())
}
