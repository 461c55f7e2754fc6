//! A value with its unit, as a document and as the source write it.

use std::fmt;

/// Units of time, in ms.
const TIMES: [(&str, f64); 5] = [
    ("ms", 1.0),
    ("s", 1e3),
    ("min", 60e3),
    ("h", 3_600e3),
    ("d", 86_400e3),
];

/// Units of size, in bytes.
const SIZES: [(&str, f64); 3] = [("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0)];

/// A time, a size or a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// In ms.
    Time(f64),
    /// In bytes.
    Size(f64),
    /// Of whatever is counted.
    Count(f64),
}

impl Quantity {
    /// Reads `30 s`, `30s`, `64 KiB`, `1024` or `10,000`.
    pub fn read(text: &str) -> Option<Self> {
        let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
        let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number.replace(',', "").parse().ok()?;
        let unit = unit.trim();
        if unit.is_empty() {
            return Some(Self::Count(number));
        }
        let of = |units: &[(&str, f64)]| {
            units
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, one)| number * one)
        };
        of(&TIMES)
            .map(Self::Time)
            .or_else(|| of(&SIZES).map(Self::Size))
    }

    /// Whether both are the same. A bare nothing is nothing of any unit.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Time(a), Self::Time(b))
            | (Self::Size(a), Self::Size(b))
            | (Self::Count(a), Self::Count(b)) => (a - b).abs() <= a.abs() * 1e-9,
            (Self::Count(a), Self::Time(b) | Self::Size(b))
            | (Self::Time(b) | Self::Size(b), Self::Count(a)) => *a == 0.0 && *b == 0.0,
            _ => false,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, units): (f64, &[(&str, f64)]) = match self {
            Self::Time(ms) => (*ms, &TIMES),
            Self::Size(bytes) => (*bytes, &SIZES),
            Self::Count(count) => return write!(f, "{count}"),
        };
        // The largest unit of which there is a whole number.
        let whole = |(_, one): &&(&str, f64)| value != 0.0 && value % one == 0.0;
        let (name, one) = units.iter().rev().find(whole).unwrap_or(&units[0]);
        write!(f, "{} {name}", value / one)
    }
}
