//! Two sessions, one of which stands still: in a wait that never ends, and in code that lets nobody else have its thread.

use std::sync::mpsc::sync_channel;

use super::*;
use crate::interview::event::EndReason;

/// For anything that a test waits for.
const LIMIT: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn id(name: &str) -> InterviewId {
    InterviewId::new(name).unwrap()
}

/// A session that comes round until it is told to end.
async fn lively(pulse: Pulse, end: CancellationToken) -> Result<Outcome, SessionError> {
    let mut round = tokio::time::interval(Duration::from_millis(5));
    loop {
        tokio::select! {
            _ = round.tick() => pulse.note(Doing::Waits),
            () = end.cancelled() => return Ok(Outcome::Ended(EndReason::Completed)),
        }
    }
}

/// The watch, at a clock that the test moves; the runtime beats unless the test says otherwise.
struct Story {
    ward: Ward,
    watch: Watch,
    now: Instant,
    beats: u64,
}

impl Story {
    fn of(ward: &Ward) -> Self {
        Self {
            ward: ward.clone(),
            watch: Watch::default(),
            now: Instant::now(),
            beats: 0,
        }
    }

    fn look_after(&mut self, time: Duration, runtime_moved: bool) {
        self.now += time;
        self.beats += u64::from(runtime_moved);
        self.watch.look(self.now, self.beats, &self.ward.0.tries());
    }

    /// A look each second, between which everybody who can has come round.
    async fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.look_after(SECOND, true);
        }
    }
}

fn breakdown(ended: &Result<Outcome, Failure>) -> &str {
    match ended {
        Err(Failure::Breakdown(cause)) => cause,
        other => panic!("it broke down, {other:?} it did not"),
    }
}

fn start<S>(
    ward: &Ward,
    name: &'static str,
    session: impl FnOnce(Pulse) -> S + Send + 'static,
) -> JoinHandle<Result<Outcome, Failure>>
where
    S: Future<Output = Result<Outcome, SessionError>> + Send + 'static,
{
    let ward = ward.clone();
    #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
    tokio::spawn(async move { ward.run(&id(name), "a room", session).await })
}

#[tokio::test]
async fn one_that_waits_for_ever_is_ended_alone() {
    let (ward, end) = (Ward::default(), CancellationToken::new());
    let told = end.clone();
    let other = start(&ward, "other", |pulse| lively(pulse, told));
    let stuck = start(&ward, "stuck", |pulse| async move {
        pulse.note(Doing::Understands);
        std::future::pending().await
    });
    let mut story = Story::of(&ward);
    story.seconds(5).await;
    assert!(!stuck.is_finished());
    story.seconds(1).await;
    let ended = tokio::time::timeout(LIMIT, stuck).await.unwrap().unwrap();
    assert_eq!(breakdown(&ended), "it stood still");
    assert!(ward.has_room_for_another_try());
    assert!(!other.is_finished());
    end.cancel();
    assert!(other.await.unwrap().is_ok());
    assert!(ward.0.tries().is_empty());
}

#[tokio::test]
async fn what_has_a_limit_of_its_own_has_it_and_five_seconds_more() {
    let ward = Ward::default();
    let joining = start(&ward, "joining", |pulse| async move {
        pulse.note(Doing::Joins);
        std::future::pending().await
    });
    let mut story = Story::of(&ward);
    story.seconds(15).await;
    assert!(!joining.is_finished());
    story.seconds(1).await;
    let ended = tokio::time::timeout(LIMIT, joining).await.unwrap().unwrap();
    assert_eq!(breakdown(&ended), "it stood still");
}

#[tokio::test]
async fn a_panic_is_that_sessions_alone() {
    let (ward, end) = (Ward::default(), CancellationToken::new());
    let told = end.clone();
    let other = start(&ward, "other", |pulse| lively(pulse, told));
    let broken = start(&ward, "broken", |_| async { panic!("on purpose") });
    assert_eq!(breakdown(&broken.await.unwrap()), "on purpose");
    assert!(!other.is_finished());
    end.cancel();
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test]
async fn nobody_is_called_stuck_where_the_runtime_or_all_of_the_process_stood_still() {
    let ward = Ward::default();
    let waits = start(&ward, "waits", |pulse| async move {
        pulse.note(Doing::Waits);
        std::future::pending().await
    });
    tokio::task::yield_now().await;
    let mut story = Story::of(&ward);
    story.look_after(SECOND, true);
    // The processors are taken by others: this thread runs, the runtime does not.
    for _ in 0..100 {
        story.look_after(SECOND, false);
    }
    // The machine slept.
    story.look_after(SECOND * 3600, true);
    assert!(!ward.0.tries().values().any(|t| t.stuck.is_cancelled()));
    for _ in 0..3 {
        story.look_after(SECOND, true);
    }
    assert!(ward.0.tries().values().all(|t| t.stuck.is_cancelled()));
    waits.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_that_holds_its_thread_is_left_behind_until_it_lets_go() {
    let (ward, end) = (Ward::default(), CancellationToken::new());
    let told = end.clone();
    let other = start(&ward, "other", |pulse| lively(pulse, told));
    let (release, released) = sync_channel::<()>(1);
    let went_on = Arc::<AtomicU64>::default();
    let goes_on = went_on.clone();
    let stuck = start(&ward, "stuck", |pulse| async move {
        pulse.note(Doing::TakesNews);
        let _released = released.recv();
        // Whoever was told to end comes no further than to their next wait.
        tokio::task::yield_now().await;
        goes_on.fetch_add(1, Relaxed);
        std::future::pending().await
    });
    Story::of(&ward).seconds(7).await;
    let ended = tokio::time::timeout(LIMIT, stuck).await.unwrap().unwrap();
    assert!(breakdown(&ended).contains("holds a thread"), "{ended:?}");
    assert_eq!(ward.0.held.load(Relaxed), 1);
    assert!(!other.is_finished());
    drop(release);
    let freed = async {
        while ward.0.held.load(Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, freed).await.unwrap();
    assert_eq!(went_on.load(Relaxed), 0);
    end.cancel();
    assert!(other.await.unwrap().is_ok());
}

#[test]
fn too_many_threads_that_are_held_are_the_end_of_the_process() {
    let ward = Ward::default();
    let mut sign = ward.sign(&Heart::default());
    for (held, is_well) in [
        (0, true),
        (HELD_MAX, true),
        (HELD_MAX + 1, false),
        (1, true),
    ] {
        ward.0.held.store(held, Relaxed);
        assert_eq!(ward.has_room_for_another_try(), is_well, "{held}");
        assert_eq!(sign.stuck(Instant::now()).is_none(), is_well, "{held}");
    }
}
