//! Session descriptions, candidates, addresses of servers.

use crate::core::announce_sources;
use crate::ice_candidate::IceCandidate;
use crate::net::{RelayServer, StunServer};
use crate::pc::CloseOnDrop;
use crate::peer_connection_factory::RtcConfiguration;
use crate::sdp;
use crate::session_description::{SdpType, SessionDescription};

/// Between two descriptions of one input.
const BORDER: &str = "\n====\n";
/// Descriptions of one input.
const DESCRIPTIONS_MAX: usize = 4;

/// What this side reads of a description, and what it changes before the stack reads it.
pub fn descriptions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let sections = sdp::sections(&text);
    for section in &sections {
        assert!(section.ssrcs.len() <= text.len());
    }
    let _ = (sdp::origin(&text), sdp::candidates(&text).count());
    let candidate = "candidate:1 1 udp 1 192.0.2.1 1 typ host";
    let told = sdp::with_candidates(&text, [candidate].into_iter());
    assert!(sdp::candidates(&told).count() <= 1);
    assert_eq!(sdp::sections(&told).len(), sections.len());
    let _ = sdp::ice_ufrag(&text);
    let fixed = announce_sources(&text);
    assert_eq!(announce_sources(&fixed), fixed, "repaired once is repaired");
    assert_eq!(sdp::sections(&fixed).len(), sections.len());
}

/// Offers, one after the other, to one peer connection, each answered as far as that goes.
pub fn negotiation(data: &[u8]) {
    let Ok(connection) = CloseOnDrop::open(&RtcConfiguration::default()) else {
        return;
    };
    let pc = &connection.pc;
    let text = String::from_utf8_lossy(data);
    for sdp in text.split(BORDER).take(DESCRIPTIONS_MAX) {
        let Ok(offer) = SessionDescription::parse(sdp, SdpType::Offer) else {
            continue;
        };
        if pc.set_remote_description(offer).is_ok()
            && let Ok(answer) = pc.create_answer()
        {
            let _ = pc.set_local_description(answer);
        }
        for transceiver in pc.transceivers() {
            let _ = (transceiver.receiver().streams(), transceiver.mid());
        }
    }
}

/// Candidates as they trickle in, one a line, and the addresses of STUN and TURN servers.
pub fn candidates(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        if let Ok(candidate) = IceCandidate::parse("0", 0, line) {
            assert_eq!(candidate.to_string(), line);
        }
        if let Some(server) = RelayServer::parse(line, "user", "password") {
            assert!(!server.host.is_empty());
            assert_eq!(
                RelayServer::parse(&server.url(), "user", "password"),
                Some(server)
            );
        }
        if let Some(server) = StunServer::parse(line) {
            assert_eq!(StunServer::parse(&server.url()), Some(server));
        }
    }
}
