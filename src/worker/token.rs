//! Access tokens for LiveKit, signed here.

use std::collections::HashMap;
use std::time::Duration;

use livekit_token::{AccessToken, VideoGrants};

use crate::config::{LiveKitKey, Secret};

/// Life of a token that is looked at once, when the agent endpoint is opened or a question is asked. It need only outlast
/// a slow handshake and clocks that differ.
const WORKER_TOKEN_TTL: Duration = Duration::from_secs(5 * 60);

/// Life of a token that joins a room, the same that LiveKit gives to those in its assignments.
const JOIN_TOKEN_TTL: Duration = Duration::from_secs(60 * 60);

/// Who joins a room, and what the others see of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Unique in the room; whoever joins later under the same one replaces the earlier.
    pub identity: String,
    /// The name shown.
    pub name: String,
    /// Free text, visible to everyone in the room.
    pub metadata: String,
    /// Key and value pairs, visible to everyone in the room.
    pub attributes: HashMap<String, String>,
}

/// The attributes that clients know an agent by, the older and the newer.
const AGENT_NAME_KEYS: [&str; 2] = ["lk.agent_name", "lk.agent.name"];

/// The attributes of an agent of this name; none where it has none.
pub fn named(agent_name: &str) -> impl Iterator<Item = (String, String)> {
    let keys = AGENT_NAME_KEYS
        .iter()
        .filter(move |_| !agent_name.is_empty());
    keys.map(move |key| ((*key).to_owned(), agent_name.to_owned()))
}

/// Why a token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot sign a LiveKit token: {0}; check the API key and secret that livekit.key_file names"
)]
pub struct TokenError(#[from] livekit_token::AccessTokenError);

/// The token with which a worker registers: the agent grant and nothing else.
///
/// # Errors
/// The key or the secret is empty.
pub fn worker(key: &LiveKitKey) -> Result<Secret, TokenError> {
    let grants = VideoGrants {
        agent: true,
        ..VideoGrants::default()
    };
    let token = AccessToken::with_api_key(&key.key, key.secret.reveal())
        .with_ttl(WORKER_TOKEN_TTL)
        .with_grants(grants);
    Ok(Secret::new(token.to_jwt()?))
}

/// A token that asks about one room and changes nothing.
///
/// # Errors
/// The key, the secret or the room is empty.
pub fn admin(key: &LiveKitKey, room: &str) -> Result<Secret, TokenError> {
    let grants = VideoGrants {
        room_admin: true,
        room: room.to_owned(),
        ..VideoGrants::default()
    };
    let token = AccessToken::with_api_key(&key.key, key.secret.reveal())
        .with_ttl(WORKER_TOKEN_TTL)
        .with_grants(grants);
    Ok(Secret::new(token.to_jwt()?))
}

/// A token that joins `room` as an agent with the rights that an assigned one would have: for an
/// interview that is taken up again without an assignment.
///
/// # Errors
/// The key, the secret, the room or the identity is empty.
pub fn join(key: &LiveKitKey, room: &str, agent: &AgentIdentity) -> Result<Secret, TokenError> {
    let grants = VideoGrants {
        room_join: true,
        room: room.to_owned(),
        agent: true,
        can_publish: Some(true),
        can_subscribe: Some(true),
        can_publish_data: Some(true),
        can_update_own_metadata: Some(true),
        ..VideoGrants::default()
    };
    let token = AccessToken::with_api_key(&key.key, key.secret.reveal())
        .with_ttl(JOIN_TOKEN_TTL)
        .with_grants(grants)
        .with_kind("agent")
        .with_identity(&agent.identity)
        .with_name(&agent.name)
        .with_metadata(&agent.metadata)
        .with_attributes(agent.attributes.clone());
    Ok(Secret::new(token.to_jwt()?))
}

#[cfg(test)]
mod tests {
    use livekit_token::TokenVerifier;

    use super::*;

    fn key() -> LiveKitKey {
        LiveKitKey {
            key: "APIkey".into(),
            secret: Secret::new("a-secret-of-at-least-thirty-two-bytes"),
        }
    }

    fn verifier() -> TokenVerifier {
        TokenVerifier::with_api_key("APIkey", "a-secret-of-at-least-thirty-two-bytes")
    }

    #[test]
    fn a_worker_may_register_and_may_not_join() {
        let claims = verifier().verify(worker(&key()).unwrap().reveal()).unwrap();
        assert_eq!(
            claims.video,
            VideoGrants {
                agent: true,
                ..VideoGrants::default()
            }
        );
    }

    #[test]
    fn a_resumed_agent_has_its_identity_and_may_speak_and_update_itself() {
        let agent = AgentIdentity {
            identity: "viva-7".into(),
            name: "Viva".into(),
            metadata: "m".into(),
            attributes: HashMap::from([("k".into(), "v".into())]),
        };
        let claims = verifier()
            .verify(join(&key(), "interview-7", &agent).unwrap().reveal())
            .unwrap();
        assert_eq!(
            (
                claims.sub.as_str(),
                claims.name.as_str(),
                claims.kind.as_str()
            ),
            ("viva-7", "Viva", "agent")
        );
        assert_eq!(
            (claims.metadata, claims.attributes),
            (agent.metadata, agent.attributes)
        );
        assert!(claims.video.room_join && claims.video.agent && !claims.video.hidden);
        assert_eq!(claims.video.room, "interview-7");
        assert_eq!(claims.video.can_publish, Some(true));
        assert_eq!(claims.video.can_subscribe, Some(true));
        assert_eq!(claims.video.can_publish_data, Some(true));
        assert_eq!(claims.video.can_update_own_metadata, Some(true));
    }

    #[test]
    fn an_empty_secret_signs_nothing_and_the_error_says_where_to_look() {
        let empty = LiveKitKey {
            key: "APIkey".into(),
            secret: Secret::new(""),
        };
        let error = worker(&empty).unwrap_err().to_string();
        assert!(error.contains("livekit.key_file"), "{error}");
    }

    #[test]
    fn a_token_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", worker(&key()).unwrap()), "***");
    }
}
