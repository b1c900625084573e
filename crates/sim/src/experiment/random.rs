use crate::rng::{Rng, mix};

/// What a stream of numbers is for. Each purpose has its own, so that a change of one of them leaves all others as they were.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Arrivals = 1,
    Durations,
    Goodness,
    Edges,
    Conflicts,
    Predictor,
    Knowledge,
    Flakes,
}

/// The stream of one purpose in the world of a seed.
pub(crate) fn stream(seed: u64, purpose: Purpose) -> Rng {
    Rng::new(mix(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ ((purpose as u64) << 56)))
}

impl Rng {
    /// Above 0 and at most 1.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.range(0, u64::MAX - 1) >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    /// True with that probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() <= probability
    }

    /// Exponential with that mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    /// Standard normal (Box and Muller; the second value is not kept, so that one draw takes two numbers).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Lognormal with that median.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, stream};

    fn mean(n: u32, mut draw: impl FnMut() -> f64) -> f64 {
        (0..n).map(|_| draw()).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn the_draws_have_the_means_that_they_should() {
        let mut rng = stream(1, Purpose::Arrivals);
        assert!((mean(40_000, || rng.unit()) - 0.5).abs() < 0.01);
        assert!((mean(40_000, || rng.exponential(3.0)) - 3.0).abs() < 0.1);
        assert!(mean(40_000, || rng.normal()).abs() < 0.02);
        assert!((mean(40_000, || rng.lognormal(36.0, 0.5).ln()) - 36.0_f64.ln()).abs() < 0.02);
    }

    #[test]
    fn two_purposes_and_two_seeds_are_different_streams() {
        let first = |seed, purpose| stream(seed, purpose).unit();
        assert!(first(1, Purpose::Arrivals) != first(1, Purpose::Durations));
        assert!(first(1, Purpose::Arrivals) != first(2, Purpose::Arrivals));
    }
}
