//! Which sample a row answers: the one that its id names; else, where rows have no id of the dataset's, the next one of its question and
//! expected text. So a row that fits no sample is found, wherever it stands, and files whose rows were shuffled or left out are read.
//!
//! Texts are compared without image tokens, whatever the width of their space, and what pandas takes for missing is one word, since it
//! stands for missing choices in some prompts as `NA` and in others as `nan`. The question of a caption is drawn anew by each program:
//! captions are known by their expected text alone.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use med2e3_input::text::pandas;
use med2e3_schemas::Id;
use med2e3_schemas::evaluation::Matched;
use med2e3_schemas::sample::{SampleRow, Task};
use regex::Regex;

use super::{Prediction, Predictions, Unread, quoted};

/// Marks of images in the questions of M3D, Med3DVLM, Med-2E3 and RadFM.
static IMAGE_TOKENS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"</?(im_patch|im_start|im_end|image3d|image\d*)>").expect("a sound expression"));

/// A text as it is compared.
fn comparable(text: &str) -> String {
    let text = if text.contains('<') { IMAGE_TOKENS.replace_all(text, " ") } else { Cow::Borrowed(text) };
    let word = |word| if pandas::is_missing(word) { pandas::NAN } else { word };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Samples, and the rows that answer them.
pub struct Alignment<'s> {
    samples: &'s [SampleRow],
    by_id: HashMap<Id, usize>,
    /// Samples by task, question (none of captions) and expected text, in their order.
    by_texts: HashMap<(Task, String, String), Vec<usize>>,
    /// The same by task and expected text.
    by_expected: HashMap<(Task, String), Vec<usize>>,
    taken: Vec<Option<Taken>>,
    counts: Counts,
}

/// The row of a sample.
struct Taken {
    place: String,
    answer: Option<String>,
}

/// How rows were matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that were matched by id.
    pub by_id: u64,
    /// Rows that were matched by their texts.
    pub in_order: u64,
    /// Rows matched by texts that several samples have: which of them a row is to, its order alone tells.
    pub alike: u64,
    /// Rows that stand before a row of an earlier sample.
    pub out_of_order: u64,
    /// Rows that say again what an earlier row of the same texts says, where no sample is left for them: a sample that a table has twice
    /// is in a dataset once.
    pub repeated: u64,
}

impl Counts {
    /// How all rows were matched.
    pub fn matched(&self) -> Matched {
        if self.in_order > 0 { Matched::Order } else { Matched::Id }
    }
}

impl<'s> Alignment<'s> {
    /// Of samples in the order of the tables that the dataset was made from.
    pub fn new(samples: &'s [SampleRow]) -> Alignment<'s> {
        let (mut by_texts, mut by_expected) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (at, sample) in samples.iter().enumerate() {
            let expected = comparable(&sample.answer);
            by_texts.entry((sample.task, asked(sample), expected.clone())).or_default().push(at);
            by_expected.entry((sample.task, expected)).or_default().push(at);
        }
        let by_id = samples.iter().enumerate().map(|(at, sample)| (sample.sample_id, at)).collect();
        let taken = samples.iter().map(|_| None).collect();
        Alignment { samples, by_id, by_texts, by_expected, taken, counts: Counts::default() }
    }

    /// Adds a file's rows.
    ///
    /// # Errors
    /// The first row that fits no sample, or one that another row answers: the row, the column and both texts.
    pub fn add(&mut self, predictions: Predictions) -> Result<(), Unread> {
        let known = |row: &Prediction| row.id.as_deref().is_some_and(|id| self.of_id(id).is_some());
        // Other programs have ids of their own: where texts tell the sample, none of them needs to be the dataset's.
        let by_id = predictions.rows.iter().any(known) || predictions.rows.iter().any(|row| row.expected.is_none());
        let Predictions { rows, task, question, expected } = predictions;
        let mut next = 0;
        for row in rows {
            let at = if by_id {
                self.counts.by_id += 1;
                self.by_id(&row, expected)?
            } else {
                let Some(at) = self.by_texts(&row, task, next, [question, expected])? else { continue };
                self.counts.in_order += 1;
                self.counts.out_of_order += u64::from(at < next);
                next = at + 1;
                at
            };
            self.taken[at] = Some(Taken { place: row.place, answer: row.answer });
        }
        Ok(())
    }

    /// For each sample its answer, `None` where no row answers it, and how rows were matched. An answer that is not there is `None`, too.
    ///
    /// Samples that are not `scored` have rows as others have. Where several samples have the same texts and rows are not in their order,
    /// nobody knows which row is to which of them: then no scored one stays without a row as long as one that is not scored has one.
    pub fn end(mut self, scored: impl Fn(&SampleRow) -> bool) -> (Vec<Option<Option<String>>>, Counts) {
        if self.counts.out_of_order > 0 {
            for alike in self.by_texts.values() {
                let (scored, others): (Vec<usize>, Vec<usize>) =
                    alike.iter().partition(|at| scored(&self.samples[**at]));
                let open: Vec<usize> = scored.into_iter().filter(|at| self.taken[*at].is_none()).collect();
                let given: Vec<usize> = others.into_iter().filter(|at| self.taken[*at].is_some()).collect();
                open.into_iter().zip(given).for_each(|(open, given)| self.taken.swap(open, given));
            }
        }
        (self.taken.into_iter().map(|taken| taken.map(|taken| taken.answer)).collect(), self.counts)
    }

    fn of_id(&self, id: &str) -> Option<usize> {
        self.by_id.get(&id.trim().parse::<Id>().ok()?).copied()
    }

    fn by_id(&self, row: &Prediction, expected: &str) -> Result<usize, Unread> {
        let (place, id) = (&row.place, row.id.as_deref().unwrap_or_default());
        let at = self.of_id(id).ok_or_else(|| {
            Unread::new(
                format!("the id of a selected sample in `id` of {place}, as evaluate's reports have it"),
                quoted(id),
            )
        })?;
        if let Some(taken) = &self.taken[at] {
            return Err(Unread::new(
                format!("each id once, {} in {} alone", quoted(id), taken.place),
                format!("it in {place} too"),
            ));
        }
        match &row.expected {
            Some(text) if comparable(text) != comparable(&self.samples[at].answer) => Err(Unread::new(
                format!("the sample's text {} in `{expected}` of {place}", quoted(&self.samples[at].answer)),
                quoted(text),
            )),
            _ => Ok(at),
        }
    }

    /// The sample, or none for a row that says again what was said.
    fn by_texts(
        &mut self,
        row: &Prediction,
        task: Option<Task>,
        next: usize,
        [question, expected]: [&str; 2],
    ) -> Result<Option<usize>, Unread> {
        let stated = comparable(row.expected.as_deref().unwrap_or_default());
        let tasks = Task::ALL.iter().filter(|of| task.is_none_or(|task| task == **of));
        let question_of = |task: Task| match &row.question {
            Some(text) if task != Task::Caption => Some(comparable(text)),
            Some(_) => Some(String::new()),
            None => None,
        };
        let alike = |task: Task| match question_of(task) {
            Some(question) => self.by_texts.get(&(task, question, stated.clone())),
            None => self.by_expected.get(&(task, stated.clone())),
        };
        let Some(alike) = tasks.copied().find_map(alike) else {
            return Err(self.unfit(row, task, next, [question, expected]));
        };
        let open = |at: &&usize| self.taken[**at].is_none();
        let later = alike.partition_point(|at| *at < next);
        let found = alike[later..].iter().find(open).or_else(|| alike[..later].iter().find(open));
        if let Some(at) = found {
            self.counts.alike += u64::from(alike.len() > 1);
            return Ok(Some(*at));
        }
        let said = |at: &usize| self.taken[*at].as_ref().is_some_and(|taken| taken.answer == row.answer);
        if alike.iter().any(said) {
            self.counts.repeated += 1;
            return Ok(None);
        }
        let last = alike.last().and_then(|at| self.taken[*at].as_ref()).map_or("", |taken| &taken.place);
        let expected = row.expected.as_deref().unwrap_or_default();
        let texts = match &row.question {
            Some(text) => format!("`{question}` {} and {}", quoted(text), quoted(expected)),
            None => quoted(expected),
        };
        Err(Unread::new(
            format!("{} samples with the texts of {} ({texts})", alike.len(), row.place),
            format!(
                "a prediction of each before, the last in {last}, and here another one, {}",
                quoted(row.answer.as_deref().unwrap_or_default())
            ),
        ))
    }

    /// The error of a row that fits no sample: against the sample that is the next one.
    fn unfit(&self, row: &Prediction, task: Option<Task>, next: usize, [question, expected]: [&str; 2]) -> Unread {
        let is_open = |at: &usize| self.taken[*at].is_none() && task.is_none_or(|task| task == self.samples[*at].task);
        let order = (next..self.samples.len()).chain(0..next.min(self.samples.len()));
        let Some(sample) = order.filter(|at| is_open(at)).map(|at| &self.samples[at]).next() else {
            let task = task.map_or("any task", Task::as_str);
            return Unread::new(format!("no row behind those of all samples ({task})"), format!("{} too", row.place));
        };
        let asks =
            row.question.as_deref().filter(|text| !asked(sample).is_empty() && comparable(text) != asked(sample));
        let (column, theirs, ours) = match asks {
            Some(text) => (question, text, &sample.question),
            None => (expected, row.expected.as_deref().unwrap_or_default(), &sample.answer),
        };
        let next = format!(
            "in `{column}` of {} a text of a selected sample, such as the next one's {}",
            row.place,
            quoted(ours)
        );
        Unread::new(next, quoted(theirs))
    }
}

/// The question by which a sample is known; none for a caption.
fn asked(sample: &SampleRow) -> String {
    if sample.task == Task::Caption { String::new() } else { comparable(&sample.question) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: usize, task: Task, question: &str, answer: &str) -> SampleRow {
        let id = Id::of_volume(&format!("sample {number}"));
        SampleRow {
            task,
            question: question.into(),
            answer: answer.into(),
            ..SampleRow::of_ids(id, vec![], vec![], vec![])
        }
    }

    fn samples() -> Vec<SampleRow> {
        [
            (Task::Caption, "Describe it.", "A disc."),
            (Task::OpenVqa, "Which plane?", "axial"),
            (Task::OpenVqa, "Which plane?", "axial"),
            (Task::OpenVqa, "Which organ?", "the  liver"),
            (Task::ClosedVqa, "Which organ? Choices: A. liver B. NA", "A. liver"),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, (task, question, answer))| sample(number, task, question, answer))
        .collect()
    }

    /// A file without ids.
    fn of_texts(task: Option<Task>, rows: &[(&str, &str, &str)]) -> Predictions {
        let row = |(number, (question, expected, answer)): (usize, &(&str, &str, &str))| Prediction {
            place: format!("row {}", number + 1),
            id: None,
            question: Some((*question).into()),
            expected: Some((*expected).into()),
            answer: Some((*answer).into()),
        };
        let rows = rows.iter().enumerate().map(row).collect();
        Predictions { rows, task, question: "Question", expected: "Answer" }
    }

    /// A file of ids, perhaps with expected texts.
    fn of_ids(rows: &[(&str, Option<&str>)]) -> Predictions {
        let row = |(number, (id, expected)): (usize, &(&str, Option<&str>))| Prediction {
            place: format!("row {}", number + 1),
            id: Some((*id).into()),
            question: None,
            expected: expected.map(str::to_owned),
            answer: Some(format!("answer {number}")),
        };
        Predictions {
            rows: rows.iter().enumerate().map(row).collect(),
            task: None,
            question: "question",
            expected: "answers",
        }
    }

    fn aligned(samples: &[SampleRow], files: Vec<Predictions>) -> Result<(Vec<Option<String>>, Counts), Unread> {
        let mut alignment = Alignment::new(samples);
        files.into_iter().try_for_each(|file| alignment.add(file))?;
        let (answers, counts) = alignment.end(|sample| sample.case_id.is_empty());
        Ok((answers.into_iter().map(Option::flatten).collect(), counts))
    }

    fn texts(answers: &[Option<String>]) -> Vec<&str> {
        answers.iter().map(|answer| answer.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn rows_without_ids_are_known_by_their_texts() {
        let samples = samples();
        let rows = [
            ("<im_patch><im_patch> Which plane?", "axial", "first"),
            ("<image><image0></image> Which\nplane?", "axial", "second"),
            ("Which organ?", "the liver ", "third"),
        ];
        let closed = [("<im_patch> Which organ? Choices: A. liver B. nan", "A. liver", "fourth")];
        // Another prompt than the dataset's.
        let captions = [("Write a report.", "A disc.", "fifth")];
        let files = vec![
            of_texts(Some(Task::OpenVqa), &rows),
            of_texts(Some(Task::ClosedVqa), &closed),
            of_texts(Some(Task::Caption), &captions),
        ];
        let (answers, counts) = aligned(&samples, files).unwrap();
        assert_eq!(texts(&answers), ["fifth", "first", "second", "third", "fourth"]);
        assert_eq!(counts, Counts { in_order: 5, alike: 2, ..Counts::default() });
        assert_eq!(counts.matched(), Matched::Order);
        // In one file, shuffled and not all of them, as RadFM writes it.
        let rows = [rows[2], captions[0], rows[0]];
        let (answers, counts) = aligned(&samples, vec![of_texts(None, &rows)]).unwrap();
        assert_eq!(texts(&answers), ["fifth", "first", "-", "third", "-"]);
        assert_eq!(counts, Counts { in_order: 3, alike: 1, out_of_order: 1, ..Counts::default() });
    }

    #[test]
    fn a_row_that_fits_no_sample_is_named_with_both_texts() {
        let samples = samples();
        let said =
            |task, rows: &[(&str, &str, &str)]| aligned(&samples, vec![of_texts(task, rows)]).unwrap_err().to_string();
        let plane = ("Which plane?", "axial", "axial");
        assert_eq!(
            said(Some(Task::OpenVqa), &[plane, ("Which plane?", "sagittal", "axial")]),
            "expected in `Answer` of row 2 a text of a selected sample, such as the next one's `axial`, found `sagittal`"
        );
        assert_eq!(
            said(Some(Task::OpenVqa), &[plane, plane, ("Where?", "the liver", "x")]),
            "expected in `Question` of row 3 a text of a selected sample, such as the next one's `Which organ?`, found `Where?`"
        );
        assert!(said(Some(Task::Caption), &[("x", "A ball.", "x")]).contains("`A disc.`, found `A ball.`"));
        // A sample that a table has twice is in a dataset once: a model says the same of it.
        let (_, counts) = aligned(&samples, vec![of_texts(None, &[plane, plane, plane])]).unwrap();
        assert_eq!((counts.in_order, counts.repeated), (2, 1));
        assert_eq!(
            said(None, &[plane, plane, ("Which plane?", "axial", "coronal")]),
            "expected 2 samples with the texts of row 3 (`Question` `Which plane?` and `axial`), found a prediction of each before, \
             the last in row 2, and here another one, `coronal`"
        );
        let all = [plane, plane, ("Which organ?", "the liver", "x"), ("Which lung?", "left", "x")];
        assert!(said(Some(Task::OpenVqa), &all).ends_with("found row 4 too"));
    }

    #[test]
    fn ids_name_samples() {
        let samples = samples();
        let ids: Vec<String> = samples.iter().map(|sample| sample.sample_id.to_string()).collect();
        let (answers, counts) =
            aligned(&samples, vec![of_ids(&[(&ids[3], None), (&ids[0], Some("A disc."))])]).unwrap();
        assert_eq!(texts(&answers), ["answer 1", "-", "-", "answer 0", "-"]);
        assert_eq!((counts.by_id, counts.matched()), (2, Matched::Id));
        let said = |rows: &[(&str, Option<&str>)]| aligned(&samples, vec![of_ids(rows)]).unwrap_err().to_string();
        let unknown = said(&[(&ids[0], None), ("m3d_7", None)]);
        assert!(unknown.contains("in `id` of row 2") && unknown.ends_with("found `m3d_7`"), "{unknown}");
        let twice = said(&[(&ids[0], None), (&ids[0], None)]);
        assert_eq!(twice, format!("expected each id once, `{}` in row 1 alone, found it in row 2 too", ids[0]));
        let other = said(&[(&ids[0], Some("A ball."))]);
        assert_eq!(other, "expected the sample's text `A disc.` in `answers` of row 1, found `A ball.`");
        // Ids of another program beside texts.
        let (answers, counts) =
            aligned(&samples, vec![of_ids(&[("7", Some("the liver")), ("8", Some("axial"))])]).unwrap();
        assert_eq!((texts(&answers), counts.in_order), (vec!["-", "answer 1", "-", "answer 0", "-"], 2));
    }

    #[test]
    fn samples_that_are_not_scored_leave_no_other_without_a_row() {
        let mut samples = samples();
        samples[2].case_id = "not scored".into();
        let (plane, organ) = (("Which plane?", "axial", "said"), ("Which organ?", "the liver", "x"));
        // In order, a row is to the first.
        let (answers, _) = aligned(&samples, vec![of_texts(None, &[plane, organ])]).unwrap();
        assert_eq!(texts(&answers), ["-", "said", "-", "x", "-"]);
        samples.swap(1, 2);
        let (answers, counts) = aligned(&samples, vec![of_texts(None, &[organ, plane])]).unwrap();
        assert_eq!((texts(&answers), counts.out_of_order), (vec!["-", "-", "said", "x", "-"], 1));
    }

    #[test]
    fn many_rows_of_one_text_take_no_time() {
        let samples: Vec<SampleRow> =
            (0..20_000).map(|number| sample(number, Task::OpenVqa, "Which plane?", "axial")).collect();
        let rows = vec![("Which plane?", "axial", "axial"); 20_001];
        let (answers, counts) = aligned(&samples, vec![of_texts(None, &rows)]).unwrap();
        assert!(answers.iter().all(Option::is_some));
        assert_eq!((counts.in_order, counts.repeated), (20_000, 1));
    }
}
