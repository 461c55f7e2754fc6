//! Sockets, local addresses and the I/O threads.

mod addresses;
mod allowed;
mod bridges;
mod lookup;
mod relay_link;
mod relays;
mod runtime;
mod server_url;
mod sockets;
mod streams;
mod tls;

pub(crate) use addresses::LocalAddresses;
pub use allowed::use_interfaces;
pub(crate) use lookup::{look_up, route_to};
#[cfg(any(fuzzing, test))]
pub(crate) use relay_link::split_message;
pub(crate) use relays::{FromRelay, Relays};
pub(crate) use runtime::io_runtime;
pub use runtime::io_tasks;
pub(crate) use server_url::{RelayServer, RelayTransport, StunServer};
pub(crate) use sockets::{BoundSocket, Received, Sockets};
pub(crate) use streams::{ACTIVE_PORT, Incoming, Streams};
