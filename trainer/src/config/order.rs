//! In which order samples come: what a configuration may say of it, and whether that fits the tasks and the batch.

use med2e3_feed::{Changes, FeedError, Order, Weights};
use med2e3_schemas::sample::Task;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{DataConfig, check_positive};
use crate::TrainerError;
use crate::fit::expect;

impl DataConfig {
    /// Whether the order fits the tasks and a step of `batch` samples.
    pub(super) fn check_order(&self, batch: usize) -> Result<(), TrainerError> {
        match &self.order {
            DataOrder::Shuffled => Ok(()),
            &DataOrder::GroupByVolume(texts) => {
                let key = "data.order.group_by_volume";
                check_positive([(key, texts)])?;
                let expected = format!("a divisor of step.batch = {batch}");
                expect(key, batch.is_multiple_of(texts), expected, texts.to_string())
            }
            DataOrder::LengthBuckets(BucketsConfig { window, unit }) => {
                let of = |key: &str| format!("data.order.length_buckets.{key}");
                check_positive([(of("window").as_str(), *window), (of("unit").as_str(), *unit)])?;
                let expected = format!("a divisor of step.batch = {batch}");
                expect(&of("unit"), batch.is_multiple_of(*unit), expected, unit.to_string())?;
                let expected = format!("a multiple of unit = {unit}");
                expect(&of("window"), window.is_multiple_of(*unit), expected, window.to_string())
            }
            DataOrder::Mix(mix) => {
                mix.weights()?;
                mix.changes()?;
                let all: Vec<_> = mix.then.iter().map(|change| change.stated()).chain([mix.stated()]).collect();
                for &task in Task::ALL {
                    let (key, is_fed) = (format!("data.order.mix.{task}"), self.tasks.contains(&task));
                    let mut weights = all.iter().flatten().filter(|(of, _)| *of == task);
                    let has_weight = weights.any(|(_, weight)| weight.is_some_and(|weight| weight > 0.0));
                    let expected = "a weight of a task that data.tasks names".into();
                    expect(&key, is_fed || !has_weight, expected, "one that it does not".into())?;
                    let expected = "a weight above 0 for each of data.tasks".into();
                    expect(&key, !is_fed || has_weight, expected, "none".into())?;
                }
                Ok(())
            }
        }
    }
}

/// In which order samples come, another one each epoch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataOrder {
    /// An exact permutation.
    #[default]
    Shuffled,
    /// As `shuffled`, but in groups of so many texts, which divide the batch. A group is of one volume where the volume still has so
    /// many texts, so that a step reads and encodes a volume once for all of them; what rests of the volumes is joined into mixed
    /// groups. A batch shows fewer different volumes, about batch / k. 1 is the order of `shuffled`.
    GroupByVolume(#[schemars(range(min = 1))] usize),
    /// As `shuffled`, but texts of like length come in one batch, so that little of it is padding: each `window` of permuted texts is
    /// sorted by the ids of their conversations and cut into units, which come in permuted order.
    LengthBuckets(BucketsConfig),
    /// Tasks in stated shares, exact to one sample at every 1,000; each task goes through its own samples again and again, as often
    /// as its share asks.
    Mix(MixConfig),
}

/// How texts of like length come together.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketsConfig {
    /// Texts that are sorted together, a multiple of `unit`: some tens of units leave little padding, and with more the texts of a batch are
    /// drawn less freely.
    #[schemars(range(min = 1))]
    pub window: usize,
    /// Texts that come together: the batch, or a divisor of it, since a run may go on with another batch and not in another order.
    #[schemars(range(min = 1))]
    pub unit: usize,
}

/// A weight of each task; its share is its weight over the sum of all. Counted to the billionth.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixConfig {
    /// Of captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub caption: Option<f64>,
    /// Of questions answered in free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub open_vqa: Option<f64>,
    /// Of questions with lettered choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub closed_vqa: Option<f64>,
    /// Other weights from later samples on, one change behind the other. A run that goes on may change what comes behind its checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<MixChange>,
}

/// Weights of the tasks from a sample on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixChange {
    /// Samples of the run before it, a multiple of 1,000. Until then the weights before it hold; then shares are counted anew, and
    /// each task goes on where it was in its own samples.
    #[schemars(range(min = 1000))]
    pub from: u64,
    /// Of captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub caption: Option<f64>,
    /// Of questions answered in free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub open_vqa: Option<f64>,
    /// Of questions with lettered choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub closed_vqa: Option<f64>,
}

type Stated = [(Task, Option<f64>); 3];

fn weights_of(stated: Stated) -> Result<Weights, FeedError> {
    Weights::new(stated.into_iter().filter_map(|(task, weight)| Some((task, weight?))))
}

/// A problem of a mix by the configuration's key.
fn of_key(key: &str, problem: FeedError) -> TrainerError {
    match problem {
        FeedError::Plan { expected, found, .. } => TrainerError::Config { key: key.into(), expected, found },
        other => other.into(),
    }
}

impl MixChange {
    fn stated(self) -> Stated {
        [(Task::Caption, self.caption), (Task::OpenVqa, self.open_vqa), (Task::ClosedVqa, self.closed_vqa)]
    }
}

impl MixConfig {
    fn stated(&self) -> Stated {
        [(Task::Caption, self.caption), (Task::OpenVqa, self.open_vqa), (Task::ClosedVqa, self.closed_vqa)]
    }

    fn weights(&self) -> Result<Weights, TrainerError> {
        weights_of(self.stated()).map_err(|problem| of_key("data.order.mix", problem))
    }

    fn changes(&self) -> Result<Changes, TrainerError> {
        let changes = self.then.iter().map(|change| Ok((change.from, weights_of(change.stated())?)));
        changes
            .collect::<Result<_, _>>()
            .and_then(Changes::new)
            .map_err(|problem| of_key("data.order.mix.then", problem))
    }
}

impl DataOrder {
    /// The feed's order.
    ///
    /// # Errors
    /// Weights out of range, or changes of them at no multiple of 1,000 or too many.
    pub(crate) fn order(&self, seed: u64) -> Result<Order, TrainerError> {
        Ok(match *self {
            DataOrder::Shuffled => Order::Shuffled { seed },
            DataOrder::GroupByVolume(texts) => Order::GroupedByVolume { seed, texts },
            DataOrder::LengthBuckets(BucketsConfig { window, unit }) => Order::LengthBuckets { seed, window, unit },
            DataOrder::Mix(ref mix) => Order::Mix { seed, weights: mix.weights()?, then: mix.changes()? },
        })
    }
}

/// By hand: the feed's crate knows nothing of configurations.
pub(super) fn schema_of_tail(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "oneOf": [
        { "const": "keep", "description": "They are a shorter step." },
        { "const": "drop", "description": "They are left out of this epoch; another epoch leaves out others." },
        { "const": "straddle", "description": "The first samples of the next epoch fill the step; only the run's last step may be shorter." },
    ] })
}
