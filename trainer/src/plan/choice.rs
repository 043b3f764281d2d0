//! The fastest recomputation and micro-batch that a device's memory holds: what `auto` means.

pub use med2e3_feed::Budget;
use serde::Serialize;

use super::learning::{self, Learning, Learns, StateBytes, Weights};
use super::memory::{self, Activations, Numbers};
use super::profile::DeviceProfile;
use super::time::{self, Seconds};
use super::{BlockPolicy, MicroBatch, Policy};
use crate::TrainerError;
use crate::machine::gib;
use crate::model::batch_plan;
use crate::model::recompute::Recompute;
use crate::model::{LoraConfig, Med2e3Config};
use crate::precision::Precision;

/// The texts of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Texts {
    /// Of one optimizer step.
    pub batch: usize,
    /// Tokens after splicing, on average.
    pub mean_tokens: f64,
    /// Of the longest text.
    pub longest: usize,
    /// Targets of a text, on average.
    pub mean_targets: f64,
    /// Texts of a step over its distinct volumes: above 1 where texts share volumes, below 1 where texts show several.
    pub texts_per_volume: f64,
    /// Volumes of the text that shows most: what a micro-batch must hold.
    pub most_volumes: usize,
}

/// Tokens up to a multiple of which a row is padded, so that few widths occur.
pub const WIDTHS: usize = batch_plan::WIDTHS;

impl Texts {
    /// The widest padded row.
    fn widest(&self) -> usize {
        self.longest.max(1).next_multiple_of(WIDTHS)
    }

    /// Tokens of an average text, padded: rows are sorted by length, so half a step between widths is lost.
    fn padded(&self) -> f64 {
        (self.mean_tokens + 0.5 * WIDTHS as f64).min(self.widest() as f64).max(1.0)
    }

    /// Distinct volumes of so many texts, on average.
    pub fn volumes_of(&self, texts: f64) -> f64 {
        texts / self.texts_per_volume.max(f64::MIN_POSITIVE)
    }

    /// The volumes that a micro-batch of so many texts may hold: those of any one text at least.
    fn volume_budget(&self, texts: f64) -> usize {
        (self.volumes_of(texts).ceil() as usize).max(self.most_volumes).max(1)
    }
}

/// A policy and a budget, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// What is computed again.
    pub policy: Policy,
    /// What a micro-batch may hold.
    pub budget: Budget,
    /// Texts of an average micro-batch.
    pub texts: f64,
    /// Bytes of a full micro-batch.
    pub activations: Activations,
    /// Bytes of states and a full micro-batch.
    pub peak: f64,
    /// Of an average micro-batch.
    pub seconds: Seconds,
    /// Seconds of the whole step.
    pub step_seconds: f64,
}

/// What a choice depends on.
pub struct Search<'a> {
    config: &'a Med2e3Config,
    learning: &'a Learning,
    precision: Precision,
    texts: Texts,
    profile: &'a DeviceProfile,
    weights: Vec<Weights>,
    states: StateBytes,
}

impl<'a> Search<'a> {
    /// For a model, what learns of it, and the texts of a step.
    pub fn new(
        config: &'a Med2e3Config,
        learning: &'a Learning,
        precision: Precision,
        texts: Texts,
        profile: &'a DeviceProfile,
    ) -> Search<'a> {
        let weights = learning::weights(config, learning);
        let states = learning::states(&weights, precision);
        Search { config, learning, precision, texts, profile, weights, states }
    }

    /// The weights of each group.
    pub fn weights(&self) -> &[Weights] {
        &self.weights
    }

    /// The bytes of the states.
    pub fn states(&self) -> StateBytes {
        self.states
    }

    fn numbers(&self) -> Numbers {
        Numbers { precision: self.precision, fused_norms: self.profile.fused_norms }
    }

    /// Bytes of one micro-batch.
    pub fn activations(&self, batch: &MicroBatch, policy: &Policy) -> Activations {
        memory::activations(self.config, self.learning, self.numbers(), batch, policy)
    }

    /// Bytes of the states and of one micro-batch.
    pub fn peak(&self, batch: &MicroBatch, policy: &Policy) -> f64 {
        memory::peak(&self.states, &self.activations(batch, policy))
    }

    /// What one policy and budget cost, whether they fit or not.
    pub fn cost(&self, policy: Policy, budget: Budget) -> Choice {
        let (config, learning, precision) = (self.config, self.learning, self.precision);
        let Texts { batch, mean_targets, texts_per_volume, .. } = self.texts;
        let by_tokens = (budget.tokens as f64 / self.texts.padded()).max(1.0);
        let texts = by_tokens.min(budget.volumes as f64 * texts_per_volume).min(batch as f64).max(1.0);
        // The fullest: as many tokens and volumes as it may hold.
        let rows = (budget.tokens / self.texts.widest()).max(1);
        let targets = (texts * mean_targets).ceil() as usize;
        let full = MicroBatch::of_width(rows, budget.tokens / rows, budget.volumes as f64, targets);
        let activations = memory::activations(config, learning, self.numbers(), &full, &policy);
        let peak = memory::peak(&self.states, &activations);

        let rows = texts.round().max(1.0) as usize;
        let average = MicroBatch::of_width(
            rows,
            self.texts.padded().round() as usize,
            self.texts.volumes_of(rows as f64),
            (rows as f64 * mean_targets).round() as usize,
        );
        let seconds = time::of_micro_batch(config, learning, &self.weights, precision, &average, &policy, self.profile);
        let beside = seconds.beside * batch as f64 / texts;
        let within = (seconds.total() - seconds.beside) * batch as f64 / rows as f64;
        let step_seconds = within + beside + time::of_update(&self.weights, self.profile);
        Choice { policy, budget, texts, activations, peak, seconds, step_seconds }
    }

    /// The fastest that takes at most so many bytes.
    ///
    /// # Errors
    /// Not even one text with everything computed again fits; the message states what it takes.
    pub fn fastest(&self, memory: f64) -> Result<Choice, TrainerError> {
        let budgets = self.budgets();
        let mut best: Option<Choice> = None;
        for policy in self.policies() {
            for budget in &budgets {
                let choice = self.cost(policy, *budget);
                if choice.peak <= memory && best.is_none_or(|best| choice.step_seconds < best.step_seconds) {
                    best = Some(choice);
                }
            }
        }
        best.ok_or_else(|| self.too_large(memory))
    }

    /// The fastest micro-batch of one policy.
    ///
    /// # Errors
    /// As [`Search::fastest`].
    pub fn fastest_of(&self, policy: Policy, memory: f64) -> Result<Choice, TrainerError> {
        let costs = self.budgets().into_iter().map(|budget| self.cost(policy, budget));
        let fitting = costs.filter(|choice| choice.peak <= memory);
        fitting.min_by(|a, b| a.step_seconds.total_cmp(&b.step_seconds)).ok_or_else(|| self.too_large(memory))
    }

    /// Fails unless one policy and budget fit.
    ///
    /// # Errors
    /// They do not; the message states what would.
    pub fn check(&self, policy: Policy, budget: Budget, memory: f64) -> Result<Choice, TrainerError> {
        let choice = self.cost(policy, budget);
        if choice.peak <= memory {
            return Ok(choice);
        }
        let would = match self.fastest(memory) {
            Ok(fits) => format!(
                "{}; {} with {} tokens and {} volumes would take {}",
                within(memory),
                of_policy(&fits.policy),
                fits.budget.tokens,
                fits.budget.volumes,
                bytes(fits.peak)
            ),
            Err(error) => return Err(error),
        };
        let found = format!(
            "{} tokens and {} volumes, which take {}: states {}, kept {}, for a moment {}",
            budget.tokens,
            budget.volumes,
            bytes(choice.peak),
            bytes(self.states.total()),
            bytes(choice.activations.kept()),
            bytes(choice.activations.transient)
        );
        Err(TrainerError::Config { key: "step.micro_batch".into(), expected: would, found })
    }

    /// Bytes of the states and of one text with every block computed again.
    fn least(&self) -> Choice {
        self.cost(
            Policy::all(Recompute::Full),
            Budget { tokens: self.texts.widest(), volumes: self.texts.most_volumes.max(1) },
        )
    }

    fn too_large(&self, memory: f64) -> TrainerError {
        let least = self.least();
        let mut found = format!(
            "{} for one text with every block computed again: states {}, the text {}",
            bytes(least.peak),
            bytes(self.states.total()),
            bytes(least.activations.peak())
        );
        let smaller = self.smaller();
        let fitting: Vec<&(String, f64)> = smaller.iter().filter(|(_, peak)| *peak <= memory).take(3).collect();
        found += &match (fitting.is_empty(), smaller.iter().min_by(|a, b| a.1.total_cmp(&b.1))) {
            (false, _) => {
                let words: Vec<String> =
                    fitting.iter().map(|(what, peak)| format!("{what} ({})", bytes(*peak))).collect();
                format!("; what would fit: {}", words.join(", "))
            }
            (true, Some((what, peak))) => format!("; the least is {what}, which takes {}", bytes(*peak)),
            (true, None) => String::new(),
        };
        TrainerError::Config { key: "model.train".into(), expected: within(memory), found }
    }

    /// Trainings of the same model that take less, and the bytes of each for one text; those that change the least come first.
    fn smaller(&self) -> Vec<(String, f64)> {
        let own = *self.learning;
        let is_trained = own.llm_blocks == Learns::Full || own.llm_embeddings || own.llm_head;
        let rests = Learning { llm_blocks: Learns::Frozen, llm_embeddings: false, llm_head: false, ..own };
        let connectors = Learning { vision2d_model: false, vision3d_model: false, ..rests };
        let mut trainings = vec![(None, own)];
        if own.llm_blocks == Learns::Full {
            trainings.push((Some("llm by adapters of rank 16"), Learning { llm_blocks: Learns::Adapters, ..rests }));
        }
        if (is_trained || own.llm_blocks == Learns::Adapters) && rests.reaches_llm() {
            trainings.push((Some("llm frozen"), rests));
        }
        if connectors != rests && connectors.reaches_llm() {
            trainings.push((Some("the connectors alone"), connectors));
        }
        let mut found = Vec::new();
        for (what, learning) in &trainings {
            let mut config = self.config.clone();
            if learning.llm_blocks == Learns::Adapters && config.lora.is_none() {
                config.lora = Some(LoraConfig::plain(16, 32.0, 0.0, vec!["all-linear".into()]));
            }
            for precision in [Precision::F32, Precision::Bf16] {
                let is_other = what.is_some() || precision != self.precision;
                if !is_other || (self.precision == Precision::Bf16 && precision == Precision::F32) {
                    continue;
                }
                let peak = Search::new(&config, learning, precision, self.texts, self.profile).least().peak;
                let changes = [what.map(str::to_owned), (precision != self.precision).then(|| "bf16".to_owned())];
                found.push((changes.into_iter().flatten().collect::<Vec<_>>().join(" in "), peak));
            }
        }
        found
    }

    /// What the whole step takes at once: every text as wide as the longest.
    pub(crate) fn whole(&self) -> Budget {
        let volumes = self.texts.volume_budget(self.texts.batch as f64);
        Budget { tokens: self.texts.batch.max(1).saturating_mul(self.texts.widest()), volumes }
    }

    /// Budgets that are worth trying: a row more at a time where there are few, then half as many more.
    fn budgets(&self) -> Vec<Budget> {
        let (widest, batch) = (self.texts.widest(), self.texts.batch.max(1));
        let mut rows = vec![1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0];
        while rows.last().is_some_and(|most| *most < batch as f64) {
            rows.push(rows[rows.len() - 1] * 1.5);
        }
        let of_rows = |rows: f64| {
            let tokens = ((rows.min(batch as f64) * widest as f64) as usize).next_multiple_of(WIDTHS);
            let texts = tokens as f64 / self.texts.padded();
            Budget { tokens, volumes: self.texts.volume_budget(texts) }
        };
        rows.into_iter().map(of_rows).collect()
    }

    /// Policies that are worth trying: each kind, by quarters of the blocks.
    pub(crate) fn policies(&self) -> Vec<Policy> {
        let of = |blocks: i64, learns: bool| {
            let mut all = vec![BlockPolicy::NONE];
            for recompute in [Recompute::Selective, Recompute::Full].into_iter().filter(|_| learns) {
                let quarters = (1..=4).map(|quarter| (blocks * quarter).div_euclid(4)).filter(|count| *count > 0);
                let policies = quarters.map(|blocks| BlockPolicy { recompute, blocks });
                all.extend(policies);
            }
            all.dedup();
            all
        };
        let (config, learning) = (self.config, self.learning);
        let llm = of(config.llm.num_hidden_layers, learning.reaches_llm());
        let vision2d = of(config.vision2d.num_hidden_layers, learning.vision2d_model && config.variant.needs_2d());
        let vision3d = of(config.vision3d.num_layers, learning.vision3d_model && config.variant.needs_3d());
        let mut policies = Vec::new();
        for llm in llm {
            for vision2d in &vision2d {
                policies.extend(vision3d.iter().map(|vision3d| Policy {
                    llm,
                    vision2d: *vision2d,
                    vision3d: *vision3d,
                }));
            }
        }
        policies
    }
}

fn within(memory: f64) -> String {
    format!("what takes at most {}, the device's memory", bytes(memory))
}

fn bytes(count: f64) -> String {
    gib(count.max(0.0) as u128)
}

/// A policy in words.
pub(crate) fn of_policy(policy: &Policy) -> String {
    let of = |name: &str, part: BlockPolicy| match part.recompute {
        Recompute::None => format!("{name} none"),
        recompute if part.blocks == i64::MAX => format!("{name} {}", crate::words::Word::as_str(recompute)),
        recompute => format!("{name} {} in {} blocks", crate::words::Word::as_str(recompute), part.blocks),
    };
    [of("llm", policy.llm), of("vision2d", policy.vision2d), of("vision3d", policy.vision3d)].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Part, Preset};

    const STAGE2: [Part; 4] = [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector];
    const TEXTS: Texts = Texts {
        batch: 128,
        mean_tokens: 617.0,
        longest: 720,
        mean_targets: 27.0,
        texts_per_volume: 1.0,
        most_volumes: 1,
    };

    fn with<R>(parts: &[Part], texts: Texts, body: impl FnOnce(&Search<'_>) -> R) -> R {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let (learning, profile) = (Learning::of_parts(parts, false), DeviceProfile::h100());
        body(&Search::new(&config, &learning, Precision::Bf16, texts, &profile))
    }

    #[test]
    fn what_is_chosen_fits_and_more_memory_is_never_slower() {
        with(&STAGE2, TEXTS, |search| {
            let memories = [70e9, 75e9, 80.2e9, 100e9, 150e9, 300e9];
            let found: Vec<Choice> = memories.iter().map(|memory| search.fastest(*memory).unwrap()).collect();
            assert!(found.iter().zip(memories).all(|(choice, memory)| choice.peak <= memory));
            assert!(found.windows(2).all(|pair| pair[1].step_seconds <= pair[0].step_seconds));
            // Nothing is computed again where there is room for everything.
            assert_eq!(found[5].policy, Policy { llm: BlockPolicy::NONE, ..Policy::all(Recompute::None) }.normal());
            assert_ne!(found[0].policy, found[5].policy);
            // And it is the fastest of all that fit.
            let least = search.fastest_of(Policy::all(Recompute::Full), 80.2e9).unwrap();
            assert!(found[2].step_seconds < least.step_seconds);
        });
    }

    impl Policy {
        fn normal(self) -> Policy {
            Policy { llm: BlockPolicy::NONE, vision2d: BlockPolicy::NONE, vision3d: BlockPolicy::NONE }
        }
    }

    #[test]
    fn shared_volumes_and_adapters_make_a_step_shorter() {
        let seconds = |texts: Texts| with(&STAGE2, texts, |search| search.fastest(80.2e9).unwrap().step_seconds);
        let (apart, shared) = (seconds(TEXTS), seconds(Texts { texts_per_volume: 8.0, ..TEXTS }));
        assert!((1.6..2.2).contains(&(apart / shared)), "{apart} {shared}");
        let connectors = [Part::Vision2dConnector, Part::Vision3dConnector];
        let first = with(&connectors, TEXTS, |search| search.fastest(80.2e9).unwrap());
        assert!(first.step_seconds < 0.7 * apart && first.policy.llm == BlockPolicy::NONE);
    }

    /// Texts of two volumes or more: what is found holds any one of them.
    #[test]
    fn texts_of_several_volumes_have_room_for_all_of_them() {
        let texts = Texts { texts_per_volume: 0.5, most_volumes: 3, ..TEXTS };
        with(&STAGE2, texts, |search| {
            for memory in [75e9, 80.2e9, 300e9] {
                let found = search.fastest(memory).unwrap();
                assert!(found.budget.volumes >= 3 && found.budget.volumes as f64 >= 2.0 * found.texts.floor());
            }
            assert_eq!(search.whole().volumes, 256);
            // Twice the volumes take longer.
            let apart = with(&STAGE2, TEXTS, |search| search.fastest(300e9).unwrap().step_seconds);
            assert!(search.fastest(300e9).unwrap().step_seconds > 1.2 * apart);
        });
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        with(&STAGE2, TEXTS, |search| {
            let error = search.fastest(40e9).unwrap_err().to_string();
            assert!(error.starts_with("model.train: expected what takes at most 37.3 GiB"), "{error}");
            let would = "what would fit: llm by adapters of rank 16 (";
            assert!(error.contains("one text") && error.contains(would) && error.contains("llm frozen ("), "{error}");
            // Nothing of it fits; and what is named fits indeed.
            let error = search.fastest(4e9).unwrap_err().to_string();
            assert!(error.contains("; the least is the connectors alone, which takes "), "{error}");
            for (what, peak) in search.smaller() {
                assert!(peak < search.least().peak, "{what}");
            }
            let budget = Budget { tokens: 8 * 768, volumes: 8 };
            let error = search.check(Policy::all(Recompute::None), budget, 80.2e9).unwrap_err().to_string();
            assert!(error.starts_with("step.micro_batch: ") && error.contains("would take"), "{error}");
            assert!(search.check(Policy::all(Recompute::Full), budget, 80.2e9).is_ok());
        });
    }
}
