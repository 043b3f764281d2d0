//! The most frequent answer of the training split: what knowing the questions alone reaches.

use std::collections::{BTreeMap, HashMap};

use med2e3_program::note;
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::{SampleRow, Split, Task};
use med2e3_shards::{Selection, ShardError};

use super::Controlled;
use crate::TrainerError;
use crate::generate::answerer::Reply;
use crate::generate::judged::judged;

/// How often each answer is given.
type Counts = BTreeMap<String, usize>;

/// The most frequent training answer to each chosen question, else to those of its topic. None where the dataset has no training
/// split.
///
/// # Errors
/// Shards that can't be read.
pub(super) fn answers(of: &Controlled<'_>, chosen: &[usize]) -> Result<Vec<(SampleRow, Answer)>, TrainerError> {
    let mut tasks: Vec<Task> = chosen.iter().map(|&at| of.row(at).task).collect();
    tasks.sort_unstable();
    tasks.dedup();
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let selection = Selection { split: Split::Train, tasks, subset: None };
    let training = match of.dataset.select_rows(&selection) {
        Ok(samples) => samples.rows,
        Err(ShardError::Empty { .. }) => {
            note(format_args!("control majority: the dataset has no training split of these tasks"));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let frequent = Frequent::of(&training);
    let rows = chosen.iter().map(|&at| of.row(at));
    let found = rows.filter_map(|row| {
        let reply = Reply { answer: frequent.answer(row)?.to_owned(), ..Reply::default() };
        Some((row.clone(), judged(row, reply, of.way.meteor)))
    });
    Ok(found.collect())
}

/// The most frequent answers; of equally frequent ones the first by the alphabet.
struct Frequent {
    by_question: HashMap<(Task, String), String>,
    by_topic: HashMap<(Task, Option<&'static str>), String>,
}

impl Frequent {
    fn of(training: &[SampleRow]) -> Frequent {
        let (mut questions, mut topics) = (HashMap::new(), HashMap::new());
        for row in training {
            let by_question: &mut Counts = questions.entry((row.task, row.question.clone())).or_default();
            *by_question.entry(row.answer.clone()).or_default() += 1;
            let by_topic: &mut Counts = topics.entry((row.task, topic(row))).or_default();
            *by_topic.entry(row.answer.clone()).or_default() += 1;
        }
        fn most<Key: Eq + std::hash::Hash>(counts: HashMap<Key, Counts>) -> HashMap<Key, String> {
            let first = |counts: Counts| {
                let most = counts.values().copied().max();
                counts.into_iter().find(|(_, count)| Some(*count) == most).map(|(answer, _)| answer)
            };
            counts.into_iter().filter_map(|(key, counts)| Some((key, first(counts)?))).collect()
        }
        Frequent { by_question: most(questions), by_topic: most(topics) }
    }

    fn answer(&self, row: &SampleRow) -> Option<&str> {
        let of_question = self.by_question.get(&(row.task, row.question.clone()));
        of_question.or_else(|| self.by_topic.get(&(row.task, topic(row)))).map(String::as_str)
    }
}

fn topic(row: &SampleRow) -> Option<&'static str> {
    row.topic.map(|topic| topic.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::Id;

    #[test]
    fn the_most_frequent_answer_to_the_question_else_of_its_topic() {
        let row = |question: &str, answer: &str, topic: &str| SampleRow {
            question: question.into(),
            answer: answer.into(),
            topic: Some(topic.parse().unwrap()),
            ..SampleRow::of_ids(Id::of_volume(question), Vec::new(), vec![1, 2, 3], vec![(2, 3)])
        };
        let training = [
            row("Which plane?", "axial", "plane"),
            row("Which plane?", "sagittal", "plane"),
            row("Which plane?", "sagittal", "plane"),
            row("Which organ?", "spleen", "organ"),
            row("Which organ?", "liver", "organ"),
        ];
        let frequent = Frequent::of(&training);
        assert_eq!(frequent.answer(&row("Which plane?", "", "plane")), Some("sagittal"));
        assert_eq!(frequent.answer(&row("Which organ?", "", "organ")), Some("liver"));
        assert_eq!(frequent.answer(&row("Another?", "", "organ")), Some("liver"));
        assert_eq!(frequent.answer(&row("Another?", "", "location")), None);
    }
}
