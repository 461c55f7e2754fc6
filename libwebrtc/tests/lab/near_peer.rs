//! The process of a far peer: does what it is told, and tells what happens.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use libwebrtc::audio_source::native::NativeAudioSource;
use libwebrtc::audio_stream::native::NativeAudioStream;
use libwebrtc::peer_connection_factory::native::PeerConnectionFactoryExt;
use libwebrtc::peer_connection_factory::{IceServer, RtcConfiguration};
use libwebrtc::prelude::*;
use libwebrtc::stats::RtcStats;
use serde_json::{Value, json};

/// Well below the source's peak and well above what codec and silence give.
const LOUD: u16 = 1_000;

/// Runs the peer, if this is its process.
pub fn serve() {
    let Some(path) = std::env::var_os(super::SOCKET) else {
        return;
    };
    let stream = UnixStream::connect(path).unwrap();
    let teller = Teller(Arc::new(Mutex::new(stream.try_clone().unwrap())));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut peer = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let told: Value = serde_json::from_str(&line).unwrap();
        let reply = runtime.block_on(obey(&mut peer, &told, &teller));
        teller.tell(&json!({ "reply": reply }));
    }
}

#[derive(Clone)]
struct Teller(Arc<Mutex<UnixStream>>);

impl Teller {
    fn tell(&self, said: &Value) {
        // The test may be over.
        let _told = writeln!(self.0.lock().unwrap(), "{said}");
    }
}

struct NearPeer {
    pc: PeerConnection,
    track: Arc<Mutex<Option<RtcAudioTrack>>>,
    receiver: Arc<Mutex<Option<RtpReceiver>>>,
    stream: Option<NativeAudioStream>,
    has_sent: bool,
}

async fn obey(peer: &mut Option<NearPeer>, told: &Value, teller: &Teller) -> Value {
    if told["do"] == "open" {
        *peer = Some(NearPeer::open(told, teller));
        return Value::Null;
    }
    let peer = peer.as_mut().unwrap();
    let sdp =
        |sdp_type| SessionDescription::parse(told["sdp"].as_str().unwrap(), sdp_type).unwrap();
    match told["do"].as_str().unwrap() {
        "offer" => {
            peer.speak();
            let options = OfferOptions {
                ice_restart: told["restart"] == true,
                ..OfferOptions::default()
            };
            let offer = peer.pc.create_offer(options).await.unwrap();
            peer.pc.set_local_description(offer.clone()).await.unwrap();
            json!(offer.to_string())
        }
        "answer" => {
            peer.pc
                .set_remote_description(sdp(SdpType::Offer))
                .await
                .unwrap();
            let answer = peer
                .pc
                .create_answer(AnswerOptions::default())
                .await
                .unwrap();
            peer.pc.set_local_description(answer.clone()).await.unwrap();
            json!(answer.to_string())
        }
        "accept" => {
            peer.pc
                .set_remote_description(sdp(SdpType::Answer))
                .await
                .unwrap();
            Value::Null
        }
        "candidate" => {
            let candidate = IceCandidate::parse("0", 0, told["line"].as_str().unwrap()).unwrap();
            // One that comes too late for its session is none.
            let _added = peer.pc.add_ice_candidate(candidate).await;
            Value::Null
        }
        "path" => peer.path().await,
        "listen" => peer.listen(told["frames"].as_u64().unwrap()).await,
        other => panic!("{other} is nothing to do"),
    }
}

impl NearPeer {
    fn open(told: &Value, teller: &Teller) -> Self {
        let mut config = RtcConfiguration::default();
        if told["relay_only"] == true {
            config.ice_transport_type = IceTransportsType::Relay;
        }
        for server in told["servers"].as_array().unwrap() {
            let urls = server["urls"].as_array().unwrap();
            config.ice_servers.push(IceServer {
                urls: urls
                    .iter()
                    .map(|u| u.as_str().unwrap().to_owned())
                    .collect(),
                username: server["username"].as_str().unwrap().to_owned(),
                password: server["password"].as_str().unwrap().to_owned(),
            });
        }
        let pc = PeerConnectionFactory::default()
            .create_peer_connection(config)
            .unwrap();
        let to = teller.clone();
        pc.on_connection_state_change(Some(Box::new(move |state| {
            to.tell(&json!({ "state": format!("{state:?}") }));
        })));
        let to = teller.clone();
        pc.on_ice_connection_state_change(Some(Box::new(move |state| {
            to.tell(&json!({ "ice": format!("{state:?}") }));
        })));
        let to = teller.clone();
        pc.on_ice_candidate(Some(Box::new(move |candidate| {
            to.tell(&json!({ "candidate": candidate.candidate() }));
        })));
        let to = teller.clone();
        pc.on_ice_candidate_error(Some(Box::new(move |error| {
            to.tell(&json!({ "error": { "url": error.url, "text": error.error_text } }));
        })));
        let track: Arc<Mutex<Option<RtcAudioTrack>>> = Arc::default();
        let receiver: Arc<Mutex<Option<RtpReceiver>>> = Arc::default();
        let (new_track, new_receiver) = (Arc::clone(&track), Arc::clone(&receiver));
        pc.on_track(Some(Box::new(move |event| {
            if let MediaStreamTrack::Audio(audio) = event.track {
                *new_track.lock().unwrap() = Some(audio);
                *new_receiver.lock().unwrap() = Some(event.receiver);
            }
        })));
        Self {
            pc,
            track,
            receiver,
            stream: None,
            has_sent: false,
        }
    }

    /// Sends sound, from the next offer on.
    fn speak(&mut self) {
        if std::mem::replace(&mut self.has_sent, true) {
            return;
        }
        let init = RtpTransceiverInit {
            direction: RtpTransceiverDirection::SendOnly,
            stream_ids: vec!["stream".to_owned()],
            send_encodings: Vec::new(),
        };
        self.pc.add_transceiver(noise().into(), init).unwrap();
    }

    /// The candidates of the pair in use. The peer's is not listed if it was learned from a check alone.
    async fn path(&self) -> Value {
        let stats = self.pc.get_stats().await.unwrap();
        let selected = stats.iter().find_map(|entry| match entry {
            RtcStats::Transport(s) => Some(&s.transport.selected_candidate_pair_id),
            _ => None,
        });
        let pair = stats.iter().find_map(|entry| match entry {
            RtcStats::CandidatePair(s) if Some(&s.rtc.id) == selected => Some(&s.candidate_pair),
            _ => None,
        });
        let pair = pair.unwrap();
        let end = |id: &str| {
            let candidate = stats.iter().find_map(|entry| match entry {
                RtcStats::LocalCandidate(c) if c.rtc.id == id => Some(&c.local_candidate),
                RtcStats::RemoteCandidate(c) if c.rtc.id == id => Some(&c.remote_candidate),
                _ => None,
            });
            let Some(candidate) = candidate else {
                return json!({ "kind": "prflx" });
            };
            let kind = candidate.candidate_type.map(|kind| format!("{kind:?}"));
            json!({
                "kind": kind.unwrap_or_default().to_lowercase(),
                "address": candidate.address,
                "port": candidate.port,
            })
        };
        json!({ "local": end(&pair.local_candidate_id), "remote": end(&pair.remote_candidate_id) })
    }

    async fn listen(&mut self, frames: u64) -> Value {
        if let Some(track) = self.track.lock().unwrap().take() {
            self.stream = Some(NativeAudioStream::new(track, 48_000, 1));
        }
        let mut loud = 0;
        if let Some(stream) = &mut self.stream {
            for _ in 0..frames {
                let Some(frame) = stream.next().await else {
                    break;
                };
                loud += u64::from(frame.data.iter().any(|s| s.unsigned_abs() > LOUD));
            }
        }
        let receiver = self.receiver.lock().unwrap().clone();
        let stats = match receiver {
            Some(receiver) => receiver.get_stats().await.unwrap(),
            None => Vec::new(),
        };
        let counted = stats.iter().find_map(|entry| match entry {
            RtcStats::InboundRtp(s) => Some(json!({
                "loud": loud,
                "concealed": s.inbound.concealed_samples,
                "samples": s.inbound.total_samples_received,
                "lost": s.received.packets_lost,
                "resent": s.inbound.retransmitted_packets_received,
            })),
            _ => None,
        });
        let nothing = json!({ "loud": loud, "concealed": 0, "samples": 0, "lost": 0, "resent": 0 });
        counted.unwrap_or(nothing)
    }
}

/// A track whose source gives noise, which no voice detector takes for a pause.
fn noise() -> RtcAudioTrack {
    let source = NativeAudioSource::new(AudioSourceOptions::default(), 48_000, 1, 0);
    source.set_pull(Box::new(Noise(1)));
    PeerConnectionFactory::default().create_audio_track("mic", source)
}

struct Noise(u32);

impl libwebrtc::audio::AudioPull for Noise {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        for sample in out.iter_mut() {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (self.0 >> 16) as i16 / 3;
        }
        out.len()
    }
}
