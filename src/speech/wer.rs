//! Word error rate: how far what was understood is from what was said.

/// Substitutions, insertions and deletions over the words of `said` (Levenshtein on words; case and marks don't count).
///
/// 0 for two texts without words; above 1 where more was understood than said.
#[must_use]
pub fn word_error_rate(said: &str, understood: &str) -> f64 {
    let (said, understood) = (words(said), words(understood));
    if said.is_empty() {
        return if understood.is_empty() { 0.0 } else { 1.0 };
    }
    let mut row: Vec<usize> = (0..=understood.len()).collect();
    for (i, a) in said.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in understood.iter().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    let rate = row[understood.len()] as f64 / said.len() as f64;
    rate
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|w| w.trim_matches('\'').to_lowercase())
        .filter(|w| !w.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_marks_do_not_count_and_each_wrong_word_does() {
        assert!(word_error_rate("It's a Mutex, isn't it?", "it's a mutex isn't it") < f64::EPSILON);
        assert!(
            (word_error_rate("one two three four", "one two tree four five") - 0.5).abs()
                < f64::EPSILON
        );
        assert!((word_error_rate("one two", "") - 1.0).abs() < f64::EPSILON);
        assert!((word_error_rate("", "one") - 1.0).abs() < f64::EPSILON);
    }
}
