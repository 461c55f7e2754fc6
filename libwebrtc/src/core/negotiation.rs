//! Offer and answer: the calls that make and apply descriptions and candidates.

use std::panic::catch_unwind;
use std::time::Instant;

use rtc::peer_connection::configuration::{RTCAnswerOptions, RTCOfferOptions};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;

use super::{Core, CoreError, panic_text, sdp_fix};
use crate::peer_connection::SignalingState;
use crate::session_description::SdpType;

/// Checks that a text is a session description that the stack can parse.
pub(crate) fn check_sdp(sdp: &str) -> Result<(), String> {
    match catch_unwind(|| RTCSessionDescription::offer(sdp.to_owned()).map(drop)) {
        Ok(parsed) => parsed.map_err(|error| error.to_string()),
        Err(panic) => Err(format!(
            "the parser panicked: {}",
            panic_text(panic.as_ref())
        )),
    }
}

impl Core {
    /// Writes an offer.
    pub fn create_offer(&mut self, ice_restart: bool) -> Result<String, CoreError> {
        let options = Some(RTCOfferOptions { ice_restart });
        let offer = self.call(|stack| stack.create_offer(options))?.sdp;
        self.last_offer = Some(offer.clone());
        Ok(offer)
    }

    /// Writes an answer to the remote offer.
    pub fn create_answer(&mut self) -> Result<String, CoreError> {
        let answer = self
            .call(|stack| stack.create_answer(None::<RTCAnswerOptions>))?
            .sdp;
        self.last_answer = Some(answer.clone());
        Ok(answer)
    }

    /// The text of the last offer or answer that the stack wrote.
    pub fn last_created(&self, sdp_type: SdpType) -> Option<&str> {
        match sdp_type {
            SdpType::Offer => self.last_offer.as_deref(),
            SdpType::Answer | SdpType::PrAnswer => self.last_answer.as_deref(),
            SdpType::Rollback => None,
        }
    }

    /// Applies the last offer or answer that the stack wrote.
    pub fn set_local(&mut self, now: Instant, sdp_type: SdpType) -> Result<(), CoreError> {
        let sdp = self
            .last_created(sdp_type)
            .ok_or(CoreError::Unsupported(
                "there is no description to apply: create it first",
            ))?
            .to_owned();
        let description = description(sdp_type, sdp)?;
        self.call(|stack| stack.set_local_description(now, description))
    }

    /// Applies a remote description.
    pub fn set_remote(
        &mut self,
        now: Instant,
        sdp_type: SdpType,
        sdp: &str,
    ) -> Result<(), CoreError> {
        let description = description(sdp_type, sdp_fix::announce_sources(sdp))?;
        self.call(|stack| stack.set_remote_description(now, description))
    }

    pub fn signaling_state(&mut self) -> SignalingState {
        let state = self.call_quietly(|stack| {
            let pending_local = stack.pending_local_description().map(|d| d.sdp_type);
            let pending_remote = stack.pending_remote_description().map(|d| d.sdp_type);
            Ok((pending_local, pending_remote))
        });
        use rtc::peer_connection::sdp::RTCSdpType::{Offer, Pranswer};
        match state {
            Err(_) => SignalingState::Closed,
            Ok((Some(Pranswer), _)) => SignalingState::HaveLocalPrAnswer,
            Ok((_, Some(Pranswer))) => SignalingState::HaveRemotePrAnswer,
            Ok((Some(Offer), _)) => SignalingState::HaveLocalOffer,
            Ok((_, Some(Offer))) => SignalingState::HaveRemoteOffer,
            Ok(_) => SignalingState::Stable,
        }
    }

    /// Makes the next offer ask for a new path.
    pub fn restart_ice(&mut self) -> Result<(), CoreError> {
        self.call(|stack| {
            stack.restart_ice();
            Ok(())
        })
    }

    /// Adds a local candidate line; an empty one says that there will be no more.
    pub fn add_local_candidate(&mut self, line: &str) -> Result<(), CoreError> {
        let candidate = RTCIceCandidateInit {
            candidate: line.to_owned(),
            ..Default::default()
        };
        self.call(|stack| stack.add_local_candidate(candidate))
    }

    /// Adds a remote candidate line.
    pub fn add_remote_candidate(&mut self, line: &str) -> Result<(), CoreError> {
        let candidate = RTCIceCandidateInit {
            candidate: line.to_owned(),
            ..Default::default()
        };
        self.call(|stack| stack.add_remote_candidate(candidate))
    }
}

fn description(sdp_type: SdpType, sdp: String) -> Result<RTCSessionDescription, CoreError> {
    Ok(match sdp_type {
        SdpType::Offer => RTCSessionDescription::offer(sdp)?,
        SdpType::Answer => RTCSessionDescription::answer(sdp)?,
        SdpType::PrAnswer => RTCSessionDescription::pranswer(sdp)?,
        SdpType::Rollback => {
            return Err(CoreError::Unsupported(
                "rollback is not supported: complete the exchange or make a new peer connection",
            ));
        }
    })
}
