//! A link with loss, delay, jitter and reordering, and that can be cut: `tc netem` where the kernel has it, else a program
//! that carries packets between two tunnel devices (`weather.py`).
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::namespaces::{Namespace, cable};

/// What happens to packets, in each direction.
#[derive(Clone, Copy)]
pub struct Weather {
    pub loss_percent: u32,
    pub delay_ms: u32,
    /// Added or taken away at random, so that packets overtake each other.
    pub jitter_ms: u32,
    /// Packets that do not wait at all.
    pub hasty_percent: u32,
}

/// The names of a link's ends, whatever it is made of.
pub const INTERFACE: &str = "eth0";

/// A link between two namespaces.
pub enum Link<'a> {
    /// A cable on which the kernel makes the weather.
    Kernel {
        ends: [&'a Namespace; 2],
        weather: Weather,
    },
    /// Tunnels, with a program between them that has a namespace of its own.
    Program { carrier: Child, _middle: Namespace },
}

impl<'a> Link<'a> {
    /// Lays a link, with an IPv4 address for either end.
    pub fn lay(
        a: (&'a Namespace, &str),
        b: (&'a Namespace, &str),
        weather: Weather,
    ) -> Option<Self> {
        if a.0.can("tc qdisc add dev lo root netem delay 1ms") {
            a.0.shell("tc qdisc delete dev lo root");
            cable(
                (a.0, INTERFACE, &format!("{}/30", a.1)),
                (b.0, INTERFACE, &format!("{}/30", b.1)),
            );
            let link = Self::Kernel {
                ends: [a.0, b.0],
                weather,
            };
            link.make_weather("add", weather.loss_percent);
            return Some(link);
        }
        let middle = Namespace::new()?;
        let mut carrier = Command::new("ip")
            .args(["netns", "exec", &middle.name, "python3", "-c"])
            .arg(include_str!("weather.py"))
            .args(["tun-a", "tun-b"])
            .args(
                [
                    weather.loss_percent,
                    weather.delay_ms,
                    weather.jitter_ms,
                    weather.hasty_percent,
                ]
                .map(|number| number.to_string()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(carrier.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(ready, "ready\n", "weather.py");
        for (tunnel, (end, address), (_, other)) in [("tun-a", a, b), ("tun-b", b, a)] {
            middle.ip(&format!(
                "link set {tunnel} netns {} name {INTERFACE}",
                end.name
            ));
            end.ip(&format!(
                "address add {address} peer {other} dev {INTERFACE}"
            ));
            end.ip(&format!("link set {INTERFACE} up"));
            end.wait_for_carrier(INTERFACE);
        }
        Some(Self::Program {
            carrier,
            _middle: middle,
        })
    }

    /// Lets nothing through any more; whoever sends is told nothing.
    pub fn cut(&mut self) {
        self.set_cut(true);
    }

    pub fn mend(&mut self) {
        self.set_cut(false);
    }

    fn set_cut(&mut self, is_cut: bool) {
        match self {
            Self::Kernel { weather, .. } => {
                let loss_percent = if is_cut { 100 } else { weather.loss_percent };
                self.make_weather("change", loss_percent);
            }
            Self::Program { carrier, .. } => {
                let word = if is_cut { "cut" } else { "mend" };
                writeln!(carrier.stdin.as_mut().unwrap(), "{word}").unwrap();
            }
        }
    }

    fn make_weather(&self, verb: &str, loss_percent: u32) {
        let Self::Kernel { ends, weather } = self else {
            return;
        };
        let Weather {
            delay_ms,
            jitter_ms,
            hasty_percent,
            ..
        } = weather;
        for end in ends {
            end.shell(&format!(
                "tc qdisc {verb} dev {INTERFACE} root netem limit 1000 loss {loss_percent}% \
                 delay {delay_ms}ms {jitter_ms}ms reorder {hasty_percent}%"
            ));
        }
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        if let Self::Program { carrier, .. } = self {
            // It may have ended by itself.
            let _killed = carrier.kill();
            let _reaped = carrier.wait();
        }
    }
}
