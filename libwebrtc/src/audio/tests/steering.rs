//! How playout keeps its delay where it should be.

use super::receiver::{Receiver, talk};

#[test]
fn a_fast_sender_is_kept_up_with() {
    let talk = talk(90);
    let mut receiver = Receiver::new();
    let mut delay_us_max = 0;
    // 500 ppm is five times what a bad crystal does.
    receiver.play(
        &talk,
        |n| n * 19_990,
        |stats, _| delay_us_max = delay_us_max.max(stats.delay_us),
    );
    let stats = receiver.playout.stats();
    assert!(delay_us_max < 90_000, "{delay_us_max}");
    // 90 s at 500 ppm are 45 ms.
    assert!((480..=2_880).contains(&stats.removed), "{stats:?}");
    assert_eq!(stats.discarded + stats.late, 0, "{stats:?}");
}

#[test]
fn a_slow_sender_is_waited_for() {
    let talk = talk(90);
    let mut receiver = Receiver::new();
    receiver.play(&talk, |n| n * 20_010, |_, _| {});
    let stats = receiver.playout.stats();
    assert!((20_000..=80_000).contains(&stats.delay_us), "{stats:?}");
    assert!((960..=3_840).contains(&stats.inserted), "{stats:?}");
    assert_eq!(stats.concealed, stats.silent, "{stats:?}");
}

#[test]
fn the_delay_of_a_stall_is_worked_off_within_seconds() {
    let talk = talk(30);
    let mut receiver = Receiver::new();
    let (mut delays, mut off) = (Vec::new(), Vec::new());
    // At 10 s nothing comes for 400 ms, and then all at once.
    let arrival = |n: u64| match n * 20_000 {
        at @ 10_000_000..10_400_000 => at.max(10_400_000),
        at => at,
    };
    receiver.play(&talk, arrival, |stats, _| {
        delays.push(stats.delay_us);
        off.push(stats.delay_us - stats.target_us);
    });
    assert!(delays[1_050] > 200_000, "{}", delays[1_050]);
    assert!(off[1_050] > 100_000, "{}", off[1_050]);
    // Five seconds later the delay is what the stall has taught, and after ten what it was.
    assert!(off[1_550] < 20_000, "{}", off[1_550]);
    assert!(delays[2_400] < 90_000, "{}", delays[2_400]);
    let stats = receiver.playout.stats();
    assert!(stats.removed > 4_800, "{stats:?}");
}

#[test]
fn a_steady_network_is_left_alone() {
    let talk = talk(30);
    for offset_us in [0, 3_000, 7_000, 9_900] {
        let mut receiver = Receiver::new();
        receiver.play(&talk, |n| n * 20_000 + offset_us, |_, _| {});
        let stats = receiver.playout.stats();
        assert_eq!(
            (stats.removed, stats.inserted, stats.recovered),
            (0, 0, 0),
            "{stats:?}"
        );
        assert!((30_000..=60_000).contains(&stats.delay_us), "{stats:?}");
    }
}
