//! Network namespaces with cables between them: a small Internet in which nobody else is. Gone when dropped.
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// For the kernel to notice a cable; it looks once a second at most.
const CARRIER_LIMIT: Duration = Duration::from_secs(20);

/// How many this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// Makes one; only root may. Says so if it can't.
    #[allow(clippy::print_stderr)]
    pub fn new() -> Option<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("vw{}n{number}", std::process::id());
        if !succeeds(&mut ip(&["netns", "add", &name])) {
            eprintln!("skipped: only root may make network namespaces");
            return None;
        }
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // Else the first packets wait until IPv6 has found its addresses.
        namespace.shell("echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad");
        Some(namespace)
    }

    /// Runs `ip` in it, with words that have blanks between them.
    pub fn ip(&self, words: &str) {
        let mut arguments = vec!["-n", &self.name];
        arguments.extend(words.split(' '));
        assert!(succeeds(&mut ip(&arguments)), "ip {words}");
    }

    /// Runs a line of shell in it.
    pub fn shell(&self, line: &str) {
        let mut command = ip(&["netns", "exec", &self.name, "sh", "-c", line]);
        assert!(succeeds(&mut command), "{line}");
    }

    /// Whether a line of shell succeeds in it.
    pub fn can(&self, line: &str) -> bool {
        succeeds(&mut ip(&["netns", "exec", &self.name, "sh", "-c", line]))
    }

    /// Waits until an interface is running: the kernel takes a moment to notice the other end of a cable.
    pub fn wait_for_carrier(&self, interface: &str) {
        let until = Instant::now() + CARRIER_LIMIT;
        let has_carrier = format!("ip link show dev {interface} | grep -q LOWER_UP");
        while !self.can(&has_carrier) {
            assert!(Instant::now() < until, "{interface} has no carrier");
        }
        let is_running = format!("ip link show dev {interface} | grep -q -E 'state (UP|UNKNOWN)'");
        while !self.can(&is_running) {
            assert!(Instant::now() < until, "{interface} is not running");
        }
    }

    /// Lets it pass on what is not for itself.
    pub fn forward(&self) {
        self.shell("echo 1 >/proc/sys/net/ipv4/ip_forward");
        self.shell("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
    }

    /// Hides what is behind it: whatever goes out does so from its own address, and nothing comes in uncalled.
    pub fn masquerade(&self, outside: &str) {
        let rules = format!(
            "table inet home {{\n\
             chain out {{ type nat hook postrouting priority 100; oifname \"{outside}\" masquerade; }}\n\
             chain uncalled {{ type filter hook input priority 0; iifname \"{outside}\" ct state new drop; }}\n\
             chain through {{ type filter hook forward priority 0; iifname \"{outside}\" ct state new drop; }}\n}}\n"
        )
        .replace("; }", ";\n}");
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin
            .take()
            .unwrap()
            .write_all(rules.as_bytes())
            .unwrap();
        assert!(nft.wait().unwrap().success(), "nft (Debian: nftables)");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Takes the interfaces in it along.
        succeeds(&mut ip(&["netns", "delete", &self.name]));
    }
}

/// Lays a cable: an interface on either side, with an address each.
pub fn cable(here: (&Namespace, &str, &str), there: (&Namespace, &str, &str)) {
    let ((a, a_name, a_address), (b, b_name, b_address)) = (here, there);
    a.ip(&format!(
        "link add {a_name} type veth peer name {b_name} netns {}",
        b.name
    ));
    for (end, name, address) in [(a, a_name, a_address), (b, b_name, b_address)] {
        end.ip(&format!("address add {address} dev {name}"));
        end.ip(&format!("link set {name} up"));
    }
    for (end, name) in [(a, a_name), (b, b_name)] {
        end.wait_for_carrier(name);
    }
}

fn ip(arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(arguments);
    command
}

fn succeeds(command: &mut Command) -> bool {
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}
