//! The parts of a store path.
use crate::domain::id::StorePath;

impl StorePath {
    /// The 32 characters that no other path has.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.base().get(..32).unwrap_or_default()
    }

    /// What follows the hash: `openssl-3.5.2-dev`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.base().get(33..).unwrap_or_default()
    }

    /// The store that it is in: `/nix/store`.
    #[must_use]
    pub fn store(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(store, _)| store)
    }

    fn base(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}
