//! Serde's complaints in words that help, with the nearest name that exists: for settings and plans alike.

/// A name this far from what was written, in edits per three letters of it, is hardly what was meant.
const LETTERS_PER_EDIT: usize = 3;

/// What is wrong and, where something can be said, what would be right.
pub fn explain(message: &str) -> (String, Option<String>) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (what, list) = if message.starts_with("unknown field") {
        ("there is no key", "the keys here are")
    } else if message.starts_with("unknown variant") {
        ("there is no such value:", "the values here are")
    } else {
        let plain = message
            .trim()
            .replace("expected i64", "expected a whole number")
            .replace("expected u32", "expected a whole number, not negative")
            .replace("expected path string", "expected a path")
            .replace("expected a sequence", "expected a list");
        let help = if plain.ends_with("map, expected a list") {
            Some("write it in double brackets, [[…]]: there may be several")
        } else if plain.ends_with("expected a list") {
            Some(r#"write it in brackets, each text in quotes: ["one", "two"]"#)
        } else {
            None
        };
        return (plain, help.map(str::to_owned));
    };
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let list = format!("{list} {}", known.join(", "));
    let help = match nearest(unknown, &known) {
        Some(near) => format!("did you mean `{near}`? {list}"),
        None => list,
    };
    (format!("{what} `{unknown}`"), Some(help))
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |k: &str| strsim::damerau_levenshtein(k, unknown);
    let near = known.iter().min_by_key(|k| distance(k))?;
    (distance(near) <= near.len().div_ceil(LETTERS_PER_EDIT)).then_some(*near)
}
