//! In which order samples come: what a configuration may say of it, and whether that fits the tasks and the batch.

use med2e3_feed::{FeedError, Order, Weights};
use med2e3_schemas::sample::Task;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{DataConfig, check_positive};
use crate::TrainerError;
use crate::fit::expect;

impl DataConfig {
    /// Whether the order fits the tasks and a step of `batch` samples.
    pub(super) fn check_order(&self, batch: usize) -> Result<(), TrainerError> {
        match self.order {
            DataOrder::Shuffled => Ok(()),
            DataOrder::GroupByVolume(texts) => {
                let key = "data.order.group_by_volume";
                check_positive([(key, texts)])?;
                let expected = format!("a divisor of step.batch = {batch}");
                expect(key, batch.is_multiple_of(texts), expected, texts.to_string())
            }
            DataOrder::Mix(mix) => {
                mix.weights()?;
                for (task, weight) in mix.stated() {
                    let (key, is_fed) = (format!("data.order.mix.{task}"), self.tasks.contains(&task));
                    let expected = "a weight of a task that data.tasks names".into();
                    expect(
                        &key,
                        is_fed || weight.is_none_or(|weight| weight == 0.0),
                        expected,
                        "one that it does not".into(),
                    )?;
                    let expected = "a weight above 0 for each of data.tasks".into();
                    expect(&key, !is_fed || weight.is_some_and(|weight| weight > 0.0), expected, "none".into())?;
                }
                Ok(())
            }
        }
    }
}

/// In which order samples come, another one each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataOrder {
    /// An exact permutation.
    #[default]
    Shuffled,
    /// As `shuffled`, but in groups of so many texts, which divide the batch. A group is of one volume where the volume still has so
    /// many texts, so that a step reads and encodes a volume once for all of them; what rests of the volumes is joined into mixed
    /// groups. A batch shows fewer different volumes, about batch / k. 1 is the order of `shuffled`.
    GroupByVolume(#[schemars(range(min = 1))] usize),
    /// Tasks in stated shares, exact to one sample at every 1,000; each task goes through its own samples again and again, as often
    /// as its share asks.
    Mix(MixConfig),
}

/// A weight of each task; its share is its weight over the sum of all. Counted to the billionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
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
}

impl MixConfig {
    fn stated(self) -> [(Task, Option<f64>); 3] {
        [(Task::Caption, self.caption), (Task::OpenVqa, self.open_vqa), (Task::ClosedVqa, self.closed_vqa)]
    }

    fn weights(self) -> Result<Weights, TrainerError> {
        let stated = self.stated().into_iter().filter_map(|(task, weight)| Some((task, weight?)));
        Weights::new(stated).map_err(|problem| match problem {
            FeedError::Plan { expected, found, .. } => {
                TrainerError::Config { key: "data.order.mix".into(), expected, found }
            }
            other => other.into(),
        })
    }
}

impl DataOrder {
    /// The feed's order.
    ///
    /// # Errors
    /// Weights out of range.
    pub(crate) fn order(self, seed: u64) -> Result<Order, TrainerError> {
        Ok(match self {
            DataOrder::Shuffled => Order::Shuffled { seed },
            DataOrder::GroupByVolume(texts) => Order::GroupedByVolume { seed, texts },
            DataOrder::Mix(mix) => Order::Mix { seed, weights: mix.weights()? },
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
