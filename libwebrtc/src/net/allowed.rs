//! Which interfaces may be used, where somebody has said so.

use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::addresses::LocalAddresses;

/// The patterns, if there are any.
static ALLOWED: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Limits the interfaces on which all connections of this process look for paths, beyond the original's interface. A name may
/// end in `*`. What is named is used even if it is loopback or leads to containers alone; no names are no limit.
///
/// Connections that exist follow within two seconds, as if the other interfaces had gone away.
pub fn use_interfaces(names: Vec<String>) {
    *ALLOWED.write() = names;
    // What is known was found under the old list.
    let _renewed = LocalAddresses::known(Instant::now(), Duration::ZERO);
}

/// Whether an interface may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It was named.
    Named,
    /// Nobody was: its kind decides.
    Unsaid,
    /// Others were.
    Refused,
}

pub(super) fn leave_for(interface: &str) -> Leave {
    leave(&ALLOWED.read(), interface)
}

fn leave(patterns: &[String], interface: &str) -> Leave {
    if patterns.is_empty() {
        return Leave::Unsaid;
    }
    let fits = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => interface.starts_with(start),
        None => interface == pattern,
    };
    if patterns.iter().any(fits) {
        Leave::Named
    } else {
        Leave::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_used_and_nothing_else() {
        let patterns = ["eth0".to_owned(), "wg*".to_owned()];
        assert_eq!(leave(&patterns, "eth0"), Leave::Named);
        assert_eq!(leave(&patterns, "wg-office"), Leave::Named);
        assert_eq!(leave(&patterns, "eth01"), Leave::Refused);
        assert_eq!(leave(&patterns, "docker0"), Leave::Refused);
    }

    #[test]
    fn without_names_the_kind_decides() {
        assert_eq!(leave(&[], "docker0"), Leave::Unsaid);
    }
}
