//! Sound between two peers, and the life of its tracks.

use std::time::Duration;

use crate::common::{Peer, connected, negotiate, peer, within};
use futures_util::StreamExt;
use libwebrtc::audio_source::native::NativeAudioSource;
use libwebrtc::audio_stream::native::NativeAudioStream;
use libwebrtc::peer_connection_factory::native::PeerConnectionFactoryExt;
use libwebrtc::prelude::*;
use libwebrtc::stats::RtcStats;

const RATE_HZ: u32 = 48_000;
const FRAME: usize = 480;
/// Well below the source's peak and well above what codec and silence give.
const LOUD: u16 = 3_000;

fn send_only() -> RtpTransceiverInit {
    RtpTransceiverInit {
        direction: RtpTransceiverDirection::SendOnly,
        stream_ids: vec!["stream".to_owned()],
        send_encodings: Vec::new(),
    }
}

/// A track whose source is fed with noise, which no voice detector takes for a pause.
fn noisy_track(id: &str) -> RtcAudioTrack {
    let source = NativeAudioSource::new(AudioSourceOptions::default(), RATE_HZ, 1, 100);
    let track = PeerConnectionFactory::default().create_audio_track(id, source.clone());
    tokio::spawn(async move {
        let mut seed = 1_u32;
        loop {
            let samples: Vec<i16> = (0..FRAME)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 16) as i16 / 3
                })
                .collect();
            let frame = AudioFrame {
                data: samples.into(),
                sample_rate: RATE_HZ,
                num_channels: 1,
                samples_per_channel: FRAME as u32,
            };
            if source.capture_frame(&frame).await.is_err() {
                break;
            }
        }
    });
    track
}

async fn audio_track(peer: &mut Peer) -> RtcAudioTrack {
    let event = within("the track", peer.tracks.recv()).await.unwrap();
    let MediaStreamTrack::Audio(track) = event.track else {
        panic!("not audio")
    };
    track
}

async fn hears(stream: &mut NativeAudioStream) {
    within("the sound", async {
        while let Some(frame) = stream.next().await {
            if frame.data.iter().any(|sample| sample.unsigned_abs() > LOUD) {
                return;
            }
        }
        panic!("the stream ended");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_is_sent_is_heard_and_counted() {
    let (mut a, mut b) = (peer(), peer());
    let sender =
        a.pc.add_transceiver(noisy_track("mic").into(), send_only())
            .unwrap()
            .sender();
    negotiate(&a, &b).await;
    let event = within("the track", b.tracks.recv()).await.unwrap();
    assert_eq!(
        (event.track.id().as_str(), event.streams[0].id().as_str()),
        ("mic", "stream")
    );
    assert_eq!(event.transceiver.mid(), Some("0".to_owned()));
    let MediaStreamTrack::Audio(track) = event.track else {
        panic!("not audio")
    };
    connected(&mut a, &mut b).await;
    hears(&mut NativeAudioStream::new(track, 16_000, 1)).await;

    let sent = sender.get_stats().await.unwrap();
    let sent = sent.iter().find_map(|entry| match entry {
        RtcStats::OutboundRtp(stats) => Some(stats.sent.packets_sent),
        _ => None,
    });
    assert!(sent.unwrap() > 0, "{sent:?}");
    let received = event.receiver.get_stats().await.unwrap();
    let received = received.iter().find_map(|entry| match entry {
        RtcStats::InboundRtp(stats) => {
            Some((stats.received.packets_received, stats.stream.kind.clone()))
        }
        _ => None,
    });
    let (packets, kind) = received.unwrap();
    assert!(packets > 0 && kind == "audio", "{packets} {kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_come_back_with_a_round_trip_time() {
    let (mut a, mut b) = (peer(), peer());
    let sender =
        a.pc.add_transceiver(noisy_track("mic").into(), send_only())
            .unwrap()
            .sender();
    negotiate(&a, &b).await;
    let receiver = within("the track", b.tracks.recv()).await.unwrap().receiver;
    connected(&mut a, &mut b).await;
    within("both sides' reports", async {
        loop {
            let sent = sender.get_stats().await.unwrap();
            let measured = sent.iter().any(|entry| {
                matches!(entry, RtcStats::RemoteInboundRtp(s) if s.remote_inbound.round_trip_time_measurements > 0
                    && s.remote_inbound.round_trip_time < 1.0)
            });
            let received = receiver.get_stats().await.unwrap();
            let dated = received.iter().any(|entry| {
                matches!(entry, RtcStats::RemoteOutboundRtp(s) if s.sent.packets_sent > 0)
            });
            if measured && dated {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_ends_with_its_sender_and_its_section_serves_the_next() {
    let (mut a, mut b) = (peer(), peer());
    let sender =
        a.pc.add_transceiver(noisy_track("first").into(), send_only())
            .unwrap()
            .sender();
    negotiate(&a, &b).await;
    let first = audio_track(&mut b).await;
    connected(&mut a, &mut b).await;
    let mut stream = NativeAudioStream::new(first.clone(), RATE_HZ as i32, 1);
    hears(&mut stream).await;

    a.pc.remove_track(sender).unwrap();
    negotiate(&a, &b).await;
    within("the stream's end", async {
        while stream.next().await.is_some() {}
    })
    .await;
    assert_eq!(first.state(), RtcTrackState::Ended);
    assert!(b.pc.transceivers()[0].receiver().streams().is_empty());

    a.pc.add_transceiver(noisy_track("second").into(), send_only())
        .unwrap();
    negotiate(&a, &b).await;
    let second = audio_track(&mut b).await;
    assert_eq!(second.id(), "second");
    hears(&mut NativeAudioStream::new(second, RATE_HZ as i32, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_the_remote_track() {
    let (mut a, mut b) = (peer(), peer());
    a.pc.add_transceiver(noisy_track("mic").into(), send_only())
        .unwrap();
    negotiate(&a, &b).await;
    let track = audio_track(&mut b).await;
    connected(&mut a, &mut b).await;
    let mut stream = NativeAudioStream::new(track, RATE_HZ as i32, 1);
    hears(&mut stream).await;
    b.pc.close();
    within("the stream's end", async {
        while stream.next().await.is_some() {}
    })
    .await;
}

#[tokio::test]
async fn video_can_be_received_by_name_only_and_not_sent() {
    let pc = peer().pc;
    let source = libwebrtc::video_source::native::NativeVideoSource::default();
    let track = PeerConnectionFactory::default().create_video_track("cam", source);
    let refused = pc.add_transceiver(track.into(), send_only()).unwrap_err();
    assert!(refused.message.contains("video"), "{refused}");
}
