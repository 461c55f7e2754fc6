//! Learns how late packets come and how long playout should wait for them.

/// Playout waits at least this long: two packets of 20 ms, so that the successor with the redundancy
/// has come when its lost predecessor is due.
pub(super) const TARGET_MIN_US: i64 = 40_000;

/// And at most this long; beyond it a conversation suffers more from delay than from gaps.
const TARGET_MAX_US: i64 = 300_000;

/// Added to the lateness seen: one beat of the playout clock, and one for its scheduling.
const MARGIN_US: i64 = 20_000;

/// Share of the packets that shall come in time.
const QUANTILE: f32 = 0.97;

/// What is lost and sent again is waited for if it comes this much later than it would have come, so that playout waits
/// 80 ms at most: sound as it was is worth a little delay, and redundancy and concealment do for what takes longer.
const RESENT_LATE_MAX_US: i64 = 60_000;

/// Lateness is counted in bins of this width up to [`TARGET_MAX_US`].
const BIN_US: i64 = 5_000;
const BINS: usize = (TARGET_MAX_US / BIN_US) as usize;

/// The histogram's memory once it is settled, in packets: 10 s of packets of 20 ms.
const MEMORY_PACKETS: f32 = 500.0;

/// The fastest way is looked for over this many slices of this length, so that it follows a
/// sender's clock and a changed route within 8 s.
const SLICE_US: i64 = 1_000_000;
const SLICES: usize = 8;

const RESENT_BINS: usize = (RESENT_LATE_MAX_US / BIN_US) as usize;

/// Share of what is sent again that shall come in time.
const RESENT_QUANTILE: f32 = 0.9;

/// How many of them are kept in mind.
const RESENT_MEMORY: f32 = 50.0;

/// What is sent again is waited for when it is more than this share of all packets, and until it is less
/// than the other. They are far apart, since each change of the delay is heard more than a lost packet.
const RESENT_SHARE_MANY: f32 = 0.025;
const RESENT_SHARE_FEW: f32 = 0.005;

/// Lateness relative to the fastest packet of the last seconds, as a fading histogram.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    /// The least transit of each slice: index of the slice and transit in µs.
    fastest: [Option<(i64, i64)>; SLICES],
    histogram: [f32; BINS],
    packets: f32,
    resends: Resends,
    target_us: i64,
}

/// What was lost and sent again, as far as it came soon enough to be waited for.
#[derive(Debug, Default)]
struct Resends {
    share: f32,
    histogram: [f32; RESENT_BINS],
    packets: f32,
    waited_for: bool,
}

impl Resends {
    fn count(&mut self, resent_late_us: Option<i64>) {
        self.share *= 1.0 - 1.0 / MEMORY_PACKETS;
        if let Some(late_us) = resent_late_us {
            self.share += 1.0 / MEMORY_PACKETS;
            self.packets = (self.packets + 1.0).min(RESENT_MEMORY);
            add(&mut self.histogram, late_us, 1.0 / self.packets);
        }
        if self.share > RESENT_SHARE_MANY {
            self.waited_for = true;
        } else if self.share < RESENT_SHARE_FEW {
            self.waited_for = false;
        }
    }

    fn wait_us(&self) -> i64 {
        if self.waited_for {
            quantile_us(&self.histogram, RESENT_QUANTILE)
        } else {
            0
        }
    }
}

/// Adds a value with its weight to a histogram that fades.
fn add(histogram: &mut [f32], late_us: i64, weight: f32) {
    for bin in histogram.iter_mut() {
        *bin *= 1.0 - weight;
    }
    let last = histogram.len().saturating_sub(1);
    let bin = usize::try_from(late_us / BIN_US).unwrap_or(0).min(last);
    histogram[bin] += weight;
}

/// The upper edge of the bin in which the quantile lies.
fn quantile_us(histogram: &[f32], quantile: f32) -> i64 {
    let mut seen = 0.0;
    let bin = histogram.iter().position(|share| {
        seen += share;
        seen >= quantile
    });
    (bin.unwrap_or(histogram.len().saturating_sub(1)) as i64 + 1) * BIN_US
}

impl DelayEstimator {
    pub fn new() -> Self {
        Self {
            fastest: [None; SLICES],
            histogram: [0.0; BINS],
            packets: 0.0,
            resends: Resends::default(),
            target_us: TARGET_MIN_US,
        }
    }

    /// How long playout should wait, measured from the fastest packet.
    pub fn target_us(&self) -> i64 {
        self.target_us
    }

    /// The least transit (arrival minus media time) of the last seconds.
    pub fn base_us(&self) -> Option<i64> {
        self.fastest
            .iter()
            .flatten()
            .map(|&(_, transit)| transit)
            .min()
    }

    /// Forgets the transits, as after a jump of the sender's timestamps; lateness is kept.
    pub fn rebase(&mut self) {
        self.fastest = [None; SLICES];
    }

    /// Takes a packet's transit in that arrived at `arrival_us`.
    pub fn observe(&mut self, transit_us: i64, arrival_us: i64) {
        let slice = arrival_us.div_euclid(SLICE_US);
        self.fastest = self
            .fastest
            .map(|entry| entry.filter(|&(index, _)| slice - index < SLICES as i64));
        let place = slice.rem_euclid(SLICES as i64) as usize;
        let least = self.fastest[place].map_or(transit_us, |(_, least)| least.min(transit_us));
        self.fastest[place] = Some((slice, least));
        let late = transit_us - self.base_us().unwrap_or(transit_us);
        self.packets = (self.packets + 1.0).min(MEMORY_PACKETS);
        add(&mut self.histogram, late, 1.0 / self.packets);
        self.resends.count(None);
        self.aim();
    }

    /// Takes the transit of a packet in that was lost and sent again.
    pub fn observe_resent(&mut self, transit_us: i64) {
        let late_us = self.base_us().map(|base_us| transit_us - base_us);
        if late_us.is_some_and(|late_us| late_us <= RESENT_LATE_MAX_US) {
            self.resends.count(late_us);
            self.aim();
        }
    }

    fn aim(&mut self) {
        let wait_us = quantile_us(&self.histogram, QUANTILE).max(self.resends.wait_us());
        self.target_us = (wait_us + MARGIN_US).clamp(TARGET_MIN_US, TARGET_MAX_US);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds packets of 20 ms whose lateness is given by `late_us`.
    fn feed(
        estimator: &mut DelayEstimator,
        packets: std::ops::Range<i64>,
        late_us: impl Fn(i64) -> i64,
    ) {
        for n in packets {
            let late = late_us(n);
            estimator.observe(5_000_000 + late, n * 20_000 + late);
        }
    }

    #[test]
    fn a_steady_network_gets_the_least_delay() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0..500, |_| 0);
        assert_eq!(estimator.target_us(), TARGET_MIN_US);
        assert_eq!(estimator.base_us(), Some(5_000_000));
    }

    #[test]
    fn jitter_raises_the_target_and_calm_lowers_it_again() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0..500, |n| (n * 7_919) % 80_000);
        let jittery = estimator.target_us();
        assert!((80_000..=110_000).contains(&jittery), "{jittery}");
        feed(&mut estimator, 500..3_500, |_| 0);
        assert_eq!(estimator.target_us(), TARGET_MIN_US);
    }

    #[test]
    fn what_is_sent_again_is_waited_for_if_it_comes_soon_and_often() {
        for (every, late_us, target_us) in [
            (20, 34_000, 55_000),
            (20, 59_000, 80_000),
            (20, 61_000, TARGET_MIN_US),
            (50, 34_000, TARGET_MIN_US),
        ] {
            let mut estimator = DelayEstimator::new();
            for n in 0..1_000 {
                if n % every == 3 {
                    estimator.observe_resent(5_000_000 + late_us);
                } else {
                    estimator.observe(5_000_000, n * 20_000);
                }
            }
            assert_eq!(estimator.target_us(), target_us, "{every} {late_us}");
            assert_eq!(estimator.base_us(), Some(5_000_000));
        }
    }

    #[test]
    fn losses_that_become_fewer_are_waited_for_until_there_are_hardly_any() {
        let mut estimator = DelayEstimator::new();
        let mut n = 0;
        let mut targets = Vec::new();
        for every in [15, 60, 1_000] {
            for _ in 0..3_000 {
                n += 1;
                if n % every == 0 {
                    estimator.observe_resent(5_034_000);
                } else {
                    estimator.observe(5_000_000, n * 20_000);
                }
            }
            targets.push(estimator.target_us());
        }
        assert_eq!(targets, [55_000, 55_000, TARGET_MIN_US]);
    }

    #[test]
    fn one_straggler_does_not_raise_it() {
        let mut estimator = DelayEstimator::new();
        feed(
            &mut estimator,
            0..500,
            |n| if n == 400 { 250_000 } else { 0 },
        );
        assert_eq!(estimator.target_us(), TARGET_MIN_US);
    }

    #[test]
    fn the_target_is_bounded_whatever_comes() {
        let mut estimator = DelayEstimator::new();
        feed(&mut estimator, 0..500, |n| n % 2 * 900_000);
        assert_eq!(estimator.target_us(), TARGET_MAX_US);
    }

    #[test]
    fn the_fastest_way_follows_a_drifting_clock() {
        let mut estimator = DelayEstimator::new();
        // The sender's clock is slow by 200 ppm: each packet is 4 µs later than the one before.
        for n in 0..10_000_i64 {
            estimator.observe(n * 4, n * 20_004);
        }
        let base = estimator.base_us().unwrap();
        assert!((38_000..=40_000).contains(&base), "{base}");
        assert_eq!(estimator.target_us(), TARGET_MIN_US);
    }
}
