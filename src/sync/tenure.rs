//! Remembers across a restart for how long nobody else can have taken over what was conducted here.
//!
//! A lease that was renewed at a moment of this machine's clock lasts from then on. A process that starts before it is
//! over goes on at once; a later one, or one on a machine that was started anew, asks first.

use std::fs::{File, rename};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::leases::LEASE;
use crate::clock::since_boot;

/// In the state directory: which start of the machine, and until when by its clock in milliseconds. Not synced: after
/// a power loss it is another start of the machine.
pub const TENURE_FILE: &str = "tenure";
/// Names one start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A time in which all leases of this appliance hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenure {
    until: Duration,
}

impl Tenure {
    /// Of leases that were renewed by a question asked then.
    pub(super) fn from(asked: Duration) -> Self {
        Self {
            until: asked + LEASE,
        }
    }

    /// Notes it for the next process.
    pub(super) fn note(self, directory: &Path) -> io::Result<()> {
        let path = directory.join(TENURE_FILE);
        let beside = directory.join(format!("{TENURE_FILE}.new"));
        let line = format!("{} {}\n", boot_id()?, self.until.as_millis());
        File::create(&beside)?.write_all(line.as_bytes())?;
        rename(&beside, &path)
    }
}

/// Whether the leases of the process before this one still hold. What can't be read does not say so.
pub(super) fn holds(directory: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(directory.join(TENURE_FILE)) else {
        return false;
    };
    let Ok(boot) = boot_id() else { return false };
    is_within(&text, &boot, since_boot())
}

fn is_within(text: &str, boot: &str, now: Duration) -> bool {
    let Some((noted_boot, until)) = text.trim_end().split_once(' ') else {
        return false;
    };
    let until = until.parse().map(Duration::from_millis);
    // One that lasts longer than any lease is not what was written.
    noted_boot == boot && until.is_ok_and(|until| now < until && until <= now + LEASE)
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_soon_back_finds_its_leases_holding() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!holds(directory.path()), "there was none");
        Tenure::from(since_boot()).note(directory.path()).unwrap();
        assert!(holds(directory.path()));
        let long_ago = since_boot().saturating_sub(LEASE);
        Tenure::from(long_ago).note(directory.path()).unwrap();
        assert!(!holds(directory.path()));
    }

    #[test]
    fn a_note_of_another_start_of_the_machine_or_a_damaged_one_says_nothing() {
        let now = Duration::from_secs(1000);
        let s = Duration::from_secs;
        assert!(is_within("boot 1039000\n", "boot", now));
        assert!(!is_within("boot 1000000\n", "boot", now));
        assert!(!is_within("other 1039000\n", "boot", now));
        assert!(!is_within("boot 1039000\n", "boot", s(0)), "too far ahead");
        for damaged in ["", "\n", "boot", "boot x", "boot -5", " 1039000"] {
            assert!(!is_within(damaged, "boot", now), "{damaged:?}");
        }
    }
}
