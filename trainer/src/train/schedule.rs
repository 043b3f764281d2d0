//! The learning rate over a run: linear warm-up, then half a cosine to zero, as transformers'
//! `get_cosine_schedule_with_warmup` has it.

/// A schedule over a known number of optimizer steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CosineSchedule {
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// All steps, warm-up included.
    pub total_steps: u64,
}

impl CosineSchedule {
    /// Warm-up as a share of the whole, rounded up as transformers' Trainer does.
    pub fn with_warmup_ratio(total_steps: u64, ratio: f64) -> CosineSchedule {
        CosineSchedule { warmup_steps: (total_steps as f64 * ratio).ceil() as u64, total_steps }
    }

    /// The factor on the peak rate for the optimizer step that follows `step` finished ones. The very first step has
    /// factor 0 when there is a warm-up.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps.max(1) as f64;
        }
        let decay_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = (step - self.warmup_steps) as f64 / decay_steps as f64;
        (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // transformers 5.23: get_cosine_schedule_with_warmup(optimizer, 3, 10), rate 1.0, get_last_lr() before each step.
    const TRANSFORMERS: [f64; 11] = [
        0.0,
        1.0 / 3.0,
        2.0 / 3.0,
        1.0,
        0.9504844339512095,
        0.8117449009293668,
        0.6112604669781572,
        0.38873953302184283,
        0.1882550990706332,
        0.04951556604879043,
        0.0,
    ];

    #[test]
    fn equals_transformers() {
        let schedule = CosineSchedule { warmup_steps: 3, total_steps: 10 };
        for (step, expected) in TRANSFORMERS.into_iter().enumerate() {
            assert!((schedule.factor(step as u64) - expected).abs() < 1e-15, "step {step}");
        }
    }

    #[test]
    fn ratio_rounds_up() {
        assert_eq!(CosineSchedule::with_warmup_ratio(101, 0.03).warmup_steps, 4);
    }
}
