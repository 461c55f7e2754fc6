//! The way to a TURN server: datagrams, or a connection over TCP, with TLS or without, cut into them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use super::server_url::{RelayServer, RelayTransport};
use super::sockets::ask_for_room;
use super::tls;

/// For all that one datagram needs to leave over a connection. What takes nothing for so long is gone, or of no use.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// The largest message: a datagram of a peer, and what the server wraps around it.
const MESSAGE_BYTES_MAX: usize = 4096;
/// A STUN header, and the part of it that tells a message's length.
const STUN_HEADER_BYTES: usize = 20;
const PREFIX_BYTES: usize = 4;

pub(super) enum Link {
    Udp {
        socket: UdpSocket,
        server: SocketAddr,
        local: SocketAddr,
    },
    Stream {
        stream: Box<dyn Duplex>,
        server: SocketAddr,
        local: SocketAddr,
        /// What has come of the next message.
        begun: BytesMut,
        /// What is written at once.
        outgoing: Vec<u8>,
    },
}

/// A connection, with TLS or without.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Link {
    /// Looks the server up and connects to the first address that works, IPv4 first.
    pub async fn open(server: &RelayServer) -> io::Result<Self> {
        let mut addresses: Vec<SocketAddr> = lookup_host((server.host.as_str(), server.port))
            .await?
            .collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            let opened = match server.transport {
                RelayTransport::Udp => Self::open_udp(address).await,
                RelayTransport::Tcp => Self::open_stream(address, None).await,
                RelayTransport::Tls => Self::open_stream(address, Some(&server.host)).await,
            };
            match opened {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open_udp(server: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        ask_for_room(&socket);
        let local = socket.local_addr()?;
        Ok(Self::Udp {
            socket,
            server,
            local,
        })
    }

    /// Connects over TCP, and over TLS to the server of that name if one is given.
    async fn open_stream(server: SocketAddr, tls_name: Option<&str>) -> io::Result<Self> {
        let tcp = TcpStream::connect(server).await?;
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let stream: Box<dyn Duplex> = match tls_name {
            Some(name) => Box::new(tls::connect(name, tcp).await?),
            None => Box::new(tcp),
        };
        Ok(Self::Stream {
            stream,
            server,
            local,
            begun: BytesMut::with_capacity(MESSAGE_BYTES_MAX),
            outgoing: Vec::with_capacity(MESSAGE_BYTES_MAX),
        })
    }

    pub fn server(&self) -> SocketAddr {
        match self {
            Self::Udp { server, .. } | Self::Stream { server, .. } => *server,
        }
    }

    pub fn local(&self) -> SocketAddr {
        match self {
            Self::Udp { local, .. } | Self::Stream { local, .. } => *local,
        }
    }

    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp { socket, .. } => match socket.send(message).await {
                // An answer to an earlier datagram: the server's host is there, and it may be too soon.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                sent => sent.map(drop),
            },
            Self::Stream {
                stream, outgoing, ..
            } => {
                outgoing.clear();
                outgoing.extend_from_slice(message);
                // Over a connection, and only there, channel data is padded to four bytes (RFC 8656, section 12.5).
                outgoing.resize(message.len().next_multiple_of(PREFIX_BYTES), 0);
                let written = async {
                    stream.write_all(outgoing).await?;
                    stream.flush().await
                };
                tokio::time::timeout(SEND_LIMIT, written)
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
        }
    }

    /// The next message. Cancel-safe: what has come of one is kept.
    pub async fn recv(&mut self) -> io::Result<BytesMut> {
        match self {
            Self::Udp { socket, .. } => {
                let mut message = BytesMut::zeroed(MESSAGE_BYTES_MAX);
                loop {
                    match socket.recv(&mut message).await {
                        Ok(length) => {
                            message.truncate(length);
                            return Ok(message);
                        }
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Self::Stream { stream, begun, .. } => loop {
                if let Some(message) = split_message(begun)? {
                    return Ok(message);
                }
                if stream.read_buf(begun).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }
}

/// Cuts the first message off, if it is whole: a STUN message or channel data (RFC 8656, section 12.4).
pub(crate) fn split_message(begun: &mut BytesMut) -> io::Result<Option<BytesMut>> {
    let Some(prefix) = begun.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let body = usize::from(u16::from_be_bytes([prefix[2], prefix[3]]));
    let (length, padded) = match prefix[0] >> 6 {
        0 => (STUN_HEADER_BYTES + body, STUN_HEADER_BYTES + body),
        1 => (
            PREFIX_BYTES + body,
            (PREFIX_BYTES + body).next_multiple_of(PREFIX_BYTES),
        ),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    if padded > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if begun.len() < padded {
        return Ok(None);
    }
    let message = begun.split_to(length);
    begun.advance(padded - length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connection_is_cut_into_stun_messages_and_channel_data() {
        let mut stun = vec![0_u8; STUN_HEADER_BYTES + 8];
        stun[3] = 8;
        let channel = [0x40, 1, 0, 5, 1, 2, 3, 4, 5];
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&channel);
        assert_eq!(
            split_message(&mut bytes).unwrap(),
            None,
            "the padding is missing"
        );
        bytes.extend_from_slice(&[0; 3]);
        bytes.extend_from_slice(&stun);
        assert_eq!(split_message(&mut bytes).unwrap().unwrap(), channel[..]);
        assert_eq!(split_message(&mut bytes).unwrap().unwrap(), stun[..]);
        assert_eq!(split_message(&mut bytes).unwrap(), None);
    }

    #[test]
    fn what_is_neither_ends_the_connection() {
        assert!(split_message(&mut BytesMut::from(&[0xff; 8][..])).is_err());
        assert!(split_message(&mut BytesMut::from(&[0x40, 0, 0xff, 0xff][..])).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = split_message(&mut bytes) {}
        }
    }
}
