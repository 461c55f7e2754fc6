//! Secrets, and where they are found: never in a setting.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Environment};

/// Too long to be guessed by who may ask as often as the network allows.
const OPERATOR_KEY_CHARS_MIN: usize = 16;

/// A value that must not be shown: prints as `***`, compares and clones like the text it holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be handed to the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// LiveKit's API key and secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveKitKey {
    /// The public half, which names the key.
    pub key: String,
    /// The half that signs.
    pub secret: Secret,
}

impl Config {
    /// LiveKit's key from `livekit.key_file`, the credential `livekit-keys`, or the variables
    /// `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`, in this order.
    ///
    /// # Errors
    /// None of them is there, or the file can't be read or is not in the key-file format.
    pub fn livekit_key(&self, env: &Environment) -> Result<LiveKitKey, ConfigError> {
        const WHAT: &str = "the LiveKit API key";
        if let Some(path) = self
            .livekit
            .key_file
            .clone()
            .or_else(|| credential(env, "livekit-keys"))
        {
            let text = read_secret(WHAT, &path)?;
            let pair = text.lines().find_map(|line| {
                let (key, secret) = line.split_once(':')?;
                let (key, secret) = (unquote(key), unquote(secret));
                (!key.is_empty() && !key.starts_with('#') && !secret.is_empty())
                    .then_some((key, secret))
            });
            return match pair {
                Some((key, secret)) => Ok(LiveKitKey {
                    key: key.to_owned(),
                    secret: Secret::new(secret),
                }),
                None => Err(ConfigError::SecretMalformed {
                    what: WHAT,
                    path,
                    message: "no line of the form `API_KEY: API_SECRET`".into(),
                }),
            };
        }
        match (env.get("LIVEKIT_API_KEY"), env.get("LIVEKIT_API_SECRET")) {
            (Some(key), Some(secret)) => Ok(LiveKitKey { key: key.to_owned(), secret: Secret::new(secret) }),
            _ => Err(ConfigError::SecretMissing {
                what: WHAT,
                hint: "set livekit.key_file, pass the systemd credential `livekit-keys`, or set LIVEKIT_API_KEY and LIVEKIT_API_SECRET".into(),
            }),
        }
    }

    /// The key of who may drain the service over HTTP, from `http.operator_key_file` or the credential `operator-key`.
    ///
    /// # Errors
    /// A file that is named can't be read, or its key is too short or none that a header can carry.
    pub fn operator_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        const WHAT: &str = "the operator's key";
        let file = self.http.operator_key_file.clone();
        let Some(path) = file.or_else(|| credential(env, "operator-key")) else {
            return Ok(None);
        };
        let text = read_secret(WHAT, &path)?;
        let key = text.trim();
        // What a header can carry.
        if key.len() < OPERATOR_KEY_CHARS_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::SecretMalformed {
                what: WHAT,
                path,
                message: format!(
                    "it is no line of {OPERATOR_KEY_CHARS_MIN} or more visible ASCII characters without a space; `openssl rand -hex 32` makes one"
                ),
            });
        }
        Ok(Some(Secret::new(key)))
    }

    /// The key of the speech-to-text provider, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn stt_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        provider_key(
            "the STT API key",
            self.stt.api_key_file.as_deref(),
            "stt-key",
            env,
        )
    }

    /// The key of the text-to-speech provider, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn tts_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        provider_key(
            "the TTS API key",
            self.tts.api_key_file.as_deref(),
            "tts-key",
            env,
        )
    }

    /// The key of the language model's provider, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn llm_key(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        provider_key(
            "the LLM API key",
            self.llm.api_key_file.as_deref(),
            "llm-key",
            env,
        )
    }
}

fn provider_key(
    what: &'static str,
    file: Option<&Path>,
    name: &str,
    env: &Environment,
) -> Result<Option<Secret>, ConfigError> {
    if let Some(path) = file.map(Path::to_owned).or_else(|| credential(env, name)) {
        return Ok(Some(Secret::new(read_secret(what, &path)?.trim())));
    }
    Ok(env.get("OPENAI_API_KEY").map(Secret::new))
}

/// The path of a systemd credential, where the service was given it.
pub(super) fn credential(env: &Environment, name: &str) -> Option<PathBuf> {
    let path = Path::new(env.get("CREDENTIALS_DIRECTORY")?).join(name);
    path.exists().then_some(path)
}

pub(super) fn read_secret(what: &'static str, path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::SecretUnreadable {
        what,
        path: path.to_owned(),
        source,
    })?;
    if text.trim().is_empty() {
        return Err(ConfigError::SecretMalformed {
            what,
            path: path.to_owned(),
            message: "the file is empty".into(),
        });
    }
    Ok(text)
}

fn unquote(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}
