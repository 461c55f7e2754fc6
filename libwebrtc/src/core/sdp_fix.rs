//! Makes remote descriptions digestible for the stack.

/// Where the invented sources begin, counting down. Real ones are random, so a clash is unlikely.
const INVENTED_SSRC_LAST: u32 = u32::MAX - 1;

/// Gives each sending media section without `a=ssrc` an invented source.
///
/// With more than one transceiver the stack refuses a whole description in which a sending
/// section announces no source; an SFU writes such sections for tracks that are yet to come.
/// Nothing is ever received from the invented source, and the next description replaces it.
pub(crate) fn announce_sources(sdp: &str) -> String {
    let (session, sections) = split_sections(sdp);
    let media = sections.iter().filter(|section| section.is_media()).count();
    if media < 2 {
        return sdp.to_owned();
    }
    let mut out = String::with_capacity(sdp.len() + 64);
    for line in session {
        push_line(&mut out, line);
    }
    for (section, ssrc) in sections.iter().zip((0..=INVENTED_SSRC_LAST).rev()) {
        for line in &section.lines {
            push_line(&mut out, line);
        }
        if section.is_media() && section.sends() && !section.announces_source() {
            push_line(&mut out, &format!("a=ssrc:{ssrc} cname:none"));
        }
    }
    out
}

struct Section<'a> {
    lines: Vec<&'a str>,
}

impl Section<'_> {
    fn is_media(&self) -> bool {
        self.lines
            .first()
            .is_some_and(|m| m.starts_with("m=audio") || m.starts_with("m=video"))
    }

    fn sends(&self) -> bool {
        !self
            .lines
            .iter()
            .any(|line| *line == "a=recvonly" || *line == "a=inactive")
    }

    fn announces_source(&self) -> bool {
        self.lines
            .iter()
            .any(|line| line.starts_with("a=ssrc:") || line.starts_with("a=rid:"))
    }
}

fn split_sections(sdp: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let mut session = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in sdp
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        if line.starts_with("m=") {
            sections.push(Section { lines: Vec::new() });
        }
        match sections.last_mut() {
            Some(section) => section.lines.push(line),
            None => session.push(line),
        }
    }
    (session, sections)
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_SECTIONS: &str = "v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=sendrecv\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=sendonly\r\na=ssrc:7 cname:x\r\n";

    #[test]
    fn a_sending_section_without_a_source_is_given_one() {
        let fixed = announce_sources(TWO_SECTIONS);
        assert_eq!(fixed.matches("a=ssrc:").count(), 2);
        assert!(fixed.contains("a=sendrecv\r\na=ssrc:"), "{fixed}");
    }

    #[test]
    fn a_section_that_only_receives_stays_as_it_is() {
        let sdp = TWO_SECTIONS.replace("a=sendrecv", "a=recvonly");
        assert_eq!(announce_sources(&sdp), sdp);
    }

    #[test]
    fn a_single_section_stays_as_it_is() {
        let sdp = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\n";
        assert_eq!(announce_sources(sdp), sdp);
    }
}
