//! A comparison for people: sentences for a terminal, and a page of Markdown.

use std::fmt::Write;

use med2e3_schemas::comparison::{CompareReport, ComparedScore, SeedMean, SystemScore, Verdict};
use med2e3_schemas::sample::Topic;

use crate::tables::{Table, chance, escaped, percent, signed};

/// What tells systems apart over all topics, a sentence each, with what a reader has to know before.
pub fn for_a_terminal(report: &CompareReport) -> String {
    let way = if others(report).is_empty() { "alone, so that nothing is compared" } else { "the baseline of all" };
    let mut text = format!("split {}; {} is {way}\n", report.split, report.baseline);
    for note in &report.notes {
        writeln!(text, "note: {note}").expect(ANY);
    }
    let over_all: Vec<&ComparedScore> = report.comparisons.iter().filter(|score| score.topic.is_none()).collect();
    for score in &over_all {
        let of = report.scores.iter().find(|of| {
            of.topic.is_none() && (of.task, &of.metric, &of.system) == (score.task, &score.metric, &score.system)
        });
        let rows = of.map_or(String::new(), |of| format!(" ({} samples of {} cases)", of.count, of.cases));
        let [low, high] = score.micro.interval.map(percent);
        writeln!(
            text,
            "{} {}{rows}: {} {}, {} {}, difference {} [{low}, {high}], p {}, with Holm {}: {}",
            score.task,
            score.metric,
            score.system,
            percent(score.micro.system),
            report.baseline,
            percent(score.micro.baseline),
            signed(score.micro.difference),
            chance(score.p),
            chance(score.p_holm),
            verdict(report, score)
        )
        .expect(ANY);
        if let Some(found) = score.mcnemar {
            writeln!(
                text,
                "  {} alone has {} right, {} alone {}; McNemar's p {}, which ignores cases",
                score.system,
                found.system_alone,
                report.baseline,
                found.baseline_alone,
                chance(found.p)
            )
            .expect(ANY);
        }
    }
    if over_all.is_empty() {
        return text;
    }
    let by_topic = report.comparisons.len() - over_all.len();
    let apart = over_all.iter().filter(|score| score.verdict != Verdict::CannotBeToldApart).count();
    text += &format!("{apart} of {} comparisons tell systems apart", over_all.len());
    text += &if by_topic > 0 { format!("; {by_topic} more by topic are in compare.md\n") } else { "\n".into() };
    text
}

const ANY: &str = "a string takes any text";

/// The page.
pub(super) fn page(report: &CompareReport) -> String {
    let title = [others(report), report.baseline.clone()].map(|name| escaped(&name));
    let mut page = match title {
        [others, baseline] if others.is_empty() => format!("# {baseline}\n\n"),
        [others, baseline] => format!("# {others} compared with {baseline}\n\n"),
    };
    page += "Numbers are percent. Intervals hold 95 %: the bootstrap over cases, and over seeds where a system has several; of scores\n";
    page += "of 0 and 1 of one run Wilson's. p is by sign flips of whole cases; Holm's adjustment is over the comparisons of a table.\n\n";
    let over_all = scores_table(report);
    let tables = [Some(over_all), differences(report, false), differences(report, true)];
    tables.into_iter().flatten().for_each(|table| page += &(table.markdown() + "\n"));
    page
}

fn others(report: &CompareReport) -> String {
    let names = report.systems.iter().map(|system| system.name.as_str()).filter(|name| *name != report.baseline);
    names.collect::<Vec<_>>().join(", ")
}

/// Every system's means, and what they are of.
fn scores_table(report: &CompareReport) -> Table {
    let row = |score: &SystemScore| {
        let cells = [
            format!("{} {}", score.task, score.metric),
            score.system.clone(),
            score.count.to_string(),
            score.cases.to_string(),
            interval(&score.micro),
            interval(&score.macro_mean),
            score.micro.deviation.map_or("-".into(), percent),
        ];
        cells.to_vec()
    };
    let rows: Vec<Vec<String>> = report.scores.iter().filter(|score| score.topic.is_none()).map(row).collect();
    let mut notes = report.notes.clone();
    notes.push(format!("Split {}; seed of the draws {}; med2e3 {}.", report.split, report.seed, report.version));
    let head = ["metric", "system", "samples", "cases", "over samples", "over topics", "deviation of seeds"];
    Table { title: "Means".into(), head: head.map(str::to_owned).to_vec(), groups: vec![rows], notes }
}

/// What tells systems apart, over all topics or by topic; none where nothing is compared.
fn differences(report: &CompareReport, by_topic: bool) -> Option<Table> {
    let of_these = report.comparisons.iter().filter(|score| score.topic.is_some() == by_topic);
    let row = |score: &ComparedScore| {
        let [low, high] = score.micro.interval.map(percent);
        let topic = score.topic.map_or(String::new(), |topic| format!(" {}", Topic::as_str(topic)));
        let cells = [
            format!("{}{topic} {}", score.task, score.metric),
            score.system.clone(),
            percent(score.micro.system),
            percent(score.micro.baseline),
            format!("{} [{low}, {high}]", signed(score.micro.difference)),
            chance(score.p),
            chance(score.p_holm),
            score.mcnemar.map_or("-".into(), |found| {
                format!("{} / {}, p {}", found.system_alone, found.baseline_alone, chance(found.p))
            }),
            verdict(report, score),
        ];
        cells.to_vec()
    };
    let rows: Vec<Vec<String>> = of_these.map(row).collect();
    if rows.is_empty() {
        return None;
    }
    let count = rows.len();
    let head =
        ["metric", "system", "its mean", &format!("mean of {}", report.baseline), "difference", "p", "p with Holm"]
            .map(str::to_owned);
    let more = ["right alone: system / baseline", "verdict"].map(str::to_owned);
    let title = if by_topic { "Differences by topic" } else { "Differences over all topics" };
    Some(Table {
        title: title.into(),
        head: head.into_iter().chain(more).collect(),
        groups: vec![rows],
        notes: vec![
            format!("Holm's adjustment is for {count} comparisons."),
            "McNemar's p ignores cases, and so finds too much; the verdict does not use it.".into(),
        ],
    })
}

fn interval(mean: &SeedMean) -> String {
    let [low, high] = mean.interval.map(percent);
    format!("{} [{low}, {high}]", percent(mean.mean))
}

fn verdict(report: &CompareReport, score: &ComparedScore) -> String {
    match score.verdict {
        Verdict::BaselineIsBetter => format!("{} is better", report.baseline),
        Verdict::SystemIsBetter => format!("{} is better", score.system),
        Verdict::CannotBeToldApart => "cannot be told apart".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use med2e3_schemas::comparison::{ComparedSystem, DiscordantAnswers, MeanDifference};
    use med2e3_schemas::sample::{Split, Task};

    fn report() -> CompareReport {
        let micro = MeanDifference { baseline: 0.5, system: 0.625, difference: 0.125, interval: [0.02, 0.23] };
        let of = |topic, verdict| ComparedScore {
            system: "new|er".into(),
            task: Task::ClosedVqa,
            topic,
            metric: "correct".into(),
            micro,
            macro_mean: micro,
            p: 0.012,
            p_holm: 0.024,
            flips: None,
            mcnemar: Some(DiscordantAnswers { baseline_alone: 2, system_alone: 9, p: 0.0000001 }),
            verdict,
        };
        let mean = SeedMean { mean: 0.625, interval: [0.5, 0.75], each: vec![0.5, 0.75], deviation: Some(0.1768) };
        CompareReport {
            version: "0.1.0".into(),
            split: Split::Test,
            baseline: "old".into(),
            seed: 0,
            systems: ["old", "new|er"].map(|name| ComparedSystem { name: name.into(), runs: vec![] }).to_vec(),
            scores: vec![SystemScore {
                system: "new|er".into(),
                task: Task::ClosedVqa,
                topic: None,
                metric: "correct".into(),
                count: 56,
                cases: 14,
                micro: mean.clone(),
                macro_mean: mean,
            }],
            comparisons: vec![of(None, Verdict::SystemIsBetter), of(Some(Topic::Organ), Verdict::CannotBeToldApart)],
            notes: vec!["Something is missing.".into()],
        }
    }

    #[test]
    fn a_terminal_gets_sentences() {
        assert_eq!(
            for_a_terminal(&report()),
            "split test; old is the baseline of all\nnote: Something is missing.\n\
             closed_vqa correct (56 samples of 14 cases): new|er 62.50, old 50.00, difference +12.50 [2.00, 23.00], p 0.0120, \
             with Holm 0.0240: new|er is better\n  new|er alone has 9 right, old alone 2; McNemar's p under 0.0001, which ignores cases\n\
             1 of 1 comparisons tell systems apart; 1 more by topic are in compare.md\n"
        );
    }

    #[test]
    fn a_page_has_means_and_differences() {
        let page = page(&report());
        for part in [
            "# new\\|er compared with old",
            "| closed\\_vqa correct | new\\|er | 56 | 14 | 62.50 \\[50.00, 75.00\\] |",
            "| 17.68 |",
            "## Differences over all topics",
            "| closed\\_vqa organ correct | new\\|er | 62.50 | 50.00 | +12.50 \\[2.00, 23.00\\] | 0.0120 | 0.0240 | 9 / 2, p under 0.0001 | cannot be told apart |",
            "Holm's adjustment is for 1 comparisons.",
            "- Something is missing.",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }
}
