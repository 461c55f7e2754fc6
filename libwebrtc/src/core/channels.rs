//! Data channels of the stack.

use std::time::Instant;

use bytes::BytesMut;
use rtc::data_channel::RTCDataChannelInit;
use rtc::shared::error::Error as StackError;

use super::{Core, CoreError};

/// How a data channel is to behave, in the stack's terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelOptions {
    pub ordered: bool,
    pub max_packet_life_time_ms: Option<u16>,
    pub max_retransmits: Option<u16>,
    pub protocol: String,
    /// The SCTP stream, if both sides agreed on it beforehand.
    pub negotiated: Option<u16>,
}

/// What there is to know about a channel that the remote side opened.
#[derive(Debug, Clone)]
pub(crate) struct ChannelInfo {
    pub label: String,
    pub stream_id: Option<u16>,
}

impl Core {
    /// Creates a channel and returns its key.
    pub fn create_channel(
        &mut self,
        label: &str,
        options: ChannelOptions,
    ) -> Result<usize, CoreError> {
        let init = RTCDataChannelInit {
            ordered: options.ordered,
            max_packet_life_time: options.max_packet_life_time_ms,
            max_retransmits: options.max_retransmits,
            protocol: options.protocol,
            negotiated: options.negotiated,
        };
        self.call(|stack| Ok(stack.create_data_channel(label, Some(init))?.id()))
    }

    pub fn channel_info(&mut self, key: usize) -> Result<ChannelInfo, CoreError> {
        self.call(|stack| {
            let channel = stack
                .data_channel(key)
                .ok_or(StackError::ErrDataChannelClosed)?;
            Ok(ChannelInfo {
                label: channel.label().to_owned(),
                stream_id: channel.stream_id(),
            })
        })
    }

    /// Queues one message.
    pub fn send(
        &mut self,
        now: Instant,
        key: usize,
        data: &[u8],
        binary: bool,
    ) -> Result<(), CoreError> {
        self.call(|stack| {
            let mut channel = stack
                .data_channel(key)
                .ok_or(StackError::ErrDataChannelClosed)?;
            if binary {
                channel.send(now, BytesMut::from(data))
            } else {
                channel.send_text(now, String::from_utf8_lossy(data))
            }
        })
    }

    /// Bytes of this channel that the peer has not acknowledged and the stack not given up.
    pub fn outstanding_bytes(&mut self, key: usize) -> Result<usize, CoreError> {
        self.call_quietly(|stack| Ok(stack.data_channel(key).map_or(0, |c| c.outstanding_bytes())))
    }

    pub fn close_channel(&mut self, key: usize) -> Result<(), CoreError> {
        self.call_quietly(|stack| match stack.data_channel(key) {
            Some(mut channel) => channel.close(),
            None => Ok(()),
        })
    }
}
