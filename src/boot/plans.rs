//! The plan files of a directory, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::health::{Condition, Health, Need};
use crate::interview::plan::{PLAN_BYTES_MAX, Plan, PlanError};

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Plans {
    /// By name: the file's name without `.toml`.
    pub usable: BTreeMap<String, Arc<Plan>>,
    /// Files that are no plans, each with why.
    pub broken: Vec<String>,
}

/// The examples, for whoever has no plans yet.
const BUILT_IN: [(&str, &str); 2] = [
    ("default", include_str!("../../plans/default.toml")),
    ("demo", include_str!("../../plans/demo.toml")),
];

/// Why there are no plans to choose from.
#[derive(Debug, thiserror::Error)]
pub enum PlansError {
    /// The directory.
    #[error("cannot read the plans in {path}: {source}; set interviews.plans_directory")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The plan of jobs that name none.
    #[error(
        "the default plan {name} is not in {place}; put {name}.toml there or set interviews.default_plan{broken}"
    )]
    NoDefault {
        /// Its name.
        name: String,
        /// Where it should be.
        place: String,
        /// What is wrong with its file, if there is one.
        broken: String,
    },
}

/// Reads every `NAME.toml` in `directory`, or takes the built-in examples where there is none.
///
/// # Errors
/// The directory can't be read, or the default plan is not among its usable plans.
pub fn load(directory: Option<&Path>, default_plan: &str) -> Result<Plans, PlansError> {
    let (plans, place) = match directory {
        Some(directory) => (in_directory(directory)?, format!("{}", directory.display())),
        None => (
            built_in(),
            "the built-in examples (set interviews.plans_directory to a directory of yours)".into(),
        ),
    };
    if plans.usable.contains_key(default_plan) {
        return Ok(plans);
    }
    let broken = if plans.broken.is_empty() {
        String::new()
    } else {
        format!("\n{}", plans.broken.join("\n"))
    };
    Err(PlansError::NoDefault {
        name: default_plan.to_owned(),
        place,
        broken,
    })
}

/// Notes in `health` which plans there are, and which files are none.
pub fn note(health: &Health, plans: &Plans) {
    let names = plans.usable.keys().cloned().collect::<Vec<_>>().join(", ");
    let condition = if plans.broken.is_empty() {
        Condition::Ok
    } else {
        Condition::Degraded(plans.broken.join("; "))
    };
    for broken in &plans.broken {
        tracing::warn!("a plan can't be used: {broken}");
    }
    health.set("plans", Need::Required, condition, names);
}

fn built_in() -> Plans {
    let mut plans = Plans::default();
    for (name, text) in BUILT_IN {
        plans.add(name, Plan::parse(text, name).map_err(|e| e.to_string()));
    }
    plans
}

fn in_directory(directory: &Path) -> Result<Plans, PlansError> {
    let failed = |source| PlansError::Directory {
        path: directory.to_owned(),
        source,
    };
    let mut plans = Plans::default();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        if let Some(name) = path.file_stem().and_then(|n| n.to_str()) {
            plans.add(name, read(&path));
        }
    }
    plans.broken.sort();
    Ok(plans)
}

impl Plans {
    fn add(&mut self, name: &str, read: Result<Plan, String>) {
        match read {
            Ok(plan) => {
                self.usable.insert(name.to_owned(), Arc::new(plan));
            }
            Err(reason) => self.broken.push(reason),
        }
    }
}

fn read(path: &Path) -> Result<Plan, String> {
    let size = std::fs::metadata(path)
        .map_err(|e| format!("{}: {e}", path.display()))?
        .len();
    if size > PLAN_BYTES_MAX as u64 {
        return Err(format!(
            "{}: {size} bytes are more than the {PLAN_BYTES_MAX} that a plan may have",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Plan::parse(&text, &path.display().to_string()).map_err(|e: PlanError| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "title = \"T\"\ntime_minutes = 5\n[[sections]]\ntitle = \"S\"\n[[sections.questions]]\nid = \"q\"\ntext = \"Why?\"\n";

    #[test]
    fn plans_are_named_by_their_files_and_a_broken_one_harms_no_other() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("default.toml"), PLAN).unwrap();
        std::fs::write(directory.path().join("broken.toml"), "titel = \"T\"").unwrap();
        std::fs::write(directory.path().join("README.md"), "not a plan").unwrap();
        let plans = load(Some(directory.path()), "default").unwrap();
        assert_eq!(plans.usable.keys().collect::<Vec<_>>(), ["default"]);
        assert!(
            plans.broken[0].contains("broken.toml"),
            "{:?}",
            plans.broken
        );
    }

    #[test]
    fn a_default_plan_that_is_broken_is_named_with_its_mistake() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("default.toml"), "titel = \"T\"").unwrap();
        let error = load(Some(directory.path()), "default")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("default.toml") && error.contains("titel"),
            "{error}"
        );
    }

    #[test]
    fn without_a_directory_the_examples_are_there() {
        let plans = load(None, "default").unwrap();
        assert_eq!(plans.usable.keys().collect::<Vec<_>>(), ["default", "demo"]);
        assert_eq!(plans.broken, Vec::<String>::new());
        let error = load(None, "rust-senior").unwrap_err().to_string();
        assert!(error.contains("interviews.plans_directory"), "{error}");
    }
}
