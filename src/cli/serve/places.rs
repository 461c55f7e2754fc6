//! How many interviews at once: as many as are configured, and no more than the limits around the process bear.

use crate::health::process::Limits;

/// What the process itself needs, embedded engines loaded: half as much again as was measured.
const MEMORY_BASE_BYTES: u64 = 384 * 1024 * 1024;
/// For an interview, as the units have it; measured is a fraction.
const MEMORY_EACH_BYTES: u64 = 16 * 1024 * 1024;
/// Of a processor, the sound of so many takes half; speech engines on this machine take more, which nobody but the operator
/// knows.
const EACH_PROCESSOR: f64 = 20.0;

/// The number, and where it is less than the configured one what to do about it.
pub(super) fn places(configured: u32, limits: Limits) -> (u32, Option<String>) {
    let by_memory = limits.memory_bytes.map(|bytes| {
        let places = bytes.saturating_sub(MEMORY_BASE_BYTES) / MEMORY_EACH_BYTES;
        let why = format!("{} MiB of memory", bytes / (1024 * 1024));
        (u32::try_from(places).unwrap_or(u32::MAX), why)
    });
    let by_processors = limits.processors.map(|processors| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates, and a quota is positive"
        )]
        let places = (processors * EACH_PROCESSOR) as u32;
        (places, format!("{processors:.1} processors"))
    });
    let tightest = by_memory
        .into_iter()
        .chain(by_processors)
        .min_by_key(|(places, _)| *places);
    match tightest {
        // One can always be tried.
        Some((places, why)) if places.max(1) < configured => {
            let places = places.max(1);
            let advice = format!(
                "interviews.capacity is {configured}, and the cgroup's limit of {why} has room for {places}: so many are held; raise the limit, or set the capacity to {places}"
            );
            (places, Some(advice))
        }
        _ => (configured, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn limits(memory_mib: Option<u64>, processors: Option<f64>) -> Limits {
        Limits {
            memory_bytes: memory_mib.map(|mib| mib * MIB),
            processors,
            tasks: None,
        }
    }

    #[test]
    fn without_limits_the_configured_number_holds() {
        assert_eq!(places(50, Limits::default()), (50, None));
    }

    #[test]
    fn the_units_of_the_module_have_room_for_what_they_were_made_for() {
        for capacity in 1..=50 {
            let unit = limits(Some(1024 + 16 * u64::from(capacity)), None);
            assert_eq!(places(capacity, unit), (capacity, None));
        }
    }

    #[test]
    fn the_tightest_limit_decides_and_is_named() {
        let (by_memory, why) = places(20, limits(Some(512), Some(4.0)));
        assert_eq!(by_memory, 8);
        assert!(why.is_some_and(|why| why.contains("512 MiB of memory")));
        let (by_processors, why) = places(20, limits(Some(4096), Some(0.5)));
        assert_eq!(by_processors, 10);
        assert!(why.is_some_and(|why| why.contains("0.5 processors")));
    }

    #[test]
    fn one_can_always_be_tried() {
        assert_eq!(places(4, limits(Some(64), Some(0.01))).0, 1);
        assert_eq!(places(1, limits(Some(64), Some(0.01))), (1, None));
    }
}
