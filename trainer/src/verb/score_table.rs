//! The result table of an evaluation: means of each metric with their intervals over cases.

use std::collections::{BTreeMap, HashMap};

use med2e3_metric::bleu::bleu;
use med2e3_metric::cases::{Bootstrap, Cases};
use med2e3_metric::closed::{Reading, chance_of, read};
use med2e3_metric::interval::{Mean, means};
use med2e3_schemas::evaluation::{Answer, Score, UnleakedMean};
use med2e3_schemas::sample::{SampleRow, Task, Topic};

use crate::generate::judged::offered;
use crate::verb::leaked::Leaked;

/// An answer and the sample that it is to.
type Answered<'a> = (&'a Answer, &'a SampleRow);

/// For each task and metric one row over all answers, then one row a topic. The answers are in the order of their samples. Where
/// `leaked` samples share something with the training split, each row has its mean without them too.
pub(super) fn score_table(
    answers: &[Answer],
    samples: &[SampleRow],
    leaked: Option<&Leaked>,
    bootstrap: Bootstrap,
) -> Vec<Score> {
    let is_clean = |sample: &SampleRow| leaked.is_none_or(|leaked| !leaked.samples.contains(&sample.sample_id));
    let mut all = table(answers.iter().zip(samples).collect(), bootstrap);
    let clean: Vec<Answered<'_>> = answers.iter().zip(samples).filter(|(_, sample)| is_clean(sample)).collect();
    if clean.len() == answers.len() {
        return all;
    }
    let key = |score: &Score| (score.task, score.topic, score.metric.clone());
    let mut clean: HashMap<_, Score> = table(clean, bootstrap).into_iter().map(|score| (key(&score), score)).collect();
    for score in &mut all {
        let Some(Score { count, cases, micro, macro_mean, interval, .. }) = clean.remove(&key(score)) else { continue };
        if count < score.count {
            score.without_leaked = Some(UnleakedMean { count, cases, micro, macro_mean, interval });
        }
    }
    all
}

fn table(answered: Vec<Answered<'_>>, bootstrap: Bootstrap) -> Vec<Score> {
    let mut scores = Vec::new();
    for &task in Task::ALL {
        let rows: Vec<Answered<'_>> = answered.iter().copied().filter(|(answer, _)| answer.task == task).collect();
        let topic_of = |answer: &Answer| answer.topic.map_or("", Topic::as_str);
        let by_case = rows.iter().map(|(answer, sample)| (sample.case_id.as_str(), topic_of(answer)));
        let Some(cases) = Cases::of(by_case) else { continue };
        // What some answers lack, as the likelihood of letters that the first token does not tell apart, has no mean.
        let all_have = |metric: &&String| rows.iter().all(|(answer, _)| answer.metrics.contains_key(*metric));
        let metrics: Vec<&String> = rows[0].0.metrics.keys().filter(all_have).collect();
        let column = |metric: &&String| rows.iter().map(|(answer, _)| answer.metrics[*metric]).collect();
        let columns: Vec<Vec<f64>> = metrics.iter().map(column).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        for (metric, found) in metrics.into_iter().zip(means(&cases, &columns, bootstrap)) {
            let mut add = |topic: Option<Topic>, micro: Mean, macro_mean: Mean| {
                let rows = rows.iter().copied().filter(|(answer, _)| topic.is_none() || answer.topic == topic);
                let rows: Vec<Answered<'_>> = rows.collect();
                let choices = |(_, sample): &Answered<'_>| offered(sample).iter().flatten().count();
                scores.push(Score {
                    task,
                    topic,
                    metric: metric.clone(),
                    count: micro.rows as u64,
                    cases: micro.cases as u64,
                    micro: micro.value,
                    macro_mean: macro_mean.value,
                    half_interval: micro.half_interval(),
                    interval: micro.interval,
                    macro_interval: macro_mean.interval,
                    chance: if task == Task::ClosedVqa { chance_of(rows.iter().map(choices)) } else { None },
                    shares: shares(metric, task, &rows),
                    without_leaked: None,
                });
            };
            add(None, found.micro, found.macro_mean);
            for topic in Topic::ALL {
                if let Some(mean) = found.per_type.get(topic.as_str()) {
                    add(Some(*topic), *mean, *mean);
                }
            }
        }
    }
    scores
}

/// Shares of rows that a mean does not tell of, by name.
fn shares(metric: &str, task: Task, rows: &[Answered<'_>]) -> BTreeMap<String, f64> {
    let share = |name: &str, is: &dyn Fn(&Answered<'_>) -> bool| {
        let count = rows.iter().filter(|row| is(row)).count();
        (name.to_owned(), count as f64 / rows.len() as f64)
    };
    let reading = |(answer, sample): &Answered<'_>| read(&answer.answer, &offered(sample));
    let is_empty = |(answer, _): &Answered<'_>| answer.answer.trim().is_empty() || answer.expected.trim().is_empty();
    let is_short = |(answer, _): &Answered<'_>| bleu(&answer.answer, &answer.expected).fewer_tokens < 4;
    let named = match (task, metric) {
        (Task::ClosedVqa, _) => vec![
            share("unread", &|row| reading(row).choice().is_none()),
            share("several", &|row| matches!(reading(row), Reading::Several(_))),
        ],
        (_, "bleu4") => vec![share("empty", &is_empty), share("short", &is_short)],
        _ => vec![share("empty", &is_empty)],
    };
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::Id;
    use med2e3_schemas::evaluation::LeakedSamples;
    use med2e3_schemas::sample::Split;

    fn answered(
        task: Task,
        topic: Option<Topic>,
        case: &str,
        answer: &str,
        metrics: &[(&str, f64)],
    ) -> (Answer, SampleRow) {
        let sample = SampleRow {
            sample_id: Id::of_volume("row"),
            volume_ids: vec![Id::of_volume(case)],
            task,
            topic,
            split: Split::Test,
            case_id: case.into(),
            question: "Where?".into(),
            answer: "A. left".into(),
            choices: (task == Task::ClosedVqa).then(|| ["left", "right", "both", "NA"].map(str::to_owned).to_vec()),
            answer_choice: Some("A".into()),
            ids: vec![],
            target_spans: vec![],
            pretrain_ids: None,
            question_ids_llm: vec![],
            question_ids_bert: None,
            truncated: false,
        };
        let answer = Answer {
            sample_id: "row".into(),
            volume_id: case.into(),
            case_id: case.into(),
            task,
            topic,
            turn: 1,
            question: sample.question.clone(),
            expected: sample.answer.clone(),
            answer: answer.into(),
            answer_choice: sample.answer_choice.clone(),
            metrics: metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            is_cut: false,
            scores: vec![],
        };
        (answer, sample)
    }

    #[test]
    fn a_table_has_a_row_for_each_task_metric_and_topic() {
        let closed = |topic, case, answer: &str| {
            let is_right = f64::from(answer.starts_with('A'));
            answered(Task::ClosedVqa, Some(topic), case, answer, &[("correct", 1.0), ("correct_strict", is_right)])
        };
        let (answers, samples): (Vec<Answer>, Vec<SampleRow>) = [
            closed(Topic::Organ, "1", "A. left"),
            closed(Topic::Organ, "1", "A. left B. right"),
            closed(Topic::Organ, "2", "somewhere"),
            closed(Topic::Plane, "2", "A"),
            answered(Task::Caption, None, "3", "a b c", &[("bleu1", 0.5), ("bleu4", 0.0)]),
            answered(Task::Caption, None, "4", "", &[("bleu1", 0.0), ("bleu4", 0.0)]),
        ]
        .into_iter()
        .unzip();
        let table = score_table(&answers, &samples, None, Bootstrap { seed: 0, threads: 1 });
        let named = |score: &Score| (score.metric.clone(), score.topic, score.count, score.cases);
        let expected = [
            ("bleu1", None, 2, 2),
            ("bleu4", None, 2, 2),
            ("correct", None, 4, 2),
            ("correct", Some(Topic::Plane), 1, 1),
            ("correct", Some(Topic::Organ), 3, 2),
            ("correct_strict", None, 4, 2),
            ("correct_strict", Some(Topic::Plane), 1, 1),
            ("correct_strict", Some(Topic::Organ), 3, 2),
        ];
        assert_eq!(table.iter().map(named).collect::<Vec<_>>(), expected.map(|(m, t, n, c)| (m.to_owned(), t, n, c)));
        // All right, all wrong or one case alone: no interval is a point.
        assert!(
            table.iter().all(|score| score.half_interval > 0.0 && score.macro_interval[0] < score.macro_interval[1])
        );
        let share = |row: usize, name: &str| table[row].shares[name];
        assert_eq!((share(0, "empty"), share(1, "short"), table[0].chance), (0.5, 1.0, None));
        assert_eq!((share(2, "unread"), share(2, "several"), share(4, "unread")), (0.25, 0.25, 1.0 / 3.0));
        assert_eq!((table[5].micro, table[5].macro_mean), (0.75, (2.0 / 3.0 + 1.0) / 2.0));
        // The choice that stands for a missing one is not guessed.
        assert_eq!(table[2].chance, Some(1.0 / 3.0));
    }

    #[test]
    fn means_without_leaked_samples_stand_beside_those_with_them() {
        let open =
            |case, answer: &str, score| answered(Task::OpenVqa, Some(Topic::Organ), case, answer, &[("bleu1", score)]);
        let (answers, mut samples): (Vec<Answer>, Vec<SampleRow>) =
            [open("1", "left", 1.0), open("2", "right", 0.0), open("3", "none", 0.5)].into_iter().unzip();
        for (number, sample) in samples.iter_mut().enumerate() {
            sample.sample_id = Id::of_volume(&number.to_string());
        }
        let leaked = |count: usize| Leaked {
            samples: samples[..count].iter().map(|sample| sample.sample_id).collect(),
            counts: LeakedSamples { samples: count as u64, of: 3, by_kind: BTreeMap::new() },
        };
        let of =
            |count: usize| score_table(&answers, &samples, Some(&leaked(count)), Bootstrap { seed: 0, threads: 1 });
        assert!(of(0).iter().all(|score| score.without_leaked.is_none()));
        for score in of(1) {
            let clean = score.without_leaked.unwrap();
            assert_eq!((score.count, score.micro, clean.count, clean.cases, clean.micro), (3, 0.5, 2, 2, 0.25));
            assert!(clean.interval[0] < 0.25 && clean.interval[1] > 0.25);
        }
        // Nothing is left to be scored.
        assert!(of(3).iter().all(|score| score.without_leaked.is_none()));
    }
}
