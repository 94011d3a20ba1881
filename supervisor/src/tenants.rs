//! Who calls.

use std::fmt;
use std::sync::Arc;

/// Who makes a call. What belongs to another tenant does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The one tenant that there is without authentication: whoever reaches this machine's
    /// standard input or loopback address.
    pub fn local() -> Self {
        Self("local".into())
    }

    /// A tenant of that name.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
