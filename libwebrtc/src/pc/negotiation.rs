//! Offer and answer: what the API asks, what the core is told, and what follows for the media.

use std::sync::Arc;
use std::time::Instant;

use super::event::Event;
use super::{Pc, State};
use crate::RtcError;
use crate::peer_connection::{OfferOptions, SignalingState};
use crate::rtp_transceiver::RtpTransceiverDirection;
use crate::sdp;
use crate::session_description::{SdpType, SessionDescription};

/// The descriptions as they were applied, in the words in which they came.
#[derive(Default)]
pub(super) struct Descriptions {
    pending_local: Option<SessionDescription>,
    current_local: Option<SessionDescription>,
    pending_remote: Option<SessionDescription>,
    current_remote: Option<SessionDescription>,
}

impl Descriptions {
    pub fn latest_local(&self) -> Option<&SessionDescription> {
        self.pending_local.as_ref().or(self.current_local.as_ref())
    }

    pub fn has_remote(&self) -> bool {
        self.latest_remote().is_some()
    }

    fn latest_remote(&self) -> Option<&SessionDescription> {
        self.pending_remote
            .as_ref()
            .or(self.current_remote.as_ref())
    }

    fn apply_local(&mut self, desc: SessionDescription) {
        if desc.sdp_type() == SdpType::Answer {
            self.current_local = Some(desc);
            self.pending_local = None;
            self.current_remote = self.pending_remote.take().or(self.current_remote.take());
        } else {
            self.pending_local = Some(desc);
        }
    }

    fn apply_remote(&mut self, desc: SessionDescription) {
        if desc.sdp_type() == SdpType::Answer {
            self.current_remote = Some(desc);
            self.pending_remote = None;
            self.current_local = self.pending_local.take().or(self.current_local.take());
        } else {
            self.pending_remote = Some(desc);
        }
    }
}

impl Pc {
    pub fn create_offer(&self, options: &OfferOptions) -> Result<SessionDescription, RtcError> {
        self.change(|state| {
            state.ensure_open()?;
            let now = Instant::now();
            if options.ice_restart {
                state.forget_absent(now);
            }
            // Candidates that are known now travel in the offer and save a message each.
            state.gather(now, []);
            let sdp = state.core.create_offer(options.ice_restart)?;
            Ok(state.created(sdp, SdpType::Offer))
        })
    }

    pub fn create_answer(&self) -> Result<SessionDescription, RtcError> {
        self.change(|state| {
            state.ensure_open()?;
            let sdp = state.core.create_answer()?;
            Ok(state.created(sdp, SdpType::Answer))
        })
    }

    pub fn set_local_description(
        self: &Arc<Self>,
        desc: SessionDescription,
    ) -> Result<(), RtcError> {
        self.change(|state| state.set_local(desc))?;
        self.reconcile_senders();
        Ok(())
    }

    pub fn set_remote_description(
        self: &Arc<Self>,
        desc: SessionDescription,
    ) -> Result<(), RtcError> {
        self.change(|state| state.set_remote(self, desc))?;
        self.reconcile_senders();
        Ok(())
    }

    pub fn current_local_description(&self) -> Option<SessionDescription> {
        self.state.lock().descriptions.current_local.clone()
    }

    pub fn current_remote_description(&self) -> Option<SessionDescription> {
        self.state.lock().descriptions.current_remote.clone()
    }
}

impl State {
    fn created(&self, sdp: String, sdp_type: SdpType) -> SessionDescription {
        // The core knows neither which candidates may be told nor all that there are.
        let candidates = self.candidates.tellable(self.transports);
        SessionDescription::trusted(sdp::with_candidates(&sdp, candidates), sdp_type)
    }

    fn set_local(&mut self, desc: SessionDescription) -> Result<(), RtcError> {
        self.ensure_open()?;
        let sdp_type = desc.sdp_type();
        // `livekit` edits what it was given (stereo, recvonly for inactive) and sets that. The
        // core takes back only its own words, so it is given those, and the edits that matter
        // here are applied beside it. The origin line says whether it is the same description.
        let same = self
            .core
            .last_created(sdp_type)
            .is_some_and(|created| sdp::origin(created) == sdp::origin(desc.sdp()));
        if !same && sdp_type != SdpType::Rollback {
            return Err(RtcError::invalid_sdp(format!(
                "the {sdp_type} is not the last one that was created: create it again and set that"
            )));
        }
        let now = Instant::now();
        let restarts = restarts_ice(self.descriptions.latest_local(), &desc);
        self.core.set_local(now, sdp_type)?;
        if restarts {
            self.restart_gathering(now);
            self.refill_core();
        }
        self.adopt_mids()?;
        for section in sdp::sections(desc.sdp()) {
            let Some(index) = self.transceiver_by_mid(&section.mid) else {
                continue;
            };
            let transceiver = &mut self.transceivers[index];
            if sdp_type == SdpType::Answer {
                transceiver.current_direction = Some(section.direction);
            } else if section.direction != transceiver.direction
                && section.direction == RtpTransceiverDirection::RecvOnly
            {
                self.core.set_direction(index, section.direction)?;
                self.transceivers[index].direction = section.direction;
            }
        }
        self.descriptions.apply_local(desc);
        self.report_signaling();
        self.report_candidates();
        Ok(())
    }

    fn set_remote(&mut self, pc: &Arc<Pc>, desc: SessionDescription) -> Result<(), RtcError> {
        self.ensure_open()?;
        let sdp_type = desc.sdp_type();
        let now = Instant::now();
        let restarts = restarts_ice(self.descriptions.latest_remote(), &desc);
        if restarts {
            self.restart_gathering(now);
        }
        // Sockets before the description, so that the checks begin with it.
        let remote: Vec<_> = sdp::candidates(desc.sdp()).collect();
        self.meet(now, &remote);
        self.core
            .set_remote(now, sdp_type, desc.sdp())
            .map_err(|error| {
                RtcError::invalid_sdp(format!("the remote {sdp_type} can't be applied: {error}"))
            })?;
        if restarts {
            self.refill_core();
        }
        self.adopt_mids()?;
        for section in sdp::sections(desc.sdp()) {
            self.apply_remote_section(pc, &section, sdp_type);
        }
        self.rebuild_routes();
        self.descriptions.apply_remote(desc);
        self.report_signaling();
        self.report_candidates();
        Ok(())
    }

    fn report_signaling(&mut self) {
        let state: SignalingState = self.core.signaling_state();
        self.events.push_back(Event::Signaling(state));
    }
}

/// Whether an offer asks for a new path: it does so by other credentials than those of the description before it.
fn restarts_ice(before: Option<&SessionDescription>, offer: &SessionDescription) -> bool {
    offer.sdp_type() == SdpType::Offer
        && before.is_some_and(|before| sdp::ice_ufrag(before.sdp()) != sdp::ice_ufrag(offer.sdp()))
}
