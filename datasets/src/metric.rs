//! How near is near.

use std::str::FromStr;

use crate::{DatasetError, Result};

/// The measure by which neighbours are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance, ascending.
    L2,
    /// Inner product, descending.
    InnerProduct,
    /// 1 - cosine of the angle, ascending.
    Cosine,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 3] = [Self::L2, Self::InnerProduct, Self::Cosine];

    /// `l2`, `ip` or `cosine`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::InnerProduct => "ip",
            Self::Cosine => "cosine",
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| DatasetError::argument("metric", name, "l2, ip or cosine"))
    }
}
