//! The TCP connections of one peer connection (RFC 6544), as datagrams: each frame is one, and like one it may be lost.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::runtime::io_runtime;
use crate::core::Packet;

/// A connection that is not there by then never will be: checks are given up at the same time.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Between two attempts at the same peer. Checks ask for a connection twenty times a second.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// A peer may name more addresses than it has; each costs a task and a file.
const STREAMS_MAX: usize = 16;
/// Datagrams that wait for a peer that reads slowly; a second of sound and a window of data. What is more is
/// dropped, as on any congested path.
const OUTGOING_MAX: usize = 256;
/// Datagrams of all connections that wait for the driver. When it is held up, the peers are.
const INCOMING_MAX: usize = 64;
/// The port that stands for "whichever": an active candidate has none of its own (RFC 6544, section 4.5).
pub(crate) const ACTIVE_PORT: u16 = 9;

/// A datagram that came over a connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub data: BytesMut,
}

/// The connections, by the local candidate and the peer's address. Owned by the driver, and closed with it.
pub(crate) struct Streams {
    open: HashMap<(SocketAddr, SocketAddr), Stream>,
    sender: mpsc::Sender<Incoming>,
    receiver: mpsc::Receiver<Incoming>,
}

struct Stream {
    outgoing: mpsc::Sender<BytesMut>,
    begun: Instant,
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Streams {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(INCOMING_MAX);
        Self {
            open: HashMap::new(),
            sender,
            receiver,
        }
    }

    /// Sends a datagram, over a new connection if there is none.
    pub fn send(&mut self, now: Instant, packet: Packet) {
        let key = (packet.local, packet.peer);
        let is_over = self.open.get(&key).is_some_and(|stream| {
            stream.task.is_finished() && now >= stream.begun + RECONNECT_PAUSE
        });
        if is_over {
            self.open.remove(&key);
        }
        if !self.open.contains_key(&key) {
            if self.open.len() >= STREAMS_MAX {
                log::debug!("no more connections: {} is not tried over TCP", packet.peer);
                return;
            }
            let Some(stream) = self.begin(now, key.0, key.1) else {
                return;
            };
            self.open.insert(key, stream);
        }
        if let Some(stream) = self.open.get(&key)
            && stream.outgoing.try_send(packet.data).is_err()
        {
            log::debug!("a datagram to {} over TCP was dropped", packet.peer);
        }
    }

    fn begin(&self, now: Instant, local: SocketAddr, peer: SocketAddr) -> Option<Stream> {
        let runtime = io_runtime().ok()?;
        let (outgoing, queued) = mpsc::channel(OUTGOING_MAX);
        let incoming = self.sender.clone();
        let task = runtime.spawn(async move {
            if let Err(error) = serve(local, peer, queued, incoming).await {
                log::debug!("the TCP connection to {peer} ended: {error}");
            }
        });
        Some(Stream {
            outgoing,
            begun: now,
            task,
        })
    }

    /// Closes the connections from an address that is gone.
    pub fn forget(&mut self, gone: IpAddr) {
        self.open.retain(|(local, _), _| local.ip() != gone);
    }

    /// Waits for a datagram on any connection; for ever as long as there is none.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.receiver.recv().await
    }

    /// Takes a datagram that is there already.
    pub fn try_recv(&mut self) -> Option<Incoming> {
        self.receiver.try_recv().ok()
    }
}

async fn serve(
    local: SocketAddr,
    peer: SocketAddr,
    queued: mpsc::Receiver<BytesMut>,
    incoming: mpsc::Sender<Incoming>,
) -> io::Result<()> {
    let stream = tokio::time::timeout(CONNECT_LIMIT, connect(local, peer))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    tokio::select! {
        read = read_frames(reader, local, peer, incoming) => read,
        written = write_frames(writer, queued) => written,
    }
}

async fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = if local.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.bind(SocketAddr::new(local.ip(), 0))?;
    socket.connect(peer).await
}

/// Each datagram has its length before it (RFC 4571, section 2).
async fn read_frames(
    mut reader: OwnedReadHalf,
    local: SocketAddr,
    peer: SocketAddr,
    incoming: mpsc::Sender<Incoming>,
) -> io::Result<()> {
    loop {
        let length = reader.read_u16().await?;
        let mut data = BytesMut::zeroed(usize::from(length));
        reader.read_exact(&mut data).await?;
        let datagram = Incoming { local, peer, data };
        if incoming.send(datagram).await.is_err() {
            return Ok(());
        }
    }
}

async fn write_frames(
    mut writer: OwnedWriteHalf,
    mut queued: mpsc::Receiver<BytesMut>,
) -> io::Result<()> {
    let mut frame = Vec::new();
    while let Some(data) = queued.recv().await {
        let Ok(length) = u16::try_from(data.len()) else {
            continue;
        };
        frame.clear();
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&data);
        writer.write_all(&frame).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn packet(peer: SocketAddr, data: &[u8]) -> Packet {
        Packet {
            local: SocketAddr::new(peer.ip(), ACTIVE_PORT),
            peer,
            tcp: true,
            data: BytesMut::from(data),
        }
    }

    #[tokio::test]
    async fn datagrams_keep_their_borders() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let mut streams = Streams::new();
        streams.send(Instant::now(), packet(peer, b"one"));
        streams.send(Instant::now(), packet(peer, b"two!"));
        let (mut accepted, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 11];
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"\0\x03one\0\x04two!");
        // Two frames in one write, and one in two.
        accepted.write_all(b"\0\x01a\0\x02b").await.unwrap();
        let first = tokio::time::timeout(LIMIT, streams.recv()).await.unwrap();
        assert_eq!(first.unwrap().data.as_ref(), b"a");
        accepted.write_all(b"c").await.unwrap();
        let second = tokio::time::timeout(LIMIT, streams.recv()).await.unwrap();
        assert_eq!(second.unwrap().data.as_ref(), b"bc");
    }

    #[tokio::test]
    async fn connections_end_with_their_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let mut streams = Streams::new();
        streams.send(Instant::now(), packet(peer, b"x"));
        let (mut accepted, _) = listener.accept().await.unwrap();
        drop(streams);
        let mut rest = Vec::new();
        tokio::time::timeout(LIMIT, accepted.read_to_end(&mut rest))
            .await
            .unwrap()
            .ok();
    }

    #[tokio::test]
    async fn a_lost_connection_is_made_again_after_a_pause() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap();
        let mut streams = Streams::new();
        let begin = Instant::now();
        streams.send(begin, packet(peer, b"x"));
        drop(listener.accept().await.unwrap());
        while !streams
            .open
            .values()
            .all(|stream| stream.task.is_finished())
        {
            tokio::task::yield_now().await;
        }
        streams.send(begin, packet(peer, b"lost"));
        streams.send(begin + RECONNECT_PAUSE, packet(peer, b"again"));
        let (mut accepted, _) = tokio::time::timeout(LIMIT, listener.accept())
            .await
            .unwrap()
            .unwrap();
        let mut bytes = [0; 7];
        accepted.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes[2..], b"again");
    }
}
