//! `med2e3 plan`: what a run will cost, from its configuration and the lengths of its texts; no tensor is made.

use med2e3_feed::Splicing;

use crate::TrainerError;
use crate::config::TrainConfig;
use crate::device::DeviceChoice;
use crate::plan::choice::of_policy;
use crate::plan::estimate::{Estimate, estimate};
use crate::plan::profile::DeviceProfile;
use crate::train::{planned, texts_of};
use crate::words::Word;

/// Estimates a run on a device with these rates; with those of the configuration's device, as they are estimated, where none are
/// given.
///
/// # Errors
/// A configuration, dataset or checkpoint that does not fit; a model that the memory does not hold.
pub fn plan(config: &TrainConfig, profile: Option<DeviceProfile>) -> Result<Estimate, TrainerError> {
    let planned = planned(config)?;
    let (sizes, form) = (&planned.sizes, config.data.form);
    let splicing =
        Splicing { visual_tokens: sizes.visual_token_count() as usize, max_length: sizes.variant.max_length };
    let texts = texts_of(&planned.samples.rows, form, splicing, config.step.batch, config.data.order);
    let profile = profile.unwrap_or_else(|| match config.device {
        DeviceChoice::Cpu => DeviceProfile::cpu(if config.threads > 0 { config.threads } else { 1 }),
        _ => DeviceProfile::h100(),
    });
    estimate(&planned.sizes, &planned.learning, config.compute.precision, texts, planned.steps, &profile)
}

impl Estimate {
    /// As a table for a person.
    pub fn table(&self) -> String {
        let gib = |bytes: f64| format!("{:.2} GiB", bytes / f64::from(1 << 30));
        let tera = |flops: f64| format!("{:.3}", flops / 1e12);
        let mut text = format!("{:<22}{:>16}{:>16}\n", "weights", "all", "that learn");
        for group in &self.weights {
            text += &format!("  {:<20}{:>16}{:>16}\n", group.group, group.count, group.learning);
        }
        text += &format!("\n{:<22}{:>10}{:>10}\n", "TFLOP of a text", "forward", "backward");
        for module in &self.flops {
            let (forward, backward) = (tera(module.forward.total()), tera(module.backward.total()));
            text += &format!("  {:<20}{forward:>10}{backward:>10}\n", module.module.name());
        }
        let (states, choice) = (&self.states, &self.choice);
        text += &format!(
            "\nmemory on {}\n  {:<20}{:>14}  weights {}, gradients {}, moments {}, remainders {}\n",
            self.device,
            "states",
            gib(states.total()),
            gib(states.weights),
            gib(states.gradients),
            gib(states.moments),
            gib(states.remainder)
        );
        text += &format!(
            "  {:<20}{:>14}  for a moment {} more\n",
            "a full micro-batch",
            gib(choice.activations.kept()),
            gib(choice.activations.transient)
        );
        text += &format!("  {:<20}{:>14}  of {}\n", "peak", gib(choice.peak), gib(self.memory));
        text += &format!(
            "\nmicro-batch           at most {} tokens, {} volumes\ncomputed again        {}\n",
            choice.budget.tokens,
            choice.budget.volumes,
            of_policy(&choice.policy)
        );
        text += &format!("\n{:<22}{:>12}{:>12}{:>14}\n", "seconds of a step", "", "texts/s", "peak");
        let texts = self.texts_per_second * choice.step_seconds;
        let mut line = |name: &str, choice: &crate::plan::choice::Choice| {
            let (seconds, peak) = (choice.step_seconds, gib(choice.peak));
            text += &format!("  {name:<20}{seconds:>12.3}{:>12.2}{peak:>14}\n", texts / seconds);
        };
        line("as above", choice);
        for (recompute, choice) in &self.alternatives {
            line(&format!("{} of all blocks", recompute.as_str()), choice);
        }
        text + &format!(
            "\n{} steps, {:.2} hours ({:.2} days), {:.1} % of the peak; validation and checkpoints left out\n",
            self.steps,
            self.seconds / 3600.0,
            self.seconds / 86400.0,
            100.0 * self.utilization
        )
    }
}
