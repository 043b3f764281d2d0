//! `scores.csv`: one line a question.

use med2e3_metric::focus::{effective, share_of_highest};
use med2e3_schemas::report::Explanation;

use crate::files::csv::to_csv;

/// One line a question: its keys and texts, over how many slices its scores are spread, then one score a slice.
pub(super) fn scores_csv(explanations: &[Explanation]) -> Vec<u8> {
    let slices = explanations.first().map_or(0, |explanation| explanation.slices);
    let keys =
        ["sample_id", "volume_id", "task", "topic", "question", "expected", "answer", "effective_slices", "highest_5"];
    let keys = keys.map(str::to_owned);
    let mut rows = vec![keys.into_iter().chain((0..slices).map(|slice| format!("slice_{slice}"))).collect::<Vec<_>>()];
    for Explanation { answer, .. } in explanations {
        let topic = answer.topic.map_or("", |topic| topic.as_str());
        let texts = [&answer.sample_id, &answer.volume_id, answer.task.as_str(), topic];
        let texts =
            texts.into_iter().chain([answer.question.as_str(), &answer.expected, &answer.answer]).map(str::to_owned);
        let spread =
            [effective(&answer.scores), share_of_highest(&answer.scores, 5)].map(|number| format!("{number:.4}"));
        let keys = texts.chain(spread);
        rows.push(keys.chain(answer.scores.iter().map(f32::to_string)).collect());
    }
    to_csv(rows)
}
