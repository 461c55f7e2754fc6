//! Data channels between two peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{channel_between, connected, messages, negotiate, open, peer, within};
use libwebrtc::prelude::*;
use tokio::sync::mpsc::unbounded_channel;

#[tokio::test]
async fn bytes_and_text_arrive_in_order() {
    let (mut a, mut b) = (peer(), peer());
    let (sending, receiving) = channel_between(&mut a, &mut b, DataChannelInit::default()).await;
    assert_eq!(receiving.label(), "chat");
    assert_eq!(receiving.id(), sending.id());

    let mut received = messages(&receiving);
    sending.send(b"one", false).unwrap();
    sending.send(&[0xff; 20_000], true).unwrap();
    assert_eq!(
        within("the text", received.recv()).await.unwrap(),
        (b"one".to_vec(), false)
    );
    assert_eq!(
        within("the bytes", received.recv()).await.unwrap(),
        (vec![0xff; 20_000], true)
    );
    assert!(matches!(
        sending.send(&[0xff], false),
        Err(DataChannelError::Utf8(_))
    ));
}

#[tokio::test]
async fn a_receiver_that_is_held_up_for_a_moment_misses_nothing() {
    /// As many as there may be in the receiver's socket, whatever the system's limits are.
    const MESSAGES: u32 = 160;
    /// By then the sender has learnt to send dozens at once.
    const HELD_UP_AT: u32 = 80;
    let (mut a, mut b) = (peer(), peer());
    let once = DataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        ..DataChannelInit::default()
    };
    let (sending, receiving) = channel_between(&mut a, &mut b, once).await;

    let (tx, mut received) = unbounded_channel();
    receiving.on_message(Some(Box::new(move |buffer| {
        let number = u32::from_be_bytes(*buffer.data.first_chunk().unwrap());
        if number == HELD_UP_AT {
            std::thread::sleep(Duration::from_millis(200));
        }
        let _ = tx.send(number);
    })));
    let mut message = [0; 1_000];
    for number in 0..MESSAGES {
        message[..4].copy_from_slice(&number.to_be_bytes());
        sending.send(&message, true).unwrap();
    }
    let mut arrived = Vec::new();
    while arrived.len() < MESSAGES as usize {
        arrived.push(within("each of them", received.recv()).await.unwrap());
    }
    arrived.sort_unstable();
    assert!((0..MESSAGES).eq(arrived));
}

#[tokio::test]
async fn messages_before_a_handler_wait_for_it() {
    let (mut a, mut b) = (peer(), peer());
    let (sending, receiving) = channel_between(&mut a, &mut b, DataChannelInit::default()).await;
    for n in 0..3 {
        sending.send(&[n], true).unwrap();
    }
    // Released means acknowledged: the messages are there, and nobody has asked for them.
    within("the acknowledgement", async {
        while sending.buffered_amount() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut received = messages(&receiving);
    for n in 0..3 {
        assert_eq!(
            within("a kept message", received.recv()).await.unwrap().0,
            [n]
        );
    }
}

#[tokio::test]
async fn every_accepted_byte_is_reported_as_released_exactly_once() {
    let (mut a, mut b) = (peer(), peer());
    let sending =
        a.pc.create_data_channel("bulk", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    open(&sending).await;
    let released = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&released);
    sending.on_buffered_amount_change(Some(Box::new(move |bytes| {
        counter.fetch_add(bytes, Ordering::SeqCst);
    })));
    let receiving = within("the channel's arrival", b.channels.recv())
        .await
        .unwrap();
    let mut received = messages(&receiving);
    let mut accepted = 0;
    for len in [1, 1_000, 15_000, 60_000, 0, 7] {
        sending.send(&vec![1; len], true).unwrap();
        accepted += len as u64;
    }
    for _ in 0..6 {
        within("a message", received.recv()).await.unwrap();
    }
    within("the release of all bytes", async {
        while released.load(Ordering::SeqCst) != accepted {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(sending.buffered_amount(), 0);
}

#[tokio::test]
async fn channels_that_both_sides_agreed_on_need_no_handshake() {
    let (mut a, mut b) = (peer(), peer());
    let init = || DataChannelInit {
        negotiated: true,
        id: 100,
        ordered: false,
        max_retransmits: Some(0),
        ..Default::default()
    };
    let one = a.pc.create_data_channel("lossy", init()).unwrap();
    let other = b.pc.create_data_channel("lossy", init()).unwrap();
    assert_eq!((one.id(), one.state()), (100, DataChannelState::Connecting));
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    open(&one).await;
    open(&other).await;
    let mut received = messages(&one);
    other.send(b"both ways", true).unwrap();
    assert_eq!(
        within("the message", received.recv()).await.unwrap().0,
        b"both ways"
    );
    assert!(b.channels.try_recv().is_err(), "nothing is announced");
}

#[tokio::test]
async fn negotiated_channels_can_be_replaced_before_the_connection() {
    let (mut a, mut b) = (peer(), peer());
    let init = DataChannelInit {
        negotiated: true,
        id: 100,
        ..Default::default()
    };
    let abandoned = a.pc.create_data_channel("reliable", init).unwrap();
    abandoned.close();
    assert_eq!(abandoned.state(), DataChannelState::Closed);
    let (sending, receiving) = channel_between(&mut a, &mut b, DataChannelInit::default()).await;
    let mut received = messages(&receiving);
    sending.send(b"in band", true).unwrap();
    assert_eq!(
        within("the message", received.recv()).await.unwrap().0,
        b"in band"
    );
}

#[tokio::test]
async fn a_channel_accepts_nothing_before_it_is_open_and_after_it_is_closed() {
    let (mut a, mut b) = (peer(), peer());
    let channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    assert!(channel.send(b"early", true).is_err());
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    open(&channel).await;
    a.pc.close();
    assert_eq!(channel.state(), DataChannelState::Closed);
    assert!(channel.send(b"late", true).is_err());
}

#[tokio::test]
async fn a_message_longer_than_the_peer_allows_is_refused() {
    let (mut a, mut b) = (peer(), peer());
    let channel =
        a.pc.create_data_channel("x", DataChannelInit::default())
            .unwrap();
    negotiate(&a, &b).await;
    connected(&mut a, &mut b).await;
    open(&channel).await;
    assert!(channel.send(&vec![0; 1 << 20], true).is_err());
    channel.send(&[0; 1_000], true).unwrap();
}
