//! A TCP proxy that cuts connections, holds their bytes back, or lets nobody in.
#![allow(dead_code, reason = "no test needs all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on says so"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How connections are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Bytes go through.
    Open,
    /// Every connection is cut, and new ones as soon as they are made.
    Closed,
    /// Connections stay, and nothing goes through.
    Silent,
    /// Each connection is cut after so many bytes in both directions together; a later one lasts longer.
    CutAfter(u64),
}

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    manner: watch::Sender<Manner>,
    target: Arc<AtomicU16>,
    cuts: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(target_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().unwrap();
        let (manner, watched) = watch::channel(Manner::Open);
        let cuts = Arc::new(AtomicU64::new(0));
        let counted = cuts.clone();
        let target = Arc::new(AtomicU16::new(target_port));
        let aimed = target.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let target_port = aimed.load(Ordering::Relaxed);
                tokio::spawn(carry(client, target_port, watched.clone(), counted.clone()));
            }
        });
        Self {
            address,
            manner,
            target,
            cuts,
            task,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// New connections go there.
    pub fn aim(&self, port: u16) {
        self.target.store(port, Ordering::Relaxed);
    }

    /// Connections that were cut so far.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    client: TcpStream,
    target_port: u16,
    mut manner: watch::Receiver<Manner>,
    cuts: Arc<AtomicU64>,
) {
    if *manner.borrow() == Manner::Closed {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target_port)).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up, mut down) = ([0u8; 4096], [0u8; 4096]);
    let mut carried = 0;
    // So that each try comes further than the one before, and an end is reached.
    let patience = 1 + cuts.load(Ordering::Relaxed) / 4;
    loop {
        let now = *manner.borrow_and_update();
        let limit = match now {
            Manner::Closed => break,
            Manner::CutAfter(bytes) => Some(bytes * patience),
            Manner::Open | Manner::Silent => None,
        };
        if limit.is_some_and(|limit| carried >= limit) {
            break;
        }
        let (read, sink, bytes) = tokio::select! {
            changed = manner.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from_client.read(&mut up), if now != Manner::Silent => (read, &mut to_server, &up),
            read = from_server.read(&mut down), if now != Manner::Silent => (read, &mut to_client, &down),
        };
        let Ok(length @ 1..) = read else { return };
        carried += length as u64;
        if sink.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    cuts.fetch_add(1, Ordering::Relaxed);
}
