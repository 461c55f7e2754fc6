//! The service that runs with these settings already, asked by its own `/healthz`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::health::Condition;

/// For the whole answer; a service that is well takes a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// More than a table of health has.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// What a running service says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Running {
    /// Its release.
    pub(super) version: String,
    /// Its journal.
    pub(super) journal: Condition,
}

#[derive(Deserialize)]
struct Answer {
    version: String,
    components: Components,
}

#[derive(Deserialize)]
struct Components {
    journal: Component,
}

#[derive(Deserialize)]
struct Component {
    #[serde(flatten)]
    condition: Condition,
}

/// The Viva that listens on `address`; nothing where nobody or somebody else does.
pub(super) async fn find(address: SocketAddr) -> Option<Running> {
    let answer = tokio::time::timeout(ANSWER_LIMIT, ask(reachable(address))).await;
    parse(&answer.ok()?.ok()?)
}

/// Whoever listens on every address is asked on the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn ask(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Running> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    let Answer {
        version,
        components: Components { journal },
    } = serde_json::from_str(body).ok()?;
    Some(Running {
        version,
        journal: journal.condition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_health_is_a_running_service() {
        let body = r#"{"ready":false,"version":"0.1.0","components":{"journal":{"need":"required","state":"failed","cause":"full","detail":""},"x":{"state":"ok"}}}"#;
        let answer = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{body}");
        let found = parse(answer.as_bytes()).unwrap();
        assert_eq!(found.version, "0.1.0");
        assert_eq!(found.journal, Condition::Failed("full".into()));
    }

    #[test]
    fn somebody_else_s_answer_is_none() {
        for answer in [
            &b""[..],
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.0 404 Not Found\r\n\r\n{}",
            b"HTTP/1.0 200 OK\r\n\r\n{\"version\":\"1\"}",
            b"HTTP/1.0 200 OK\r\n\r\n\xff",
        ] {
            assert_eq!(parse(answer), None);
        }
    }
}
