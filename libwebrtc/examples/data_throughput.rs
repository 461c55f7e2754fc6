//! How many messages a second go through a data channel between two peers of this process, and how many bytes.
//!
//! cargo run --release -p libwebrtc --example data_throughput [MESSAGES]
//!
//! The sender keeps between a quarter and one megabyte under way, as somebody does who heeds what is buffered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use common::{channel_between, messages, peer, within};
use libwebrtc::prelude::*;
use tokio::sync::Notify;

/// Nothing is sent above this.
const HIGH_WATER: u64 = 1 << 20;
/// It is sent again below this.
const LOW_WATER: u64 = HIGH_WATER / 4;

#[tokio::main]
async fn main() {
    let count = std::env::args().nth(1);
    let count: usize = count.map_or(50_000, |count| count.parse().expect("a number of messages"));
    println!(
        "| channel | bytes a message | messages a second | MB a second |\n| --- | --- | --- | --- |"
    );
    let unordered = DataChannelInit {
        ordered: false,
        ..DataChannelInit::default()
    };
    for (name, init) in [
        ("ordered", DataChannelInit::default()),
        ("unordered", unordered),
    ] {
        for bytes in [100, 1_000, 15_000, 60_000] {
            // As many bytes at most as the smaller messages have together.
            let count = count.min(count * 1_000 / bytes);
            let seconds = carry(init.clone(), count, bytes).await;
            let rate = count as f64 / seconds;
            println!(
                "| {name} | {bytes} | {rate:.0} | {:.1} |",
                rate * bytes as f64 / 1e6
            );
        }
    }
}

/// The seconds from the first message's sending to the last one's arrival.
async fn carry(init: DataChannelInit, count: usize, bytes: usize) -> f64 {
    let (mut a, mut b) = (peer(), peer());
    let (sending, receiving) = channel_between(&mut a, &mut b, init).await;
    let mut received = messages(&receiving);

    let (buffered, low) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (released, is_low) = (Arc::clone(&buffered), Arc::clone(&low));
    sending.on_buffered_amount_change(Some(Box::new(move |bytes| {
        if released.fetch_sub(bytes, Ordering::SeqCst) - bytes <= LOW_WATER {
            is_low.notify_one();
        }
    })));
    let begun = Instant::now();
    let send = async {
        let message = vec![7; bytes];
        for _ in 0..count {
            while buffered.load(Ordering::SeqCst) >= HIGH_WATER {
                low.notified().await;
            }
            buffered.fetch_add(bytes as u64, Ordering::SeqCst);
            sending.send(&message, true).unwrap();
            tokio::task::consume_budget().await;
        }
    };
    let receive = async {
        for _ in 0..count {
            let (message, _) = within("a message", received.recv()).await.unwrap();
            assert_eq!(message.len(), bytes);
        }
    };
    tokio::join!(send, receive);
    let seconds = begun.elapsed().as_secs_f64();
    a.pc.close();
    b.pc.close();
    seconds
}
