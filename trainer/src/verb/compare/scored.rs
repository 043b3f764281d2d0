//! Means of systems by task, metric and topic, and what tells each system from the baseline.

use std::collections::BTreeSet;

use med2e3_metric::cases::{Bootstrap, Cases};
use med2e3_metric::compare::{self, Comparison, Difference, Flips, OverSeeds, compare, holm, over_seeds};
use med2e3_metric::first::first_shares;
use med2e3_metric::interval::{Mean, means};
use med2e3_schemas::ablation::FirstShare;
use med2e3_schemas::comparison::{ComparedScore, DiscordantAnswers, MeanDifference, SeedMean, SystemScore, Verdict};
use med2e3_schemas::evaluation::{Answer, EvaluateReport};
use med2e3_schemas::sample::{Task, Topic};

use super::evaluated::Evaluated;
use super::rows::Questions;
use crate::TrainerError;

/// A system's evaluations, one a seed.
pub(in crate::verb) struct Seeds<'a> {
    pub(in crate::verb) name: &'a str,
    pub(in crate::verb) runs: Vec<&'a Evaluated>,
}

impl<'a> Seeds<'a> {
    fn answers(&self, task: Task) -> impl Iterator<Item = &Answer> {
        self.runs.iter().flat_map(|run| &run.report.answers).filter(move |answer| answer.task == task)
    }

    /// The versions of a metric that its runs state, where versions of it give other numbers.
    fn versions(&self, metric: &str) -> BTreeSet<Option<&str>> {
        let version = |report: &'a EvaluateReport| match metric {
            "meteor" => Some(report.meteor.as_deref()),
            _ if metric.starts_with("bertscore_") => Some(report.bert_score.as_deref()),
            _ => None,
        };
        self.runs.iter().filter_map(|run| version(&run.report)).collect()
    }
}

/// What systems come to.
#[derive(Default)]
pub(in crate::verb) struct Found {
    pub(in crate::verb) scores: Vec<SystemScore>,
    pub(in crate::verb) comparisons: Vec<ComparedScore>,
    /// How often each system is first, of [`Scope::Columns`].
    pub(in crate::verb) first: Vec<FirstShare>,
    /// What is not compared, a sentence each.
    pub(in crate::verb) notes: Vec<String>,
}

/// What is scored.
#[derive(Clone, Copy)]
pub(in crate::verb) enum Scope<'a> {
    /// Every metric, over all topics and by topic.
    All,
    /// The columns of one table, over all topics alone; how often each system is first too.
    Columns(&'a [(Task, &'a str)]),
}

impl Scope<'_> {
    fn holds(self, task: Task, metric: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Columns(columns) => columns.contains(&(task, metric)),
        }
    }

    fn is_by_topic(self) -> bool {
        matches!(self, Scope::All)
    }
}

/// Scores the systems and compares each with the one of the name `baseline`, where both have the task and the metric.
///
/// # Errors
/// Systems whose answers of a task are to other samples.
pub(in crate::verb) fn scored(
    systems: &[Seeds<'_>],
    baseline: &str,
    scope: Scope<'_>,
    bootstrap: Bootstrap,
) -> Result<Found, TrainerError> {
    let all: Vec<&Evaluated> = systems.iter().flat_map(|system| system.runs.iter().copied()).collect();
    let questions = Questions::of(&all);
    let (mut found, mut compared) = (Found::default(), Vec::new());
    found.notes.extend(about_cases(&questions));
    for &task in Task::ALL {
        let (having, lacking): (Vec<&Seeds<'_>>, Vec<&Seeds<'_>>) =
            systems.iter().partition(|system| system.answers(task).next().is_some());
        if having.is_empty() {
            continue;
        }
        found.notes.extend(lacking.iter().map(|system| format!("{}: no answers of {task}.", system.name)));
        // The same samples, whatever metrics there are.
        questions.aligned(&runs_of(&having), task, None, |_| 0.0)?;
        let metrics: BTreeSet<&str> = having
            .iter()
            .flat_map(|system| system.answers(task))
            .flat_map(|answer| answer.metrics.keys().map(String::as_str))
            .filter(|metric| scope.holds(task, metric))
            .collect();
        for metric in metrics {
            let score =
                |answer: &Answer| answer.metrics.get(metric).copied().filter(|score| (0.0..=1.0).contains(score));
            let mut able = Vec::new();
            for system in &having {
                let without = system.answers(task).filter(|answer| score(answer).is_none()).count();
                if without == 0 {
                    able.push(*system);
                    continue;
                }
                let all = system.answers(task).count();
                found.notes.push(format!(
                    "{}: {metric} of {task} is not counted: {without} of {all} answers have no such score within 0 to 1.",
                    system.name
                ));
            }
            let topics = Topic::ALL
                .iter()
                .filter(|_| scope.is_by_topic())
                .filter(|topic| having[0].answers(task).any(|a| a.topic == Some(**topic)));
            for topic in std::iter::once(None).chain(topics.copied().map(Some)) {
                if able.is_empty() {
                    continue;
                }
                let place = Place { task, topic, metric };
                let aligned = questions.aligned(&runs_of(&able), task, topic, |answer| score(answer).unwrap_or(0.0))?;
                let mut columns = aligned.scores.iter().map(Vec::as_slice);
                let columns: Vec<Vec<&[f64]>> =
                    able.iter().map(|system| columns.by_ref().take(system.runs.len()).collect()).collect();
                for (system, columns) in able.iter().zip(&columns) {
                    found.scores.push(place.score(system.name, &aligned.cases, columns, bootstrap));
                }
                if matches!(scope, Scope::Columns(_)) && able.len() > 1 {
                    let shares = first_shares(&aligned.cases, &columns, bootstrap);
                    let of = |(system, share): (&&Seeds<'_>, f64)| place.first(system.name, share);
                    found.first.extend(able.iter().zip(shares).map(of));
                }
                let first = able.iter().position(|system| system.name == baseline);
                let Some(first) = first else { continue };
                for (at, system) in able.iter().enumerate().filter(|(at, _)| *at != first) {
                    if system.versions(metric) != able[first].versions(metric) {
                        let words = "is not compared: another version, or one that is not stated, than that of";
                        let note = format!("{}: {metric} of {task} {words} {}.", system.name, able[first].name);
                        found.notes.extend(topic.is_none().then_some(note));
                        continue;
                    }
                    let comparison = compare(&aligned.cases, &columns[first], &columns[at], bootstrap);
                    compared.push((place.compared(system.name, &comparison), comparison));
                }
            }
        }
    }
    found.comparisons = adjusted(compared);
    Ok(found)
}

fn runs_of<'a>(systems: &[&Seeds<'a>]) -> Vec<&'a Evaluated> {
    systems.iter().flat_map(|system| system.runs.iter().copied()).collect()
}

/// What stands for a case where none is stated.
fn about_cases(questions: &Questions<'_>) -> Vec<String> {
    let told = |count: usize, stands: &str| {
        let words = format!(
            "{count} questions have no case in any report, as in reports of earlier versions: {stands} for a case. Where a case has \
             several, intervals are too narrow and ps too small."
        );
        (count > 0).then_some(words)
    };
    [told(questions.by_volume, "each volume stands"), told(questions.alone, "each question stands")]
        .into_iter()
        .flatten()
        .collect()
}

/// Holm's adjustment within each of the two tables: over all topics, and by topic.
fn adjusted(mut compared: Vec<(ComparedScore, Comparison)>) -> Vec<ComparedScore> {
    for by_topic in [false, true] {
        let mut table: Vec<&mut (ComparedScore, Comparison)> =
            compared.iter_mut().filter(|(score, _)| score.topic.is_some() == by_topic).collect();
        let ps: Vec<f64> = table.iter().map(|(score, _)| score.p).collect();
        for ((score, comparison), p) in table.iter_mut().map(|both| &mut **both).zip(holm(&ps)) {
            score.p_holm = p;
            score.verdict = match comparison.verdict(p) {
                compare::Verdict::FirstIsBetter => Verdict::BaselineIsBetter,
                compare::Verdict::SecondIsBetter => Verdict::SystemIsBetter,
                compare::Verdict::CannotBeToldApart => Verdict::CannotBeToldApart,
            };
        }
    }
    compared.into_iter().map(|(score, _)| score).collect()
}

/// Of what a mean is.
#[derive(Clone, Copy)]
struct Place<'a> {
    task: Task,
    topic: Option<Topic>,
    metric: &'a str,
}

impl Place<'_> {
    fn score(self, system: &str, cases: &Cases, seeds: &[&[f64]], bootstrap: Bootstrap) -> SystemScore {
        let (micro, macro_mean) = match seeds {
            // As the evaluation's own report, where an accuracy's interval is Wilson's.
            [one] => {
                let found = means(cases, &[one], bootstrap).remove(0);
                let of = |mean: Mean| SeedMean {
                    mean: mean.value,
                    interval: mean.interval,
                    each: vec![mean.value],
                    deviation: None,
                };
                (of(found.micro), of(if self.topic.is_some() { found.micro } else { found.macro_mean }))
            }
            _ => {
                let (micro, macro_mean) = over_seeds(cases, seeds, bootstrap);
                let of = |OverSeeds { each, mean, deviation, interval }| SeedMean { mean, interval, each, deviation };
                (of(micro), of(macro_mean))
            }
        };
        SystemScore {
            system: system.into(),
            task: self.task,
            topic: self.topic,
            metric: self.metric.into(),
            count: cases.rows() as u64,
            cases: cases.cases() as u64,
            micro,
            macro_mean,
        }
    }

    fn first(self, system: &str, share: f64) -> FirstShare {
        FirstShare { system: system.into(), task: self.task, metric: self.metric.into(), share }
    }

    /// The numbers of a comparison; what depends on the others of its table comes later.
    fn compared(self, system: &str, comparison: &Comparison) -> ComparedScore {
        let difference = |found: Difference| MeanDifference {
            baseline: found.first,
            system: found.second,
            difference: found.difference,
            interval: found.interval,
        };
        ComparedScore {
            system: system.into(),
            task: self.task,
            topic: self.topic,
            metric: self.metric.into(),
            micro: difference(comparison.micro),
            macro_mean: difference(comparison.macro_mean),
            p: comparison.p,
            p_holm: comparison.p,
            flips: match comparison.flips {
                Flips::All => None,
                Flips::Drawn(drawn) => Some(drawn as u64),
            },
            // Scores of texts may all be 0 or 1 too, where nobody is right or wrong.
            mcnemar: comparison.mcnemar.filter(|_| self.task == Task::ClosedVqa).map(|found| DiscordantAnswers {
                baseline_alone: found.first_alone as u64,
                system_alone: found.second_alone as u64,
                p: found.p,
            }),
            verdict: Verdict::CannotBeToldApart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::compare::made_up::{answer, evaluated};

    const BOOTSTRAP: Bootstrap = Bootstrap { seed: 0, threads: 2 };

    fn whole(systems: &[Seeds<'_>], baseline: usize) -> Found {
        scored(systems, systems[baseline].name, Scope::All, BOOTSTRAP).unwrap()
    }

    /// Closed questions of `cases` cases, two each, of which a run has right what `is_right` says of case and question.
    fn closed(name: &str, cases: usize, is_right: impl Fn(usize, usize) -> bool) -> Evaluated {
        let one = |case: usize, question: usize| {
            let score = f64::from(is_right(case, question));
            let topic = Some([Topic::Organ, Topic::Plane][question]);
            let of =
                answer(&format!("{case}-{question}"), &format!("case {case}"), Task::ClosedVqa, &[("correct", score)]);
            Answer { topic, ..of }
        };
        evaluated(name, (0..cases).flat_map(|case| [one(case, 0), one(case, 1)]).collect())
    }

    fn of_one<'a>(run: &'a Evaluated) -> Seeds<'a> {
        Seeds { name: &run.run.path, runs: vec![run] }
    }

    #[test]
    fn two_systems_are_told_apart_where_cases_say_so() {
        // Nine cases that b alone has right in full, one that a alone has right in part: by hand, of 2^10 flips of 9 cases by 2 and
        // one by -1 the sum 17 or more (or -17 or less) comes 4 times: all the same sign, or all but the small one.
        let a = closed("a", 10, |case, question| case == 9 && question == 0);
        let b = closed("b", 10, |case, _| case < 9);
        let found = whole(&[of_one(&a), of_one(&b)], 0);
        assert_eq!((found.scores.len(), found.comparisons.len(), found.notes.len()), (6, 3, 0));
        let all = &found.comparisons[0];
        assert_eq!((all.topic, all.flips, all.verdict), (None, None, Verdict::SystemIsBetter));
        assert_eq!((all.micro.baseline, all.micro.system), (0.05, 0.9));
        assert!((all.p - 4.0 / 1024.0).abs() < 1e-12 && all.p_holm == all.p, "{}", all.p);
        let alone = all.mcnemar.unwrap();
        assert_eq!((alone.baseline_alone, alone.system_alone), (1, 18));
        // By topic: nine against one of ten cases, 2 (1 + 10) / 2^10; and nine against none, 2 / 2^9. Holm: the smaller one twice.
        let [organ, plane] = ["organ", "plane"].map(|name| {
            found.comparisons.iter().find(|score| score.topic.is_some_and(|topic| topic.as_str() == name)).unwrap()
        });
        assert!((organ.p - 22.0 / 1024.0).abs() < 1e-12 && (plane.p - 2.0 / 512.0).abs() < 1e-12);
        assert!((plane.p_holm - 4.0 / 512.0).abs() < 1e-12 && organ.p_holm == organ.p);
        // The other way round the same numbers speak for the baseline.
        let turned = whole(&[of_one(&a), of_one(&b)], 1);
        assert_eq!(
            (turned.comparisons[0].system.as_str(), turned.comparisons[0].verdict),
            ("a", Verdict::BaselineIsBetter)
        );
    }

    #[test]
    fn the_same_answers_can_not_be_told_apart() {
        let a = closed("a", 4, |case, question| (case + question) % 2 == 0);
        let b = closed("b", 4, |case, question| (case + question) % 2 == 0);
        let found = whole(&[of_one(&a), of_one(&b)], 0);
        let all = &found.comparisons[0];
        assert_eq!((all.p, all.verdict, all.mcnemar.unwrap().p), (1.0, Verdict::CannotBeToldApart, 1.0));
        assert!(all.micro.interval[0] < 0.0 && all.micro.interval[1] > 0.0);
    }

    #[test]
    fn several_seeds_have_a_mean_and_a_deviation() {
        let runs: Vec<Evaluated> = (0..3).map(|seed| closed(&seed.to_string(), 6, |case, _| case < seed + 2)).collect();
        let several = Seeds { name: "ours", runs: runs[..2].iter().collect() };
        let found = whole(&[several, of_one(&runs[2])], 0);
        let ours = &found.scores[0].micro;
        assert_eq!((&ours.each[..], ours.mean), (&[2.0 / 6.0, 0.5][..], (2.0 / 6.0 + 0.5) / 2.0));
        // Two values a sixth apart.
        assert!((ours.deviation.unwrap() - 1.0 / 6.0 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert!(found.comparisons[0].mcnemar.is_none() && found.scores[1].micro.deviation.is_none());
    }

    #[test]
    fn what_one_lacks_is_said_and_the_rest_compared() {
        let open = |id: &str, metrics: &[(&str, f64)]| answer(id, id, Task::OpenVqa, metrics);
        let a = evaluated(
            "a",
            vec![open("1", &[("bleu1", 0.5), ("meteor", 0.5)]), open("2", &[("bleu1", 0.25), ("meteor", 0.25)])],
        );
        let mut rows = vec![open("1", &[("bleu1", 0.5)]), open("2", &[("bleu1", 0.75), ("radcliq", 7.0)])];
        rows.push(answer("3", "3", Task::Caption, &[("bleu1", 1.0)]));
        let b = evaluated("b", rows);
        let found = whole(&[of_one(&a), of_one(&b)], 0);
        let names = |metric: &str| {
            found.scores.iter().filter(|s| s.metric == metric).map(|s| s.system.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((names("bleu1"), names("meteor"), names("radcliq")), (vec!["b", "a", "b"], vec!["a"], vec![]));
        assert_eq!(found.comparisons.iter().map(|score| score.metric.as_str()).collect::<Vec<_>>(), ["bleu1"]);
        let notes = found.notes.join("\n");
        for part in [
            "a: no answers of caption.",
            "b: meteor of open_vqa is not counted: 2 of 2 answers have no such score",
            "a: radcliq of open_vqa is not counted: 2 of 2",
            "b: radcliq of open_vqa is not counted: 2 of 2 answers have no such score within 0 to 1.",
        ] {
            assert!(notes.contains(part), "{part}\n{notes}");
        }
    }

    #[test]
    fn other_versions_of_meteor_are_not_compared() {
        let one = |name: &str, version: Option<&str>| {
            let metrics = [("bleu1", 0.5), ("meteor", 0.5)];
            let mut run = evaluated(name, vec![answer("1", "c", Task::Caption, &metrics)]);
            run.report.meteor = version.map(str::to_owned);
            run
        };
        let (a, b, c) = (one("a", Some("nltk 3.8.1")), one("b", Some("nltk 3.10")), one("c", Some("nltk 3.8.1")));
        let found = whole(&[of_one(&a), of_one(&b), of_one(&c)], 0);
        let compared: Vec<(&str, &str)> =
            found.comparisons.iter().map(|score| (score.system.as_str(), score.metric.as_str())).collect();
        assert_eq!(compared, [("b", "bleu1"), ("c", "bleu1"), ("c", "meteor")]);
        let note = "b: meteor of caption is not compared: another version, or one that is not stated, than that of a.";
        assert_eq!((found.notes, found.scores.len()), (vec![note.to_owned()], 6));
    }

    #[test]
    fn reports_without_cases_are_compared_by_volume_and_that_is_said() {
        let one = |score| vec![answer("1", "", Task::Caption, &[("bleu1", score)])];
        let (a, b) = (evaluated("a", one(0.5)), evaluated("b", one(0.25)));
        let found = whole(&[of_one(&a), of_one(&b)], 0);
        assert!(found.notes[0].starts_with("1 questions have no case in any report"), "{:?}", found.notes);
        assert!(found.notes[0].contains("each volume stands for a case"));
    }
}
