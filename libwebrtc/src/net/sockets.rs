//! The UDP sockets of one peer connection, one per local address.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdUdpSocket};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::core::Packet;

/// The largest datagram that is read whole: above any path MTU that WebRTC uses.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// What the system is asked to keep of datagrams that wait: a window of a data channel, so that a burst at the speed of
/// a local network is not lost to a turn of the I/O threads. It gives less where its limit (`net.core.rmem_max`) is lower.
const WAITING_BYTES: usize = 1 << 20;

/// Asks for room for what waits in a socket of UDP. With what the system gives else it works as well, but for bursts.
pub(super) fn ask_for_room<'a>(socket: impl Into<SockRef<'a>>) {
    if let Err(error) = socket.into().set_recv_buffer_size(WAITING_BYTES) {
        log::debug!("a socket keeps its usual room for what waits: {error}");
    }
}

/// A socket bound by whoever negotiates, before the driver takes it over.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub addr: SocketAddr,
    socket: StdUdpSocket,
}

impl BoundSocket {
    /// Binds to a free port of `ip`.
    ///
    /// # Errors
    /// The address is not of this machine, or there are no ports or files left.
    pub fn bind(ip: IpAddr) -> io::Result<Self> {
        let socket = StdUdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        ask_for_room(&socket);
        Ok(Self {
            addr: socket.local_addr()?,
            socket,
        })
    }
}

/// A received datagram; its bytes are in the buffer that was handed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub len: usize,
}

/// The sockets of one peer connection, owned by its driver.
pub(crate) struct Sockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    /// Where the next search for a readable socket begins, so that none starves.
    next: usize,
    buffer: Box<[u8; DATAGRAM_BYTES_MAX]>,
}

impl Sockets {
    pub fn new() -> Self {
        Self {
            sockets: Vec::new(),
            next: 0,
            buffer: Box::new([0; DATAGRAM_BYTES_MAX]),
        }
    }

    /// Takes over a bound socket. Runs inside the I/O runtime.
    pub fn adopt(&mut self, bound: BoundSocket) -> io::Result<()> {
        self.sockets
            .push((bound.addr, UdpSocket::from_std(bound.socket)?));
        Ok(())
    }

    /// Closes the sockets of an address that is gone.
    pub fn forget(&mut self, gone: IpAddr) {
        self.sockets.retain(|(addr, _)| addr.ip() != gone);
    }

    /// Sends a datagram from the socket of its local address.
    ///
    /// It is dropped when the system's buffer is full or there is no route: every protocol above
    /// expects datagrams to be lost, and waiting would hold up the others.
    pub fn send(&self, packet: &Packet) {
        let Some((_, socket)) = self.sockets.iter().find(|(addr, _)| *addr == packet.local) else {
            log::debug!(
                "no socket on {} for a datagram to {}",
                packet.local,
                packet.peer
            );
            return;
        };
        // Past tokio, which refuses to write on a fresh socket until it has heard from the system
        // that it may: the first check of a connection would be lost to that.
        if let Err(error) = SockRef::from(socket).send_to(&packet.data, &packet.peer.into()) {
            log::debug!(
                "a datagram from {} to {} was dropped: {error}",
                packet.local,
                packet.peer
            );
        }
    }

    /// Waits for a datagram on any socket; for ever as long as there is none.
    pub async fn recv(&mut self) -> Received {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Takes a datagram that is there already.
    pub fn try_recv(&mut self) -> Option<Received> {
        for turn in 0..self.sockets.len() {
            let index = (self.next + turn) % self.sockets.len();
            let (local, socket) = &self.sockets[index];
            if let Ok((len, peer)) = socket.try_recv_from(self.buffer.as_mut_slice()) {
                return Some(Received {
                    local: *local,
                    peer,
                    len,
                });
            }
        }
        None
    }

    /// The bytes of the datagram that was received last.
    pub fn data(&self, received: Received) -> &[u8] {
        &self.buffer[..received.len.min(DATAGRAM_BYTES_MAX)]
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        for turn in 0..self.sockets.len() {
            let index = (self.next + turn) % self.sockets.len();
            let (local, socket) = &self.sockets[index];
            let local = *local;
            match poll_recv_from(socket, cx, self.buffer.as_mut_slice()) {
                Poll::Ready(Ok((len, peer))) => {
                    self.next = index + 1;
                    return Poll::Ready(Received { local, peer, len });
                }
                Poll::Ready(Err(error)) => {
                    log::warn!("the socket on {local} can't be read and is given up: {error}");
                    self.sockets.remove(index);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

/// Reads one datagram, or waits for it.
fn poll_recv_from(
    socket: &UdpSocket,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<(usize, SocketAddr)>> {
    loop {
        let mut buffer = ReadBuf::new(buffer);
        match ready!(socket.poll_recv_from(cx, &mut buffer)) {
            Ok(peer) => return Poll::Ready(Ok((buffer.filled().len(), peer))),
            // These belong to an earlier datagram (an ICMP answer): the next may succeed.
            Err(error) if is_of_the_past(&error) => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

fn is_of_the_past(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::BytesMut;

    use super::*;

    fn sockets(count: usize) -> (Sockets, Vec<SocketAddr>) {
        let mut sockets = Sockets::new();
        let addrs = (0..count)
            .map(|_| {
                let bound = BoundSocket::bind(Ipv4Addr::LOCALHOST.into()).unwrap();
                let addr = bound.addr;
                sockets.adopt(bound).unwrap();
                addr
            })
            .collect();
        (sockets, addrs)
    }

    #[tokio::test]
    async fn a_datagram_leaves_from_its_local_address_and_arrives_at_its_peer() {
        let (mut here, here_addrs) = sockets(2);
        let (there, there_addrs) = sockets(1);
        let data = BytesMut::from(&b"hello"[..]);
        there.send(&Packet {
            local: there_addrs[0],
            peer: here_addrs[1],
            tcp: false,
            data,
        });
        let received = here.recv().await;
        assert_eq!(
            (received.local, received.peer),
            (here_addrs[1], there_addrs[0])
        );
        assert_eq!(here.data(received), b"hello");
        assert!(here.try_recv().is_none());
    }

    #[tokio::test]
    async fn a_datagram_from_an_unknown_local_address_is_dropped() {
        let (here, addrs) = sockets(1);
        let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        here.send(&Packet {
            local: elsewhere,
            peer: addrs[0],
            tcp: false,
            data: BytesMut::new(),
        });
    }
}
