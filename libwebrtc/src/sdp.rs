//! Reads from session descriptions what this side of the protocol stack has to know of them.
//!
//! The stack parses and applies descriptions; here only media sections, their directions,
//! streams, sources and Opus parameters are read, leniently: what can't be read isn't there.

use crate::MediaType;
use crate::ice_candidate::CandidateFields;
use crate::rtp_transceiver::RtpTransceiverDirection;

/// One media section (`m=`), as its writer sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    pub media_type: MediaType,
    pub mid: String,
    /// The direction as the writer of the description sees it; inactive where the port is zero.
    pub direction: RtpTransceiverDirection,
    /// The streams of `a=msid`.
    pub stream_ids: Vec<String>,
    /// The track of `a=msid`.
    pub track_id: Option<String>,
    /// The sources of `a=ssrc`, without those that repair others.
    pub ssrcs: Vec<u32>,
    /// What the writer wants to receive as Opus.
    pub opus: Option<OpusFormat>,
}

/// The format parameters of Opus (RFC 7587, section 6.1): what the writer wants to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OpusFormat {
    pub stereo: bool,
    pub dtx: bool,
    pub fec: bool,
    pub max_bitrate_bps: Option<u32>,
}

/// Reads the media sections, in order.
pub(crate) fn sections(sdp: &str) -> Vec<Section> {
    let mut readers: Vec<SectionReader<'_>> = Vec::new();
    for line in sdp.lines().map(str::trim) {
        if let Some(media) = line.strip_prefix("m=") {
            readers.push(SectionReader::begin(media));
        } else if let Some(reader) = readers.last_mut()
            && let Some(attribute) = line.strip_prefix("a=")
        {
            let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
            reader.attribute(name, value);
        }
    }
    readers.into_iter().map(SectionReader::finish).collect()
}

/// The line that says whose description it is and of which version.
pub(crate) fn origin(sdp: &str) -> Option<&str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix("o="))
        .map(str::trim)
}

/// The candidates in a description.
pub(crate) fn candidates(sdp: &str) -> impl Iterator<Item = CandidateFields> {
    sdp.lines()
        .filter(|line| line.starts_with(CANDIDATE))
        .filter_map(|line| CandidateFields::parse(line).ok())
}

/// The description with these candidates in place of its own. They stand in the first section that is not rejected, whose
/// transport all others share.
pub(crate) fn with_candidates<'a>(
    sdp: &str,
    mut candidates: impl Iterator<Item = &'a str>,
) -> String {
    let mut out = String::with_capacity(sdp.len());
    let mut is_within = false;
    for line in sdp.lines().filter(|line| !line.starts_with(CANDIDATE)) {
        if let Some(media) = line.strip_prefix("m=") {
            if is_within {
                append(&mut out, &mut candidates);
            }
            is_within = media.split_ascii_whitespace().nth(1) != Some("0");
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    if is_within {
        append(&mut out, &mut candidates);
    }
    out
}

fn append<'a>(out: &mut String, candidates: &mut impl Iterator<Item = &'a str>) {
    for candidate in candidates {
        out.push_str("a=");
        out.push_str(candidate);
        out.push_str("\r\n");
    }
}

/// What tells one ICE session from the next on the same peer connection.
pub(crate) fn ice_ufrag(sdp: &str) -> Option<&str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"))
        .map(str::trim)
}

/// How a candidate line begins in a description.
const CANDIDATE: &str = "a=candidate:";

struct SectionReader<'a> {
    media_type: MediaType,
    rejected: bool,
    mid: &'a str,
    direction: RtpTransceiverDirection,
    stream_ids: Vec<String>,
    track_id: Option<String>,
    ssrcs: Vec<u32>,
    repairing: Vec<u32>,
    opus_payload_type: Option<&'a str>,
    formats: Vec<(&'a str, &'a str)>,
}

impl<'a> SectionReader<'a> {
    fn begin(media: &'a str) -> Self {
        let mut words = media.split_ascii_whitespace();
        let media_type = match words.next() {
            Some("audio") => MediaType::Audio,
            Some("video") => MediaType::Video,
            Some("application") => MediaType::Data,
            _ => MediaType::Unsupported,
        };
        Self {
            media_type,
            rejected: words.next() == Some("0"),
            mid: "",
            direction: RtpTransceiverDirection::SendRecv,
            stream_ids: Vec::new(),
            track_id: None,
            ssrcs: Vec::new(),
            repairing: Vec::new(),
            opus_payload_type: None,
            formats: Vec::new(),
        }
    }

    fn attribute(&mut self, name: &'a str, value: &'a str) {
        match name {
            "mid" => self.mid = value,
            "sendrecv" => self.direction = RtpTransceiverDirection::SendRecv,
            "sendonly" => self.direction = RtpTransceiverDirection::SendOnly,
            "recvonly" => self.direction = RtpTransceiverDirection::RecvOnly,
            "inactive" => self.direction = RtpTransceiverDirection::Inactive,
            "msid" => self.msid(value),
            "ssrc" => self.ssrc(value),
            "ssrc-group" => {
                let sources = value.split_ascii_whitespace().skip(2);
                self.repairing
                    .extend(sources.filter_map(|ssrc| ssrc.parse::<u32>().ok()));
            }
            "rtpmap" => {
                if let Some((payload_type, codec)) = value.split_once(' ')
                    && codec.to_ascii_lowercase().starts_with("opus/48000")
                {
                    self.opus_payload_type = Some(payload_type);
                }
            }
            "fmtp" => self.formats.extend(value.split_once(' ')),
            _ => {}
        }
    }

    fn msid(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        if let Some(stream_id) = words.next().filter(|&id| id != "-")
            && !self.stream_ids.iter().any(|known| known == stream_id)
        {
            self.stream_ids.push(stream_id.to_owned());
        }
        if let Some(track_id) = words.next() {
            self.track_id = Some(track_id.to_owned());
        }
    }

    fn ssrc(&mut self, value: &str) {
        let (source, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let Ok(source) = source.parse() else { return };
        if !self.ssrcs.contains(&source) {
            self.ssrcs.push(source);
        }
        if let Some(msid) = attribute.strip_prefix("msid:")
            && self.track_id.is_none()
        {
            self.msid(msid);
        }
    }

    fn finish(self) -> Section {
        let opus = self.opus_payload_type.map(|payload_type| {
            let format = self.formats.iter().find(|(of, _)| *of == payload_type);
            OpusFormat::parse(format.map_or("", |(_, parameters)| parameters))
        });
        let repairing = self.repairing;
        Section {
            media_type: self.media_type,
            mid: self.mid.to_owned(),
            direction: if self.rejected {
                RtpTransceiverDirection::Inactive
            } else {
                self.direction
            },
            stream_ids: self.stream_ids,
            track_id: self.track_id,
            ssrcs: self
                .ssrcs
                .into_iter()
                .filter(|ssrc| !repairing.contains(ssrc))
                .collect(),
            opus,
        }
    }
}

impl OpusFormat {
    fn parse(parameters: &str) -> Self {
        let mut format = Self::default();
        for parameter in parameters.split(';') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.trim() {
                "stereo" => format.stereo = value.trim() == "1",
                "usedtx" => format.dtx = value.trim() == "1",
                "useinbandfec" => format.fec = value.trim() == "1",
                "maxaveragebitrate" => format.max_bitrate_bps = value.trim().parse().ok(),
                _ => {}
            }
        }
        format
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDP: &str = "v=0\r\no=- 7 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=msid:PA_1 TR_1\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10; usedtx=1;useinbandfec=1\r\n\
        a=ssrc:11 cname:x\r\na=ssrc:11 msid:PA_1 TR_1\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ssrc-group:FID 21 22\r\na=ssrc:21 cname:x\r\n\
        a=ssrc:22 cname:x\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn sections_are_read_with_their_streams_and_sources() {
        let sections = sections(SDP);
        assert_eq!(sections.len(), 3);
        let audio = &sections[0];
        assert_eq!(audio.media_type, MediaType::Audio);
        assert_eq!(audio.direction, RtpTransceiverDirection::SendOnly);
        assert_eq!(
            (audio.stream_ids.as_slice(), audio.track_id.as_deref()),
            (&["PA_1".to_owned()][..], Some("TR_1"))
        );
        assert_eq!(audio.ssrcs, [11]);
        let opus = OpusFormat {
            dtx: true,
            fec: true,
            stereo: false,
            max_bitrate_bps: None,
        };
        assert_eq!(audio.opus, Some(opus));
    }

    #[test]
    fn a_rejected_section_is_inactive_and_repair_sources_are_left_out() {
        let video = &sections(SDP)[1];
        assert_eq!(video.direction, RtpTransceiverDirection::Inactive);
        assert_eq!(video.ssrcs, [21]);
    }

    #[test]
    fn candidates_are_replaced_in_the_first_section_that_is_used() {
        let sdp = "v=0\r\nm=audio 0 X 111\r\na=candidate:old\r\nm=audio 9 X 111\r\na=mid:1\r\n\
            a=candidate:old\r\nm=video 9 X 96\r\na=candidate:old\r\n";
        let expected = "v=0\r\nm=audio 0 X 111\r\nm=audio 9 X 111\r\na=mid:1\r\na=candidate:new\r\n\
            m=video 9 X 96\r\n";
        let replaced = with_candidates(sdp, ["candidate:new"].into_iter());
        assert_eq!(replaced, expected);
        let alone = with_candidates("m=audio 9 X 111\r\n", ["candidate:new"].into_iter());
        assert_eq!(alone, "m=audio 9 X 111\r\na=candidate:new\r\n");
    }

    #[test]
    fn another_ufrag_is_another_ice_session() {
        assert_eq!(ice_ufrag("v=0\r\na=ice-ufrag:abcd\r\n"), Some("abcd"));
        assert_eq!(ice_ufrag(SDP), None);
    }

    #[test]
    fn the_origin_names_the_version() {
        assert_eq!(origin(SDP), Some("- 7 2 IN IP4 127.0.0.1"));
    }

    #[test]
    fn a_stream_named_by_a_dash_is_none() {
        let sdp = "m=audio 9 X 111\na=msid:- TR_9\n";
        let section = &sections(sdp)[0];
        assert!(section.stream_ids.is_empty());
        assert_eq!(section.track_id.as_deref(), Some("TR_9"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([am]=[a-z:0-9 ;=-]{0,30}\r?\n|.{0,20}\n){0,20}") {
            let _ = (sections(&text), origin(&text), ice_ufrag(&text), candidates(&text).count());
            let _ = with_candidates(&text, ["candidate:new"].into_iter());
        }
    }
}
