//! Data channels.

use std::fmt;
use std::str::Utf8Error;
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use crate::pc::Channel;
use crate::rtp_parameters::Priority;

/// How a data channel is to behave.
#[derive(Clone, Debug)]
pub struct DataChannelInit {
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// For how many milliseconds a message is worth retransmitting.
    pub max_retransmit_time: Option<i32>,
    /// How often a message is retransmitted.
    pub max_retransmits: Option<i32>,
    /// A name of the protocol spoken in the channel.
    pub protocol: String,
    /// Whether both sides create the channel with the same `id`, without a handshake.
    pub negotiated: bool,
    /// The SCTP stream of a negotiated channel, −1 otherwise.
    pub id: i32,
    /// Its importance; all channels are alike in this implementation.
    pub priority: Option<Priority>,
}

impl Default for DataChannelInit {
    fn default() -> Self {
        Self {
            ordered: true,
            max_retransmit_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: -1,
            priority: None,
        }
    }
}

/// Why a message was not accepted.
#[derive(Debug, Error)]
pub enum DataChannelError {
    /// The channel is not open, the message too long for the remote side, or too much unsent.
    #[error("failed to send data, dc not open? send buffer is full ?")]
    Send,
    /// A text message has to be UTF-8.
    #[error("only utf8 strings can be sent")]
    Utf8(#[from] Utf8Error),
}

/// The life of a data channel.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataChannelState {
    /// Not usable yet.
    Connecting,
    /// Usable.
    Open,
    /// Being closed.
    Closing,
    /// Over.
    Closed,
}

/// A received message.
#[derive(Debug)]
pub struct DataBuffer<'a> {
    /// The message.
    pub data: &'a [u8],
    /// Whether it was sent as bytes rather than text.
    pub binary: bool,
}

/// Called with each new state.
pub type OnStateChange = Box<dyn FnMut(DataChannelState) + Send + Sync>;
/// Called with each message.
pub type OnMessage = Box<dyn FnMut(DataBuffer) + Send + Sync>;
/// Called with the number of bytes that left the send buffer.
pub type OnBufferedAmountChange = Box<dyn FnMut(u64) + Send + Sync>;

/// A data channel. Callbacks run on the I/O threads of this crate and must not block.
#[derive(Clone)]
pub struct DataChannel {
    pub(crate) channel: Arc<Channel>,
}

impl DataChannel {
    /// Queues one message.
    ///
    /// # Errors
    /// The channel is not open, the message is too long, the buffer full, or the text not UTF-8.
    pub fn send(&self, data: &[u8], binary: bool) -> Result<(), DataChannelError> {
        self.channel.send(data, binary)
    }

    /// The SCTP stream, −1 as long as there is none.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.channel.stream_id()
    }

    /// The name it was created with.
    #[must_use]
    pub fn label(&self) -> String {
        self.channel.label().to_owned()
    }

    /// Its state now.
    #[must_use]
    pub fn state(&self) -> DataChannelState {
        self.channel.state()
    }

    /// Closes it; what is queued is still sent.
    pub fn close(&self) {
        self.channel.close();
    }

    /// Bytes accepted and neither acknowledged nor given up.
    #[must_use]
    pub fn buffered_amount(&self) -> u64 {
        self.channel.buffered_amount()
    }

    /// Sets what is called with each new state.
    pub fn on_state_change(&self, callback: Option<OnStateChange>) {
        self.channel.set_on_state_change(callback);
    }

    /// Sets what is called with each message; messages that came before are kept for it.
    pub fn on_message(&self, callback: Option<OnMessage>) {
        self.channel.set_on_message(callback);
    }

    /// Sets what is called with the number of bytes that left the send buffer.
    pub fn on_buffered_amount_change(&self, callback: Option<OnBufferedAmountChange>) {
        self.channel.set_on_buffered_amount_change(callback);
    }
}

impl fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataChannel")
            .field("id", &self.id())
            .field("label", &self.channel.label())
            .field("state", &self.state())
            .finish()
    }
}
