//! What a configuration leaves to be found of a step: how much is computed again, and how much at once, within the device's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use med2e3_feed::{Budget, Splicing, TextForm};
use med2e3_schemas::report::{RunLength, SettledBudget};
use med2e3_shards::{Samples, ShardError};
use tch::Device;

use super::log::LENGTH;
use super::start::Origin;
use crate::TrainerError;
use crate::config::{DataOrder, MicroBatch, StepConfig, TrainConfig, Within};
use crate::files::json::read_json;
use crate::libtorch::device_capacity;
use crate::model::recompute::Recompute;
use crate::plan::Policy;
use crate::plan::choice::{self, Choice, Search, Texts};
use crate::plan::profile::DeviceProfile;

/// The predicted peak errs by so much at most; what is above it for sure is refused.
const ERROR: f64 = 1.1;
/// Share of a card's free memory that libraries' workspaces take, and what lies between blocks of memory: of a card of 80 GB, some 78
/// are planned with.
const LOST: f64 = 0.07;

/// A step as it is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Settled {
    /// What is computed at once.
    pub(crate) budget: Budget,
    /// What is computed again, and what it costs.
    pub(crate) choice: Choice,
}

/// What the configuration states, and for what it leaves open the fastest that fits `memory`.
///
/// # Errors
/// What is stated, or any choice, takes more than the memory: with what would fit.
pub(crate) fn settle(step: &StepConfig, search: &Search<'_>, memory: f64) -> Result<Settled, TrainerError> {
    let of_search = |budget: Budget| choice::Budget {
        tokens: budget.tokens.min(search.whole().tokens),
        volumes: budget.volumes.min(search.whole().volumes),
    };
    let found: Choice = match (step.recompute.stated(), step.micro_batch.stated()) {
        (Some(policy), Some(budget)) => {
            let choice = search.check(policy, of_search(budget), ERROR * memory)?;
            return Ok(Settled { budget, choice });
        }
        (Some(policy), None) => search.fastest_of(policy, memory)?,
        (None, Some(budget)) => {
            let budget = of_search(budget);
            let costs = search.policies().into_iter().map(|policy| search.cost(policy, budget));
            let fitting = costs.filter(|choice| choice.peak <= memory);
            match fitting.min_by(|a, b| a.step_seconds.total_cmp(&b.step_seconds)) {
                Some(found) => found,
                // Says what would fit.
                None => search.check(Policy::all(Recompute::Full), budget, memory)?,
            }
        }
        (None, None) => search.fastest(memory)?,
    };
    let choice::Budget { tokens, volumes } = found.budget;
    Ok(Settled { budget: step.micro_batch.stated().unwrap_or(Budget { tokens, volumes }), choice: found })
}

/// What a run that goes on keeps of what `auto` came to when it began; `None` where nothing was left open.
pub(super) fn kept(config: &TrainConfig, origin: &Origin, out: &Path) -> Option<TrainConfig> {
    let is_open = config.step.micro_batch == MicroBatch::Auto && matches!(origin, Origin::Resumed(_));
    let earlier: Option<RunLength> =
        is_open.then(|| read_json(&out.join(LENGTH), "JSON as this program writes it").ok())?;
    let SettledBudget { tokens, volumes } = earlier?.micro_batch?;
    let step = StepConfig { micro_batch: MicroBatch::Within(Within { tokens, volumes }), ..config.step.clone() };
    Some(TrainConfig { step, ..config.clone() })
}

/// What is noted of it in the run's folder.
pub(super) fn settled(config: &TrainConfig, budget: Budget) -> Option<SettledBudget> {
    let Budget { tokens, volumes } = budget;
    (config.step.micro_batch == MicroBatch::Auto).then_some(SettledBudget { tokens, volumes })
}

/// Rates of a device as they are estimated, and the memory that is free on it.
pub(crate) fn profile_of(device: Device) -> DeviceProfile {
    let Device::Cuda(_) = device else {
        return DeviceProfile::cpu(usize::try_from(tch::get_num_threads()).unwrap_or(1));
    };
    let estimated = DeviceProfile::h100();
    // Where the driver does not say, it is taken for the card that the rates are of.
    let memory = device_capacity(device).map_or(estimated.memory, |found| (1.0 - LOST) * found.free as f64);
    DeviceProfile { memory, ..estimated }
}

/// The lengths of a run's texts, and how many of a step share a volume.
///
/// # Errors
/// A text that does not read.
pub(crate) fn texts_of(
    samples: &Samples,
    form: TextForm,
    splicing: Splicing,
    batch: usize,
    order: &DataOrder,
) -> Result<Texts, ShardError> {
    let (mut spliced, mut volumes, mut mentions, mut most_volumes) = (Vec::new(), BTreeSet::<u32>::new(), 0, 0);
    for text in samples.iter() {
        let text = text?;
        spliced.extend(splicing.of(&text, form));
        volumes.extend(text.volume_ids.numbers());
        mentions += text.volume_ids.len();
        most_volumes = text.volume_ids.len().max(most_volumes);
    }
    let mean = |sum: usize| sum as f64 / spliced.len().max(1) as f64;
    let batch = batch.min(samples.len().max(1));
    // In random order two texts of a step share a volume where there are few volumes.
    let (of_step, all) = (mean(mentions) * batch as f64, volumes.len().max(1) as f64);
    let distinct = all * (1.0 - (1.0 - 1.0 / all).powf(of_step));
    // A group stands together in one step, and shares the first volume of its texts.
    let distinct = distinct.min(of_step / texts_of_group(samples, order).min(batch as f64));
    Ok(Texts {
        batch,
        mean_tokens: mean(spliced.iter().map(|text| text.length).sum()),
        longest: spliced.iter().map(|text| text.length).max().unwrap_or(1),
        mean_targets: mean(spliced.iter().map(|text| text.targets).sum()),
        texts_per_volume: batch as f64 / distinct.max(f64::MIN_POSITIVE),
        most_volumes,
    })
}

/// Texts that an order puts side by side since they show one volume first, on average; 1 where it looks at no volume.
fn texts_of_group(samples: &Samples, order: &DataOrder) -> f64 {
    let &DataOrder::GroupByVolume(most) = order else { return 1.0 };
    let mut texts: BTreeMap<_, usize> = BTreeMap::new();
    for first in (0..samples.len()).filter_map(|position| samples.first_volume(position)) {
        *texts.entry(first).or_default() += 1;
    }
    let groups: usize = texts.values().map(|count| count.div_ceil(most.max(1))).sum();
    texts.values().sum::<usize>().max(1) as f64 / groups.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MicroBatch, RecomputeConfig};
    use crate::model::{Med2e3Config, Part, Preset};
    use crate::plan::learning::Learning;
    use crate::precision::Precision;
    use crate::train::rows::row_of;
    use med2e3_schemas::Id;
    use med2e3_schemas::sample::SampleRow;

    fn step(text: &str) -> StepConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_stated_is_kept_and_the_rest_is_found() {
        let config = Med2e3Config::of_preset(Preset::Paper);
        let parts = [Part::Llm, Part::Vision2dModel, Part::Vision2dConnector, Part::Vision3dConnector];
        let (learning, profile) = (Learning::of_parts(&parts, false), DeviceProfile::h100());
        let texts = Texts {
            batch: 128,
            mean_tokens: 617.0,
            longest: 720,
            mean_targets: 27.0,
            texts_per_volume: 1.0,
            most_volumes: 1,
        };
        let search = Search::new(&config, &learning, Precision::Bf16, texts, &profile);
        let memory = profile.memory;
        let of = |text: &str| settle(&step(text), &search, memory);

        let both = of("batch = 128\nmicro_batch = \"auto\"\nrecompute = \"auto\"").unwrap();
        assert!(
            both.budget.tokens >= 768 && both.budget.volumes >= 1 && both.choice.policy != Policy::all(Recompute::None)
        );
        let policy = of("batch = 128\nmicro_batch = { tokens = 1536, volumes = 2 }\nrecompute = \"auto\"").unwrap();
        assert_eq!(policy.budget, Budget { tokens: 1536, volumes: 2 });
        let budget = of("batch = 128\nmicro_batch = \"auto\"\nrecompute = \"full\"").unwrap();
        assert_eq!(budget.choice.policy, Policy::all(Recompute::Full));
        assert!(budget.budget.tokens > policy.budget.tokens);

        // A step of 128 texts at once takes what no card has.
        let error = of("batch = 128").unwrap_err().to_string();
        assert!(error.starts_with("step.micro_batch: ") && error.contains("would take"), "{error}");
        let error = of("batch = 128\nrecompute = \"auto\"").unwrap_err().to_string();
        assert!(error.starts_with("step.micro_batch: "), "{error}");
        let error = settle(&step("batch = 128\nmicro_batch = \"auto\"\nrecompute = \"auto\""), &search, 30e9);
        assert!(error.unwrap_err().to_string().starts_with("model.train: "));
        assert_eq!(
            (MicroBatch::default(), RecomputeConfig::default().stated()),
            (MicroBatch::Whole, Some(Policy::all(Recompute::None)))
        );
    }

    /// `shown` is the volumes of each text, by number.
    fn texts(shown: &[&[usize]], batch: usize, order: DataOrder) -> Texts {
        let row = |(number, volumes): (usize, &&[usize])| SampleRow {
            volume_ids: volumes.iter().map(|volume| Id::of_volume(&format!("volume {volume}"))).collect(),
            ..row_of(&format!("text {number}"), &[1, 2, 3], &[(2, 3)])
        };
        let rows: Vec<SampleRow> = shown.iter().enumerate().map(row).collect();
        let splicing = Splicing { visual_tokens: 4, max_length: 100 };
        texts_of(&Samples::of_rows(&rows), TextForm::Conversation, splicing, batch, &order).unwrap()
    }

    #[test]
    fn an_order_by_volumes_lets_texts_share_them() {
        // 100 volumes of 8 texts each, text by text through all volumes.
        let shown: Vec<[usize; 1]> = (0..800).map(|text| [text % 100]).collect();
        let shown: Vec<&[usize]> = shown.iter().map(|volumes| volumes.as_slice()).collect();
        let of = |order, batch| texts(&shown, batch, order).texts_per_volume;
        let random = of(DataOrder::Shuffled, 16);
        assert!((1.0..1.1).contains(&random), "{random}");
        assert_eq!(of(DataOrder::GroupByVolume(1), 16), random);
        assert!((of(DataOrder::GroupByVolume(4), 16) - 4.0).abs() < 1e-9);
        // A volume has no more than 8 texts, and a step of 4 no more than 4.
        assert!((of(DataOrder::GroupByVolume(20), 16) - 8.0).abs() < 1e-9);
        assert!((of(DataOrder::GroupByVolume(20), 4) - 4.0).abs() < 1e-9);
        // 8 texts in groups of 5 are groups of 5 and 3.
        assert!((of(DataOrder::GroupByVolume(5), 16) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn texts_of_several_volumes_are_below_one_a_volume() {
        let shown: Vec<[usize; 2]> = (0..1000).map(|text| [2 * text, 2 * text + 1]).collect();
        let mut shown: Vec<&[usize]> = shown.iter().map(|volumes| volumes.as_slice()).collect();
        let found = texts(&shown, 8, DataOrder::Shuffled);
        assert!((0.5..0.51).contains(&found.texts_per_volume), "{}", found.texts_per_volume);
        assert_eq!(found.most_volumes, 2);
        shown.push(&[1, 2, 3]);
        assert_eq!(texts(&shown, 8, DataOrder::Shuffled).most_volumes, 3);
    }

    #[test]
    fn the_processor_has_a_memory() {
        assert!(profile_of(Device::Cpu).memory > 1e8);
    }
}
