//! Turns the bytes of a speech response into samples, and notices when they are no PCM at all.

/// Bytes that are looked at before any of them is played: enough for every signature below, 0.25 ms of sound.
pub(super) const SNIFF_BYTES: usize = 12;

/// Little-endian 16-bit samples out of pieces that may end in the middle of one.
#[derive(Debug, Default)]
pub(super) struct Samples {
    half: Option<u8>,
}

impl Samples {
    /// The samples that are complete with this piece.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<i16> {
        let mut samples = Vec::with_capacity(bytes.len() / 2 + 1);
        let mut rest = bytes;
        if let (Some(low), [high, after @ ..]) = (self.half, rest) {
            samples.push(i16::from_le_bytes([low, *high]));
            self.half = None;
            rest = after;
        }
        let (pairs, last) = rest.as_chunks::<2>();
        samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        if let [low] = last {
            self.half = Some(*low);
        }
        samples
    }
}

/// What a response is that should have been PCM, by its content type and its first bytes; nothing if it may be PCM.
pub(super) fn not_pcm(content_type: Option<&str>, first: &[u8]) -> Option<&'static str> {
    let kind = content_type.unwrap_or_default().to_ascii_lowercase();
    let by_signature = match first {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => Some("a WAV file instead of raw PCM"),
        [b'O', b'g', b'g', b'S', ..] => Some("Ogg instead of raw PCM"),
        [b'f', b'L', b'a', b'C', ..] => Some("FLAC instead of raw PCM"),
        [b'I', b'D', b'3', ..] => Some("MP3 instead of raw PCM"),
        _ if !is_text(first) => None,
        [b'{' | b'[', ..] => Some("JSON instead of sound"),
        [b'<', ..] => Some("a web page instead of sound"),
        [b'd', b'a', b't', b'a', b':', ..] | [b'e', b'v', b'e', b'n', b't', b':', ..] => {
            Some("a stream of events instead of sound")
        }
        _ => None,
    };
    let by_kind = || match kind.split(';').next().unwrap_or_default().trim() {
        "application/json" => Some("JSON instead of sound"),
        "text/event-stream" => Some("a stream of events instead of sound"),
        "audio/mpeg" | "audio/mp3" => Some("MP3 instead of raw PCM"),
        "audio/ogg" | "audio/opus" | "audio/aac" | "audio/flac" => {
            Some("compressed sound instead of raw PCM")
        }
        text if text.starts_with("text/") => Some("text instead of sound"),
        // `audio/wav` is also said of raw PCM; its signature tells.
        _ => None,
    };
    by_signature.or_else(by_kind)
}

/// Sound that begins with six samples which are all printable characters does not exist in practice.
fn is_text(first: &[u8]) -> bool {
    first.len() >= 2
        && first
            .iter()
            .all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pcm_is_named() {
        for (kind, first, name) in [
            (None, &b"RIFF\x24\x00\x00\x00WAVE"[..], "WAV"),
            (Some("audio/pcm"), b"{\"error\":{\"m", "JSON"),
            (Some("application/json; charset=utf-8"), b"\0\0\0\0", "JSON"),
            (Some("text/event-stream"), b"", "events"),
            (None, b"event: speec", "events"),
            (None, b"data: {\"type", "events"),
            (Some("audio/mpeg"), b"\xff\xf3\x84\xc4", "MP3"),
            (None, b"ID3\x04\0\0\0\0\0\0\0\0", "MP3"),
            (None, b"OggS\0\x02\0\0\0\0\0\0", "Ogg"),
            (Some("text/plain"), b"not found", "text"),
            (None, b"<!doctype ht", "page"),
        ] {
            let found = not_pcm(kind, first);
            assert!(found.is_some_and(|f| f.contains(name)), "{name}: {found:?}");
        }
    }

    #[test]
    fn pcm_is_let_through() {
        for kind in [
            None,
            Some("audio/pcm"),
            Some("audio/wav"),
            Some("application/octet-stream"),
        ] {
            assert_eq!(not_pcm(kind, &[0; 12]), None);
            assert_eq!(
                not_pcm(kind, &[1, 0, 255, 255, 3, 0, 2, 0, 254, 255, 0, 0]),
                None
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn pieces_of_any_length_give_the_same_samples(pcm: Vec<i16>, cuts in proptest::collection::vec(0_usize..9, 0..40)) {
            let bytes: Vec<u8> = pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
            let mut samples = Samples::default();
            let mut heard = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                heard.extend(samples.take(piece));
                rest = after;
            }
            heard.extend(samples.take(rest));
            proptest::prop_assert_eq!(heard, pcm);
        }

        #[test]
        fn no_bytes_make_it_panic(kind: Option<String>, first: Vec<u8>) {
            let _ = not_pcm(kind.as_deref(), &first);
        }
    }
}
