//! Joining, and what happens in the room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use livekit::DisconnectReason;
use livekit::options::TrackPublishOptions;
use livekit::participant::ParticipantKind;
use livekit::prelude::{
    LocalAudioTrack, LocalParticipant, LocalTrack, LocalTrackPublication, ParticipantSid,
    RemoteParticipant, RemoteTrack, Room, RoomEvent, RoomOptions, TrackSource,
};
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use livekit::webrtc::audio_track::RtcAudioTrack;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::candidate::{CandidateChooser, Kind};
use super::leaving::{LEAVE_LIMIT, leave};
use super::signalling;
use crate::speech::OUTPUT_RATE_HZ;
use crate::voice::playout::PlayoutClock;

/// Time to be in the room with a published track: LiveKit itself gives an agent no longer to show up.
pub const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// Who leaves is believed to have left after this; until then it may be the begin of a reconnection.
const LOSS_GRACE: Duration = Duration::from_millis(100);

/// A voice that ended while the connection was being mended is there again by then, as another track; else it is gone.
const VOICE_LIMIT: Duration = Duration::from_secs(3);

/// Why a room could not be joined.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    /// The server refused or broke off.
    #[error("the room {room} could not be joined: {cause}")]
    Refused {
        /// The room.
        room: String,
        /// The SDK's reason.
        cause: String,
    },
    /// Our own track could not be published.
    #[error("the interviewer's voice could not be published in {room}: {cause}")]
    Publish {
        /// The room.
        room: String,
        /// The SDK's reason.
        cause: String,
    },
    /// No answer.
    #[error("the room {room} could not be joined within {} s; is the media port of LiveKit open from here?", JOIN_LIMIT.as_secs())]
    Late {
        /// The room.
        room: String,
    },
}

/// What happened in the room, as far as an interview is concerned.
#[derive(Debug, Clone)]
pub enum RoomNews<V = RtcAudioTrack> {
    /// The candidate is in the room.
    CandidateHere {
        /// Their identity.
        identity: String,
    },
    /// The candidate left.
    CandidateGone,
    /// The candidate's voice.
    Voice {
        /// To be listened to.
        voice: V,
        /// LiveKit's id of it.
        sid: String,
    },
    /// The candidate's voice ended.
    VoiceGone,
    /// Somebody hears our track.
    Heard,
    /// The connection broke and is being mended.
    Reconnecting,
    /// It is mended.
    Reconnected,
    /// The connection is lost for good; the room may still be there.
    Lost {
        /// Why.
        cause: String,
    },
    /// Somebody else joined as us: another process holds the interview now.
    Replaced,
    /// The room is over, or we are not wanted in it.
    Gone {
        /// Why.
        cause: String,
    },
}

/// A joined room with our track in it.
pub struct JoinedRoom {
    room: Arc<Room>,
    leaves: LeavesWhenDropped,
    events: mpsc::UnboundedReceiver<RoomEvent>,
    chooser: CandidateChooser,
    track: LocalTrackPublication,
    candidate_here: bool,
    /// LiveKit's id of the candidate's stay: another one is another page, which heard nothing of what was said.
    candidate_stay: Option<ParticipantSid>,
    /// LiveKit's client mends the connection: who seems to leave meanwhile may be back when it is mended.
    mending: bool,
    /// The candidate seems to have left.
    candidate_lost: bool,
    /// Their voice seems to have ended.
    voice_lost: bool,
    /// When that is told, if nothing else comes to light until then.
    loss_due: Option<Instant>,
    backlog: VecDeque<RoomNews>,
}

impl JoinedRoom {
    /// Joins and publishes a track that plays what `clock` gives.
    ///
    /// # Errors
    /// The server refuses, the media connection does not come up, or neither happens in time.
    pub async fn join(
        name: &str,
        url: &str,
        token: &str,
        chooser: CandidateChooser,
        clock: PlayoutClock,
    ) -> Result<Self, JoinError> {
        let joining = Self::join_unbounded(name, url, token, chooser, clock);
        match tokio::time::timeout(JOIN_LIMIT, joining).await {
            Ok(joined) => joined,
            Err(_) => Err(JoinError::Late {
                room: name.to_owned(),
            }),
        }
    }

    async fn join_unbounded(
        name: &str,
        url: &str,
        token: &str,
        chooser: CandidateChooser,
        clock: PlayoutClock,
    ) -> Result<Self, JoinError> {
        signalling::install();
        let (room, events) = Room::connect(url, token, RoomOptions::default())
            .await
            .map_err(|e| JoinError::Refused {
                room: name.to_owned(),
                cause: e.to_string(),
            })?;
        let room = Arc::new(room);
        let source = NativeAudioSource::new(AudioSourceOptions::default(), OUTPUT_RATE_HZ, 1, 0);
        source.set_pull(Box::new(Pull(clock)));
        let track =
            LocalAudioTrack::create_audio_track("interviewer", RtcAudioSource::Native(source));
        let options = TrackPublishOptions {
            source: TrackSource::Microphone,
            dtx: false,
            red: false,
            ..TrackPublishOptions::default()
        };
        let published = room
            .local_participant()
            .publish_track(LocalTrack::Audio(track), options)
            .await;
        match published {
            Ok(track) => Ok(Self {
                leaves: LeavesWhenDropped(Some(room.clone())),
                room,
                events,
                chooser,
                track,
                candidate_here: false,
                candidate_stay: None,
                mending: false,
                candidate_lost: false,
                voice_lost: false,
                loss_due: None,
                backlog: VecDeque::new(),
            }),
            Err(error) => {
                leave_in_time(room).await;
                Err(JoinError::Publish {
                    room: name.to_owned(),
                    cause: error.to_string(),
                })
            }
        }
    }

    /// The room's name.
    pub fn name(&self) -> String {
        self.room.name()
    }

    /// The candidate's identity, once they were here.
    pub fn candidate(&self) -> Option<String> {
        self.chooser.chosen().map(str::to_owned)
    }

    /// LiveKit's id of our track.
    pub fn own_track(&self) -> String {
        self.track.sid().to_string()
    }

    /// Ourselves.
    pub fn participant(&self) -> LocalParticipant {
        self.room.local_participant()
    }

    /// The next thing that concerns the interview. Cancel-safe.
    pub async fn news(&mut self) -> RoomNews {
        loop {
            if let Some(news) = self.backlog.pop_front() {
                return news;
            }
            let loss_due = self.loss_due;
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => {
                        return RoomNews::Lost {
                            cause: "the connection to the room ended".into(),
                        };
                    }
                },
                () = at(loss_due) => self.tell_losses(),
            }
        }
    }

    /// Makes LiveKit's client connect anew, as after a network that was away: new connections, new ids.
    #[cfg(test)]
    pub(crate) async fn reconnect(&self) {
        use livekit::SimulateScenario;

        let reconnecting = self.room.simulate_scenario(SimulateScenario::FullReconnect);
        reconnecting.await.unwrap();
    }

    /// Goes without a word, for whoever takes the place under the same identity: LiveKit drops the one that is gone.
    pub fn abandon(mut self) {
        self.leaves.0 = None;
    }

    /// Leaves, within a limit.
    pub async fn leave(mut self) {
        self.leaves.0 = None;
        leave_in_time(self.room).await;
    }

    fn take(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::Connected {
                participants_with_tracks,
            } => {
                for (participant, _) in participants_with_tracks {
                    self.arrived(&participant);
                }
            }
            RoomEvent::ParticipantConnected(participant)
            | RoomEvent::ParticipantActive(participant) => self.arrived(&participant),
            RoomEvent::ParticipantDisconnected(participant) if self.is_candidate(&participant) => {
                self.candidate_lost = true;
                self.lost();
            }
            RoomEvent::TrackSubscribed {
                track: RemoteTrack::Audio(track),
                participant,
                ..
            } => {
                self.arrived(&participant);
                if self.is_candidate(&participant) {
                    self.voice_lost = false;
                    self.backlog.push_back(RoomNews::Voice {
                        voice: track.rtc_track(),
                        sid: track.sid().to_string(),
                    });
                }
            }
            RoomEvent::TrackUnsubscribed {
                track: RemoteTrack::Audio(_),
                participant,
                ..
            } if self.is_candidate(&participant) => {
                self.voice_lost = true;
                self.lost();
            }
            RoomEvent::LocalTrackSubscribed { .. } => self.backlog.push_back(RoomNews::Heard),
            RoomEvent::Reconnecting => {
                self.mending = true;
                self.loss_due = None;
                self.backlog.push_back(RoomNews::Reconnecting);
            }
            RoomEvent::Reconnected => self.mended(),
            RoomEvent::Disconnected { reason } => self.backlog.push_back(parting(reason)),
            _ => {}
        }
    }

    /// A full reconnection begins with everybody's departure, before it is called one; and while the connection is
    /// mended, who is gone may be back when it is.
    fn lost(&mut self) {
        if !self.mending {
            self.loss_due = Some(Instant::now() + LOSS_GRACE);
        }
    }

    fn mended(&mut self) {
        self.mending = false;
        self.backlog.push_back(RoomNews::Reconnected);
        let participants = self.room.remote_participants();
        if participants.values().any(|p| self.is_candidate(p)) {
            self.candidate_lost = false;
            self.loss_due = self.voice_lost.then(|| Instant::now() + VOICE_LIMIT);
        } else {
            self.candidate_lost = self.candidate_here;
            self.tell_losses();
        }
    }

    fn tell_losses(&mut self) {
        self.loss_due = None;
        let voice_lost = std::mem::take(&mut self.voice_lost);
        if std::mem::take(&mut self.candidate_lost) {
            self.candidate_here = false;
            self.backlog.push_back(RoomNews::CandidateGone);
        } else if voice_lost {
            self.backlog.push_back(RoomNews::VoiceGone);
        }
    }

    /// A participant may be announced more than once: as there at our joining, as active, by a track.
    fn arrived(&mut self, participant: &RemoteParticipant) {
        let identity = participant.identity().to_string();
        if !self.chooser.admits(&identity, kind(participant)) {
            return;
        }
        self.candidate_lost = false;
        let stay = Some(participant.sid());
        if self.candidate_here && self.candidate_stay != stay {
            self.candidate_here = false;
            self.backlog.push_back(RoomNews::CandidateGone);
        }
        self.candidate_stay = stay;
        if !self.candidate_here {
            self.candidate_here = true;
            self.backlog.push_back(RoomNews::CandidateHere { identity });
        }
    }

    fn is_candidate(&self, participant: &RemoteParticipant) -> bool {
        self.chooser.chosen() == Some(participant.identity().as_str())
    }
}

/// Leaves the room of a session that broke down or stood still: LiveKit's client would stay in it for ever, and whoever
/// is there would wait for an interviewer who is not.
struct LeavesWhenDropped(Option<Arc<Room>>);

impl Drop for LeavesWhenDropped {
    fn drop(&mut self) {
        // Without a runtime the process ends, and the room with it.
        if let Some(room) = self.0.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            crate::spawn::supervised("leave a room that was dropped", leave_in_time(room));
        }
    }
}

/// At this moment, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What the end of the connection means for the interview.
fn parting(reason: DisconnectReason) -> RoomNews {
    let cause = format!("LiveKit ended the connection ({reason:?})");
    match reason {
        DisconnectReason::DuplicateIdentity => RoomNews::Replaced,
        DisconnectReason::RoomDeleted
        | DisconnectReason::RoomClosed
        | DisconnectReason::ParticipantRemoved => RoomNews::Gone { cause },
        _ => RoomNews::Lost { cause },
    }
}

async fn leave_in_time(room: Arc<Room>) {
    if !leave(room, LEAVE_LIMIT).await {
        tracing::warn!(
            "the room did not confirm our leaving within {} s",
            LEAVE_LIMIT.as_secs()
        );
    }
}

fn kind(participant: &RemoteParticipant) -> Kind {
    #[expect(
        deprecated,
        reason = "older servers mark their recorders by nothing else"
    )]
    let is_recorder = participant.permission().is_some_and(|p| p.recorder);
    if is_recorder {
        return Kind::Machine;
    }
    match participant.kind() {
        ParticipantKind::Standard => Kind::Person,
        ParticipantKind::Sip => Kind::Sip,
        ParticipantKind::Connector => Kind::Connector,
        ParticipantKind::Ingress
        | ParticipantKind::Egress
        | ParticipantKind::Agent
        | ParticipantKind::Bridge => Kind::Machine,
    }
}

/// The audio thread's way to the playout.
struct Pull(PlayoutClock);

impl livekit::webrtc::audio::AudioPull for Pull {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        self.0.fill(out)
    }
}
