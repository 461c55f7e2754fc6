//! What clients in the room are shown: transcripts as text streams, the agent's state as an attribute.
//!
//! A client finds what LiveKit's own agents give it: topic `lk.transcription` with `lk.segment_id`,
//! `lk.transcription_final` and `lk.transcribed_track_id`, and the attribute `lk.agent.state`. Appliances that could take an
//! interview over find the attribute `viva.heartbeat`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use livekit::SendTextOptions;
use livekit::prelude::*;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::clock::unix_ms;
use crate::worker::presence::{self, HEARTBEAT};

/// Announcements that may wait; a turn makes about four.
const QUEUE_MAX: usize = 64;

/// Time for one announcement to be on its way: a room that is reconnecting must not hold the next ones for ever.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// So often a heartbeat is shown, where there is one: a few of them fit into the time after which an interviewer without
/// one is taken for dead.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);

const TOPIC: &str = "lk.transcription";

/// What the interviewer is doing, in the words that LiveKit's clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// Not yet able to hear.
    Initializing,
    /// The candidate has the floor.
    Listening,
    /// Working out what to say.
    Thinking,
    /// Speaking.
    Speaking,
}

impl AgentState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Listening => "listening",
            Self::Thinking => "thinking",
            Self::Speaking => "speaking",
        }
    }
}

/// Whose words a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Ours.
    Interviewer,
    /// The candidate's, with their identity and their track.
    Candidate {
        /// Identity in the room.
        identity: String,
        /// The track that was transcribed, where it is still there.
        track: Option<String>,
    },
}

/// One line of the transcript; the same segment again replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whose words.
    pub author: Author,
    /// Names the line, so that a final text replaces an interim one.
    pub segment: String,
    /// The words.
    pub text: String,
    /// Nothing more will change in it.
    pub is_final: bool,
}

/// What clients are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// A line of the transcript.
    Line(Line),
    /// What the interviewer is doing.
    State(AgentState),
}

/// Sends announcements in their order without making the session wait. Dropping it ends its task.
pub struct Announcer {
    queue: mpsc::Sender<Announcement>,
}

impl Announcer {
    /// Starts the task that sends as `participant`, whose track is `own_track`, and that shows a heartbeat of `holder`
    /// for as long as it runs.
    pub fn start(
        participant: LocalParticipant,
        own_track: String,
        holder: Option<Arc<str>>,
    ) -> Self {
        let (announcer, inbox) = Self::channel();
        crate::spawn::supervised("announcer", run(participant, own_track, holder, inbox));
        announcer
    }

    /// An announcer and the queue of what it is given.
    pub fn channel() -> (Self, mpsc::Receiver<Announcement>) {
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, inbox)
    }

    /// Shows a line of the transcript.
    pub fn line(&self, line: Line) {
        self.push(Announcement::Line(line));
    }

    /// Shows what the interviewer is doing.
    pub fn state(&self, state: AgentState) {
        self.push(Announcement::State(state));
    }

    fn push(&self, announcement: Announcement) {
        // The page is a comfort, the journal is the record: a room that takes nothing for minutes loses lines on its page alone.
        if self.queue.try_send(announcement).is_err() {
            tracing::warn!("the room takes no announcements; one is dropped");
        }
    }
}

async fn run(
    participant: LocalParticipant,
    own_track: String,
    holder: Option<Arc<str>>,
    mut inbox: mpsc::Receiver<Announcement>,
) {
    let mut beats = tokio::time::interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            announcement = inbox.recv() => match announcement {
                Some(Announcement::Line(line)) => {
                    limited(send_line(&participant, &own_track, line)).await;
                }
                Some(Announcement::State(state)) => limited(send_state(&participant, state)).await,
                None => return,
            },
            _ = beats.tick(), if holder.is_some() => {
                let beat = presence::beat(holder.as_deref().unwrap_or_default(), unix_ms() / 1000);
                limited(set(&participant, HEARTBEAT, &beat)).await;
            }
        }
    }
}

/// The page is told, or its loss is logged, within the limit.
async fn limited(sending: impl Future<Output = Result<(), String>>) {
    match tokio::time::timeout(SEND_LIMIT, sending).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::warn!("an announcement did not reach the room: {cause}"),
        Err(_) => tracing::warn!(
            "an announcement did not reach the room within {} s",
            SEND_LIMIT.as_secs()
        ),
    }
}

async fn send_line(
    participant: &LocalParticipant,
    own_track: &str,
    line: Line,
) -> Result<(), String> {
    let (sender, track) = match line.author {
        Author::Interviewer => (None, Some(own_track.to_owned())),
        Author::Candidate { identity, track } => (Some(ParticipantIdentity::from(identity)), track),
    };
    let mut attributes = HashMap::from([
        ("lk.segment_id".to_owned(), line.segment),
        (
            "lk.transcription_final".to_owned(),
            line.is_final.to_string(),
        ),
    ]);
    if let Some(track) = track {
        attributes.insert("lk.transcribed_track_id".to_owned(), track);
    }
    let mut options = SendTextOptions::new_with_topic(TOPIC);
    options.attributes = attributes;
    options.sender_identity = sender;
    participant
        .send_text(&line.text, options)
        .await
        .map(drop)
        .map_err(|e| e.to_string())
}

async fn send_state(participant: &LocalParticipant, state: AgentState) -> Result<(), String> {
    set(participant, "lk.agent.state", state.as_str()).await
}

/// Sets one attribute; the others stay.
async fn set(participant: &LocalParticipant, name: &str, value: &str) -> Result<(), String> {
    participant
        .set_attributes(HashMap::from([(name.to_owned(), value.to_owned())]))
        .await
        .map_err(|e| e.to_string())
}
