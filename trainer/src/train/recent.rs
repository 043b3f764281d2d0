//! The last steps of a run in a line of words, for the terminal.

use std::collections::BTreeMap;

use med2e3_schemas::report::{StepWork, TaskLoss, TrainStep};
use med2e3_schemas::sample::Task;

/// Steps that the line is about.
const RECENT: usize = 20;

/// Means over those of the last steps that were not left out, the most telling first; `skipped` were left out in the whole run, and
/// `validation` is the last measured loss.
pub(super) fn summary(steps: &[TrainStep], skipped: usize, validation: Option<f64>) -> String {
    let recent = steps[steps.len().saturating_sub(RECENT)..].iter().filter(|step| !step.skipped);
    let recent: Vec<&TrainStep> = recent.collect();
    let left_out = (skipped > 0).then(|| format!("{skipped} left out"));
    let Some(last) = recent.last() else { return left_out.unwrap_or_default() };
    let mean = |get: fn(&TrainStep) -> f64| recent.iter().copied().map(get).sum::<f64>() / recent.len() as f64;
    let mut words = vec![format!("loss {:.3}{}", mean(|step| step.loss), by_task_in_words(&recent))];
    words.extend(validation.map(|loss| format!("validation {loss:.3}")));
    words.push(match last.clipped_norm.filter(|after| *after < last.gradient_norm) {
        Some(after) => format!("norm {:.2} clipped to {after:.2}", last.gradient_norm),
        None => format!("norm {:.2}", last.gradient_norm),
    });
    words.push(format!("rate {:.2e}", last.learning_rate));
    let seconds = mean(|step| step.seconds);
    words.push(format!("{seconds:.2} s/step"));
    words.extend(work(&recent, seconds));
    words.push(format!("waiting for data {:.1} %", 100.0 * mean(|step| step.wait_seconds) / seconds.max(1e-9)));
    words.extend(left_out);
    words.join(", ")
}

/// The mean loss of each task over its targets, in nats; none where there is one task alone.
pub(crate) fn by_task<'a>(steps: impl Iterator<Item = &'a BTreeMap<Task, TaskLoss>>) -> Vec<(Task, f64)> {
    let mut sums: BTreeMap<Task, (f64, u64)> = BTreeMap::new();
    for (task, own) in steps.flatten() {
        let sum = sums.entry(*task).or_default();
        *sum = (sum.0 + own.loss * own.targets as f64, sum.1 + own.targets);
    }
    let means = sums.iter().map(|(task, (loss, targets))| (*task, loss / *targets as f64));
    if sums.len() > 1 { means.collect() } else { Vec::new() }
}

/// The same in words, with what stands around them.
fn by_task_in_words(steps: &[&TrainStep]) -> String {
    let each: Vec<String> = by_task(steps.iter().map(|step| &step.by_task))
        .into_iter()
        .map(|(task, loss)| format!("{task} {loss:.3}"))
        .collect();
    if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) }
}

fn work(steps: &[&TrainStep], seconds: f64) -> Vec<String> {
    let work: Vec<&StepWork> = steps.iter().filter_map(|step| step.work.as_ref()).collect();
    if work.is_empty() {
        return Vec::new();
    }
    let mean = |get: fn(&StepWork) -> f64| work.iter().copied().map(get).sum::<f64>() / work.len() as f64;
    let rate = |get: fn(&StepWork) -> f64| mean(get) / seconds.max(1e-9);
    let mut words = vec![
        format!("{:.1} texts/s", rate(|step| step.texts as f64)),
        format!("{:.0} tokens/s", rate(|step| step.tokens as f64)),
        format!("{:.1} volumes/s", rate(|step| step.volumes as f64)),
    ];
    if work.iter().all(|step| step.mfu.is_some()) {
        // Weighed by their seconds: a step that a GPU's late answer made short counts little.
        let share = |get: fn(&StepWork) -> Option<f64>| {
            let sum: f64 = steps.iter().filter_map(|step| Some(step.seconds * get(step.work.as_ref()?)?)).sum();
            100.0 * sum / steps.len() as f64 / seconds.max(1e-9)
        };
        words.push(format!("MFU {:.1} %, HFU {:.1} %", share(|step| step.mfu), share(|step| step.hfu)));
    }
    words.push(format!("padding {:.1} %", 100.0 * mean(|step| step.padding_share)));
    let peak = work.iter().filter_map(|step| step.peak_bytes).max();
    words.extend(peak.map(|bytes| format!("peak {:.2} GiB", bytes as f64 / f64::from(1 << 30))));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(loss: f64, seconds: f64, mfu: Option<f64>) -> TrainStep {
        let work = StepWork {
            texts: 4,
            tokens: 100,
            volumes: 2,
            padding_share: 0.25,
            texts_per_second: 4.0 / seconds,
            tokens_per_second: 100.0 / seconds,
            volumes_per_second: 2.0 / seconds,
            wait_share: 0.0,
            mfu,
            hfu: mfu.map(|mfu| 1.5 * mfu),
            peak_bytes: Some(3 << 29),
        };
        TrainStep {
            step: 1,
            epoch: 0,
            loss,
            by_task: BTreeMap::from([(Task::Caption, TaskLoss { loss, targets: 3 })]),
            token_accuracy: 0.0,
            learning_rate: 1e-3,
            gradient_norm: 2.0,
            clipped_norm: Some(1.0),
            targets: 3,
            targetless_groups: Vec::new(),
            skipped: false,
            bad_samples: 0,
            seconds,
            wait_seconds: 0.1,
            feed: None,
            work: Some(work),
        }
    }

    #[test]
    fn a_line_says_how_it_goes() {
        assert_eq!(
            summary(&[step(3.0, 1.0, None), step(2.0, 3.0, None)], 0, Some(2.5)),
            "loss 2.500, validation 2.500, norm 2.00 clipped to 1.00, rate 1.00e-3, 2.00 s/step, 2.0 texts/s, 50 tokens/s, \
             1.0 volumes/s, padding 25.0 %, peak 1.50 GiB, waiting for data 5.0 %"
        );
        let mut other = step(2.0, 3.0, Some(0.2));
        other.by_task = BTreeMap::from([(Task::OpenVqa, TaskLoss { loss: 1.0, targets: 5 })]);
        other.clipped_norm = Some(2.0);
        let bad = TrainStep { skipped: true, ..step(f64::NAN, 9.0, None) };
        assert_eq!(summary(std::slice::from_ref(&bad), 1, None), "1 left out");
        let line = summary(&[step(3.0, 1.0, Some(0.6)), bad, other], 1, None);
        for part in ["(caption 3.000, open_vqa 1.000)", "norm 2.00,", "MFU 30.0 %, HFU 45.0 %", "1 left out"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        // Logs of earlier versions, and none at all.
        let old = TrainStep { by_task: BTreeMap::new(), clipped_norm: None, work: None, ..step(3.0, 1.0, None) };
        assert_eq!(
            summary(&[old], 0, None),
            "loss 3.000, norm 2.00, rate 1.00e-3, 1.00 s/step, waiting for data 10.0 %"
        );
        assert_eq!(summary(&[], 0, None), "");
    }
}
