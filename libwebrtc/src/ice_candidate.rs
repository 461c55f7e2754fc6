//! ICE candidates as they travel over signalling.

use std::fmt;
use std::net::IpAddr;

use crate::session_description::SdpParseError;

/// One ICE candidate with the media section it belongs to.
pub struct IceCandidate {
    sdp_mid: String,
    sdp_mline_index: i32,
    candidate: String,
}

impl IceCandidate {
    /// Checks a `candidate:…` line; the empty string marks the end of candidates.
    ///
    /// # Errors
    /// The line lacks a field, or component, priority or port is no number.
    pub fn parse(
        sdp_mid: &str,
        sdp_mline_index: i32,
        sdp: &str,
    ) -> Result<IceCandidate, SdpParseError> {
        if !sdp.is_empty() {
            CandidateFields::parse(sdp).map_err(|description| SdpParseError {
                line: sdp.to_owned(),
                description: description.to_owned(),
            })?;
        }
        Ok(Self::trusted(
            sdp_mid.to_owned(),
            sdp_mline_index,
            sdp.to_owned(),
        ))
    }

    pub(crate) fn trusted(sdp_mid: String, sdp_mline_index: i32, candidate: String) -> Self {
        Self {
            sdp_mid,
            sdp_mline_index,
            candidate,
        }
    }

    /// The mid of the media section.
    #[must_use]
    pub fn sdp_mid(&self) -> String {
        self.sdp_mid.clone()
    }

    /// The index of the media section.
    #[must_use]
    pub fn sdp_mline_index(&self) -> i32 {
        self.sdp_mline_index
    }

    /// The `candidate:…` line.
    #[must_use]
    pub fn candidate(&self) -> String {
        self.candidate.clone()
    }
}

impl fmt::Display for IceCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.candidate)
    }
}

impl fmt::Debug for IceCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCandidate")
            .field("candidate", &self.candidate)
            .finish()
    }
}

/// The fields of a candidate line that decisions are made on (RFC 8839, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CandidateFields {
    /// Whether the transport is UDP.
    pub udp: bool,
    /// Whether one connects to it over TCP.
    pub tcp_passive: bool,
    /// The address, where it is a literal one; mDNS names are not.
    pub address: Option<IpAddr>,
}

impl CandidateFields {
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        let line = line.strip_prefix("a=").unwrap_or(line);
        let line = line.strip_prefix("candidate:").unwrap_or(line);
        let mut words = line.split_ascii_whitespace();
        let mut word = |missing| words.next().ok_or(missing);
        word("the candidate has no foundation")?;
        word("the candidate has no component")?
            .parse::<u16>()
            .map_err(|_| "the candidate's component is no number")?;
        let udp = word("the candidate has no transport")?.eq_ignore_ascii_case("udp");
        word("the candidate has no priority")?
            .parse::<u32>()
            .map_err(|_| "the candidate's priority is no number")?;
        let address = word("the candidate has no address")?.parse().ok();
        word("the candidate has no port")?
            .parse::<u16>()
            .map_err(|_| "the candidate's port is no number")?;
        if word("the candidate has no type")? != "typ" {
            return Err("the candidate's type is not marked by typ");
        }
        word("the candidate's type is empty")?;
        let tcp_passive = !udp
            && words
                .by_ref()
                .skip_while(|word| *word != "tcptype")
                .nth(1)
                .is_some_and(|kind| kind == "passive");
        Ok(Self {
            udp,
            tcp_passive,
            address,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host";

    #[test]
    fn a_candidate_keeps_its_text_and_section() {
        let candidate = IceCandidate::parse("audio", 3, HOST).unwrap();
        assert_eq!(candidate.to_string(), HOST);
        assert_eq!(
            (candidate.sdp_mid().as_str(), candidate.sdp_mline_index()),
            ("audio", 3)
        );
    }

    #[test]
    fn address_and_transport_are_read() {
        let fields = CandidateFields::parse(HOST).unwrap();
        assert_eq!(
            fields,
            CandidateFields {
                udp: true,
                tcp_passive: false,
                address: "127.0.0.1".parse().ok()
            }
        );
        let mdns = CandidateFields::parse("candidate:1 1 TCP 7 x.local 9 typ host").unwrap();
        assert_eq!(
            mdns,
            CandidateFields {
                udp: false,
                tcp_passive: false,
                address: None
            }
        );
        let passive = "candidate:1 1 tcp 7 127.0.0.1 9 typ host tcptype passive ufrag x";
        assert!(CandidateFields::parse(passive).unwrap().tcp_passive);
        let active = passive.replace("passive", "active");
        assert!(!CandidateFields::parse(&active).unwrap().tcp_passive);
    }

    #[test]
    fn a_candidate_without_a_type_is_refused() {
        assert!(IceCandidate::parse("0", 0, "candidate:1 1 udp 1 127.0.0.1 5000").is_err());
        assert!(
            IceCandidate::parse("0", 0, "candidate:1 1 udp x 127.0.0.1 5000 typ host").is_err()
        );
    }

    #[test]
    fn the_end_of_candidates_is_a_candidate() {
        assert!(IceCandidate::parse("0", 0, "").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = IceCandidate::parse("0", 0, &text);
        }
    }
}
