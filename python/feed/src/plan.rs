//! What a feed is asked for in Python's words, as a plan of the feed.

use std::collections::BTreeMap;
use std::str::FromStr;

use med2e3_feed::order::mix::Changes;
use med2e3_feed::{FeedPlan, OnBadSample, Order, QuestionForm, StepRule, Tail, TextForm, Weights};
use med2e3_schemas::sample::{Split, Task};
use med2e3_shards::Selection;
use pyo3::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{raised, unfit};

/// The most samples of a batch: with more, there is no memory for its texts.
const MOST_SAMPLES: usize = 1 << 24;

/// The arguments of `Feed`, as they were given.
pub(crate) struct Arguments<'a> {
    pub(crate) split: &'a str,
    pub(crate) tasks: Option<Vec<String>>,
    pub(crate) subset: Option<String>,
    pub(crate) form: &'a str,
    pub(crate) question: &'a str,
    pub(crate) order: Option<&'a Bound<'a, PyAny>>,
    pub(crate) seed: u64,
    pub(crate) batch_size: usize,
    pub(crate) epochs: u64,
    pub(crate) tail: &'a str,
    pub(crate) rank: Option<usize>,
    pub(crate) world_size: Option<usize>,
    pub(crate) readers: usize,
    pub(crate) depth: usize,
    pub(crate) on_bad_sample: &'a str,
}

impl Arguments<'_> {
    /// # Errors
    /// A word that is none of its argument's, a number that is none.
    pub(crate) fn selection(&self) -> PyResult<Selection> {
        let tasks = match &self.tasks {
            None => Task::ALL.to_vec(),
            Some(words) => words.iter().map(|word| Task::from_str(word).map_err(raised)).collect::<PyResult<_>>()?,
        };
        Ok(Selection { split: Split::from_str(self.split).map_err(raised)?, tasks, subset: self.subset.clone() })
    }

    /// # Errors
    /// As [`Arguments::selection`]; half of a rank, in the arguments or in the environment.
    pub(crate) fn plan(&self) -> PyResult<FeedPlan> {
        let counts = [
            ("batch_size", self.batch_size, MOST_SAMPLES),
            ("readers", self.readers, 1024),
            ("depth", self.depth, 1024),
        ];
        for (what, count, most) in counts {
            if !(1..=most).contains(&count) {
                return Err(unfit(what, &format!("1 to {most}"), count));
            }
        }
        if self.epochs == 0 {
            return Err(unfit("epochs", "1 or more", 0));
        }
        let (rank, world_size) = self.rank()?;
        let question = match self.question {
            "llm" => QuestionForm::Llm,
            "bert" => QuestionForm::Bert,
            other => return Err(unfit("question", "llm or bert", other)),
        };
        Ok(FeedPlan {
            order: order(self.order, self.seed)?,
            tail: word::<Tail>("tail", "keep, drop or straddle", self.tail)?,
            form: word::<TextForm>("form", "conversation, pretrain or prompt", self.form)?,
            question,
            batch_size: self.batch_size,
            rule: StepRule::WHOLE,
            epochs: self.epochs,
            start: 0,
            rank,
            world_size,
            readers: self.readers,
            depth: self.depth,
            on_bad_sample: word::<OnBadSample>("on_bad_sample", "fail or skip", self.on_bad_sample)?,
        })
    }

    /// The rank and the ranks: as stated, else as torchrun states them in the environment, else alone.
    fn rank(&self) -> PyResult<(usize, usize)> {
        match (self.rank, self.world_size) {
            (Some(rank), Some(world_size)) => return Ok((rank, world_size)),
            (None, None) => {}
            (Some(rank), None) => {
                return Err(unfit("world_size", "a number beside rank", format!("rank={rank} alone")));
            }
            (None, Some(size)) => {
                return Err(unfit("rank", "a number beside world_size", format!("world_size={size} alone")));
            }
        }
        let stated = |name: &str| {
            let number =
                |text: String| text.parse::<usize>().map_err(|_| unfit(name, "a number in the environment", text));
            std::env::var(name).ok().map(number).transpose()
        };
        match (stated("RANK")?, stated("WORLD_SIZE")?) {
            (Some(rank), Some(world_size)) => Ok((rank, world_size)),
            (None, None) => Ok((0, 1)),
            (Some(rank), None) => {
                Err(unfit("WORLD_SIZE", "a number beside RANK", format!("RANK={rank} alone in the environment")))
            }
            (None, Some(size)) => {
                Err(unfit("RANK", "a number beside WORLD_SIZE", format!("WORLD_SIZE={size} alone in the environment")))
            }
        }
    }
}

/// A value by its word in configurations.
fn word<T: DeserializeOwned>(what: &str, words: &str, found: &str) -> PyResult<T> {
    serde_json::from_value(found.into()).map_err(|_| unfit(what, words, found))
}

const ORDERS: &str = "\"shuffled\", \"by_id\", {\"group_by_volume\": TEXTS}, {\"length_buckets\": {\"window\": TEXTS, \"unit\": TEXTS}} or \
                      {\"mix\": {TASK: WEIGHT}}";

/// The argument `order`, in the words of `data.order` in configurations.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stated {
    Shuffled,
    ById,
    GroupByVolume(usize),
    LengthBuckets(Buckets),
    Mix(Mix),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Buckets {
    window: usize,
    unit: usize,
}

#[derive(Deserialize)]
struct Mix {
    #[serde(default)]
    then: Vec<MixChange>,
    #[serde(flatten)]
    weights: BTreeMap<Task, f64>,
}

#[derive(Deserialize)]
struct MixChange {
    from: u64,
    #[serde(flatten)]
    weights: BTreeMap<Task, f64>,
}

fn order(stated: Option<&Bound<'_, PyAny>>, seed: u64) -> PyResult<Order> {
    let Some(stated) = stated else { return Ok(Order::Shuffled { seed }) };
    let text: String = stated.py().import("json")?.call_method1("dumps", (stated,))?.extract()?;
    let stated = serde_json::from_str(&text).map_err(|problem| unfit("order", ORDERS, format!("{text}: {problem}")))?;
    Ok(match stated {
        Stated::Shuffled => Order::Shuffled { seed },
        Stated::ById => Order::ById,
        Stated::GroupByVolume(texts) => Order::GroupedByVolume { seed, texts },
        Stated::LengthBuckets(Buckets { window, unit }) => Order::LengthBuckets { seed, window, unit },
        Stated::Mix(Mix { then, weights }) => {
            let then = then.into_iter().map(|change| Ok((change.from, Weights::new(change.weights)?)));
            let then = then.collect::<Result<_, _>>().and_then(Changes::new).map_err(raised)?;
            Order::Mix { seed, weights: Weights::new(weights).map_err(raised)?, then }
        }
    })
}
