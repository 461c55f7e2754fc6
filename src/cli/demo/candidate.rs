//! The simulated candidate: joins the room over WebRTC like anybody, listens, and answers with a voice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use livekit::StreamReader;
use livekit::options::TrackPublishOptions;
use livekit::participant::ParticipantKind;
use livekit::prelude::*;
use livekit::webrtc::audio::{AudioPull, AudioSink, SinkHandle};
use livekit::webrtc::audio_source::native::NativeAudioSource;
use livekit::webrtc::audio_source::{AudioSourceOptions, RtcAudioSource};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::screen::Screen;
use crate::speech::wer::word_error_rate;
use crate::speech::{INPUT_RATE_HZ, OUTPUT_RATE_HZ, Tts};
use crate::voice::playout::{PlayoutClock, playout};
use crate::voice::speaker::{Speaker, SpeakerEvent};

/// The interviewer must be in the room this soon after the candidate.
const AGENT_LIMIT: Duration = Duration::from_secs(20);

/// The whole conversation, far above what three questions take.
const INTERVIEW_LIMIT: Duration = Duration::from_secs(300);

/// What a person takes to begin an answer.
const REACTION: Duration = Duration::from_millis(700);

/// Louder than this (root mean square of 10 ms) is speech; the interviewer's silence is digital.
const LOUD_RMS: f64 = 200.0;

/// Sound after this much quiet is a new onset.
const QUIET: Duration = Duration::from_millis(200);

/// Onsets and text lines that may wait.
const QUEUE_MAX: usize = 64;

/// What the demonstration gave.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Candidate connected → interviewer in the room.
    pub join_ms: u128,
    /// Candidate connected → first sound of the interviewer.
    pub greeting_ms: u128,
    /// End of each answer → first sound of what the interviewer said to it.
    pub reply_ms: Vec<u128>,
    /// Of each answer that was understood as something: its word error rate.
    pub word_error_rates: Vec<f64>,
    /// Answers given.
    pub answers: usize,
}

/// Where to go and what to say.
pub struct Script {
    /// LiveKit.
    pub url: String,
    /// The candidate's token.
    pub token: String,
    /// The answers, in the order of the questions.
    pub answers: Vec<String>,
}

/// Takes part in the interview until the interviewer leaves.
pub async fn take_part(
    script: Script,
    tts: Arc<dyn Tts>,
    screen: &Screen,
) -> anyhow::Result<Outcome> {
    let (playout, clock) = playout();
    let (room, events) = Room::connect(&script.url, &script.token, RoomOptions::default())
        .await
        .context("the simulated candidate cannot join the room")?;
    let connected = Instant::now();
    let source = NativeAudioSource::new(AudioSourceOptions::default(), OUTPUT_RATE_HZ, 1, 0);
    source.set_pull(Box::new(Microphone(clock)));
    let track = LocalAudioTrack::create_audio_track("microphone", RtcAudioSource::Native(source));
    let options = TrackPublishOptions {
        source: TrackSource::Microphone,
        ..TrackPublishOptions::default()
    };
    room.local_participant()
        .publish_track(LocalTrack::Audio(track), options)
        .await
        .context("the simulated candidate's microphone cannot be published")?;
    let (speaker, speaking) = Speaker::start(tts, playout);
    let (onsets_in, onsets) = mpsc::channel(QUEUE_MAX);
    let (lines_in, lines) = mpsc::channel(QUEUE_MAX);
    let candidate = Candidate {
        screen,
        connected,
        events,
        speaker,
        speaking,
        onsets,
        onsets_in,
        lines,
        lines_in,
        answers: script.answers.into(),
        ear: None,
        outcome: Outcome::default(),
        shown: HashMap::new(),
        listening_since: None,
        heard_question: false,
        saying: None,
        said: VecDeque::new(),
        answered_at: None,
    };
    let result = tokio::time::timeout(INTERVIEW_LIMIT, candidate.run()).await;
    // Leaving is a courtesy here: the process ends and the server's own time-outs do the rest.
    let _left = tokio::time::timeout(Duration::from_secs(2), room.close()).await;
    result.with_context(|| {
        format!(
            "the interview did not end within {} s",
            INTERVIEW_LIMIT.as_secs()
        )
    })?
}

struct Line {
    from_agent: bool,
    segment: String,
    is_final: bool,
    text: String,
}

struct Candidate<'a> {
    screen: &'a Screen,
    connected: Instant,
    events: mpsc::UnboundedReceiver<RoomEvent>,
    speaker: Speaker,
    speaking: mpsc::Receiver<SpeakerEvent>,
    onsets: mpsc::Receiver<Instant>,
    onsets_in: mpsc::Sender<Instant>,
    lines: mpsc::Receiver<Line>,
    lines_in: mpsc::Sender<Line>,
    answers: VecDeque<String>,
    ear: Option<SinkHandle>,
    outcome: Outcome,
    /// Lines of the transcript by segment, so that a final line that repeats an interim one is not shown twice.
    shown: HashMap<String, String>,
    listening_since: Option<Instant>,
    heard_question: bool,
    saying: Option<String>,
    /// Answers whose transcript has not come back.
    said: VecDeque<String>,
    answered_at: Option<Instant>,
}

impl Candidate<'_> {
    async fn run(mut self) -> anyhow::Result<Outcome> {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let mut agent_here = false;
        loop {
            tokio::select! {
                event = self.events.recv() => match event.context("the connection to the room ended")? {
                    RoomEvent::ParticipantConnected(who) | RoomEvent::ParticipantActive(who) if is_agent(&who) => agent_here |= self.met(agent_here),
                    RoomEvent::Connected { participants_with_tracks } if participants_with_tracks.iter().any(|(who, _)| is_agent(who)) => {
                        agent_here |= self.met(agent_here);
                    }
                    RoomEvent::ParticipantDisconnected(who) if is_agent(&who) => return Ok(self.outcome),
                    RoomEvent::Disconnected { reason } => bail!("the room was closed ({reason:?})"),
                    event => self.notice(event),
                },
                Some(onset) = self.onsets.recv() => self.heard_onset(onset),
                Some(line) = self.lines.recv() => self.read(line),
                Some(event) = self.speaking.recv() => self.spoke(event)?,
                _ = look.tick() => {
                    self.maybe_answer()?;
                    if !agent_here && self.connected.elapsed() > AGENT_LIMIT {
                        bail!("no interviewer came within {} s; see viva.log", AGENT_LIMIT.as_secs());
                    }
                }
            }
        }
    }

    fn met(&mut self, already: bool) -> bool {
        if !already {
            self.outcome.join_ms = self.connected.elapsed().as_millis();
            self.screen.event(&format!(
                "the interviewer is in the room, {} ms after the candidate",
                self.outcome.join_ms
            ));
        }
        true
    }

    fn notice(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::TrackSubscribed {
                track: RemoteTrack::Audio(track),
                participant,
                ..
            } if is_agent(&participant) => {
                let ear = Ear {
                    onsets: self.onsets_in.clone(),
                    last_loud: None,
                };
                self.ear = Some(track.rtc_track().add_sink(INPUT_RATE_HZ, 1, Box::new(ear)));
            }
            RoomEvent::ParticipantAttributesChanged {
                participant: Participant::Remote(who),
                changed_attributes,
            } if is_agent(&who) => {
                if let Some(state) = changed_attributes.get("lk.agent.state") {
                    self.listening_since = (state == "listening").then(Instant::now);
                    self.screen.state(state);
                }
            }
            RoomEvent::TextStreamOpened {
                reader,
                topic,
                participant_identity,
            } if topic == "lk.transcription" => {
                let Some(reader) = reader.take() else { return };
                let lines = self.lines_in.clone();
                let from_agent = participant_identity.as_str() != super::CANDIDATE;
                let attributes = reader.info().attributes().clone();
                let segment = attributes.get("lk.segment_id").cloned().unwrap_or_default();
                let is_final = attributes
                    .get("lk.transcription_final")
                    .is_some_and(|f| f == "true");
                crate::spawn::supervised("transcript", async move {
                    if let Ok(text) = reader.read_all().await {
                        // The demonstration may be over by now; then nobody wants the line.
                        let _shown = lines
                            .send(Line {
                                from_agent,
                                segment,
                                is_final,
                                text,
                            })
                            .await;
                    }
                });
            }
            _ => {}
        }
    }

    fn heard_onset(&mut self, onset: Instant) {
        if self.outcome.greeting_ms == 0 {
            self.outcome.greeting_ms = onset.duration_since(self.connected).as_millis();
        }
        if let Some(answered) = self.answered_at.take() {
            let reply_ms = onset.duration_since(answered).as_millis();
            self.outcome.reply_ms.push(reply_ms);
            self.screen.event(&format!(
                "the interviewer replied {reply_ms} ms after the last word"
            ));
        }
    }

    fn read(&mut self, line: Line) {
        if line.from_agent {
            self.heard_question |= line.text.contains('?');
            if self.shown.insert(line.segment, line.text.clone()).as_ref() != Some(&line.text) {
                self.screen.says("Viva", &line.text);
            }
            return;
        }
        if !line.is_final {
            return;
        }
        if let Some(said) = self.said.pop_front() {
            let rate = word_error_rate(&said, &line.text);
            self.outcome.word_error_rates.push(rate);
            self.screen.understood(&line.text, rate);
        }
    }

    fn maybe_answer(&mut self) -> anyhow::Result<()> {
        let listened_to = self
            .listening_since
            .is_some_and(|since| since.elapsed() >= REACTION);
        if !listened_to || !self.heard_question || self.saying.is_some() {
            return Ok(());
        }
        let answer = self
            .answers
            .pop_front()
            .unwrap_or_else(|| "I have nothing to add to that.".to_owned());
        self.heard_question = false;
        self.outcome.answers += 1;
        self.screen.says("Candidate", &answer);
        let number = u32::try_from(self.outcome.answers)?;
        self.speaker
            .say(number, crate::interview::sentences::sentences(&answer))?;
        self.saying = Some(answer);
        Ok(())
    }

    fn spoke(&mut self, event: SpeakerEvent) -> anyhow::Result<()> {
        match event {
            SpeakerEvent::Started { .. } => {}
            SpeakerEvent::Ended { .. } => {
                self.answered_at = Some(Instant::now());
                self.said.extend(self.saying.take());
            }
            SpeakerEvent::Failed { cause, .. } => {
                bail!("the simulated candidate has no voice: {cause}")
            }
        }
        Ok(())
    }
}

fn is_agent(who: &RemoteParticipant) -> bool {
    who.kind() == ParticipantKind::Agent
}

/// Tells when the interviewer begins to be heard.
struct Ear {
    onsets: mpsc::Sender<Instant>,
    last_loud: Option<Instant>,
}

impl AudioSink for Ear {
    fn on_frame(&mut self, frame: &[i16]) {
        #[expect(clippy::cast_precision_loss, reason = "the energy of 10 ms")]
        let rms = (frame.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>()
            / frame.len().max(1) as f64)
            .sqrt();
        if rms < LOUD_RMS {
            return;
        }
        let now = Instant::now();
        if self
            .last_loud
            .is_none_or(|last| now.duration_since(last) > QUIET)
        {
            // Full: the demonstration is busy, and one onset less is one figure less.
            let _counted = self.onsets.try_send(now);
        }
        self.last_loud = Some(now);
    }
}

struct Microphone(PlayoutClock);

impl AudioPull for Microphone {
    fn fill(&mut self, out: &mut [i16]) -> usize {
        self.0.fill(out)
    }
}
