//! Libraries of the tests' own, which are preloaded into a process and stand between it and its disk, clocks or network.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `tests/support/NAME.c`; the library, for `LD_PRELOAD`.
pub fn preload(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/support/{name}.c"));
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = place.join(format!("{name}.so"));
    // Tests build it side by side: each for itself, and the last one in its place.
    let own = tempfile::NamedTempFile::new_in(place).expect("a place for it");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(own.path())
        .arg(source)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler, which the build needs for SQLite as well");
    assert!(built.success(), "{name}.c does not compile");
    own.persist(&path).expect("its place");
    path
}
