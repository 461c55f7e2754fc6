//! A data channel behind the API.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::BytesMut;
use parking_lot::Mutex;

use super::callback::Callback;
use super::event::Event;
use super::{Pc, State};
use crate::RtcError;
use crate::core::ChannelOptions;
use crate::data_channel::{
    DataBuffer, DataChannel, DataChannelError, DataChannelInit, DataChannelState,
    OnBufferedAmountChange, OnMessage, OnStateChange,
};

/// Bytes that may be accepted and not yet acknowledged: libwebrtc's limit, beyond which `send` fails.
const BUFFERED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes that may wait for a message handler on a channel that has none yet.
const BACKLOG_BYTES_MAX: usize = 1024 * 1024;

/// A data channel. It outlives its connection, closed.
pub(crate) struct Channel {
    pc: Weak<Pc>,
    /// Names the channel to the protocol core.
    key: usize,
    label: String,
    stream_id: AtomicI32,
    state: Mutex<DataChannelState>,
    /// Bytes that the core accepted, and those of them that it released since.
    accepted: AtomicU64,
    released: AtomicU64,
    /// Messages that came before there was a handler.
    backlog: Mutex<Backlog>,
    on_state_change: Callback<OnStateChange>,
    on_message: Callback<OnMessage>,
    on_buffered_amount_change: Callback<OnBufferedAmountChange>,
}

#[derive(Default)]
struct Backlog {
    messages: VecDeque<(BytesMut, bool)>,
    bytes: usize,
}

impl Pc {
    pub fn create_data_channel(
        self: &Arc<Self>,
        label: &str,
        init: &DataChannelInit,
    ) -> Result<DataChannel, RtcError> {
        let options = channel_options(init)?;
        let stream_id = options.negotiated.map_or(-1, i32::from);
        self.change(|state| {
            state.ensure_open()?;
            let key = state.core.create_channel(label, options)?;
            let state_now = DataChannelState::Connecting;
            let channel = Channel::new(self, key, label.to_owned(), stream_id, state_now);
            state.channels.insert(key, Arc::clone(&channel));
            Ok(DataChannel { channel })
        })
    }
}

fn channel_options(init: &DataChannelInit) -> Result<ChannelOptions, RtcError> {
    let small = |value: Option<i32>, name: &str| {
        value.map(u16::try_from).transpose().map_err(|_| {
            RtcError::invalid_state(format!(
                "the data channel's {name} has to be within 0..=65535"
            ))
        })
    };
    Ok(ChannelOptions {
        ordered: init.ordered,
        max_packet_life_time_ms: small(init.max_retransmit_time, "max_retransmit_time")?,
        max_retransmits: small(init.max_retransmits, "max_retransmits")?,
        protocol: init.protocol.clone(),
        negotiated: if init.negotiated {
            small(Some(init.id), "id")?
        } else {
            None
        },
    })
}

impl State {
    /// The core says that a channel is open; one that isn't known was opened by the remote side.
    pub(super) fn channel_opened(&mut self, pc: &Arc<Pc>, key: usize) {
        let info = match self.core.channel_info(key) {
            Ok(info) => info,
            Err(error) => {
                log::debug!("a data channel opened and is gone again: {error}");
                return;
            }
        };
        let stream_id = info.stream_id.map_or(-1, i32::from);
        if let Some(channel) = self.channels.get(&key) {
            channel.stream_id.store(stream_id, Ordering::Relaxed);
            channel.set_state(DataChannelState::Open, &mut self.events);
        } else {
            let channel = Channel::new(pc, key, info.label, stream_id, DataChannelState::Open);
            self.channels.insert(key, Arc::clone(&channel));
            self.events.push_back(Event::Channel(DataChannel {
                channel: Arc::clone(&channel),
            }));
            self.events
                .push_back(Event::ChannelState(channel, DataChannelState::Open));
        }
    }

    pub(super) fn channel_closed(&mut self, key: usize) {
        if let Some(channel) = self.channels.remove(&key) {
            channel.mark_closed(&mut self.events);
        }
    }

    pub(super) fn channel_message(&mut self, key: usize, data: BytesMut, binary: bool) {
        if let Some(channel) = self.channels.get(&key) {
            self.events
                .push_back(Event::ChannelMessage(Arc::clone(channel), data, binary));
        }
    }

    /// Reports the bytes that left each channel's send buffer since the last time, exactly:
    /// `livekit` subtracts them from what it handed in.
    pub(super) fn note_released_bytes(&mut self) {
        for channel in self.channels.values() {
            let accepted = channel.accepted.load(Ordering::Relaxed);
            let released_before = channel.released.load(Ordering::Relaxed);
            if accepted == released_before {
                continue;
            }
            let Ok(outstanding) = self.core.outstanding_bytes(channel.key) else {
                continue;
            };
            let released = accepted.saturating_sub(outstanding as u64);
            if released > released_before {
                channel.released.store(released, Ordering::Relaxed);
                let event = Event::ChannelReleased(Arc::clone(channel), released - released_before);
                self.events.push_back(event);
            }
        }
    }
}

impl Channel {
    fn new(
        pc: &Arc<Pc>,
        key: usize,
        label: String,
        stream_id: i32,
        state: DataChannelState,
    ) -> Arc<Self> {
        Arc::new(Self {
            pc: Arc::downgrade(pc),
            key,
            label,
            stream_id: AtomicI32::new(stream_id),
            state: Mutex::new(state),
            accepted: AtomicU64::new(0),
            released: AtomicU64::new(0),
            backlog: Mutex::default(),
            on_state_change: Callback::default(),
            on_message: Callback::default(),
            on_buffered_amount_change: Callback::default(),
        })
    }

    pub fn send(&self, data: &[u8], binary: bool) -> Result<(), DataChannelError> {
        if !binary {
            std::str::from_utf8(data)?;
        }
        let pc = self.pc.upgrade().ok_or(DataChannelError::Send)?;
        pc.change(|state| {
            let full = self.buffered_amount() + data.len() as u64 > BUFFERED_BYTES_MAX;
            if self.state() != DataChannelState::Open || full {
                return Err(DataChannelError::Send);
            }
            state
                .core
                .send(Instant::now(), self.key, data, binary)
                .map_err(|error| {
                    log::debug!(
                        "data channel {:?} did not accept a message: {error}",
                        self.label
                    );
                    DataChannelError::Send
                })?;
            self.accepted
                .fetch_add(data.len() as u64, Ordering::Relaxed);
            Ok(())
        })
    }

    pub fn close(self: &Arc<Self>) {
        let Some(pc) = self.pc.upgrade() else { return };
        pc.change(|state| {
            if state.channels.remove(&self.key).is_none() {
                return;
            }
            if let Err(error) = state.core.close_channel(self.key) {
                log::debug!(
                    "data channel {:?} closes without a word: {error}",
                    self.label
                );
            }
            self.mark_closed(&mut state.events);
        });
    }

    pub fn stream_id(&self) -> i32 {
        self.stream_id.load(Ordering::Relaxed)
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    pub fn state(&self) -> DataChannelState {
        *self.state.lock()
    }

    pub fn buffered_amount(&self) -> u64 {
        let released = self.released.load(Ordering::Relaxed);
        self.accepted
            .load(Ordering::Relaxed)
            .saturating_sub(released)
    }

    pub fn set_on_state_change(&self, callback: Option<OnStateChange>) {
        self.on_state_change.set(callback);
    }

    pub fn set_on_message(self: &Arc<Self>, callback: Option<OnMessage>) {
        self.on_message.set(callback);
        if let Some(pc) = self.pc.upgrade() {
            pc.change(|state| {
                if !state.is_closed() {
                    let event = Event::ChannelListening(Arc::clone(self));
                    state.events.push_back(event);
                }
            });
        }
    }

    pub fn set_on_buffered_amount_change(&self, callback: Option<OnBufferedAmountChange>) {
        self.on_buffered_amount_change.set(callback);
    }

    fn set_state(self: &Arc<Self>, new: DataChannelState, events: &mut VecDeque<Event>) {
        let former = std::mem::replace(&mut *self.state.lock(), new);
        if former != new {
            events.push_back(Event::ChannelState(Arc::clone(self), new));
        }
    }

    pub(super) fn mark_closed(self: &Arc<Self>, events: &mut VecDeque<Event>) {
        if self.state() != DataChannelState::Closed {
            self.set_state(DataChannelState::Closing, events);
            self.set_state(DataChannelState::Closed, events);
        }
    }

    pub(super) fn deliver_state(&self, state: DataChannelState) {
        self.on_state_change.call(|f| f(state));
        if state == DataChannelState::Closed {
            // Nothing will be called again; what the callbacks captured may hold this channel.
            self.on_state_change.set(None);
            self.on_message.set(None);
            self.on_buffered_amount_change.set(None);
        }
    }

    pub(super) fn deliver(&self, data: BytesMut, binary: bool) {
        if self.on_message.is_set() {
            self.deliver_backlog();
            self.on_message.call(|f| {
                f(DataBuffer {
                    data: &data,
                    binary,
                })
            });
            return;
        }
        let mut backlog = self.backlog.lock();
        if backlog.bytes + data.len() > BACKLOG_BYTES_MAX {
            log::warn!(
                "data channel {:?} has no message handler and dropped a message: set one at once",
                self.label
            );
            return;
        }
        backlog.bytes += data.len();
        backlog.messages.push_back((data, binary));
    }

    pub(super) fn deliver_backlog(&self) {
        if !self.on_message.is_set() {
            return;
        }
        let Backlog { messages, .. } = std::mem::take(&mut *self.backlog.lock());
        for (data, binary) in messages {
            self.on_message.call(|f| {
                f(DataBuffer {
                    data: &data,
                    binary,
                })
            });
        }
    }

    pub(super) fn deliver_released(&self, bytes: u64) {
        self.on_buffered_amount_change.call(|f| f(bytes));
    }
}
