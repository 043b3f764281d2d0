//! Controls of an evaluation: the same questions once more, in a way in which answers that rest on the volume get worse, and those
//! that rest on something else stay as they are. A model that answers from the question alone shows here.
//!
//! - `questions`: how a control asks; `majority`: the one that asks no model

mod majority;
mod questions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use med2e3_metric::cases::{Bootstrap, Cases};
use med2e3_metric::closed::read;
use med2e3_metric::compare::compare;
use med2e3_program::note;
use med2e3_schemas::evaluation::{Answer, ControlScore};
use med2e3_schemas::sample::{SampleRow, Task};
use med2e3_shards::{Dataset, SampleRows};

use crate::TrainerError;
use crate::generate::answerer::Answerer;
use crate::generate::judged::offered;
use crate::verb::answers::log::AnswerFolder;
use crate::verb::answers::{Shown, Way, answers};
use crate::verb::partners::{drawn, topic};
use crate::verb::turns::Asked;
use crate::words::{Word, words};

words! {
    /// What is controlled for.
    pub(super) enum Control {
        /// About a volume of another case, of a question of the same topic.
        Shuffled = "shuffled",
        /// About a volume of zeros.
        Blank = "blank",
        /// Without a volume.
        QuestionOnly = "question_only",
        /// Each choice by the letter before its own.
        ChoicesRotated = "choices_rotated",
        /// All slices counting the same.
        ScoresUniform = "scores_uniform",
        /// Slices counting as for another question about the volume.
        ScoresOfOtherQuestion = "scores_of_other_question",
        /// Slices counting as for the same topic's question about a volume of another case.
        ScoresOfOtherVolume = "scores_of_other_volume",
        /// The slice alone that counts most.
        ScoresTopOne = "scores_top_1",
        /// The most frequent answer of the training split to the same question, without a model.
        Majority = "majority",
    }
}

impl Control {
    /// Whether slices count by other scores than the model's own.
    fn gives_scores(self) -> bool {
        use Control::{ScoresOfOtherQuestion, ScoresOfOtherVolume, ScoresTopOne, ScoresUniform};
        matches!(self, ScoresUniform | ScoresOfOtherQuestion | ScoresOfOtherVolume | ScoresTopOne)
    }
}

/// An evaluation to control.
#[derive(Clone, Copy)]
pub(super) struct Controlled<'a> {
    pub(super) answerer: &'a Answerer,
    pub(super) dataset: &'a Arc<Dataset>,
    /// Where the controls' answers are as they come.
    pub(super) folder: &'a AnswerFolder,
    pub(super) asked: &'a Asked,
    /// Those to `asked`, in its order.
    pub(super) answers: &'a [Answer],
    pub(super) way: Way<'a>,
}

impl Controlled<'_> {
    /// The scores of all controls, each over at most so many samples of a task.
    ///
    /// # Errors
    /// As [`answers`].
    pub(super) fn scores(&self, most: usize, bootstrap: Bootstrap) -> Result<Vec<ControlScore>, TrainerError> {
        let chosen = self.chosen(most, bootstrap.seed);
        let places: HashMap<&str, usize> = chosen.iter().map(|&at| (self.sample_of(at), at)).collect();
        let mut scores = Vec::new();
        for &control in Control::ALL {
            let found = match control {
                Control::Majority => majority::answers(self, &chosen)?,
                _ => self.ask(control, &chosen)?,
            };
            let pairs = found.iter().map(|(row, answer)| {
                let at = places[answer.sample_id.as_str()];
                Pair { asked: self.row(at), real: &self.answers[at], changed: row, control: answer }
            });
            scores.extend(scores_of(control, &pairs.collect::<Vec<_>>(), bootstrap));
        }
        Ok(scores)
    }

    /// Places of the samples that are controlled: first turns, of each task those whose drawn number is least.
    fn chosen(&self, most: usize, seed: u64) -> Vec<usize> {
        let mut by_task: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for at in (0..self.answers.len()).filter(|at| self.asked.turns[*at] == 1) {
            by_task.entry(self.row(at).task.as_str()).or_default().push(at);
        }
        let mut chosen = Vec::new();
        for mut places in by_task.into_values() {
            places.sort_by_cached_key(|at| drawn(seed, &self.row(*at).sample_id));
            places.truncate(most);
            chosen.extend(places);
        }
        chosen.sort_unstable();
        chosen
    }

    fn row(&self, at: usize) -> &SampleRow {
        &self.asked.samples.rows[at]
    }

    fn sample_of(&self, at: usize) -> &str {
        &self.answers[at].sample_id
    }

    /// The answers to the questions that a control can ask in its way, each with its row.
    fn ask(&self, control: Control, chosen: &[usize]) -> Result<Vec<(SampleRow, Answer)>, TrainerError> {
        let rows: Vec<&SampleRow> = chosen.iter().map(|&at| self.row(at)).collect();
        let given = control.gives_scores().then(|| {
            let own: Vec<&[f32]> = chosen.iter().map(|&at| self.answers[at].scores.as_slice()).collect();
            questions::scores(control, &rows, &own, self.way.seed)
        });
        let mut rows = questions::of(control, &rows, self.answerer, self.way.seed);
        rows.retain(|row| given.as_ref().is_none_or(|given| given.contains_key(&row.sample_id)));
        if given.is_some() && !self.answerer.weighs_slices() {
            return Ok(Vec::new());
        }
        note(format_args!("control {}: {} of {} questions", control.as_str(), rows.len(), chosen.len()));
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let turns = vec![1; rows.len()];
        let asked = Asked { samples: SampleRows { rows, ..self.asked.samples }, turns, not_asked: 0 };
        let shown = if control == Control::Blank { Shown::Zeros } else { Shown::Voxels };
        let mut log = self.folder.log_of_control(control.as_str(), &asked)?;
        let open = log.open_questions(&asked);
        let way = Way { shown, scores: given.as_ref(), ..self.way };
        answers(self.answerer, self.dataset, open, way, |answer, _| log.append(answer))?;
        let answers = log.in_order(&asked);
        Ok(asked.samples.rows.into_iter().zip(answers).collect())
    }
}

/// A question's own answer and that of a control.
struct Pair<'a> {
    asked: &'a SampleRow,
    real: &'a Answer,
    /// The row as the control asked it.
    changed: &'a SampleRow,
    control: &'a Answer,
}

impl Pair<'_> {
    /// Whether the answer differs; where letters were changed, whether it names another choice, or none.
    fn differs(&self, control: Control) -> bool {
        if control != Control::ChoicesRotated {
            return self.real.answer.trim() != self.control.answer.trim();
        }
        let named = |row: &SampleRow, answer: &Answer| -> Option<String> {
            let choices = offered(row);
            let letter = read(&answer.answer, &choices).choice()?;
            choices.get((letter as usize).checked_sub('A' as usize)?).copied().flatten().map(str::to_owned)
        };
        let (real, control) = (named(self.asked, self.real), named(self.changed, self.control));
        real.is_none() || real != control
    }
}

/// The scores of a control's answers next to those of the evaluation itself.
fn scores_of(control: Control, pairs: &[Pair<'_>], bootstrap: Bootstrap) -> Vec<ControlScore> {
    let mut scores = Vec::new();
    for &task in Task::ALL {
        let pairs: Vec<&Pair<'_>> = pairs.iter().filter(|pair| pair.asked.task == task).collect();
        let rows = pairs.iter().map(|pair| (pair.asked.case_id.as_str(), topic(pair.asked)));
        let Some(cases) = Cases::of(rows) else { continue };
        let changed = pairs.iter().filter(|pair| pair.differs(control)).count() as f64 / pairs.len() as f64;
        let both_have = |metric: &&String| {
            let has = |answer: &Answer| answer.metrics.contains_key(*metric);
            pairs.iter().all(|pair| has(pair.real) && has(pair.control))
        };
        for metric in pairs[0].real.metrics.keys().filter(both_have) {
            let score = |answer: &Answer| answer.metrics.get(metric).copied().unwrap_or(0.0);
            let real: Vec<f64> = pairs.iter().map(|pair| score(pair.real)).collect();
            let controlled: Vec<f64> = pairs.iter().map(|pair| score(pair.control)).collect();
            let found = compare(&cases, &[&controlled], &[&real], bootstrap).micro;
            scores.push(ControlScore {
                control: control.as_str().into(),
                task,
                metric: metric.clone(),
                count: pairs.len() as u64,
                cases: cases.cases() as u64,
                real: found.second,
                control_mean: found.first,
                difference: found.difference,
                interval: found.interval,
                changed,
            });
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::answerer::Reply;
    use crate::generate::judged::judged;
    use med2e3_schemas::Id;

    #[test]
    fn a_control_says_how_far_answers_fall_and_which_choices_change() {
        let row = |number: usize, choices: [&str; 3], right: &str| SampleRow {
            task: Task::ClosedVqa,
            case_id: format!("case {number}"),
            choices: Some(choices.map(str::to_owned).to_vec()),
            answer_choice: Some(right.into()),
            ..SampleRow::of_ids(Id::of_volume(&format!("{number}")), Vec::new(), vec![1, 2, 3], vec![(2, 3)])
        };
        let answer = |row: &SampleRow, text: &str| judged(row, Reply { answer: text.into(), ..Reply::default() }, None);
        let rows: Vec<SampleRow> = (0..8).map(|number| row(number, ["left", "right", "both"], "A")).collect();
        let turned: Vec<SampleRow> = (0..8).map(|number| row(number, ["right", "both", "left"], "C")).collect();
        // Half of them name the same choice by its new letter, half stay with the letter.
        let real: Vec<Answer> = rows.iter().map(|row| answer(row, "A. left")).collect();
        let texts = ["C. left", "A. right"];
        let control: Vec<Answer> =
            turned.iter().enumerate().map(|(number, row)| answer(row, texts[number % 2])).collect();
        let pairs: Vec<Pair<'_>> = (0..8)
            .map(|at| Pair { asked: &rows[at], real: &real[at], changed: &turned[at], control: &control[at] })
            .collect();
        let bootstrap = Bootstrap { seed: 1, threads: 1 };
        let scores = scores_of(Control::ChoicesRotated, &pairs, bootstrap);
        assert_eq!(scores.len(), 2);
        for score in &scores {
            assert_eq!(
                (score.count, score.cases, score.real, score.control_mean, score.changed),
                (8, 8, 1.0, 0.5, 0.5)
            );
            assert!(score.difference == 0.5 && score.interval[0] > 0.0 && score.interval[1] < 1.0, "{score:?}");
        }
        assert_eq!(scores_of(Control::Shuffled, &pairs, bootstrap)[0].changed, 1.0);
        assert!(scores_of(Control::Blank, &[], bootstrap).is_empty());
    }
}
