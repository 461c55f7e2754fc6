//! Finds the words in whatever a transcription server answers: JSON of several shapes, or plain text.

use serde_json::Value;

/// Characters that any sound may have, and for each second of it: three times as many as the fastest speaker's. More
/// than that is a model that repeats itself, which these models do on noise.
const CHARS_MAX_BASE: usize = 200;
const CHARS_MAX_PER_SECOND: usize = 50;

/// The words, trimmed; empty where there were none. The error says what was found instead of words.
pub(super) fn words(body: &[u8], audio_ms: u32) -> Result<String, String> {
    let body = std::str::from_utf8(body).map_err(|_| "text that is not UTF-8")?;
    let body = body.trim_start_matches('\u{feff}').trim();
    let text = match body.as_bytes().first() {
        Some(b'{') => of_json(body)?,
        Some(b'"') => serde_json::from_str(body).map_err(|_| "half a JSON string")?,
        Some(b'<') => return Err("a web page instead of words".into()),
        _ if body.starts_with("data:") || body.starts_with("event:") => {
            return Err("a stream of events instead of words".into());
        }
        _ => body.to_owned(),
    };
    let text = text.trim();
    let chars_max = CHARS_MAX_BASE + CHARS_MAX_PER_SECOND * audio_ms as usize / 1000;
    if text.chars().count() > chars_max {
        return Err(format!("more words than {audio_ms} ms of sound can have"));
    }
    Ok(if is_annotation(text) {
        String::new()
    } else {
        text.to_owned()
    })
}

/// `{"text": "…"}`, with whatever else, or the texts of `segments`.
fn of_json(body: &str) -> Result<String, String> {
    let body: Value = serde_json::from_str(body).map_err(|_| "something that is not JSON")?;
    if let Some(text) = body.get("text").and_then(Value::as_str) {
        return Ok(text.to_owned());
    }
    let segments = body.get("segments").and_then(Value::as_array);
    let texts: Option<Vec<&str>> =
        segments.map(|all| all.iter().filter_map(|s| s.get("text")?.as_str()).collect());
    match texts {
        Some(texts) if !texts.is_empty() => Ok(texts.concat()),
        _ if body.get("error").is_some() => Err("an error under a status of success".into()),
        _ => Err("JSON without a text".into()),
    }
}

/// `[BLANK_AUDIO]`, `(silence)` and the like, with which whisper.cpp says that it heard no words.
fn is_annotation(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .or_else(|| text.strip_prefix('(').and_then(|t| t.strip_suffix(')')));
    inner.is_some_and(|inner| !inner.contains(['[', ']', '(', ')']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_every_shape() {
        for body in [
            r#"{"text":" Use an index. ","usage":{"type":"duration","seconds":3}}"#,
            r#"{"text":"Use an index."}"#,
            r#"{"task":"transcribe","duration":3.1,"segments":[{"text":"Use an"},{"text":" index."}]}"#,
            r#"{"text":"Use an index.","segments":[{"text":"ignored"}],"words":[]}"#,
            "\"Use an index.\"",
            "\u{feff}Use an index.\n",
        ] {
            assert_eq!(
                words(body.as_bytes(), 3000).as_deref(),
                Ok("Use an index."),
                "{body}"
            );
        }
    }

    #[test]
    fn no_words_are_no_error() {
        for body in [
            "",
            "\n",
            r#"{"text":""}"#,
            r#"{"text":" [BLANK_AUDIO]\n"}"#,
            "(silence)",
        ] {
            assert_eq!(words(body.as_bytes(), 3000).as_deref(), Ok(""), "{body}");
        }
        assert_eq!(
            words(b"(first) and (second)", 3000).as_deref(),
            Ok("(first) and (second)")
        );
    }

    #[test]
    fn what_is_not_words_is_named() {
        for (body, name) in [
            (&b"{not json"[..], "not JSON"),
            (b"{\"model\":\"x\"}", "without a text"),
            (b"{\"error\":{\"message\":\"no\"}}", "error"),
            (b"<html>", "web page"),
            (b"data: {\"text\":\"x\"}", "events"),
            (b"\xff\xfe", "UTF-8"),
        ] {
            let error = words(body, 3000).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_model_that_repeats_itself_is_not_believed() {
        let body = format!(r#"{{"text":"{}"}}"#, "thank you ".repeat(100));
        assert!(words(body.as_bytes(), 1000).is_err());
        assert!(words(body.as_bytes(), 60_000).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(body: Vec<u8>, audio_ms: u32) {
            let _ = words(&body, audio_ms);
        }

        #[test]
        fn what_the_json_says_is_what_is_heard(text in "[a-zA-Z,.? ]{0,100}") {
            let body = serde_json::json!({ "text": text }).to_string();
            proptest::prop_assert_eq!(words(body.as_bytes(), 10_000), Ok(text.trim().to_owned()));
        }
    }
}
