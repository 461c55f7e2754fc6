//! What is wrong with settings that can be read: values out of their range.

use super::Config;

impl Config {
    /// The first setting whose value can't be: its dotted path, and what would be right.
    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        let is_websocket =
            self.livekit.url.starts_with("ws://") || self.livekit.url.starts_with("wss://");
        let voice = &self.voice;
        let ranges = [
            (
                is_websocket,
                "livekit.url",
                "must start with ws:// or wss://",
            ),
            (
                !self.interviews.room_prefix.is_empty(),
                "interviews.room_prefix",
                "must not be empty, or every room would be an interview",
            ),
            (
                (1..=50).contains(&self.interviews.capacity),
                "interviews.capacity",
                "must be between 1 and 50; a larger machine runs more instances, each with a state of its own",
            ),
            (
                (0.05..=0.95).contains(&voice.speech_threshold),
                "voice.speech_threshold",
                "must be between 0.05 and 0.95",
            ),
            (
                (64..=2000).contains(&voice.pause_ms),
                "voice.pause_ms",
                "must be between 64 and 2000",
            ),
            (
                (voice.pause_ms..=10_000).contains(&voice.turn_end_ms),
                "voice.turn_end_ms",
                "must be at least voice.pause_ms and at most 10000",
            ),
            (
                (100..=600_000).contains(&self.boot.limit_ms),
                "boot.limit_ms",
                "must be between 100 and 600000",
            ),
            (
                (100..=8_000).contains(&self.llm.timeout_ms),
                "llm.timeout_ms",
                "must be between 100 and 8000; after that the interview goes on without the model",
            ),
            (
                (100..=60_000).contains(&self.stt.timeout_ms),
                "stt.timeout_ms",
                "must be between 100 and 60000",
            ),
            (
                (100..=60_000).contains(&self.tts.timeout_ms),
                "tts.timeout_ms",
                "must be between 100 and 60000",
            ),
        ];
        let out_of_range = ranges.into_iter().find(|(is_good, ..)| !is_good);
        out_of_range
            .map(|(_, key, message)| (key, message.to_owned()))
            .or_else(|| self.mistake_of_filter())
            .or_else(|| self.mistake_of_urls())
            .or_else(|| self.postgres.mistake())
            .or_else(|| self.webhook.mistake())
    }

    fn mistake_of_filter(&self) -> Option<(&'static str, String)> {
        let error = tracing_subscriber::EnvFilter::try_new(&self.log.filter).err()?;
        let message = format!("is not a tracing filter, as `viva=debug,info` is one: {error}");
        Some(("log.filter", message))
    }

    fn mistake_of_urls(&self) -> Option<(&'static str, String)> {
        let urls = [
            ("stt.base_url", &self.stt.base_url),
            ("tts.base_url", &self.tts.base_url),
            ("llm.base_url", &self.llm.base_url),
            ("log.otlp_endpoint", &self.log.otlp_endpoint),
        ];
        let is_http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        let (key, _) = urls
            .into_iter()
            .find(|(_, url)| url.as_deref().is_some_and(|url| !is_http(url)))?;
        Some((key, "must start with http:// or https://".into()))
    }
}
