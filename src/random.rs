//! A seeded generator of pseudo-random numbers (xoshiro256++, seeded by SplitMix64): the same seed gives the same sequence
//! on every machine. Not for secrets.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A stream of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream of `seed`. Similar seeds give different streams.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..bound`; 0 if `bound` is 0.
    pub fn within(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// The same for a count or an index.
    pub fn below(&mut self, count: usize) -> usize {
        self.within(count as u64) as usize
    }

    /// True once in `n` times on average.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Bell-shaped, mean 0, deviation 1, never beyond 3.465, so that steps built on it are bounded.
    pub(crate) fn bell(&mut self) -> f64 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732_050_807_568_877_2
    }

    /// Puts `items` in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence_in_every_version() {
        let take = |seed| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.bits())
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert_ne!(take(0), [0; 8]);
        assert_eq!(take(7)[..2], [0x0e2c_1a00_2aae_913d, 0x2c0f_c8dd_fa4e_9e14]);
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut random = Random::new(1);
        let (mut sum, mut square) = (0.0, 0.0);
        for _ in 0..10_000 {
            assert!((0.0..1.0).contains(&random.unit()));
            assert!(random.below(3) < 3);
            let bell = random.bell();
            assert!(bell.abs() <= 3.465);
            sum += bell;
            square += bell * bell;
        }
        assert!((sum / 10_000.0).abs() < 0.05);
        assert!((square / 10_000.0 - 1.0).abs() < 0.05);
        assert_eq!(random.below(0), 0);
    }
}
