//! The protocol core of one peer connection: the only module that touches the sans-IO stack `rtc`.
//!
//! [`Core`] speaks in types of this crate, takes the time as an argument, and never blocks. A
//! panic inside the stack ends this core with an error and goes no further.

mod channels;
mod config;
mod crypto;
mod drain;
mod media;
mod nack;
mod negotiation;
mod reports;
mod sdp_fix;
mod selected;
mod stats;
mod stun;
mod turn;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;
use rtc::sansio::Protocol;
use rtc::shared::error::Error as StackError;
use thiserror::Error;

pub(crate) use channels::ChannelOptions;
pub(crate) use config::capabilities;
pub(crate) use drain::{CoreEvent, Outputs, Packet, ReceivedRtp};
pub(crate) use media::OutgoingRtp;
use nack::Resent;
pub(crate) use negotiation::check_sdp;
use reports::Reports;
#[cfg(test)]
pub(crate) use stun::testing;
pub(crate) use stun::{BindingAnswer, BindingRequest, is_binding_success};
pub(crate) use turn::{TurnAccess, TurnClient, TurnEvent};
#[cfg(any(fuzzing, test))]
pub(crate) use {crypto::rename_unknown_items, sdp_fix::announce_sources};

use crate::RtcError;

/// Why the core did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum CoreError {
    #[error("the peer connection is closed")]
    Closed,
    #[error(
        "the protocol stack panicked ({0}) and this peer connection is over; make a new one, and report the panic"
    )]
    Panicked(String),
    #[error("the protocol stack refused: {0}")]
    Refused(#[from] StackError),
    #[error("{0}")]
    Unsupported(&'static str),
}

impl From<CoreError> for RtcError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Closed => RtcError::invalid_state(error.to_string()),
            _ => RtcError::internal(error.to_string()),
        }
    }
}

/// The protocol stack of one peer connection.
pub(crate) struct Core {
    stack: Option<Box<RTCPeerConnection>>,
    /// Why `stack` is gone, if a panic took it.
    panic: Option<String>,
    reports: Reports,
    resent: Resent,
    /// Something was done with the stack since it was drained that its layers may have to talk about.
    is_stirred: bool,
    /// The last offer and answer as the stack wrote them: it takes back no other text.
    last_offer: Option<String>,
    last_answer: Option<String>,
}

impl Core {
    /// Builds the stack, with a fresh certificate.
    pub fn new(now: Instant) -> Result<Self, CoreError> {
        let (reports, resent) = (Reports::default(), Resent::default());
        let build = || config::build(now, &reports, &resent);
        let stack = match catch_unwind(AssertUnwindSafe(build)) {
            Ok(built) => built?,
            Err(panic) => return Err(CoreError::Panicked(panic_text(panic.as_ref()))),
        };
        Ok(Self {
            stack: Some(Box::new(stack)),
            panic: None,
            reports,
            resent,
            is_stirred: true,
            last_offer: None,
            last_answer: None,
        })
    }

    /// Runs one call of the stack; a panic in it becomes an error, here and from now on.
    fn call<R>(
        &mut self,
        run: impl FnOnce(&mut RTCPeerConnection) -> Result<R, StackError>,
    ) -> Result<R, CoreError> {
        self.is_stirred = true;
        self.call_quietly(run)
    }

    /// The same for a call that asks for something only, or hands a media packet in.
    fn call_quietly<R>(
        &mut self,
        run: impl FnOnce(&mut RTCPeerConnection) -> Result<R, StackError>,
    ) -> Result<R, CoreError> {
        let Some(stack) = self.stack.as_mut() else {
            return Err(self.gone());
        };
        match catch_unwind(AssertUnwindSafe(|| run(stack))) {
            Ok(result) => Ok(result?),
            Err(panic) => {
                self.panic = Some(panic_text(panic.as_ref()));
                self.discard();
                Err(self.gone())
            }
        }
    }

    /// Ends the stack as a panic inside it would.
    #[cfg(test)]
    pub fn panic_now(&mut self) {
        let panicked: Result<(), CoreError> = self.call(|_| panic!("on purpose"));
        drop(panicked);
    }

    /// Whether a panic ended the stack.
    pub fn has_panicked(&self) -> bool {
        self.panic.is_some()
    }

    /// Says goodbye to the peer; what is to be sent for that comes with the next drain.
    pub fn close(&mut self) -> Result<(), CoreError> {
        self.call(Protocol::close)
    }

    /// Frees the stack.
    pub fn discard(&mut self) {
        if let Some(stack) = self.stack.take() {
            // Its destructors may panic as well, most of all after a panic.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(stack)));
            if let Err(panic) = dropped {
                log::error!(
                    "dropping the protocol stack panicked: {}",
                    panic_text(panic.as_ref())
                );
            }
        }
    }

    fn gone(&self) -> CoreError {
        match &self.panic {
            Some(text) => CoreError::Panicked(text.clone()),
            None => CoreError::Closed,
        }
    }
}

/// Runs one call of a part of the stack that stands by itself; a panic in it becomes an error, after which that part is to be
/// given up.
fn guarded<R>(run: impl FnOnce() -> Result<R, StackError>) -> Result<R, CoreError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Ok(result?),
        Err(panic) => Err(CoreError::Panicked(panic_text(panic.as_ref()))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_the_stack_ends_this_core_with_an_error() {
        let mut core = Core::new(Instant::now()).unwrap();
        let panicked: Result<(), _> = core.call(|_| panic!("the stack is broken"));
        assert!(
            matches!(panicked, Err(CoreError::Panicked(text)) if text == "the stack is broken")
        );
        assert!(core.has_panicked());
        assert!(matches!(
            core.create_offer(false),
            Err(CoreError::Panicked(_))
        ));
    }

    #[test]
    fn a_discarded_core_says_that_it_is_closed() {
        let mut core = Core::new(Instant::now()).unwrap();
        core.discard();
        assert!(matches!(core.create_offer(false), Err(CoreError::Closed)));
    }
}
