//! The question to a STUN server and its answer, as bytes (RFC 8489); when they are sent is not known here.

use std::net::SocketAddr;

use bytes::BytesMut;
use rtc::stun::addr::MappedAddress;
use rtc::stun::attributes::ATTR_ERROR_CODE;
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId,
    is_stun_message,
};
use rtc::stun::xoraddr::XorMappedAddress;

use super::{CoreError, guarded};

/// Characters of a refusal's reason (RFC 8489, section 14.8).
const WORDS_MAX: usize = 127;

/// What tells an answer from those to other questions; nobody guesses it who has not seen the question.
pub(crate) type QuestionId = [u8; 12];

/// "From which address does this come to you?"
#[derive(Debug, Clone)]
pub(crate) struct BindingRequest {
    pub id: QuestionId,
    pub bytes: BytesMut,
}

impl BindingRequest {
    pub fn new() -> Result<Self, CoreError> {
        let (id, raw) = guarded(|| {
            let (mut message, id) = (Message::new(), TransactionId::new());
            message.build(&[Box::new(BINDING_REQUEST), Box::new(id)])?;
            Ok((id.0, message.raw))
        })?;
        Ok(Self {
            id,
            bytes: BytesMut::from(&raw[..]),
        })
    }
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BindingAnswer {
    pub id: QuestionId,
    /// The address that the server saw, or the code and the words of its refusal.
    pub seen: Result<SocketAddr, (u16, String)>,
}

impl BindingAnswer {
    /// Reads an answer; none if the datagram is anything else, or says nothing.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        if !is_stun_message(datagram) {
            return None;
        }
        guarded(|| {
            let mut message = Message::default();
            message.unmarshal_binary(datagram)?;
            Ok(Self::from_message(&message))
        })
        .ok()?
    }

    fn from_message(message: &Message) -> Option<Self> {
        let seen = if message.typ == BINDING_SUCCESS {
            Ok(seen(message)?)
        } else if message.typ == BINDING_ERROR {
            let mut error = ErrorCodeAttribute::default();
            if message.contains(ATTR_ERROR_CODE) {
                error.get_from(message).ok()?;
            }
            let reason = String::from_utf8_lossy(&error.reason);
            Err((error.code.0, printable(&reason)))
        } else {
            return None;
        };
        let id = message.transaction_id.0;
        Some(Self { id, seen })
    }
}

/// The address in an answer; in the old form (RFC 3489) where the new one is missing.
fn seen(message: &Message) -> Option<SocketAddr> {
    let mut xored = XorMappedAddress::default();
    if xored.get_from(message).is_ok() {
        return Some(SocketAddr::new(xored.ip, xored.port));
    }
    let mut plain = MappedAddress::default();
    plain.get_from(message).ok()?;
    Some(SocketAddr::new(plain.ip, plain.port))
}

/// Words of somebody else, fit for a log: no more than are allowed, and control characters are none.
fn printable(words: &str) -> String {
    let shown = words.chars().filter(|c| !c.is_control());
    shown.take(WORDS_MAX).collect()
}

/// Whether a datagram has the form of an answer to a connectivity check. Whether it is one, the stack tells.
pub(crate) fn is_binding_success(datagram: &[u8]) -> bool {
    is_stun_message(datagram) && datagram[..2] == BINDING_SUCCESS.value().to_be_bytes()
}

/// Answers as a server would, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The answer to the question in these bytes.
    pub fn binding_success(question: &[u8], seen: SocketAddr) -> Vec<u8> {
        let mut id = TransactionId::default();
        id.0.copy_from_slice(&question[8..20]);
        let (ip, port) = (seen.ip(), seen.port());
        let mut message = Message::new();
        let built = message.build(&[
            Box::new(BINDING_SUCCESS),
            Box::new(id),
            Box::new(XorMappedAddress { ip, port }),
        ]);
        built.map(|()| message.raw).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::stun::error_code::CODE_UNAUTHORIZED;

    use super::*;

    fn answer(of: &[Box<dyn rtc::stun::message::Setter>]) -> Option<BindingAnswer> {
        let mut message = Message::new();
        message.build(of).unwrap();
        BindingAnswer::read(&message.raw)
    }

    #[test]
    fn the_address_that_the_server_saw_is_read() {
        for text in ["192.0.2.1:4000", "[2001:db8::1]:4000"] {
            let address: SocketAddr = text.parse().unwrap();
            let (ip, port) = (address.ip(), address.port());
            let id = TransactionId([7; 12]);
            let expected = BindingAnswer {
                id: id.0,
                seen: Ok(address),
            };
            let xored = answer(&[
                Box::new(BINDING_SUCCESS),
                Box::new(id),
                Box::new(XorMappedAddress { ip, port }),
            ]);
            assert_eq!(xored.as_ref(), Some(&expected));
            let plain = answer(&[
                Box::new(BINDING_SUCCESS),
                Box::new(id),
                Box::new(MappedAddress { ip, port }),
            ]);
            assert_eq!(plain, Some(expected));
        }
    }

    #[test]
    fn a_refusal_is_read_with_its_code() {
        let refused = answer(&[
            Box::new(BINDING_ERROR),
            Box::new(TransactionId([7; 12])),
            Box::new(CODE_UNAUTHORIZED),
        ]);
        let (code, words) = refused.unwrap().seen.unwrap_err();
        assert_eq!((code, words.as_str()), (401, "Unauthorized"));
    }

    #[test]
    fn what_is_no_answer_is_left_alone() {
        let request = BindingRequest::new().unwrap();
        assert_eq!(BindingAnswer::read(&request.bytes), None);
        assert!(!is_binding_success(&request.bytes));
        assert_eq!(BindingAnswer::read(b"hello"), None);
        assert_eq!(answer(&[Box::new(BINDING_SUCCESS)]), None, "no address");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..100), error: bool) {
            let typ = if error { BINDING_ERROR } else { BINDING_SUCCESS };
            let mut datagram = typ.value().to_be_bytes().to_vec();
            datagram.extend((body.len() as u16).to_be_bytes());
            datagram.extend([0x21, 0x12, 0xa4, 0x42]);
            datagram.extend([0; 12]);
            datagram.extend(body);
            let _ = BindingAnswer::read(&datagram);
        }
    }
}
