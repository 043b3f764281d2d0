//! Turns of a conversation as questions of their own: each is asked after the turns before it, with their stated answers.

use med2e3_input::text::Tokenizer;
use med2e3_schemas::sample::{IMAGE3D, SampleRow, Task};
use med2e3_shards::SampleRows;

use crate::TrainerError;
use crate::config::Turns;

/// What is asked.
pub(super) struct Asked {
    /// One row a question.
    pub(super) samples: SampleRows,
    /// Each row's turn, from 1.
    pub(super) turns: Vec<u32>,
    /// Later turns that are not asked.
    pub(super) not_asked: u64,
}

/// The questions of a selection, in its order.
///
/// # Errors
/// Ids that the tokenizer does not decode.
pub(super) fn asked(samples: SampleRows, turns: Turns, tokenizer: &Tokenizer) -> Result<Asked, TrainerError> {
    let later = later_turns(&samples.rows);
    if turns == Turns::First || later == 0 {
        let turns = vec![1; samples.rows.len()];
        return Ok(Asked { samples, turns, not_asked: later });
    }
    let (mut rows, mut numbers, mut not_asked) = (Vec::new(), Vec::new(), 0);
    for row in samples.rows {
        for turn in 1..row.target_spans.len() {
            // The budget cut the last turn's answer: what is left of it is not what was stated.
            if row.truncated && turn + 1 == row.target_spans.len() {
                not_asked += 1;
                continue;
            }
            rows.push(later_turn(&row, turn, tokenizer)?);
            numbers.push(turn as u32 + 1);
        }
        rows.push(row);
        numbers.push(1);
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| (rows[at].sample_id, numbers[at]));
    let turns = order.iter().map(|&at| numbers[at]).collect();
    let mut rows: Vec<Option<SampleRow>> = rows.into_iter().map(Some).collect();
    let rows = order.into_iter().filter_map(|at| rows[at].take()).collect();
    Ok(Asked { samples: SampleRows { rows, ..samples }, turns, not_asked })
}

/// How many turns there are behind first ones.
pub(super) fn later_turns(rows: &[SampleRow]) -> u64 {
    rows.iter().map(|row| row.target_spans.len().saturating_sub(1) as u64).sum()
}

/// The row that asks for one later turn's answer. The scorer reads the row's first question, as in training.
fn later_turn(row: &SampleRow, turn: usize, tokenizer: &Tokenizer) -> Result<SampleRow, TrainerError> {
    let (from, span) = (row.target_spans[turn - 1].1 as usize, row.target_spans[turn]);
    let (start, end) = (span.0 as usize, span.1 as usize);
    let text = |ids: &[i32]| tokenizer.decode(ids).map(|text| text.trim().to_owned());
    let shown = row.ids[..start].iter().filter(|id| **id == IMAGE3D).count();
    Ok(SampleRow {
        question: text(&row.ids[from..start])?,
        answer: text(&row.ids[start..end])?,
        ids: row.ids[..end].to_vec(),
        target_spans: vec![span],
        volume_ids: row.volume_ids[..shown.min(row.volume_ids.len())].to_vec(),
        pretrain_ids: None,
        // Letters belong to the first turn.
        task: if row.task == Task::ClosedVqa { Task::OpenVqa } else { row.task },
        choices: None,
        answer_choice: None,
        ..row.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::Id;
    use med2e3_schemas::sample::{Split, Task};

    #[test]
    fn every_turn_is_asked_after_those_before_it() {
        let texts = ["USER: a b c d".to_owned()];
        let tokenizer = Tokenizer::train_bpe(texts.into_iter(), 300, &["<|endoftext|>"]).unwrap();
        let encode = |text: &str| tokenizer.encode(text).unwrap();
        let mut ids = vec![IMAGE3D];
        let mut spans = Vec::new();
        for (question, answer) in [("Where?", " liver"), (" How large?", " 3 cm"), (" Sure?", " yes")] {
            ids.extend(encode(question));
            let start = ids.len() as u32;
            ids.extend(encode(answer));
            ids.push(0);
            spans.push((start, ids.len() as u32));
        }
        let row = SampleRow {
            sample_id: Id::of_volume("row"),
            volume_ids: vec![Id::of_volume("volume")],
            task: Task::OpenVqa,
            topic: None,
            split: Split::Test,
            case_id: String::new(),
            question: "Where?".into(),
            answer: "liver".into(),
            choices: None,
            answer_choice: None,
            ids,
            target_spans: spans.clone(),
            pretrain_ids: None,
            question_ids_llm: vec![3],
            question_ids_bert: None,
            truncated: false,
        };
        let samples = |truncated| SampleRows {
            rows: vec![SampleRow { truncated, ..row.clone() }],
            without_volume: 0,
            hash: [0; 32],
        };
        let first = asked(samples(false), Turns::First, &tokenizer).unwrap();
        assert_eq!((first.samples.rows.len(), first.turns, first.not_asked), (1, vec![1], 2));
        let every = asked(samples(false), Turns::Every, &tokenizer).unwrap();
        assert_eq!((every.turns, every.not_asked), (vec![1, 2, 3], 0));
        let texts = |row: &SampleRow| (row.question.clone(), row.answer.clone(), row.target_spans[0]);
        let found: Vec<_> = every.samples.rows.iter().map(texts).collect();
        assert_eq!(found[0], ("Where?".into(), "liver".into(), spans[0]));
        assert_eq!(found[1], ("How large?".into(), "3 cm".into(), spans[1]));
        assert_eq!(found[2], ("Sure?".into(), "yes".into(), spans[2]));
        let cut = asked(samples(true), Turns::Every, &tokenizer).unwrap();
        assert_eq!((cut.turns, cut.not_asked), (vec![1, 2], 1));
    }
}
