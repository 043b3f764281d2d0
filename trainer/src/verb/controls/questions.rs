//! How a control asks the questions of an evaluation.

use std::collections::HashMap;

use med2e3_feed::QuestionForm;
use med2e3_input::text::prompt::{LETTERS, closed_answer, closed_question};
use med2e3_schemas::Id;
use med2e3_schemas::sample::{IMAGE3D, SampleRow, Task};

use super::Control;
use crate::TrainerError;
use crate::generate::answerer::Answerer;
use crate::generate::judged::{letter_place, offered};
use crate::verb::partners::{of_another_case, of_another_question};

/// The rows that a control can ask in its way, in their order.
pub(super) fn of(control: Control, rows: &[&SampleRow], answerer: &Answerer, seed: u64) -> Vec<SampleRow> {
    match control {
        Control::Shuffled => shuffled(rows, seed),
        Control::Blank => blank(rows),
        Control::QuestionOnly => rows.iter().map(|row| without_volume(row)).collect(),
        Control::ChoicesRotated => {
            let closed = rows.iter().filter(|row| row.task == Task::ClosedVqa);
            // A question that can't be laid out anew, as by a checkpoint without the text encoder's tokenizer, is not asked.
            closed.filter_map(|row| rotated(row, answerer).ok().flatten()).collect()
        }
        // Asked as they were, with other scores.
        Control::ScoresUniform
        | Control::ScoresOfOtherQuestion
        | Control::ScoresOfOtherVolume
        | Control::ScoresTopOne => rows.iter().map(|row| (*row).clone()).collect(),
        Control::Majority => Vec::new(),
    }
}

/// Each row with the volumes of another case.
fn shuffled(rows: &[&SampleRow], seed: u64) -> Vec<SampleRow> {
    let partners = of_another_case(rows, seed).into_iter().zip(rows);
    let with = |(partner, row): (Option<usize>, &&SampleRow)| {
        let volume_ids = rows[partner?].volume_ids.clone();
        (!volume_ids.is_empty()).then(|| SampleRow { volume_ids, ..(*row).clone() })
    };
    partners.filter_map(with).collect()
}

/// The scores of slices that a control gives to rows about one volume, by their keys, made of those that the model's own scorer gave:
/// `own` are these, row by row. Rows for which the control has none are left out.
pub(super) fn scores(control: Control, rows: &[&SampleRow], own: &[&[f32]], seed: u64) -> HashMap<Id, Vec<f32>> {
    let partners = match control {
        Control::ScoresOfOtherQuestion => of_another_question(rows, seed),
        Control::ScoresOfOtherVolume => of_another_case(rows, seed),
        _ => (0..rows.len()).map(Some).collect(),
    };
    let given = |(row, partner): (&&SampleRow, Option<usize>)| {
        let scores = own[partner?];
        let is_scored = row.volume_ids.len() == 1 && !scores.is_empty();
        is_scored.then(|| (row.sample_id, changed(control, scores)))
    };
    rows.iter().zip(partners).filter_map(given).collect()
}

/// The scores as a control changes them.
fn changed(control: Control, scores: &[f32]) -> Vec<f32> {
    match control {
        Control::ScoresUniform => vec![1.0 / scores.len() as f32; scores.len()],
        Control::ScoresTopOne => {
            let most = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            (0..scores.len()).map(|at| if Some(at) == most { 1.0 } else { 0.0 }).collect()
        }
        _ => scores.to_vec(),
    }
}

/// Rows that show as many volumes as before, all of them one: what is shown of it are zeros, read and encoded once.
fn blank(rows: &[&SampleRow]) -> Vec<SampleRow> {
    let Some(one) = rows.iter().find_map(|row| row.volume_ids.first()) else { return Vec::new() };
    let shown = rows.iter().filter(|row| !row.volume_ids.is_empty());
    shown.map(|row| SampleRow { volume_ids: vec![*one; row.volume_ids.len()], ..(*row).clone() }).collect()
}

/// The row without the marks of volumes.
fn without_volume(row: &SampleRow) -> SampleRow {
    let before = |end: u32| row.ids[..end as usize].iter().filter(|id| **id == IMAGE3D).count() as u32;
    let moved = |place: u32| place - before(place);
    SampleRow {
        volume_ids: Vec::new(),
        target_spans: row.target_spans.iter().map(|(start, end)| (moved(*start), moved(*end))).collect(),
        ids: row.ids.iter().copied().filter(|id| *id != IMAGE3D).collect(),
        ..row.clone()
    }
}

/// The row with each offered choice by the letter before its own, the first by the last letter. `None` where the question is not in
/// M3D's wording, or is laid out in another way than this checkpoint lays it out.
fn rotated(row: &SampleRow, answerer: &Answerer) -> Result<Option<SampleRow>, TrainerError> {
    let choices = offered(row);
    let count = choices.iter().take_while(|choice| choice.is_some()).count();
    let all: Vec<&str> = row.choices.iter().flatten().map(String::as_str).collect();
    let right = row.answer_choice.as_deref().and_then(letter_place).filter(|right| *right < count);
    let (Some(right), true) = (right, count > 1 && all.len() <= LETTERS.len()) else { return Ok(None) };
    let Some(stem) = row.question.strip_suffix(closed_question("", &all).as_str()) else { return Ok(None) };
    let spliced = |question: &str| answerer.prompt_of(Task::ClosedVqa, question);
    let start = row.target_spans.first().map_or(row.ids.len(), |span| span.0 as usize);
    if !row.ids[..start].iter().map(|id| i64::from(*id)).eq(spliced(&row.question)?.ids) {
        return Ok(None);
    }
    let mut turned = all.clone();
    turned[..count].rotate_left(1);
    let right = (right + count - 1) % count;
    let question = closed_question(stem, &turned);
    let prompt = spliced(&question)?;
    let narrow = |ids: Vec<i64>| ids.into_iter().map(|id| id as i32).collect::<Vec<_>>();
    let (mut ids, asked) = (narrow(prompt.ids), narrow(prompt.question_ids));
    let start = ids.len() as u32;
    // A row has an answer; this one is not read.
    ids.push(row.ids[row.target_spans[0].0 as usize]);
    let answer = closed_answer(LETTERS[right], turned[right]);
    let mut changed = SampleRow {
        question,
        answer,
        answer_choice: Some(LETTERS[right].into()),
        choices: Some(turned.iter().map(|choice| (*choice).to_owned()).collect()),
        target_spans: vec![(start, start + 1)],
        ids,
        ..row.clone()
    };
    match answerer.question_form() {
        QuestionForm::Llm => changed.question_ids_llm = asked,
        QuestionForm::Bert => changed.question_ids_bert = Some(asked),
    }
    Ok(Some(changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn row(number: usize, case: usize, topic: Option<&str>) -> SampleRow {
        SampleRow {
            case_id: format!("case {case}"),
            topic: topic.map(|topic| topic.parse().unwrap()),
            ..SampleRow::of_ids(
                Id::of_volume(&format!("sample {number}")),
                vec![Id::of_volume(&format!("volume {case}"))],
                vec![IMAGE3D, 5, 6, 7, 8],
                vec![(3, 5)],
            )
        }
    }

    #[test]
    fn a_shuffled_row_shows_another_case_of_its_topic() {
        let rows: Vec<SampleRow> =
            (0..40).map(|number| row(number, number / 4, Some(["organ", "plane"][number % 2]))).collect();
        let rows: Vec<&SampleRow> = rows.iter().collect();
        let found = shuffled(&rows, 7);
        assert_eq!(found.len(), 40);
        for (row, found) in rows.iter().zip(&found) {
            assert_eq!((row.sample_id, &row.ids), (found.sample_id, &found.ids));
            assert_ne!(row.volume_ids, found.volume_ids);
        }
        let volumes: BTreeSet<_> = found.iter().map(|row| &row.volume_ids).collect();
        assert!(volumes.len() >= 8, "{}", volumes.len());
        assert_eq!(found, shuffled(&rows, 7));
        assert_ne!(found, shuffled(&rows, 8));
        // One case alone has no partner.
        let alone: Vec<SampleRow> = (0..3).map(|number| row(number, 0, None)).collect();
        assert!(shuffled(&alone.iter().collect::<Vec<_>>(), 7).is_empty());
    }

    #[test]
    fn scores_are_swapped_between_questions_and_volumes() {
        let mut rows: Vec<SampleRow> = (0..8).map(|number| row(number, number / 2, None)).collect();
        for (number, row) in rows.iter_mut().enumerate() {
            row.question = format!("question {}", number % 2);
        }
        let own: Vec<[f32; 2]> = (0..8).map(|number| [number as f32 / 10.0, 1.0 - number as f32 / 10.0]).collect();
        let own: Vec<&[f32]> = own.iter().map(|scores| scores.as_slice()).collect();
        let rows: Vec<&SampleRow> = rows.iter().collect();
        let of = |control| scores(control, &rows, &own, 3);
        let (question, volume) = (of(Control::ScoresOfOtherQuestion), of(Control::ScoresOfOtherVolume));
        assert_eq!((question.len(), volume.len()), (8, 8));
        for (number, row) in rows.iter().enumerate() {
            // Two questions a volume: the other one.
            assert_eq!(question[&row.sample_id], own[number ^ 1]);
            let given = own.iter().position(|scores| *scores == volume[&row.sample_id]).unwrap();
            assert_ne!(given / 2, number / 2);
        }
        assert!(of(Control::ScoresUniform).values().all(|scores| *scores == [0.5, 0.5]));
        assert_eq!(of(Control::ScoresTopOne)[&rows[1].sample_id], [0.0, 1.0]);
        assert_eq!(of(Control::ScoresTopOne)[&rows[7].sample_id], [1.0, 0.0]);
        // Without scores, as of a model that has none.
        assert!(scores(Control::ScoresUniform, &rows, &[[].as_slice(); 8], 3).is_empty());
    }

    #[test]
    fn without_a_volume_the_prompt_has_no_mark() {
        let found = without_volume(&row(1, 1, None));
        assert_eq!((found.ids, found.target_spans), (vec![5, 6, 7, 8], vec![(2, 4)]));
        assert!(found.volume_ids.is_empty());
        let rows = [row(1, 1, None), row(2, 2, None)];
        let blank = blank(&rows.iter().collect::<Vec<_>>());
        assert!(blank.iter().all(|row| row.volume_ids == rows[0].volume_ids));
    }
}
