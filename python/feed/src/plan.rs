//! What a feed is asked for in Python's words, as a plan of the feed.

use std::collections::BTreeMap;
use std::str::FromStr;

use med2e3_feed::{FeedPlan, OnBadSample, Order, QuestionForm, StepRule, Tail, TextForm, Weights};
use med2e3_schemas::sample::{Split, Task};
use med2e3_shards::Selection;
use pyo3::prelude::*;
use serde::de::DeserializeOwned;

use crate::error::{raised, unfit};

/// The arguments of `Feed`, as they were given.
pub(crate) struct Arguments<'a> {
    pub(crate) split: &'a str,
    pub(crate) tasks: Option<Vec<String>>,
    pub(crate) subset: Option<String>,
    pub(crate) form: &'a str,
    pub(crate) question: &'a str,
    pub(crate) order: OrderArgument,
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
        for (what, count) in [("batch_size", self.batch_size), ("readers", self.readers), ("depth", self.depth)] {
            if count == 0 {
                return Err(unfit(what, "1 or more", count));
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
            order: self.order.order(self.seed)?,
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

/// The argument `order`.
#[derive(FromPyObject)]
pub(crate) enum OrderArgument {
    /// `"shuffled"` or `"by_id"`.
    Word(String),
    /// One of `{"group_by_volume": TEXTS}` and `{"mix": {TASK: WEIGHT}}`.
    Named(BTreeMap<String, OrderValue>),
}

/// What a named order is given.
#[derive(FromPyObject)]
pub(crate) enum OrderValue {
    Count(usize),
    Weights(BTreeMap<String, f64>),
}

impl OrderArgument {
    pub(crate) fn shuffled() -> OrderArgument {
        OrderArgument::Word("shuffled".into())
    }

    fn order(&self, seed: u64) -> PyResult<Order> {
        let expected = "\"shuffled\", \"by_id\", {\"group_by_volume\": TEXTS} or {\"mix\": {TASK: WEIGHT}}";
        let named = match self {
            OrderArgument::Word(word) if word == "shuffled" => return Ok(Order::Shuffled { seed }),
            OrderArgument::Word(word) if word == "by_id" => return Ok(Order::ById),
            OrderArgument::Word(other) => return Err(unfit("order", expected, other)),
            OrderArgument::Named(named) => named,
        };
        let mut entries = named.iter().map(|(name, value)| (name.as_str(), value));
        match (entries.next(), entries.next()) {
            (Some(("group_by_volume", OrderValue::Count(texts))), None) => {
                Ok(Order::GroupedByVolume { seed, texts: *texts })
            }
            (Some(("mix", OrderValue::Weights(weights))), None) => {
                let weight = |(task, weight): (&String, &f64)| Ok((Task::from_str(task).map_err(raised)?, *weight));
                let weights = weights.iter().map(weight).collect::<PyResult<Vec<_>>>()?;
                Ok(Order::Mix { seed, weights: Weights::new(weights).map_err(raised)? })
            }
            _ => {
                Err(unfit("order", expected, format!("a dict of {}", Vec::from_iter(named.keys().cloned()).join(", "))))
            }
        }
    }
}
