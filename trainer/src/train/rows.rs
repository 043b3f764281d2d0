//! What can be known of a run's rows before its first step, from lengths and ids alone.

use med2e3_feed::{QuestionForm, Splicing, StepRule, TextForm};
use med2e3_program::note;
#[cfg(test)]
use med2e3_schemas::sample::SampleRow;
use med2e3_shards::{Samples, ShardError};

use crate::TrainerError;
use crate::model::Med2e3Config;

/// What a row lacks or has too much of, counted over all rows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    rows: usize,
    /// Without a target once it is cut at the variant's length.
    targetless: usize,
    /// Positions before the first target, of the row with the fewest.
    shortest_prompt: usize,
    /// Longer than the language model's positions.
    too_long: usize,
    longest: usize,
    most_volumes: usize,
    /// With an id that the embedding table lacks.
    foreign: usize,
    largest_id: i32,
    /// Without the form that is fed.
    formless: usize,
    /// Without the question in the scorer's tokens.
    questionless: usize,
}

/// Checks the first rows of a selection, at most so many.
///
/// # Errors
/// No row has a target; a row has no such form, is longer than the model's positions, or holds an id past its table: with the
/// number of rows; a text does not read. Where only some rows have no target, that is said on standard error.
pub(super) fn check(
    samples: &Samples,
    most: usize,
    form: TextForm,
    question: QuestionForm,
    config: &Med2e3Config,
    rule: &StepRule,
) -> Result<(), TrainerError> {
    let fail =
        |key: &str, expected: String, found: String| Err(TrainerError::Config { key: key.to_owned(), expected, found });
    if form == TextForm::Prompt {
        return fail("data.form", "conversation or pretrain".into(), "prompt, whose rows have no target".into());
    }
    let counts = count(samples, most, form, question, config, rule.splicing)?;
    let (all, positions, vocabulary) = (counts.rows, config.llm.max_position_embeddings, config.llm.vocab_size);
    let of = |count: usize| format!("{count} of {all} rows");
    if counts.formless > 0 {
        let found = format!("{} without it; only captions have a pretrain form", of(counts.formless));
        return fail("data.form", "a form that every row of data.tasks has".into(), found);
    }
    if counts.questionless > 0 {
        let found = format!("{} without one; prepare with text.question_tokenizer", of(counts.questionless));
        return fail("data.dataset", "questions in the text encoder's tokens".into(), found);
    }
    if counts.foreign > 0 {
        let found = format!("{vocabulary}, and {} with ids up to {}", of(counts.foreign), counts.largest_id);
        return fail("model.llm.vocab_size", format!("above {}", counts.largest_id), found);
    }
    if counts.too_long > 0 {
        let found = format!("{positions}, and {} that are longer", of(counts.too_long));
        let expected = format!("{} positions, as the longest row takes", counts.longest);
        return fail("model.llm.max_position_embeddings", expected, found);
    }
    let widest = rule.width(counts.longest);
    if widest > rule.budget.tokens {
        let expected = format!("{widest} or more, as the longest text takes");
        return fail("step.micro_batch.tokens", expected, rule.budget.tokens.to_string());
    }
    if counts.most_volumes > rule.budget.volumes {
        let expected = format!("{} or more, as one text shows", counts.most_volumes);
        return fail("step.micro_batch.volumes", expected, rule.budget.volumes.to_string());
    }
    if counts.targetless == all {
        let found = format!("{}, which leaves {} without a target", config.variant.max_length, of(all));
        let expected = format!("more than the {} positions before the first target", counts.shortest_prompt);
        return fail("model.variant.max_length", expected, found);
    }
    if counts.targetless > 0 {
        let length = config.variant.max_length;
        note(format_args!("note: {} have no target within model.variant.max_length = {length}", of(counts.targetless)));
    }
    Ok(())
}

fn count(
    samples: &Samples,
    most: usize,
    form: TextForm,
    question: QuestionForm,
    config: &Med2e3Config,
    splicing: Splicing,
) -> Result<Counts, ShardError> {
    let rows = samples.len().min(most);
    let mut counts = Counts { rows, shortest_prompt: usize::MAX, ..Counts::default() };
    for row in samples.iter().take(most) {
        let row = row?;
        let Some(text) = splicing.of(&row, form) else {
            counts.formless += 1;
            continue;
        };
        let question_ids = match question {
            QuestionForm::Llm => row.question_ids_llm,
            QuestionForm::Bert => {
                counts.questionless += usize::from(row.question_ids_bert.is_none());
                &[]
            }
        };
        counts.shortest_prompt = counts.shortest_prompt.min(text.before_target);
        counts.targetless += usize::from(text.targets == 0);
        counts.longest = counts.longest.max(text.length);
        counts.most_volumes = counts.most_volumes.max(row.volume_ids.len());
        counts.too_long += usize::from(text.length > config.llm.max_position_embeddings);
        let ids = match form {
            TextForm::Pretrain => row.pretrain_ids.unwrap_or_default(),
            TextForm::Conversation | TextForm::Prompt => row.ids,
        };
        let largest = ids.iter().chain(question_ids).copied().max().unwrap_or(0);
        counts.largest_id = counts.largest_id.max(largest);
        counts.foreign += usize::from(i64::from(largest) >= config.llm.vocab_size);
    }
    Ok(counts)
}

/// A row of these ids, its targets at `spans`; it shows no volume.
#[cfg(test)]
pub(super) fn row_of(name: &str, ids: &[i32], spans: &[(u32, u32)]) -> SampleRow {
    SampleRow {
        sample_id: med2e3_schemas::Id::of_volume(name),
        volume_ids: Vec::new(),
        task: med2e3_schemas::sample::Task::OpenVqa,
        topic: None,
        split: med2e3_schemas::sample::Split::Train,
        case_id: String::new(),
        question: String::new(),
        answer: String::new(),
        choices: None,
        answer_choice: None,
        ids: ids.to_vec(),
        target_spans: spans.to_vec(),
        pretrain_ids: None,
        question_ids_llm: vec![3],
        question_ids_bert: None,
        truncated: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;
    use med2e3_feed::Budget;
    use med2e3_schemas::sample::IMAGE3D;

    fn all(rows: &[SampleRow]) -> (Samples, usize) {
        (Samples::of_rows(rows), rows.len())
    }

    fn row(ids: &[i32], spans: &[(u32, u32)]) -> SampleRow {
        row_of("row", ids, spans)
    }

    /// The paper's model with 4 visual tokens a volume.
    fn config(max_length: usize, positions: usize, vocab_size: i64) -> Med2e3Config {
        let mut config = Med2e3Config::of_preset(Preset::Vision3dOnly);
        config.vision3d.img_size = [4, 16, 16];
        config.vision3d.patch_size = [2, 4, 4];
        config.variant.max_length = max_length;
        (config.llm.max_position_embeddings, config.llm.vocab_size) = (positions, vocab_size);
        assert_eq!(config.visual_token_count(), 4);
        config
    }

    fn rule(config: &Med2e3Config) -> StepRule {
        let (visual_tokens, max_length) = (config.visual_token_count() as usize, config.variant.max_length);
        StepRule { splicing: Splicing { visual_tokens, max_length }, ..StepRule::WHOLE }
    }

    /// What is said of two rows: 3 + 4 positions before a target of 2, and 2 + 4 before one of 1.
    fn said(max_length: usize, positions: usize, vocab_size: i64) -> Option<String> {
        let rows = [row(&[1, 2, IMAGE3D, 4, 5, 6], &[(4, 6)]), row(&[1, 2, IMAGE3D, 9], &[(3, 4)])];
        let config = config(max_length, positions, vocab_size);
        let (rows, most) = all(&rows);
        check(&rows, most, TextForm::Conversation, QuestionForm::Llm, &config, &rule(&config))
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn targets_positions_and_ids_are_counted_at_their_borders() {
        assert_eq!(said(9, 9, 10), None);
        assert_eq!(said(7, 9, 10), None, "one row keeps its target");
        let none = said(6, 9, 10).unwrap();
        assert!(
            none.contains("max_length") && none.contains("2 of 2 rows") && none.contains("the 6 positions"),
            "{none}"
        );
        let long = said(9, 8, 10).unwrap();
        assert!(
            long.contains("max_position_embeddings") && long.contains("1 of 2 rows") && long.contains('9'),
            "{long}"
        );
        assert_eq!(said(8, 8, 10), None, "a row that is cut fits");
        let foreign = said(9, 9, 9).unwrap();
        assert!(foreign.contains("vocab_size") && foreign.contains("1 of 2 rows"), "{foreign}");
    }

    #[test]
    fn a_text_that_no_micro_batch_holds_is_an_error() {
        let (samples, most) = all(&[row(&[1, 2, IMAGE3D, 4, 5, 6], &[(4, 6)])]);
        let config = config(20, 20, 10);
        let said = |tokens, volumes, width_multiple| {
            let rule = StepRule { budget: Budget { tokens, volumes }, width_multiple, ..rule(&config) };
            let checked = check(&samples, most, TextForm::Conversation, QuestionForm::Llm, &config, &rule);
            checked.err().map(|error| error.to_string())
        };
        assert_eq!(said(9, 1, 1), None);
        let long = said(8, 1, 1).unwrap();
        assert!(long.starts_with("step.micro_batch.tokens") && long.contains('9'), "{long}");
        assert!(said(15, 1, 8).unwrap().contains("16"));
    }

    #[test]
    fn a_form_that_rows_lack_is_named() {
        let (samples, most) = all(&[row(&[1, IMAGE3D, 4], &[(2, 3)])]);
        let config = config(9, 9, 10);
        let said =
            |form, question| check(&samples, most, form, question, &config, &rule(&config)).unwrap_err().to_string();
        assert!(said(TextForm::Prompt, QuestionForm::Llm).contains("data.form"));
        let pretrain = said(TextForm::Pretrain, QuestionForm::Llm);
        assert!(pretrain.contains("data.form") && pretrain.contains("1 of 1 rows"), "{pretrain}");
        let question = said(TextForm::Conversation, QuestionForm::Bert);
        assert!(question.contains("question_tokenizer") && question.contains("1 of 1 rows"), "{question}");
    }
}
