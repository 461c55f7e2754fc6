//! The absolute 10 ms clock that all sound is played and sent by.

use std::time::{Duration, Instant};

/// The length of one frame of sound.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// After a stall, this much is caught up at once; what is older is skipped. 200 ms is more than
/// a scheduler's hiccup and little enough that the burst harms nobody.
const CATCH_UP_TICKS_MAX: u32 = 20;

/// One beat of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The instant this beat was due, which is not the instant it is served.
    pub at: Instant,
    /// Beats that were left out before this one, because the stall was too long to catch up.
    pub skipped: u32,
    /// The thread has too little time for all that it does, so what can be left out should be.
    pub hurried: bool,
}

/// Says when beats are due. Deadlines follow from the first one alone, so lateness never adds up.
#[derive(Debug)]
pub(crate) struct Ticker {
    next: Instant,
}

impl Ticker {
    pub fn starting_at(first: Instant) -> Self {
        Self { next: first }
    }

    /// Begins with the first beat from `now` on that is whole beats after `grid`.
    pub fn on_grid(grid: Instant, now: Instant) -> Self {
        let since = now.saturating_duration_since(grid).as_nanos();
        let beats = since.div_ceil(TICK.as_nanos());
        // 2^32 beats are more than a year.
        let beats = u32::try_from(beats).unwrap_or(u32::MAX);
        Self::starting_at((grid + TICK * beats).max(now))
    }

    /// When the next beat is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// The beat that is due at `now`; none when it is too early. To be called until it is none.
    pub fn beat(&mut self, now: Instant) -> Option<Tick> {
        let late = now.checked_duration_since(self.next)?;
        let behind = u32::try_from(late.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        let skipped = behind.saturating_sub(CATCH_UP_TICKS_MAX);
        let at = self.next + TICK * skipped;
        self.next = at + TICK;
        Some(Tick {
            at,
            skipped,
            hurried: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_beat_does_not_move_the_next_deadline() {
        let start = Instant::now();
        let mut ticker = Ticker::starting_at(start);
        for n in 0..1_000_u32 {
            let late_by = Duration::from_micros(u64::from(n * 7_919 % 9_000));
            let tick = ticker.beat(start + TICK * n + late_by);
            assert_eq!(tick.map(|tick| tick.at), Some(start + TICK * n));
            assert_eq!(ticker.deadline(), start + TICK * (n + 1));
        }
    }

    #[test]
    fn a_clock_that_starts_again_keeps_to_its_grid() {
        let grid = Instant::now();
        let first = |now| Ticker::on_grid(grid, now).deadline();
        assert_eq!(first(grid), grid);
        assert_eq!(first(grid + TICK / 3), grid + TICK);
        assert_eq!(first(grid + TICK), grid + TICK);
        assert_eq!(first(grid + TICK * 1_000 + TICK / 7), grid + TICK * 1_001);
    }

    #[test]
    fn nothing_is_due_before_the_deadline() {
        let start = Instant::now() + TICK;
        let mut ticker = Ticker::starting_at(start);
        assert_eq!(ticker.beat(start - Duration::from_nanos(1)), None);
        assert!(ticker.beat(start).is_some());
        assert_eq!(ticker.beat(start + TICK / 2), None);
    }

    #[test]
    fn a_short_stall_is_caught_up_beat_by_beat() {
        let start = Instant::now();
        let mut ticker = Ticker::starting_at(start);
        let now = start + TICK * 7;
        let beats: Vec<_> = std::iter::from_fn(|| ticker.beat(now)).collect();
        assert_eq!(beats.len(), 8);
        assert!(beats.iter().all(|beat| beat.skipped == 0));
    }

    #[test]
    fn a_long_stall_skips_what_is_too_old_and_stays_on_the_grid() {
        let start = Instant::now();
        let mut ticker = Ticker::starting_at(start);
        let now = start + TICK * 500 + TICK / 3;
        let beats: Vec<_> = std::iter::from_fn(|| ticker.beat(now)).collect();
        let skipped: u32 = beats.iter().map(|beat| beat.skipped).sum();
        assert_eq!(beats.len(), CATCH_UP_TICKS_MAX as usize + 1);
        assert_eq!(beats.len() + skipped as usize, 501);
        assert_eq!(ticker.deadline(), start + TICK * 501);
    }
}
