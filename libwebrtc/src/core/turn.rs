//! A TURN client without I/O: one allocation at one server, which carries datagrams to any peer.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use rtc::sansio::Protocol;
use rtc::shared::error::Error as StackError;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::turn::client::{Client, ClientConfig, Event};

use super::{CoreError, crypto, guarded};

/// Peers behind one allocation. Each costs a permission and a channel at the server.
const PEERS_MAX: usize = 64;
/// Datagrams that wait for a peer's permission, which takes one round trip: the last few checks.
const WAITING_MAX: usize = 8;

/// Who asks which server.
#[derive(Debug, Clone)]
pub(crate) struct TurnAccess {
    pub server: SocketAddr,
    pub local: SocketAddr,
    /// Whether it is reached over a connection.
    pub stream: bool,
    pub username: String,
    pub password: String,
}

/// What became of the allocation.
#[derive(Debug)]
pub(crate) enum TurnEvent {
    /// Peers reach us at this address now.
    Allocated(SocketAddr),
    /// There is no allocation, and there will be none without a new client.
    Failed(String),
    /// A peer sent a datagram to our address.
    Data { peer: SocketAddr, data: BytesMut },
}

/// The client.
pub(crate) struct TurnClient {
    client: Client,
    access: TurnAccess,
    relayed: Option<SocketAddr>,
    peers: HashMap<SocketAddr, Peer>,
}

enum Peer {
    /// Its permission has been asked for.
    Asked(VecDeque<BytesMut>),
    Permitted,
}

impl TurnClient {
    /// A client that asks for its allocation at once.
    pub fn new(now: Instant, access: TurnAccess) -> Result<Self, CoreError> {
        let config = ClientConfig {
            turn_serv_addr: access.server.to_string(),
            local_addr: access.local,
            transport_protocol: protocol(access.stream),
            username: access.username.clone(),
            password: access.password.clone(),
            ..ClientConfig::default()
        };
        let provider = crypto::provider().map_err(|error| StackError::Crypto(error.to_string()))?;
        let client = guarded(|| Client::new(config, provider))?;
        let mut client = Self {
            client,
            access,
            relayed: None,
            peers: HashMap::new(),
        };
        guarded(|| client.client.allocate(now))?;
        Ok(client)
    }

    /// Takes what the server sent.
    pub fn handle_data(&mut self, now: Instant, data: BytesMut) -> Result<(), CoreError> {
        let message = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: self.access.local,
                peer_addr: self.access.server,
                transport_protocol: protocol(self.access.stream),
                ecn: None,
            },
            message: data,
        };
        guarded(|| self.client.handle_read(message))
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), CoreError> {
        guarded(|| self.client.handle_timeout(now))
    }

    pub fn next_timeout(&mut self) -> Option<Instant> {
        guarded(|| Ok(self.client.poll_timeout())).ok().flatten()
    }

    /// Sends a datagram to a peer, once the server permits it.
    pub fn send(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        data: BytesMut,
    ) -> Result<(), CoreError> {
        let Some(relayed) = self.relayed else {
            return Ok(());
        };
        let has_room = self.peers.len() < PEERS_MAX;
        match self.peers.get_mut(&peer) {
            Some(Peer::Permitted) => {
                guarded(|| self.client.relay(relayed)?.send_to(now, &data, peer))
            }
            Some(Peer::Asked(waiting)) => {
                if waiting.len() == WAITING_MAX {
                    waiting.pop_front();
                }
                waiting.push_back(data);
                Ok(())
            }
            None if has_room => {
                self.peers.insert(peer, Peer::Asked(VecDeque::from([data])));
                guarded(|| self.client.relay(relayed)?.create_permission(now, peer)).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Takes out what is to be sent to the server, and what happened.
    pub fn drain(
        &mut self,
        now: Instant,
        out: &mut Vec<BytesMut>,
        events: &mut Vec<TurnEvent>,
    ) -> Result<(), CoreError> {
        while let Some(event) = guarded(|| Ok(self.client.poll_event()))? {
            events.extend(self.take_event(now, event)?);
        }
        while let Some(write) = guarded(|| Ok(self.client.poll_write()))? {
            out.push(write.message);
        }
        Ok(())
    }

    /// Gives the allocation back; what is to be sent for that comes with the next drain.
    pub fn close(&mut self, now: Instant) -> Result<(), CoreError> {
        match self.relayed.take() {
            Some(relayed) => guarded(|| self.client.relay(relayed)?.close(now)),
            None => Ok(()),
        }
    }

    fn take_event(&mut self, now: Instant, event: Event) -> Result<Option<TurnEvent>, CoreError> {
        Ok(match event {
            Event::AllocateResponse(_, relayed) => {
                self.relayed = Some(relayed);
                Some(TurnEvent::Allocated(relayed))
            }
            Event::AllocateError(_, error) => Some(TurnEvent::Failed(error.to_string())),
            Event::TransactionTimeout(_) if self.relayed.is_none() => {
                Some(TurnEvent::Failed("the server does not answer".to_owned()))
            }
            Event::CreatePermissionResponse(_, peer) => {
                self.permitted(now, peer)?;
                None
            }
            // The next datagram asks again.
            Event::CreatePermissionError(_, error) => {
                log::debug!("the TURN server permits no datagrams to a peer: {error}");
                self.peers.retain(|_, peer| matches!(peer, Peer::Permitted));
                None
            }
            Event::DataIndicationOrChannelData(_, peer, data) => {
                Some(TurnEvent::Data { peer, data })
            }
            _ => None,
        })
    }

    fn permitted(&mut self, now: Instant, peer: SocketAddr) -> Result<(), CoreError> {
        let Some(relayed) = self.relayed else {
            return Ok(());
        };
        if let Some(Peer::Asked(waiting)) = self.peers.insert(peer, Peer::Permitted) {
            for data in waiting {
                guarded(|| self.client.relay(relayed)?.send_to(now, &data, peer))?;
            }
        }
        Ok(())
    }
}

fn protocol(stream: bool) -> TransportProtocol {
    if stream {
        TransportProtocol::TCP
    } else {
        TransportProtocol::UDP
    }
}
