//! What remains when peer connections are gone. Alone in its process, since it counts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

mod common;

use std::time::Duration;

use common::{channel_between, peer, within};
use libwebrtc::prelude::*;

fn entries(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}"))
        .unwrap()
        .count()
}

async fn one_life() {
    let (mut a, mut b) = (peer(), peer());
    let _channels = channel_between(&mut a, &mut b, DataChannelInit::default()).await;
    a.pc.close();
    // The other one is only dropped.
}

#[tokio::test]
async fn threads_and_sockets_do_not_grow_with_connections() {
    one_life().await;
    let (threads, files) = (entries("task"), entries("fd"));
    for _ in 0..10 {
        one_life().await;
    }
    within("the release of all sockets", async {
        while entries("fd") > files {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(
        entries("task") <= threads,
        "{} threads after {threads}",
        entries("task")
    );
}
