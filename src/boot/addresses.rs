//! Whether the servers' addresses in the settings can be ones, before anything is loaded for them.

use crate::config::{Config, ConfigError};
use crate::{provider, worker};

/// Parses each address as the one who will use it does; asks nobody. `origin` is what an error blames.
///
/// # Errors
/// One of them can't be a server's; it is named.
pub fn check(config: &Config, origin: &str) -> Result<(), ConfigError> {
    let invalid = |key: &str, message: String| ConfigError::Invalid {
        origin: origin.to_owned(),
        key: key.to_owned(),
        message,
    };
    worker::check_url(&config.livekit.url).map_err(|e| invalid("livekit.url", e.to_string()))?;
    for (key, url) in [
        ("stt.base_url", &config.stt.base_url),
        ("tts.base_url", &config.tts.base_url),
        ("llm.base_url", &config.llm.base_url),
    ] {
        let Some(url) = url else { continue };
        provider::check_base_url(url).map_err(|e| invalid(key, e.to_string()))?;
    }
    Ok(())
}
