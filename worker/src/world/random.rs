//! Numbers by chance, which a seed gives again.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// Numbers that one seed always gives in the same order: PCG64, whose stream is specified.
pub(crate) struct Random(Pcg64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64::seed_from_u64(seed))
    }

    /// Evenly between the two: 53 random bits.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let fraction = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (high - low).mul_add(fraction, low)
    }
}
