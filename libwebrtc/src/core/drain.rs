//! Driving the stack: datagrams and time in; packets, events and media out.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::{Core, CoreError};
use crate::peer_connection::{IceConnectionState, PeerConnectionState};

/// A datagram to be sent from a local to a remote address.
#[derive(Debug)]
pub(crate) struct Packet {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// Whether it goes over a TCP connection.
    pub tcp: bool,
    pub data: BytesMut,
}

/// A received RTP packet, decrypted.
#[derive(Debug)]
pub(crate) struct ReceivedRtp {
    pub ssrc: u32,
    pub sequence_number: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Bytes,
    pub arrival: Instant,
    /// Whether it was asked for, so that its arrival says nothing about the way.
    pub resent: bool,
}

impl ReceivedRtp {
    fn new(arrival: Instant, packet: rtc::rtp::Packet) -> Self {
        Self {
            ssrc: packet.header.ssrc,
            sequence_number: packet.header.sequence_number,
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload: packet.payload,
            arrival,
            resent: false,
        }
    }

    pub(super) fn resent(arrival: Instant, packet: rtc::rtp::Packet) -> Self {
        Self {
            resent: true,
            ..Self::new(arrival, packet)
        }
    }
}

/// Something that the stack reports.
#[derive(Debug)]
pub(crate) enum CoreEvent {
    ConnectionState(PeerConnectionState),
    IceState(IceConnectionState),
    NegotiationNeeded,
    ChannelOpen(usize),
    ChannelClosed(usize),
    Message {
        key: usize,
        data: BytesMut,
        binary: bool,
    },
}

/// What one turn of the stack gave.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub packets: Vec<Packet>,
    pub events: Vec<CoreEvent>,
    pub media: Vec<ReceivedRtp>,
}

impl Core {
    /// Hands in a received datagram.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        peer: SocketAddr,
        tcp: bool,
        data: BytesMut,
    ) -> Result<(), CoreError> {
        let transport = TransportContext {
            local_addr: local,
            peer_addr: peer,
            transport_protocol: if tcp {
                TransportProtocol::TCP
            } else {
                TransportProtocol::UDP
            },
            ecn: None,
        };
        let is_media = is_media(&data);
        let take = |stack: &mut RTCPeerConnection| {
            stack.handle_read(TaggedBytesMut {
                now,
                transport,
                message: data,
            })
        };
        if is_media {
            self.call_quietly(take)
        } else {
            self.call(take)
        }
    }

    /// Tells the stack that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), CoreError> {
        self.call(|stack| stack.handle_timeout(now))
    }

    /// When the stack wants to be told the time next.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        self.call_quietly(|stack| Ok(stack.poll_timeout()))
            .ok()
            .flatten()
    }

    /// Takes out everything that the stack has ready.
    ///
    /// Each question to the stack is a way through all of its layers. What one layer makes another do comes out
    /// when they are asked again; a packet of sound goes straight through, so that asking once is enough.
    pub fn drain(&mut self, out: &mut Outputs) -> Result<(), CoreError> {
        let mut is_stirred = std::mem::take(&mut self.is_stirred);
        self.call_quietly(|stack| {
            loop {
                let mut ask_again = std::mem::take(&mut is_stirred);
                while let Some(event) = stack.poll_event() {
                    ask_again = true;
                    out.events.extend(translate(event));
                }
                while let Some(read) = stack.poll_read() {
                    ask_again |= out.take_message(read);
                }
                while let Some(write) = stack.poll_write() {
                    ask_again |= !is_media(&write.message);
                    out.packets.push(Packet {
                        local: write.transport.local_addr,
                        peer: write.transport.peer_addr,
                        tcp: write.transport.transport_protocol == TransportProtocol::TCP,
                        data: write.message,
                    });
                }
                if !ask_again {
                    return Ok(());
                }
            }
        })?;
        self.resent.take_into(&mut out.media);
        Ok(())
    }
}

impl Outputs {
    /// Whether the message was something else than media.
    fn take_message(&mut self, read: TaggedRTCMessage) -> bool {
        match read.message {
            RTCMessage::DataChannelMessage(key, message) => {
                self.events.push(CoreEvent::Message {
                    key,
                    data: message.data,
                    binary: !message.is_string,
                });
                return true;
            }
            RTCMessage::RtpPacket(_, packet) => {
                self.media.push(ReceivedRtp::new(read.now, packet));
            }
            // Reports are read on their way in, by the observer in `reports`.
            RTCMessage::RtcpPacket(..) => {}
            _ => return true,
        }
        false
    }
}

/// Whether a datagram is RTP or RTCP, by its first byte (RFC 7983, section 7).
fn is_media(datagram: &[u8]) -> bool {
    datagram
        .first()
        .is_some_and(|first| (128..=191).contains(first))
}

fn translate(event: RTCPeerConnectionEvent) -> Option<CoreEvent> {
    Some(match event {
        RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => {
            CoreEvent::ConnectionState(state.into())
        }
        RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(state) => {
            CoreEvent::IceState(state.into())
        }
        RTCPeerConnectionEvent::OnNegotiationNeededEvent => CoreEvent::NegotiationNeeded,
        RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(key)) => {
            CoreEvent::ChannelOpen(key)
        }
        RTCPeerConnectionEvent::OnDataChannel(
            RTCDataChannelEvent::OnClose(key) | RTCDataChannelEvent::OnError(key),
        ) => CoreEvent::ChannelClosed(key),
        _ => return None,
    })
}

impl From<RTCPeerConnectionState> for PeerConnectionState {
    fn from(state: RTCPeerConnectionState) -> Self {
        match state {
            RTCPeerConnectionState::Connecting => Self::Connecting,
            RTCPeerConnectionState::Connected => Self::Connected,
            RTCPeerConnectionState::Disconnected => Self::Disconnected,
            RTCPeerConnectionState::Failed => Self::Failed,
            RTCPeerConnectionState::Closed => Self::Closed,
            _ => Self::New,
        }
    }
}

impl From<RTCIceConnectionState> for IceConnectionState {
    fn from(state: RTCIceConnectionState) -> Self {
        match state {
            RTCIceConnectionState::Checking => Self::Checking,
            RTCIceConnectionState::Connected => Self::Connected,
            RTCIceConnectionState::Completed => Self::Completed,
            RTCIceConnectionState::Disconnected => Self::Disconnected,
            RTCIceConnectionState::Failed => Self::Failed,
            RTCIceConnectionState::Closed => Self::Closed,
            _ => Self::New,
        }
    }
}
