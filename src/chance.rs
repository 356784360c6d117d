//! Chance that can be played again: numbers that follow from a seed (splitmix64). For breaking ties and shuffling, never
//! for secrets.

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that belongs to a seed.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number, any of 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and an Option would only be unwrapped")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers_and_they_spread() {
        let (mut one, mut two) = (Chance::new(0), Chance::new(0));
        assert!((0..100).all(|_| one.next() == two.next()));
        let mut counts = [0; 10];
        (0..10_000).for_each(|_| counts[one.below(10)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
