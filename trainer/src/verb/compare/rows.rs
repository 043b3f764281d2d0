//! Answers of several runs as rows of the same questions, each with its case.

use std::collections::HashMap;
use std::path::Path;

use med2e3_metric::compare::{Aligned, Scored};
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::{Task, Topic};

use super::evaluated::{Evaluated, key};
use crate::TrainerError;

/// Letters of a text that an error shows.
const SHOWN: usize = 60;

/// What a question is called, and its case.
struct Named {
    id: String,
    case: String,
}

/// Every question that a run answers.
pub(super) struct Questions<'a> {
    named: HashMap<(&'a str, u32), Named>,
    /// How many have no case, so that their volume stands for it.
    pub(super) by_volume: usize,
    /// How many have no volume either, so that each is a case.
    pub(super) alone: usize,
}

impl<'a> Questions<'a> {
    /// The questions of some runs. A case that one run does not state is taken from another.
    pub(super) fn of(runs: &[&'a Evaluated]) -> Questions<'a> {
        let mut named: HashMap<(&str, u32), Named> = HashMap::new();
        for answer in runs.iter().flat_map(|run| &run.report.answers) {
            let (sample, turn) = key(answer);
            let found = named
                .entry((sample, turn))
                .or_insert_with(|| Named { id: format!("{sample} turn {turn}"), case: String::new() });
            if found.case.is_empty() {
                found.case.clone_from(&answer.case_id);
            }
        }
        let (mut by_volume, mut alone) = (0, 0);
        for answer in runs.iter().flat_map(|run| &run.report.answers) {
            let found = named.get_mut(&key(answer)).expect("each answer's question is there");
            if found.case.is_empty() && !answer.volume_id.is_empty() {
                (by_volume, found.case) = (by_volume + 1, answer.volume_id.clone());
            }
        }
        for found in named.values_mut().filter(|found| found.case.is_empty()) {
            (alone, found.case) = (alone + 1, found.id.clone());
        }
        Questions { named, by_volume, alone }
    }

    /// The rows of a run's answers of a task, and of a topic where one is named.
    fn rows<'b>(
        &'b self,
        run: &'b Evaluated,
        task: Task,
        topic: Option<Topic>,
        score: &impl Fn(&Answer) -> f64,
    ) -> Vec<Scored<'b>> {
        let of_these = |answer: &&Answer| answer.task == task && (topic.is_none() || answer.topic == topic);
        let row = |answer: &'b Answer| {
            let Named { id, case } = &self.named[&key(answer)];
            let stated = if answer.case_id.is_empty() { case } else { &answer.case_id };
            Scored { id, case: stated, question_type: answer.topic.map_or("", Topic::as_str), score: score(answer) }
        };
        run.report.answers.iter().filter(of_these).map(row).collect()
    }

    /// Brings the answers of runs into one order. `score` is within 0 to 1.
    ///
    /// # Errors
    /// A run lacks questions that another has, or has them of another case or topic.
    pub(super) fn aligned(
        &self,
        runs: &[&Evaluated],
        task: Task,
        topic: Option<Topic>,
        score: impl Fn(&Answer) -> f64,
    ) -> Result<Aligned, TrainerError> {
        let rows: Vec<Vec<Scored<'_>>> = runs.iter().map(|run| self.rows(run, task, topic, &score)).collect();
        let named: Vec<(&str, &[Scored<'_>])> =
            runs.iter().zip(&rows).map(|(run, rows)| (run.run.path.as_str(), rows.as_slice())).collect();
        Aligned::of(&named).map_err(|source| TrainerError::OtherSamples { task, source })
    }
}

/// Fails where a run is of another split or dataset than the first one.
///
/// # Errors
/// Another split; no question in common; a question with another expected text.
pub(in crate::verb) fn same_data(first: &Evaluated, run: &Evaluated) -> Result<(), TrainerError> {
    let refused = |expected: String, found: String| {
        Err(TrainerError::File { path: Path::new(&run.run.path).join("report.json"), expected, found })
    };
    let (expected, found) = (first.report.split, run.report.split);
    if expected != found {
        return refused(format!("the {expected} split, as in {}", first.run.path), format!("the {found} split"));
    }
    let known: HashMap<(&str, u32), &Answer> =
        first.report.answers.iter().map(|answer| (key(answer), answer)).collect();
    let shared: Vec<(&Answer, &Answer)> =
        run.report.answers.iter().filter_map(|answer| Some((*known.get(&key(answer))?, answer))).collect();
    if shared.is_empty() {
        return refused(
            format!("answers to samples of {}, {}", first.run.path, of_dataset(first)),
            format!("{} answers to other samples, {}", run.report.answers.len(), of_dataset(run)),
        );
    }
    let is_other = |(one, other): &&(&Answer, &Answer)| one.expected.trim() != other.expected.trim();
    if let Some((one, other)) = shared.iter().find(is_other) {
        return refused(
            format!(
                "sample {} turn {} to expect `{}`, as in {}",
                one.sample_id,
                one.turn,
                start(&one.expected),
                first.run.path
            ),
            format!("`{}`", start(&other.expected)),
        );
    }
    Ok(())
}

fn of_dataset(evaluated: &Evaluated) -> String {
    let named = |name: &str, what: &Option<String>| what.as_ref().map(|what| format!("{name} {what}"));
    let run = &evaluated.run;
    let parts = [named("dataset", &run.dataset), named("with the hash", &run.dataset_hash)];
    let words = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if words.is_empty() { "dataset not stated".into() } else { words }
}

fn start(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::compare::made_up::{answer, evaluated};
    use med2e3_schemas::sample::Split;

    fn open(id: &str, case: &str, score: f64) -> Answer {
        answer(id, case, Task::OpenVqa, &[("bleu1", score)])
    }

    fn bleu(answer: &Answer) -> f64 {
        answer.metrics["bleu1"]
    }

    #[test]
    fn rows_are_in_one_order_and_a_case_that_one_run_states_is_known() {
        let a = evaluated("a", vec![open("1", "", 0.25), open("2", "", 0.5)]);
        let b = evaluated("b", vec![open("2", "case 2", 1.0), open("1", "case 1", 0.75)]);
        let questions = Questions::of(&[&a, &b]);
        assert_eq!((questions.by_volume, questions.alone), (0, 0));
        let aligned = questions.aligned(&[&a, &b], Task::OpenVqa, None, bleu).unwrap();
        assert_eq!((aligned.scores, aligned.cases.cases()), (vec![vec![0.25, 0.5], vec![0.75, 1.0]], 2));
        // Where none does, volumes are cases; here both samples are of one volume.
        let questions = Questions::of(&[&a]);
        assert_eq!((questions.by_volume, questions.alone), (2, 0));
        assert_eq!(questions.aligned(&[&a], Task::OpenVqa, None, bleu).unwrap().cases.cases(), 1);
        let bare = |id| Answer { volume_id: String::new(), ..open(id, "", 0.5) };
        let bare = evaluated("bare", vec![bare("1"), bare("2")]);
        assert_eq!(Questions::of(&[&bare]).alone, 2);
    }

    #[test]
    fn a_missing_sample_is_named_with_its_turn() {
        let later = |id| Answer { turn: 2, ..open(id, "c", 0.5) };
        let a = evaluated("a", vec![open("1", "c", 0.5), later("1")]);
        let b = evaluated("b", vec![open("1", "c", 0.5)]);
        let error = Questions::of(&[&a, &b]).aligned(&[&a, &b], Task::OpenVqa, None, bleu).unwrap_err();
        assert_eq!(error.to_string(), "open_vqa: the runs do not answer the same samples");
        let TrainerError::OtherSamples { source, .. } = error else { panic!("another error") };
        assert_eq!(source.to_string(), "b lacks 1 rows that a has: 1 turn 2");
        let c = evaluated("c", vec![open("1", "other", 0.5), later("1")]);
        let error = Questions::of(&[&a, &c]).aligned(&[&a, &c], Task::OpenVqa, None, bleu).unwrap_err();
        let TrainerError::OtherSamples { source, .. } = error else { panic!("another error") };
        assert!(source.to_string().contains("is of case other"), "{source}");
    }

    #[test]
    fn other_data_is_refused_by_name() {
        let a = evaluated("a", vec![open("1", "c", 0.5)]);
        let refused = |run: &Evaluated| same_data(&a, run).unwrap_err().to_string();
        let mut train = evaluated("b", vec![open("1", "c", 0.5)]);
        same_data(&a, &train).unwrap();
        train.report.split = Split::Train;
        assert_eq!(refused(&train), "b/report.json: expected the test split, as in a, found the train split");
        let mut other = evaluated("b", vec![open("7", "c", 0.5)]);
        other.run.dataset = Some("elsewhere".into());
        other.run.dataset_hash = Some("ab12".into());
        assert_eq!(
            refused(&other),
            "b/report.json: expected answers to samples of a, dataset not stated, \
             found 1 answers to other samples, dataset elsewhere with the hash ab12"
        );
        let mut text = evaluated("b", vec![open("1", "c", 0.5)]);
        text.report.answers[0].expected = "liver ".repeat(20);
        let said = refused(&text);
        assert!(
            said.starts_with("b/report.json: expected sample 1 turn 1 to expect `left`, as in a, found `liver"),
            "{said}"
        );
        assert!(said.ends_with("..`"), "{said}");
    }
}
