//! Cables between this machine and a network namespace, for tests that pull them. Only root may lay them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::process::Command;
use std::time::Duration;

/// A cable between this machine and a namespace; gone when it is dropped.
pub struct Cable {
    /// Of the interface on this machine.
    pub name: String,
    pub namespace: String,
    number: u8,
    /// Whether the namespace goes with it.
    owns_namespace: bool,
}

impl Cable {
    /// Lays it into a namespace of its own; none if that may not be done.
    pub fn lay(number: u8) -> Option<Self> {
        let name = name(number);
        let cable = Self {
            namespace: name.clone(),
            name,
            number,
            owns_namespace: true,
        };
        let namespace = &cable.namespace;
        let is_laid = ip(&["netns", "add", namespace])
            && ip(&["-n", namespace, "link", "set", "lo", "up"])
            && cable.plug_in();
        is_laid.then_some(cable)
    }

    /// Lays another into the same namespace, over which the same is reached when this one is gone.
    pub fn lay_another(&self, number: u8) -> Self {
        let cable = Self {
            name: name(number),
            namespace: self.namespace.clone(),
            number,
            owns_namespace: false,
        };
        assert!(cable.plug_in(), "a second cable");
        let near = cable.near();
        assert!(ip(&[
            "-n",
            &cable.namespace,
            "route",
            "add",
            "default",
            "via",
            &near
        ]));
        cable
    }

    fn plug_in(&self) -> bool {
        let Self {
            name, namespace, ..
        } = self;
        let (near, far) = (format!("{}/30", self.near()), format!("{}/30", self.far()));
        let plug = self.far_name();
        ip(&[
            "link", "add", name, "type", "veth", "peer", "name", &plug, "netns", namespace,
        ]) && ip(&["address", "add", &near, "dev", name])
            && ip(&["link", "set", name, "up"])
            && ip(&["-n", namespace, "address", "add", &far, "dev", &plug])
            && ip(&["-n", namespace, "link", "set", &plug, "up"])
    }

    /// This machine's address on it.
    pub fn near(&self) -> String {
        format!("198.18.{}.1", self.number)
    }

    fn far(&self) -> String {
        format!("198.18.{}.2", self.number)
    }

    fn far_name(&self) -> String {
        format!("far{}", self.number)
    }

    /// Pulls it for so long. Whoever sends meanwhile is told nothing.
    pub fn pull(&self, time: Duration) {
        assert!(ip(&["link", "set", &self.name, "down"]));
        std::thread::sleep(time);
        assert!(ip(&["link", "set", &self.name, "up"]));
    }

    /// Takes the interface in the namespace down, for good.
    pub fn unplug_far(&self) {
        let plug = self.far_name();
        assert!(ip(&["-n", &self.namespace, "link", "set", &plug, "down"]));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.name]);
        if self.owns_namespace {
            ip(&["netns", "delete", &self.namespace]);
        }
    }
}

fn name(number: u8) -> String {
    format!("viva{}n{number}", std::process::id() % 100_000)
}

fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
