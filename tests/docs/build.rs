//! What a build needs, and whether whoever copies the source for one takes it along.

use std::path::{Component, Path, PathBuf};

/// The files that the text at `path` is compiled with, by their paths from the root.
pub fn included(path: &Path, text: &str) -> Vec<PathBuf> {
    let here = path.parent().expect("a directory");
    ["include_str!(", "include_bytes!("]
        .iter()
        .flat_map(|call| text.split(call).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .map(|file| resolved(&here.join(file)))
        .collect()
}

/// The path without its `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

/// What the first stage of a Dockerfile copies from its context.
pub fn copied(dockerfile: &str) -> Vec<PathBuf> {
    let mut stages = dockerfile.split("\nFROM ");
    let stage = stages.nth(1).unwrap_or_default();
    stage
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            words.pop();
            words
        })
        .map(PathBuf::from)
        .collect()
}

/// The paths that a Nix file names, from the root, above which it lies by one directory.
pub fn named(nix: &str) -> Vec<PathBuf> {
    nix.split_whitespace()
        .filter_map(|word| word.strip_prefix("../"))
        .map(PathBuf::from)
        .collect()
}

/// The value of a line `name = "value"`, or `"name": "value",`.
pub fn value<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let (found, value) = line.trim().split_once([':', '='])?;
    let is_it = found.trim().trim_matches('"') == name;
    is_it.then(|| value.trim().trim_end_matches(',').trim_matches('"'))
}

#[test]
fn files_are_found_from_where_they_are_included() {
    let text = "const A: &str = include_str!(\n    \"../../plans/demo.toml\"\n);";
    let found = included(Path::new("src/boot/plans.rs"), text);
    assert_eq!(found, [Path::new("plans/demo.toml")]);
}

#[test]
fn the_last_word_of_a_copy_is_where_it_goes() {
    let dockerfile =
        "# x\nFROM a AS b\nCOPY src src\nCOPY x/y z.toml ./\nFROM c\nCOPY plans plans\n";
    assert_eq!(
        copied(dockerfile),
        ["src", "x/y", "z.toml"].map(PathBuf::from)
    );
}
