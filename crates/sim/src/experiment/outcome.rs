/// How one policy did in one world.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// From arrival to landing, of the changes that landed, in minutes, shortest first.
    pub turnarounds: Vec<f64>,
    /// Changes that were decided.
    pub decided: usize,
    /// Builds that were started.
    pub builds: usize,
    /// Builds at the same time, at most; 0 where nobody counts.
    pub peak: usize,
    /// Builds that were stopped before their end.
    pub aborted: usize,
    /// Builds that were stopped and then started again on the very same tree.
    pub repeated: usize,
    /// Landings that broke the target, by the world's own truth.
    pub violations: usize,
}

impl Outcome {
    /// The turnaround that this share of the landed changes does not exceed, in minutes.
    pub fn percentile(&self, share: f64) -> f64 {
        percentile(&self.turnarounds, share)
    }

    /// Builds for each decided change.
    pub fn builds_per_change(&self) -> f64 {
        self.builds as f64 / self.decided.max(1) as f64
    }
}

/// Between the two nearest of sorted values.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let low = place.floor() as usize;
    let (below, above) = (sorted[low], sorted[(low + 1).min(last)]);
    below + (above - below) * (place - low as f64)
}

/// A mean, and half of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// The interval reaches so far to both sides.
    pub half: f64,
}

/// Student's t for 95 %, by degrees of freedom from 1; the normal distribution's beyond.
const T95: [f64; 20] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086,
];

impl Mean {
    /// Of independent values.
    pub fn of(values: &[f64]) -> Mean {
        let n = values.len() as f64;
        if values.is_empty() {
            return Mean::default();
        }
        let value = values.iter().sum::<f64>() / n;
        let Some(freedom) = values.len().checked_sub(2) else { return Mean { value, half: 0.0 } };
        let variance = values.iter().map(|v| (v - value).powi(2)).sum::<f64>() / (n - 1.0);
        let t = T95.get(freedom).copied().unwrap_or(1.96);
        Mean { value, half: t * (variance / n).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mean, percentile};

    #[test]
    fn percentiles_lie_between_values_and_means_have_an_interval() {
        assert!((percentile(&[1.0, 2.0, 3.0, 4.0], 0.5) - 2.5).abs() < 1e-9);
        assert!((percentile(&[1.0, 2.0, 3.0], 1.0) - 3.0).abs() < 1e-9);
        let mean = Mean::of(&[1.0, 2.0, 3.0]);
        assert!((mean.value - 2.0).abs() < 1e-9);
        assert!((mean.half - 4.303 / 3.0_f64.sqrt()).abs() < 1e-3);
    }
}
