//! Servers and engines that the tests talk to.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

pub mod fake_engines;
pub mod fake_provider;
