//! The path that ICE has chosen.

use std::net::{IpAddr, SocketAddr};

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::transport::{RTCIceCandidate, RTCIceCandidatePair};

use super::{Core, CoreError};

/// The ends of the path in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selected {
    /// The address of the local candidate: of a socket, of a TCP connection, or at a TURN server.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl Core {
    /// The path in use; none while there is none, or before anything is negotiated.
    pub fn selected(&mut self) -> Result<Option<Selected>, CoreError> {
        self.call_quietly(|stack| Ok(selected_pair(stack).as_ref().and_then(ends)))
    }
}

/// The stack shows its ICE transport by way of what is sent over it alone; with bundling there is but one.
fn selected_pair(stack: &mut RTCPeerConnection) -> Option<RTCIceCandidatePair> {
    if let Some(sctp) = stack.sctp() {
        return sctp
            .transport()
            .ice_transport()
            .get_selected_candidate_pair();
    }
    let senders: Vec<_> = stack.get_senders().collect();
    for id in senders {
        if let Some(sender) = stack.rtp_sender(id)
            && let Some(transport) = sender.transport()
        {
            return transport.ice_transport().get_selected_candidate_pair();
        }
    }
    let receivers: Vec<_> = stack.get_receivers().collect();
    for id in receivers {
        if let Some(receiver) = stack.rtp_receiver(id)
            && let Some(transport) = receiver.transport()
        {
            return transport.ice_transport().get_selected_candidate_pair();
        }
    }
    None
}

fn ends(pair: &RTCIceCandidatePair) -> Option<Selected> {
    Some(Selected {
        local: address(pair.local())?,
        remote: address(pair.remote())?,
    })
}

fn address(candidate: &RTCIceCandidate) -> Option<SocketAddr> {
    let ip: IpAddr = candidate.address.parse().ok()?;
    Some(SocketAddr::new(ip, candidate.port))
}
