//! The TURN servers of one peer connection: a task for each keeps an allocation and passes datagrams on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::{Notify, mpsc};

use super::relay_link::Link;
use super::runtime::io_runtime;
use super::server_url::{RelayServer, RelayTransport};
use crate::core::{Packet, TurnAccess, TurnClient, TurnEvent};

/// Name, connection and first answer; a server that needs longer is of no use to a conversation.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// A server that is gone may come back: it is asked again after this, doubled each time up to the maximum.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Giving the allocation back is a courtesy and must not keep a task alive.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);
/// Datagrams to and from a server that may wait, as for a TCP path.
const OUTGOING_MAX: usize = 256;
const INCOMING_MAX: usize = 64;
/// The longest wait without a timer of the client's.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What the task of a server reports. Servers are told apart by the order in which they were begun with.
#[derive(Debug)]
pub(crate) enum FromRelay {
    /// Peers reach us at the relayed address, through the server, which is reached from the local one.
    Allocated {
        server: usize,
        relayed: SocketAddr,
        local: IpAddr,
    },
    /// There is no allocation for now; the relayed address, if there was one, is void.
    Failed {
        server: usize,
        relayed: Option<SocketAddr>,
        cause: String,
    },
    /// A datagram for the relayed address.
    Datagram {
        relayed: SocketAddr,
        peer: SocketAddr,
        data: BytesMut,
    },
}

/// The servers, owned by the driver. Their tasks give the allocations back when it is dropped.
pub(crate) struct Relays {
    servers: Vec<Server>,
    sender: mpsc::Sender<FromRelay>,
    receiver: mpsc::Receiver<FromRelay>,
}

struct Server {
    /// Where peers reach us through it, and from where we reach it.
    relayed: Option<(SocketAddr, IpAddr)>,
    outgoing: mpsc::Sender<(SocketAddr, BytesMut)>,
    /// Makes the task begin anew.
    moved: Arc<Notify>,
}

impl Relays {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(INCOMING_MAX);
        Self {
            servers: Vec::new(),
            sender,
            receiver,
        }
    }

    /// Asks a server for an allocation.
    pub fn begin(&mut self, server: RelayServer) {
        let Ok(runtime) = io_runtime() else { return };
        let (outgoing, queued) = mpsc::channel(OUTGOING_MAX);
        let moved = Arc::new(Notify::new());
        let mut task = Task {
            index: self.servers.len(),
            server,
            queued,
            reports: self.sender.clone(),
            moved: Arc::clone(&moved),
            relayed: None,
        };
        runtime.spawn(async move { task.run().await });
        self.servers.push(Server {
            relayed: None,
            outgoing,
            moved,
        });
    }

    /// Notes what a report says of where a server can be sent through.
    pub fn note(&mut self, report: &FromRelay) {
        let (server, relayed) = match report {
            FromRelay::Allocated {
                server,
                relayed,
                local,
            } => (*server, Some((*relayed, *local))),
            FromRelay::Failed { server, .. } => (*server, None),
            FromRelay::Datagram { .. } => return,
        };
        if let Some(server) = self.servers.get_mut(server) {
            server.relayed = relayed;
        }
    }

    /// Reaches the servers anew that were reached from an address that is gone.
    pub fn forget(&mut self, gone: IpAddr) {
        for server in &self.servers {
            if server.relayed.is_some_and(|(_, local)| local == gone) {
                server.moved.notify_one();
            }
        }
    }

    /// Sends a datagram if its local address is a relayed one; gives it back if not.
    pub fn send(&self, packet: Packet) -> Result<(), Packet> {
        let is_local = |server: &&Server| server.relayed.is_some_and(|(at, _)| at == packet.local);
        let Some(server) = self.servers.iter().find(is_local) else {
            return Err(packet);
        };
        if server
            .outgoing
            .try_send((packet.peer, packet.data))
            .is_err()
        {
            log::debug!("a datagram to {} by relay was dropped", packet.peer);
        }
        Ok(())
    }

    /// Waits for a report; for ever as long as there is none.
    pub async fn recv(&mut self) -> Option<FromRelay> {
        self.receiver.recv().await
    }

    /// Takes a report that is there already.
    pub fn try_recv(&mut self) -> Option<FromRelay> {
        self.receiver.try_recv().ok()
    }
}

struct Task {
    index: usize,
    server: RelayServer,
    queued: mpsc::Receiver<(SocketAddr, BytesMut)>,
    reports: mpsc::Sender<FromRelay>,
    moved: Arc<Notify>,
    /// The address that the allocation at hand gave.
    relayed: Option<SocketAddr>,
}

/// Why an allocation ended that was still wanted.
enum End {
    Failed(String),
    /// The address that the server was reached from is gone: another may do.
    Moved,
}

impl From<String> for End {
    fn from(cause: String) -> Self {
        Self::Failed(cause)
    }
}

impl Task {
    async fn run(&mut self) {
        let mut pause = RETRY_FIRST;
        loop {
            let begun = Instant::now();
            let Err(end) = self.serve().await else {
                return;
            };
            let (cause, at_once) = match end {
                End::Failed(cause) => (cause, false),
                End::Moved => ("the address it was reached from is gone".to_owned(), true),
            };
            let report = FromRelay::Failed {
                server: self.index,
                relayed: self.relayed.take(),
                cause,
            };
            if self.reports.send(report).await.is_err() {
                return;
            }
            if at_once {
                pause = RETRY_FIRST;
                continue;
            }
            if begun.elapsed() > RETRY_MAX {
                pause = RETRY_FIRST;
            }
            let until = tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2)));
            pause = (pause * 2).min(RETRY_MAX);
            tokio::select! {
                () = until => {}
                // Datagrams for an allocation that is gone; the end of them is the end of the owner.
                () = async { while self.queued.recv().await.is_some() {} } => return,
            }
        }
    }

    /// Serves one allocation until its owner is gone, or it fails.
    async fn serve(&mut self) -> Result<(), End> {
        let mut link = tokio::time::timeout(OPEN_LIMIT, Link::open(&self.server))
            .await
            .map_err(|_| format!("it can't be reached within {} s", OPEN_LIMIT.as_secs()))?
            .map_err(|error| format!("it can't be reached: {error}"))?;
        let access = TurnAccess {
            server: link.server(),
            local: link.local(),
            stream: self.server.transport != RelayTransport::Udp,
            username: self.server.username.clone(),
            password: self.server.password.clone(),
        };
        let error = |error: crate::core::CoreError| error.to_string();
        let mut client = TurnClient::new(Instant::now(), access).map_err(error)?;
        let (mut writes, mut events) = (Vec::new(), Vec::new());
        let opened = Instant::now();
        loop {
            client
                .drain(Instant::now(), &mut writes, &mut events)
                .map_err(error)?;
            for write in writes.drain(..) {
                link.send(&write)
                    .await
                    .map_err(|error| format!("the connection to it is lost: {error}"))?;
            }
            for event in events.drain(..) {
                if !self.report(event, link.local().ip()).await? {
                    return Ok(());
                }
            }
            let now = Instant::now();
            if self.relayed.is_none() && now > opened + OPEN_LIMIT {
                return Err(format!("no answer within {} s", OPEN_LIMIT.as_secs()).into());
            }
            let next = client.next_timeout().unwrap_or(now + IDLE_MAX);
            tokio::select! {
                received = link.recv() => {
                    let data = received.map_err(|error| format!("the connection to it is lost: {error}"))?;
                    if let Err(error) = client.handle_data(Instant::now(), data) {
                        log::debug!("a datagram from a TURN server was refused: {error}");
                    }
                }
                queued = self.queued.recv() => match queued {
                    Some((peer, data)) => {
                        if let Err(error) = client.send(Instant::now(), peer, data) {
                            log::debug!("a datagram to {peer} was not relayed: {error}");
                        }
                    }
                    None => {
                        goodbye(client, link).await;
                        return Ok(());
                    }
                },
                () = self.moved.notified() => return Err(End::Moved),
                () = tokio::time::sleep_until(next.max(now + TIMER_MIN).into()) => {
                    client.handle_timeout(Instant::now()).map_err(error)?;
                }
            }
        }
    }

    /// Reports an event; false when nobody is there to hear it.
    async fn report(&mut self, event: TurnEvent, local: IpAddr) -> Result<bool, String> {
        let report = match (event, self.relayed) {
            (TurnEvent::Failed(cause), _) => return Err(cause),
            (TurnEvent::Allocated(relayed), _) => {
                self.relayed = Some(relayed);
                FromRelay::Allocated {
                    server: self.index,
                    relayed,
                    local,
                }
            }
            (TurnEvent::Data { peer, data }, Some(relayed)) => FromRelay::Datagram {
                relayed,
                peer,
                data,
            },
            (TurnEvent::Data { .. }, None) => return Ok(true),
        };
        Ok(self.reports.send(report).await.is_ok())
    }
}

/// The shortest wait for a timer, so that a deadline in the past is no busy loop.
const TIMER_MIN: Duration = Duration::from_millis(1);

async fn goodbye(mut client: TurnClient, mut link: Link) {
    let (mut writes, mut events) = (Vec::new(), Vec::new());
    let now = Instant::now();
    let closed = client
        .close(now)
        .and_then(|()| client.drain(now, &mut writes, &mut events));
    if let Err(error) = closed {
        log::debug!("an allocation is left to expire: {error}");
    }
    for write in &writes {
        // An error or a delay leaves the allocation to expire.
        let _sent = tokio::time::timeout(GOODBYE_LIMIT, link.send(write)).await;
    }
}
