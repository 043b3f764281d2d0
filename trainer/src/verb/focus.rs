//! Over how many slices an evaluation's scores are spread, how differently for two questions or two volumes (paper, section 4.6), and
//! whether groups of slices have a pattern in common (paper, appendix B).

use med2e3_metric::cases::{Bootstrap, Cases};
use med2e3_metric::focus::{effective, group_correlation, jensen_shannon, share_of_highest};
use med2e3_metric::interval::{Mean, mean_of_numbers, means};
use med2e3_schemas::evaluation::{Answer, GroupPattern, ScoreDistance, ScoreFocus, TopicFocus};
use med2e3_schemas::sample::{SampleRow, Topic};

use crate::verb::partners::{of_another_case, of_another_question, partners, topic};

/// Slices whose share is told.
pub(super) const HIGHEST: usize = 5;

/// How the scores are spread; `None` where no answer has any. The answers are in the order of their samples; `group` is how many slices
/// share their 3D tokens, where the model has any.
pub(super) fn focus(
    answers: &[Answer],
    samples: &[SampleRow],
    group: Option<usize>,
    bootstrap: Bootstrap,
) -> Option<ScoreFocus> {
    let scored = answers.iter().zip(samples).filter(|(answer, _)| !answer.scores.is_empty());
    let (answers, rows): (Vec<&Answer>, Vec<&SampleRow>) = scored.unzip();
    let slices = answers.first()?.scores.len();
    let cases = Cases::of(rows.iter().map(|row| (row.case_id.as_str(), topic(row))))?;
    let share: Vec<f64> = answers.iter().map(|answer| effective(&answer.scores) / slices as f64).collect();
    let highest: Vec<f64> = answers.iter().map(|answer| share_of_highest(&answer.scores, HIGHEST)).collect();
    let [share, highest]: [_; 2] = means(&cases, &[&share, &highest], bootstrap).try_into().ok()?;
    let of = |topic: Option<Topic>, share: Mean, highest: Mean| TopicFocus {
        topic,
        count: share.rows as u64,
        cases: share.cases as u64,
        effective_slices: share.value * slices as f64,
        interval: share.interval.map(|end| end * slices as f64),
        highest_5: highest.value,
    };
    let mut topics = vec![of(None, share.micro, highest.micro)];
    topics.extend(Topic::ALL.iter().filter_map(|&topic| {
        let name = topic.as_str();
        Some(of(Some(topic), *share.per_type.get(name)?, *highest.per_type.get(name)?))
    }));

    let of_volume = |row: &SampleRow| (row.volume_ids.first().copied(), topic(row));
    let distances = [
        ("other_form", partners(&rows, bootstrap.seed, of_volume, |one, other| one.task != other.task)),
        ("other_question", of_another_question(&rows, bootstrap.seed)),
        ("other_volume", of_another_case(&rows, bootstrap.seed)),
    ];
    let distance = |(between, partners): (&str, Vec<Option<usize>>)| {
        let pairs: Vec<(usize, usize)> =
            partners.into_iter().enumerate().filter_map(|(at, partner)| Some((at, partner?))).collect();
        let cases = Cases::of(pairs.iter().map(|(at, _)| (rows[*at].case_id.as_str(), "")))?;
        let of_pair = |(one, other): &(usize, usize)| jensen_shannon(&answers[*one].scores, &answers[*other].scores);
        let column: Vec<f64> = pairs.iter().map(of_pair).collect();
        let mean = means(&cases, &[&column], bootstrap)[0].micro;
        Some(ScoreDistance {
            between: between.into(),
            count: pairs.len() as u64,
            bits: mean.value,
            interval: mean.interval,
        })
    };
    let distances = distances.into_iter().filter_map(distance).collect();
    let pattern = group.and_then(|group| pattern(&answers, &rows, group, bootstrap));
    Some(ScoreFocus { slices: slices as u64, topics, distances, pattern })
}

/// Whether groups of slices have a pattern in common.
fn pattern(answers: &[&Answer], rows: &[&SampleRow], group: usize, bootstrap: Bootstrap) -> Option<GroupPattern> {
    let found = answers.iter().zip(rows);
    let found =
        found.filter_map(|(answer, row)| Some((row.case_id.as_str(), group_correlation(&answer.scores, group)?)));
    let (of, column): (Vec<&str>, Vec<f64>) = found.unzip();
    let cases = Cases::of(of.into_iter().map(|case| (case, "")))?;
    let (correlation, interval) = mean_of_numbers(&cases, &column, bootstrap);
    let (count, cases) = (cases.rows() as u64, cases.cases() as u64);
    Some(GroupPattern { group: group as u64, count, cases, correlation, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::answerer::Reply;
    use crate::generate::judged::judged;
    use med2e3_schemas::Id;
    use med2e3_schemas::sample::Task;

    #[test]
    fn scores_that_follow_the_topic_differ_between_questions_and_not_between_forms() {
        // Four volumes, each asked for two topics in two forms; the topic alone decides which of 4 slices counts.
        let rows: Vec<SampleRow> = (0..16)
            .map(|number| {
                let (volume, question) = (number / 4, number % 4);
                let id = Id::of_volume(&format!("volume {volume}"));
                SampleRow {
                    case_id: format!("case {volume}"),
                    topic: Some([Topic::Organ, Topic::Plane][question / 2]),
                    task: [Task::OpenVqa, Task::ClosedVqa][question % 2],
                    question: format!("question {question}"),
                    ..SampleRow::of_ids(Id::of_volume(&format!("{number}")), vec![id], vec![1, 2, 3], vec![(2, 3)])
                }
            })
            .collect();
        let scores = |row: &SampleRow| match row.topic {
            Some(Topic::Organ) => vec![0.5, 0.5, 0.0, 0.0],
            _ => vec![0.0, 0.0, 0.0, 1.0],
        };
        let answer =
            |row: &SampleRow| judged(row, Reply { answer: "A.".into(), scores: scores(row), ..Reply::default() }, None);
        let answers: Vec<Answer> = rows.iter().map(answer).collect();
        let found = focus(&answers, &rows, Some(8), Bootstrap { seed: 5, threads: 1 }).unwrap();
        let of = |topic| found.topics.iter().find(|focus| focus.topic == topic).unwrap();
        assert!((of(Some(Topic::Organ)).effective_slices - 2.0).abs() < 1e-6);
        assert!((of(Some(Topic::Plane)).effective_slices - 1.0).abs() < 1e-6);
        let all = of(None);
        assert!((all.effective_slices - 1.5).abs() < 1e-6 && all.count == 16 && all.cases == 4 && all.highest_5 == 1.0);
        let bits = |between: &str| found.distances.iter().find(|one| one.between == between).unwrap().bits;
        assert_eq!((bits("other_form"), bits("other_volume")), (0.0, 0.0));
        assert!(bits("other_question") > 0.3, "{:?}", found.distances);

        // Four slices are no two groups; in 16 that repeat, each group is as the other.
        assert!(found.pattern.is_none());
        let groups = |answer: &Answer| {
            let number: usize = answer.case_id.bytes().map(usize::from).sum();
            let scores = (0..16).map(|slice| (slice % 8 * 3 + number) as f32 % 7.5).collect();
            Answer { scores, ..answer.clone() }
        };
        let groups: Vec<Answer> = answers.iter().map(groups).collect();
        let pattern = focus(&groups, &rows, Some(8), Bootstrap { seed: 5, threads: 1 }).unwrap().pattern.unwrap();
        assert_eq!((pattern.group, pattern.count, pattern.cases, pattern.correlation), (8, 16, 4, 1.0));
        assert_eq!(pattern.interval, None);

        let none: Vec<Answer> = answers.iter().map(|answer| Answer { scores: Vec::new(), ..answer.clone() }).collect();
        assert!(focus(&none, &rows, Some(8), Bootstrap { seed: 5, threads: 1 }).is_none());
    }
}
