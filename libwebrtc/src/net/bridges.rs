//! Tells a bridge that holds containers and virtual machines from one that carries this machine's own network.
//!
//! The former (`docker0`, `virbr0`, `cni0`) has an address that nobody outside of this machine reaches: as a candidate it
//! costs checks, tells about the machine, and can collide with the same range somewhere else. The kernel shows the
//! difference under `/sys/class/net`: a bridge has a directory `bridge`, its ports are in `brif`, and a port that is
//! hardware has a `device`. A bond or a VLAN has none, but stands on something that has (`lower_…`).

use std::path::Path;

/// Where the kernel describes its interfaces.
pub(super) const CLASS_NET: &str = "/sys/class/net";
/// A VLAN on a bond on a card is three; what goes on for longer is no network.
const DEPTH_MAX: u8 = 8;

/// Whether the interface `name` is a bridge without a port that leads out of this machine.
pub(super) fn is_inward(class_net: &Path, name: &str) -> bool {
    let interface = class_net.join(name);
    // A name is a single part of a path, and anything else is no interface.
    let is_name = Path::new(name).file_name().is_some_and(|part| part == name);
    if !is_name || !interface.join("bridge").is_dir() {
        return false;
    }
    !names(&interface.join("brif")).any(|port| leads_out(class_net, &port, DEPTH_MAX))
}

/// Hardware, or something that stands on hardware.
fn leads_out(class_net: &Path, name: &str, depth: u8) -> bool {
    let interface = class_net.join(name);
    interface.join("device").exists()
        || depth > 0
            && names(&interface)
                .filter_map(|entry| entry.strip_prefix("lower_").map(str::to_owned))
                .any(|below| leads_out(class_net, &below, depth - 1))
}

/// The names in a directory; none where it can't be read.
fn names(directory: &Path) -> impl Iterator<Item = String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that has these directories; removed when dropped.
    struct ClassNet(std::path::PathBuf);

    impl ClassNet {
        fn new(test: &str, directories: &[&str]) -> Self {
            let root = std::env::temp_dir().join(format!("viva-{test}-{}", std::process::id()));
            for directory in directories {
                std::fs::create_dir_all(root.join(directory)).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for ClassNet {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_bridge_of_containers_leads_nowhere() {
        let kernel = ClassNet::new(
            "containers",
            &[
                "docker0/bridge",
                "docker0/brif/veth1",
                "veth1",
                "virbr0/bridge",
            ],
        );
        assert!(is_inward(&kernel.0, "docker0"));
        assert!(is_inward(&kernel.0, "virbr0"), "without any port");
    }

    #[test]
    fn a_bridge_on_a_card_carries_this_machine() {
        let kernel = ClassNet::new(
            "card",
            &[
                "br0/bridge",
                "br0/brif/veth1",
                "br0/brif/bond0.7",
                "veth1",
                "bond0.7/lower_bond0",
                "bond0/lower_eth0",
                "eth0/device",
            ],
        );
        assert!(!is_inward(&kernel.0, "br0"));
    }

    #[test]
    fn what_is_no_bridge_is_left_alone() {
        // Within a container the one interface is half of a pair, without hardware.
        let kernel = ClassNet::new("none", &["eth0", "loop/lower_loop"]);
        for name in ["eth0", "nowhere", "", "..", "a/b"] {
            assert!(!is_inward(&kernel.0, name), "{name}");
        }
        assert!(!leads_out(&kernel.0, "loop", DEPTH_MAX), "and it ends");
    }
}
