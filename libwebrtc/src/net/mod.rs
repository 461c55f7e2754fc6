//! Sockets, local addresses and the I/O threads.

mod addresses;
mod runtime;
mod sockets;

pub(crate) use addresses::LocalAddresses;
pub(crate) use runtime::io_runtime;
pub(crate) use sockets::{BoundSocket, Sockets};
