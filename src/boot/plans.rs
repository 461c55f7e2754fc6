//! The plan files of a directory, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::interview::plan::{PLAN_BYTES_MAX, Plan, PlanError};

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Plans {
    /// By name: the file's name without `.toml`.
    pub usable: BTreeMap<String, Arc<Plan>>,
    /// Files that are no plans, each with why.
    pub broken: Vec<String>,
}

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
        "the default plan {name} is not in {path}; put {name}.toml there or set interviews.default_plan{broken}"
    )]
    NoDefault {
        /// Its name.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// What is wrong with its file, if there is one.
        broken: String,
    },
}

/// Reads every `NAME.toml` in `directory`.
///
/// # Errors
/// The directory can't be read, or the default plan is not among its usable plans.
pub fn load(directory: &Path, default_plan: &str) -> Result<Plans, PlansError> {
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
        let Some(name) = path.file_stem().and_then(|n| n.to_str()) else {
            continue;
        };
        match read(&path) {
            Ok(plan) => {
                plans.usable.insert(name.to_owned(), Arc::new(plan));
            }
            Err(reason) => plans.broken.push(reason),
        }
    }
    plans.broken.sort();
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
        path: directory.to_owned(),
        broken,
    })
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
        let plans = load(directory.path(), "default").unwrap();
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
        let error = load(directory.path(), "default").unwrap_err().to_string();
        assert!(
            error.contains("default.toml") && error.contains("titel"),
            "{error}"
        );
    }
}
