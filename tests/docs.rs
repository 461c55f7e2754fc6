//! The documents are true where a program can tell: every link leads to a file, every name that is linked is in that
//! file, and the table of limits says what the source says.
//!
//! What the alerts and the dashboard ask for is a metric of the program, and each alert is in the operator's table. Who copies the
//! source for a build takes along what it needs, and what is fetched for one comes from its registry.
//!
//! The table's rows are `| value | name | file | reason |`. A name is that of a constant, of a setting with its default
//! or of a line in a unit. Reads text alone and starts nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails here, and says what it leaves out"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "docs/build.rs"]
mod build;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/quantity.rs"]
mod quantity;
#[path = "docs/source.rs"]
mod source;

use links::Link;
use quantity::Quantity;
use source::Source;

/// Where the limits are.
const TABLE: &str = "docs/reliability.md";

/// What is made of limits without being one.
const NOT_LIMITS: [&str; 1] = ["DAY_MS"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents, by their paths from the root; none in a copy of the source that was made for the program alone.
fn documents() -> BTreeMap<String, String> {
    let named = ["README.md", "CONTRIBUTING.md", "examples/python/README.md"];
    let mut paths: Vec<PathBuf> = named.iter().map(|name| root().join(name)).collect();
    if let Ok(entries) = fs::read_dir(root().join("docs")) {
        paths.extend(entries.map(|entry| entry.expect("an entry of docs").path()));
    } else {
        eprintln!("skipped: this copy of the source is without its documents");
        return BTreeMap::new();
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.strip_prefix(root()).expect("a path of the root");
        (name.display().to_string(), text)
    };
    paths.into_iter().map(read).collect()
}

/// The links of all documents to files of this repository.
fn file_links() -> Vec<(String, Link, PathBuf)> {
    let mut found = Vec::new();
    for (name, text) in documents() {
        let here = root().join(&name);
        let here = here.parent().expect("a directory");
        for link in links::of(&text) {
            if let Some(file) = link.file() {
                let file = here.join(file);
                found.push((name.clone(), link, file));
            }
        }
    }
    found
}

fn assert_none(what: &str, mistakes: &[String]) {
    assert!(mistakes.is_empty(), "{what}:\n  {}", mistakes.join("\n  "));
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let broken: Vec<_> = file_links()
        .into_iter()
        .filter(|(_, _, file)| !file.exists())
        .map(|(document, link, _)| format!("{document}:{}: {}", link.line, link.target))
        .collect();
    assert_none("these links lead nowhere", &broken);
}

#[test]
fn every_name_that_is_linked_is_in_that_file() {
    let mut missing = Vec::new();
    for (document, link, file) in file_links() {
        let (Some(name), Ok(text)) = (link.name(), fs::read_to_string(&file)) else {
            continue;
        };
        if !source::has_word(&text, name) {
            missing.push(format!(
                "{document}:{}: {} has no {name}",
                link.line, link.target
            ));
        }
    }
    assert_none("these names are not where the link says", &missing);
}

/// A row of the table.
struct Row {
    line: usize,
    value: String,
    name: String,
    file: String,
}

/// The rows in which a value and a linked file stand beside a name.
fn rows(table: &str) -> Vec<Row> {
    let mut found = Vec::new();
    for (index, line) in table.lines().enumerate() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, value, name, file, reason, _] = cells.as_slice() else {
            continue;
        };
        let links = links::of(file);
        let ([link], Some(name)) = (links.as_slice(), links::code(name)) else {
            continue;
        };
        assert!(
            !reason.is_empty(),
            "{TABLE}:{}: {name} has no reason",
            index + 1
        );
        found.push(Row {
            line: index + 1,
            value: (*value).to_owned(),
            name: name.to_owned(),
            file: link.target.trim_start_matches("../").to_owned(),
        });
    }
    found
}

/// What is wrong with the rows of `table`.
fn mistakes(table: &str, source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for Row {
        line,
        value,
        name,
        file,
    } in rows(table)
    {
        let place = format!("{TABLE}:{line}: `{name}` of {file}");
        match (source.value(&file, &name), Quantity::read(&value)) {
            (Err(cause), _) => found.push(format!("{place}: {cause}")),
            (_, None) => found.push(format!(
                "{place}: {value:?} is no value, as `30 s` or `64 KiB` are"
            )),
            (Ok(truth), Some(said)) if !truth.equals(&said) => {
                found.push(format!("{place} is {truth}, and the row says {value}"));
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_table_of_limits_says_what_the_source_says() {
    let Some(table) = documents().remove(TABLE) else {
        return;
    };
    assert!(rows(&table).len() > 100, "the table is not where it was");
    assert_none(
        "the table and the source differ",
        &mistakes(&table, &Source::read(root())),
    );
}

#[test]
fn every_limit_of_the_source_is_in_the_table() {
    let Some(table) = documents().remove(TABLE) else {
        return;
    };
    let rows = rows(&table);
    let source = Source::read(root());
    let missing: Vec<_> = source
        .limits()
        .filter(|(file, limit)| {
            !NOT_LIMITS.contains(&limit.name.as_str())
                && !rows
                    .iter()
                    .any(|row| row.name == limit.name && row.file == *file)
        })
        .map(|(file, limit)| {
            let value = source
                .value(file, &limit.name)
                .map_or("?".into(), |v| v.to_string());
            let parts = if file.ends_with("/mod.rs") { 2 } else { 1 };
            let short = file.rsplitn(parts + 1, '/').take(parts).collect::<Vec<_>>();
            let short = short.into_iter().rev().collect::<Vec<_>>().join("/");
            format!(
                "| {value} | `{}` | [{short}](../{file}) | {} |",
                limit.name, limit.doc
            )
        })
        .collect();
    assert_none(&format!("{TABLE} lacks these rows"), &missing);
}

#[test]
fn a_row_that_is_not_true_is_noticed() {
    let source = Source::of([(
        "src/a.rs",
        "/// For a reason.\nconst WAIT: Duration = Duration::from_secs(2 * 30);\n\
         pub const SIZE_BYTES_MAX: usize = 8 << 20;\n\
         const BOTH: Duration = WAIT.saturating_add(Duration::from_millis(500));\nconst EPOCH_UNIX_MS: u64 = 0;\n",
    )]);
    let row = |value: &str, name: &str| {
        format!("| {value} | `{name}` | [a.rs](../src/a.rs) | because |\n")
    };
    for (value, name) in [
        ("60 s", "WAIT"),
        ("1 min", "WAIT"),
        ("8 MiB", "SIZE_BYTES_MAX"),
        ("60.5 s", "BOTH"),
    ] {
        assert_eq!(mistakes(&row(value, name), &source), Vec::<String>::new());
    }
    assert_eq!(
        mistakes(&row("59 s", "WAIT"), &source),
        ["docs/reliability.md:1: `WAIT` of src/a.rs is 1 min, and the row says 59 s"]
    );
    for (value, name) in [
        ("8 KiB", "SIZE_BYTES_MAX"),
        ("60 s", "GONE"),
        ("soon", "WAIT"),
        ("60 ms", "WAIT"),
    ] {
        assert_eq!(
            mistakes(&row(value, name), &source).len(),
            1,
            "{value} {name}"
        );
    }
    let limits: Vec<_> = source
        .limits()
        .map(|(_, limit)| limit.name.as_str())
        .collect();
    assert_eq!(limits, ["BOTH", "SIZE_BYTES_MAX", "WAIT"]);
}

/// The text of every file below a directory of the source.
fn sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).expect("a directory of the source");
    entries
        .map(|entry| {
            let path = entry.expect("an entry of the source").path();
            if path.is_dir() {
                sources(&path)
            } else {
                fs::read_to_string(&path).expect("a file of the source")
            }
        })
        .collect()
}

/// The words of a text that begin so.
fn words<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(move |word| word.starts_with(beginning))
}

#[test]
fn what_is_monitored_is_a_metric_of_the_program() {
    let monitoring = root().join("nixos/monitoring");
    if !monitoring.is_dir() {
        eprintln!("skipped: this copy of the source is without its monitoring");
        return;
    }
    let source = sources(&root().join("src"));
    let read = |name: &str| fs::read_to_string(monitoring.join(name)).expect("a monitoring file");
    let asked = read("alerts.yml") + &read("dashboards/viva.json");
    let endings = ["_total", "_bucket", "_sum", "_count", ""];
    let is_metric = |name: &str| {
        endings.iter().any(|ending| {
            let bare = name.strip_suffix(ending);
            bare.is_some_and(|bare| source.contains(&format!("\"{bare}\"")))
        })
    };
    let mut unknown: Vec<_> = words(&asked, "viva_")
        .filter(|name| !is_metric(name))
        .map(str::to_owned)
        .collect();
    unknown.dedup();
    assert_none("no metric of the program", &unknown);
}

#[test]
fn every_alert_is_in_the_operators_table() {
    let alerts = fs::read_to_string(root().join("nixos/monitoring/alerts.yml"));
    let guide = fs::read_to_string(root().join("docs/operations.md"));
    let (Ok(alerts), Ok(guide)) = (alerts, guide) else {
        eprintln!("skipped: this copy of the source is without its monitoring");
        return;
    };
    let unexplained: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .filter(|name| !guide.contains(&format!("| `{name}` |")))
        .map(str::to_owned)
        .collect();
    assert_none(
        "docs/operations.md does not say what these mean",
        &unexplained,
    );
}

/// Each file of the source with its path from the root.
fn texts(directory: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(directory).expect("the source");
    entries
        .flat_map(|entry| {
            let path = entry.expect("an entry of the source").path();
            if path.is_dir() {
                return texts(&path);
            }
            let text = fs::read_to_string(&path).expect("a file of the source");
            let path = path.strip_prefix(root()).expect("a path of the root");
            vec![(path.to_owned(), text)]
        })
        .collect()
}

#[test]
fn who_copies_the_source_for_a_build_takes_along_what_it_is_compiled_with() {
    let recipes = ["deploy/Dockerfile", "nixos/package.nix"].map(|name| {
        let text = fs::read_to_string(root().join(name));
        (name, text)
    });
    let [(_, Ok(dockerfile)), (_, Ok(package))] = recipes else {
        eprintln!("skipped: this copy of the source is without the recipes");
        return;
    };
    let needed: Vec<PathBuf> = texts(&root().join("src"))
        .iter()
        .flat_map(|(path, text)| build::included(path, text))
        .chain(["Cargo.toml", "Cargo.lock", "src", ".sqlx", "libwebrtc/src"].map(PathBuf::from))
        .collect();
    assert!(needed.contains(&PathBuf::from("plans/default.toml")));
    let lacks = |recipe: &str, taken: &[PathBuf]| {
        let without = |file: &&PathBuf| !taken.iter().any(|path| file.starts_with(path));
        let mistake = |file: &PathBuf| format!("{recipe}: {}", file.display());
        needed
            .iter()
            .filter(without)
            .map(mistake)
            .collect::<Vec<_>>()
    };
    let mut mistakes = lacks("deploy/Dockerfile", &build::copied(&dockerfile));
    mistakes.extend(lacks("nixos/package.nix", &build::named(&package)));
    assert_none("these are compiled in, and are not there", &mistakes);
}

#[test]
fn what_a_build_fetches_comes_from_its_registry_and_is_pinned_by_its_hash() {
    let read = |name: &str| fs::read_to_string(root().join(name));
    let crates = read("Cargo.lock").expect("the lock file");
    let foreign: Vec<String> = crates
        .lines()
        .filter_map(|line| build::value(line, "source"))
        .filter(|source| *source != "registry+https://github.com/rust-lang/crates.io-index")
        .map(str::to_owned)
        .collect();
    assert_none("not from crates.io", &foreign);
    let pinned = |text: &str, name| text.lines().filter_map(|l| build::value(l, name)).count();
    assert!(pinned(&crates, "source") > 100);
    assert_eq!(pinned(&crates, "source"), pinned(&crates, "checksum"));

    let Ok(packages) = read("web/package-lock.json") else {
        eprintln!("skipped: this copy of the source is without the page's packages");
        return;
    };
    let foreign: Vec<String> = packages
        .lines()
        .filter_map(|line| build::value(line, "resolved"))
        .filter(|url| !url.starts_with("https://registry.npmjs.org/"))
        .map(str::to_owned)
        .collect();
    assert_none("not from npm's registry", &foreign);
    let of_packages = packages.matches("\"node_modules/").count();
    assert!(of_packages > 5);
    assert_eq!(pinned(&packages, "resolved"), of_packages);
    assert_eq!(pinned(&packages, "integrity"), of_packages);
}
