//! `scores.csv`: one line a question.

use med2e3_schemas::report::Explanation;

use crate::files::csv::to_csv;

/// What a line has before its scores.
const KEYS: [&str; 10] = [
    "sample_id",
    "volume_id",
    "task",
    "topic",
    "question",
    "expected",
    "answer",
    "effective_slices",
    "peak",
    "highest_5",
];

/// One line a question: its keys and texts, how its scores are spread, then for each slice its score in times an even share, and its score.
pub(super) fn scores_csv(explanations: &[Explanation]) -> Vec<u8> {
    let slices = explanations.first().map_or(0, |explanation| explanation.slices);
    let named = |name: &str| (0..slices).map(|slice| format!("{name}_{slice}")).collect::<Vec<_>>();
    let mut rows = vec![[KEYS.map(str::to_owned).to_vec(), named("times_even"), named("slice")].concat()];
    for Explanation { answer, focus, .. } in explanations {
        let topic = answer.topic.map_or("", |topic| topic.as_str());
        let texts = [&answer.sample_id, &answer.volume_id, answer.task.as_str(), topic];
        let mut row: Vec<String> = texts
            .into_iter()
            .chain([answer.question.as_str(), &answer.expected, &answer.answer])
            .map(str::to_owned)
            .collect();
        match focus {
            Some(focus) => {
                row.extend([format!("{:.4}", focus.effective_slices), focus.peak.to_string()]);
                row.push(format!("{:.4}", focus.highest_5));
                row.extend(focus.times_even.iter().chain(&answer.scores).map(f32::to_string));
            }
            // A question without a volume has no scores.
            None => row.resize(KEYS.len() + 2 * slices as usize, String::new()),
        }
        rows.push(row);
    }
    to_csv(rows)
}
