//! Asks LiveKit whether an interviewer is in a room, and whether it is alive.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;

use super::endpoint::{BadUrl, Endpoint};
use super::token::{self, TokenError};
use crate::config::LiveKitKey;
use crate::provider;

/// The attribute that an interviewer in a room keeps changing, so that one that is alive can be told from one whose
/// process is stopped or gone. Its value is [`beat`]'s.
pub const HEARTBEAT: &str = "viva.heartbeat";
/// For a whole answer. Whoever asks decides about an interview that somebody waits in.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// A room of an interview has a handful of people in it; a kilobyte each.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Asks one LiveKit server.
#[derive(Debug, Clone)]
pub struct Rooms {
    http: Client,
    endpoint: String,
    key: LiveKitKey,
    identity: String,
}

/// Who is in a room under the interviewer's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Nobody.
    Absent,
    /// Somebody, with the value of their [`HEARTBEAT`]; nothing where they have none.
    Present {
        /// It changes for as long as they are alive.
        beat: Option<String>,
    },
}

/// Why it is not known who is there.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The address.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// The key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No client could be made.
    #[error(transparent)]
    Client(#[from] provider::SetupError),
    /// No answer.
    #[error("LiveKit at {url} does not say who is in {room}: {cause}")]
    Unanswered {
        /// The server.
        url: String,
        /// The room.
        room: String,
        /// Why.
        cause: String,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    participants: Vec<Participant>,
}

#[derive(Deserialize)]
struct Participant {
    #[serde(default)]
    identity: String,
    #[serde(default)]
    attributes: std::collections::HashMap<String, String>,
}

/// What an interviewer of this holder puts into its [`HEARTBEAT`] at this moment.
#[must_use]
pub fn beat(holder: &str, unix_s: u64) -> String {
    format!("{holder}.{unix_s}")
}

/// Whose heartbeat it is.
#[must_use]
pub fn holder_of(beat: &str) -> &str {
    beat.split('.').next().unwrap_or_default()
}

impl Rooms {
    /// The server at `url`, where interviewers are called `identity`; connects to nothing yet.
    ///
    /// # Errors
    /// The address can't be used, or no client can be made.
    pub fn of(url: &str, key: LiveKitKey, identity: &str) -> Result<Self, PresenceError> {
        let root = Endpoint::parse(url)?.root;
        // Only the scheme differs.
        let endpoint = root.replacen("ws", "http", 1);
        Ok(Self {
            http: provider::http_client(&endpoint)?,
            endpoint,
            key,
            identity: identity.to_owned(),
        })
    }

    /// Who is the interviewer in a room. A room that is not there has nobody in it.
    ///
    /// # Errors
    /// LiveKit does not answer in time, refuses the key, or answers nonsense.
    pub async fn interviewer(&self, room: &str) -> Result<Presence, PresenceError> {
        let token = token::admin(&self.key, room)?;
        let unanswered = |cause: String| PresenceError::Unanswered {
            url: self.endpoint.clone(),
            room: room.to_owned(),
            cause,
        };
        let url = format!(
            "{}/twirp/livekit.RoomService/ListParticipants",
            self.endpoint
        );
        let asking = async {
            let mut answer = self
                .http
                .post(url)
                .bearer_auth(token.reveal())
                .json(&serde_json::json!({ "room": room }))
                .send()
                .await
                .map_err(provider::cause_of)?;
            let status = answer.status();
            if status.as_u16() == 404 {
                return Ok(Vec::from("{}"));
            }
            if !status.is_success() {
                return Err(format!("it answers {status}"));
            }
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(provider::cause_of)? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(format!(
                        "the answer is larger than {ANSWER_BYTES_MAX} bytes"
                    ));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        let body = match tokio::time::timeout(ANSWER_LIMIT, asking).await {
            Ok(answered) => answered.map_err(unanswered)?,
            Err(_) => {
                let limit = ANSWER_LIMIT.as_secs();
                return Err(unanswered(format!("no answer within {limit} s")));
            }
        };
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|e| unanswered(format!("garbled: {e}")))?;
        Ok(find(answer, &self.identity))
    }
}

fn find(answer: Answer, identity: &str) -> Presence {
    let interviewer = answer
        .participants
        .into_iter()
        .find(|p| p.identity == identity);
    match interviewer {
        Some(mut there) => Presence::Present {
            beat: there.attributes.remove(HEARTBEAT),
        },
        None => Presence::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(json: &str) -> Presence {
        find(serde_json::from_str(json).unwrap(), "viva")
    }

    #[test]
    fn the_interviewer_is_told_from_the_others_in_the_room() {
        assert_eq!(presence("{}"), Presence::Absent);
        assert_eq!(
            presence(r#"{"participants":[{"identity":"ada","attributes":{}}]}"#),
            Presence::Absent
        );
        assert_eq!(
            presence(
                r#"{"participants":[{"identity":"ada"},{"identity":"viva","sid":"PA_x","state":"ACTIVE"}]}"#
            ),
            Presence::Present { beat: None }
        );
        assert_eq!(
            presence(
                r#"{"participants":[{"identity":"viva","attributes":{"viva.heartbeat":"ab.7","lk.agent.state":"listening"}}]}"#
            ),
            Presence::Present {
                beat: Some("ab.7".into())
            }
        );
    }

    #[test]
    fn a_heartbeat_names_its_holder() {
        assert_eq!(holder_of(&beat("ab12", 1_800_000_000)), "ab12");
        assert_eq!(holder_of("nonsense"), "nonsense");
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_understood_or_refused(text in ".{0,200}") {
            let _understood = serde_json::from_str::<Answer>(&text).map(|answer| find(answer, "viva"));
        }
    }
}
