//! Session descriptions: SDP text with its role in the offer/answer exchange.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::core;

/// The role of a description in the offer/answer exchange.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum SdpType {
    /// Proposes a session.
    Offer,
    /// Answers provisionally.
    PrAnswer,
    /// Answers finally.
    Answer,
    /// Withdraws the pending offer; not supported by [`crate::peer_connection::PeerConnection`].
    Rollback,
}

impl FromStr for SdpType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "offer" => Ok(Self::Offer),
            "pranswer" => Ok(Self::PrAnswer),
            "answer" => Ok(Self::Answer),
            "rollback" => Ok(Self::Rollback),
            _ => Err("invalid SdpType: expected offer, pranswer, answer or rollback"),
        }
    }
}

impl fmt::Display for SdpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offer => "offer",
            Self::PrAnswer => "pranswer",
            Self::Answer => "answer",
            Self::Rollback => "rollback",
        })
    }
}

/// Why a description or a candidate could not be parsed.
#[derive(Clone, Error, Debug)]
#[error("Failed to parse sdp: {line} - {description}")]
pub struct SdpParseError {
    /// The line at fault, empty where it isn't known.
    pub line: String,
    /// What is wrong with it.
    pub description: String,
}

/// A parsed session description.
#[derive(Clone)]
pub struct SessionDescription {
    sdp_type: SdpType,
    sdp: String,
}

impl SessionDescription {
    /// Checks `sdp` and wraps it; a rollback may be empty.
    ///
    /// # Errors
    /// The text is not a session description.
    pub fn parse(sdp: &str, sdp_type: SdpType) -> Result<Self, SdpParseError> {
        if sdp_type != SdpType::Rollback {
            core::check_sdp(sdp).map_err(|description| SdpParseError {
                line: String::new(),
                description,
            })?;
        }
        Ok(Self::trusted(sdp.to_owned(), sdp_type))
    }

    /// Wraps text that the core itself produced.
    pub(crate) fn trusted(sdp: String, sdp_type: SdpType) -> Self {
        Self { sdp_type, sdp }
    }

    /// The role of this description.
    #[must_use]
    pub fn sdp_type(&self) -> SdpType {
        self.sdp_type
    }

    pub(crate) fn sdp(&self) -> &str {
        &self.sdp
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sdp)
    }
}

impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDescription")
            .field("sdp_type", &self.sdp_type)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sdp_type_survives_its_text_form() {
        for sdp_type in [
            SdpType::Offer,
            SdpType::PrAnswer,
            SdpType::Answer,
            SdpType::Rollback,
        ] {
            assert_eq!(sdp_type.to_string().parse(), Ok(sdp_type));
        }
        assert!("Offer".parse::<SdpType>().is_err());
    }

    #[test]
    fn text_that_is_no_sdp_is_refused() {
        for text in ["", "hello", "v=1\r\n", "v=0\r\no=broken\r\n"] {
            assert!(
                SessionDescription::parse(text, SdpType::Offer).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_rollback_needs_no_text() {
        assert!(SessionDescription::parse("", SdpType::Rollback).is_ok());
    }
}
