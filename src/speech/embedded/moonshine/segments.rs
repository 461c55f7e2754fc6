//! Cuts long sound where it is quietest, because the model was trained on pieces of up to half a minute.

use std::iter;

use crate::speech::INPUT_RATE_HZ;

const SECOND: usize = INPUT_RATE_HZ as usize;
/// Longest piece that the model is given.
const PIECE_MAX: usize = 30 * SECOND;
/// A cut lies at least this far into a piece, so that pieces stay few and long.
const PIECE_MIN: usize = 12 * SECOND;
/// What is compared for quietness: long enough to be a pause between words and not the closure of a consonant.
const WINDOW: usize = SECOND / 5;
/// Steps at which windows are tried.
const STEP: usize = SECOND / 50;

/// The sound in pieces of at most 30 s, in order, nothing left out.
pub(super) fn segments(pcm: &[i16]) -> impl Iterator<Item = &[i16]> {
    let mut rest = pcm;
    iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest));
        rest = after;
        Some(piece)
    })
}

fn cut(pcm: &[i16]) -> usize {
    if pcm.len() <= PIECE_MAX {
        return pcm.len();
    }
    let energy = |at: usize| -> i64 {
        pcm[at..at + WINDOW]
            .iter()
            .map(|s| i64::from(*s) * i64::from(*s))
            .sum()
    };
    let quietest = (PIECE_MIN..PIECE_MAX - WINDOW)
        .step_by(STEP)
        .min_by_key(|at| energy(*at));
    quietest.unwrap_or(PIECE_MIN) + WINDOW / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sound_of_half_a_minute_stays_whole() {
        assert_eq!(segments(&vec![1; PIECE_MAX]).count(), 1);
    }

    #[test]
    fn longer_sound_is_cut_in_its_pause() {
        let mut pcm = vec![1000; 45 * SECOND];
        pcm[20 * SECOND..20 * SECOND + SECOND / 3].fill(3);
        let lengths: Vec<usize> = segments(&pcm).map(<[i16]>::len).collect();
        assert_eq!(lengths.len(), 2);
        assert!(
            (20 * SECOND..20 * SECOND + SECOND / 3).contains(&lengths[0]),
            "{lengths:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn nothing_is_lost_and_no_piece_is_too_long(length in 0..100 * SECOND, period in 1..50_000usize) {
            let pcm: Vec<i16> = (0..length).map(|i| (i / period % 2 * 500 + i % 7) as i16).collect();
            prop_assert!(segments(&pcm).all(|piece| !piece.is_empty() && piece.len() <= PIECE_MAX));
            prop_assert_eq!(segments(&pcm).collect::<Vec<_>>().concat(), pcm);
        }
    }
}
