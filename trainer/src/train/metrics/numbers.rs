//! The numbers of a run in Prometheus' text format 0.0.4: base units (seconds, bytes), counters that end in `_total` and count since this
//! process began, gauges of the last step.

use std::fmt::Write;

use med2e3_schemas::report::{StepFeed, TrainStep};

/// What is known of a run.
#[derive(Default)]
pub(super) struct Numbers {
    run: Option<Run>,
    last: Option<TrainStep>,
    validation: Option<f64>,
    sums: Sums,
}

struct Run {
    name: String,
    device: String,
    done: u64,
    steps: u64,
}

#[derive(Default)]
struct Sums {
    steps: u64,
    left_out: u64,
    samples: u64,
    tokens: u64,
    volumes: u64,
    targets: u64,
    bad_samples: u64,
    seconds: f64,
    wait_seconds: f64,
    feed: StepFeed,
}

impl Numbers {
    /// Takes note of a run that goes on behind `done` of its `steps`.
    pub(super) fn begin(&mut self, name: &str, device: &str, done: u64, steps: u64) {
        self.run = Some(Run { name: name.to_owned(), device: device.to_owned(), done, steps });
    }

    /// Takes note of a validation loss, in nats.
    pub(super) fn measured(&mut self, loss: f64) {
        self.validation = Some(loss);
    }

    /// Takes note of a step.
    pub(super) fn add(&mut self, step: &TrainStep) {
        let sums = &mut self.sums;
        sums.steps += 1;
        sums.left_out += u64::from(step.skipped);
        sums.targets += step.targets;
        sums.bad_samples += step.bad_samples;
        sums.seconds += step.seconds;
        sums.wait_seconds += step.wait_seconds;
        if let Some(work) = &step.work {
            sums.samples += work.texts;
            sums.tokens += work.tokens;
            sums.volumes += work.volumes;
        }
        if let Some(feed) = step.feed {
            sums.feed.bytes += feed.bytes;
            sums.feed.read_seconds += feed.read_seconds;
            sums.feed.hash_seconds += feed.hash_seconds;
            sums.feed.decode_seconds += feed.decode_seconds;
            sums.feed.collate_seconds += feed.collate_seconds;
        }
        self.last = Some(step.clone());
    }

    /// All of them as text.
    pub(super) fn text(&self) -> String {
        let mut page = Page::default();
        self.counters(&mut page);
        if let Some(Run { name, device, done, steps }) = &self.run {
            let version = env!("CARGO_PKG_VERSION");
            let labels = [("name", name.as_str()), ("device", device.as_str()), ("version", version)];
            page.family("med2e3_train_info", GAUGE, "The run.", &[(&labels, 1.0)]);
            let step = self.last.as_ref().map_or(*done, |last| last.step);
            page.gauge("med2e3_train_step", "Last finished step.", step as f64);
            page.gauge("med2e3_train_last_step", "Steps of the whole run.", *steps as f64);
        }
        if let Some(last) = &self.last {
            of_step(last, &mut page);
        }
        if let Some(loss) = self.validation {
            page.gauge("med2e3_validation_loss", "Last validation loss in nats.", loss);
        }
        page.0
    }

    fn counters(&self, page: &mut Page) {
        let Sums { steps, left_out, samples, tokens, volumes, targets, bad_samples, seconds, wait_seconds, feed } =
            &self.sums;
        for (name, help, count) in [
            ("train_steps", "Finished steps.", *steps),
            ("train_left_out_steps", "Steps that changed no weight.", *left_out),
            ("train_samples", "Texts that were trained on.", *samples),
            ("train_tokens", "Tokens of the language model, padding left out.", *tokens),
            ("train_volumes", "Volumes that went through the encoders.", *volumes),
            ("train_targets", "Targets of the steps.", *targets),
            ("feed_bad_samples", "Samples that the run went without since a volume does not read.", *bad_samples),
            ("feed_read_bytes", "Stored bytes of volumes that were read.", feed.bytes),
        ] {
            page.counter(name, help, count as f64);
        }
        for (name, help, seconds) in [
            ("train_step_seconds", "Time of all steps.", *seconds),
            ("train_wait_seconds", "Time that steps waited for the feed.", *wait_seconds),
            ("feed_read_seconds", "Time of reading, of all readers together.", feed.read_seconds),
            ("feed_hash_seconds", "Time of comparing hashes, of all readers together.", feed.hash_seconds),
            ("feed_decode_seconds", "Time of decoding, of all readers together.", feed.decode_seconds),
            ("feed_collate_seconds", "Time of planning steps and laying out their texts.", feed.collate_seconds),
        ] {
            page.counter(name, help, seconds);
        }
    }
}

/// Gauges of a step.
fn of_step(last: &TrainStep, page: &mut Page) {
    page.gauge("med2e3_train_epoch", "Pass over the data, from 0.", last.epoch as f64);
    page.gauge("med2e3_train_loss", "Loss of the last step in nats.", last.loss);
    let labels: Vec<_> = last.by_task.iter().map(|(task, own)| ([("task", task.as_str())], own.loss)).collect();
    let by_task: Vec<(&[(&str, &str)], f64)> = labels.iter().map(|(labels, loss)| (&labels[..], *loss)).collect();
    page.family("med2e3_train_task_loss", GAUGE, "Loss of the last step by task, in nats.", &by_task);
    page.gauge("med2e3_train_token_accuracy_ratio", "Share of right targets.", last.token_accuracy);
    page.gauge("med2e3_train_learning_rate", "Learning rate of the last step.", last.learning_rate);
    page.gauge("med2e3_train_gradient_norm", "Norm of all gradients before clipping.", last.gradient_norm);
    if let Some(work) = &last.work {
        for (name, help, rate) in [
            ("med2e3_train_samples_per_second", "Texts a second of the last step.", work.texts_per_second),
            ("med2e3_train_tokens_per_second", "Tokens a second of the last step.", work.tokens_per_second),
            ("med2e3_train_volumes_per_second", "Volumes a second of the last step.", work.volumes_per_second),
            ("med2e3_train_padding_ratio", "Share of the computed tokens that are padding.", work.padding_share),
            ("med2e3_train_wait_ratio", "Share of the last step that waited for the feed.", work.wait_share),
        ] {
            page.gauge(name, help, rate);
        }
        let bytes = work.peak_bytes.map(|bytes| bytes as f64);
        for (name, help, number) in [
            ("med2e3_train_mfu_ratio", "Model FLOPs utilization of the last step.", work.mfu),
            ("med2e3_train_hfu_ratio", "Hardware FLOPs utilization of the last step.", work.hfu),
            ("med2e3_train_peak_memory_bytes", "Most bytes of tensors in the last step.", bytes),
        ] {
            number.into_iter().for_each(|number| page.gauge(name, help, number));
        }
    }
    if let Some(feed) = &last.feed {
        let help = "Micro-batches that were ready when the last step began.";
        page.gauge("med2e3_feed_ready_batches", help, feed.ready as f64);
    }
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

/// The text so far.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, number: f64) {
        self.family(name, GAUGE, help, &[(&[], number)]);
    }

    fn counter(&mut self, name: &str, help: &str, number: f64) {
        self.family(&format!("med2e3_{name}_total"), COUNTER, help, &[(&[], number)]);
    }

    /// All samples of a name, by their labels; nothing where there is none.
    fn family(&mut self, name: &str, kind: &str, help: &str, samples: &[(&[(&str, &str)], f64)]) {
        if samples.is_empty() {
            return;
        }
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, number) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            // Writing to a string does not fail.
            let _ = writeln!(self.0, "{name}{labels} {}", in_words(*number));
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// As Go reads numbers.
fn in_words(number: f64) -> String {
    match number {
        number if number.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        number => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_numbers_are_written_as_the_format_states() {
        let mut page = Page::default();
        page.family("a", GAUGE, "One.", &[(&[("name", "a \"b\" \\ c\nd"), ("other", "")], f64::INFINITY)]);
        page.counter("b", "Two.", 1e21);
        page.gauge("c", "Three.", f64::NAN);
        page.family("d", GAUGE, "None.", &[]);
        assert_eq!(
            page.0,
            "# HELP a One.\n# TYPE a gauge\na{name=\"a \\\"b\\\" \\\\ c\\nd\",other=\"\"} +Inf\n\
             # HELP med2e3_b_total Two.\n# TYPE med2e3_b_total counter\nmed2e3_b_total 1000000000000000000000\n\
             # HELP c Three.\n# TYPE c gauge\nc NaN\n"
        );
    }

    #[test]
    fn what_is_not_known_yet_is_left_out() {
        let mut numbers = Numbers::default();
        let text = numbers.text();
        assert!(text.contains("med2e3_train_steps_total 0\n") && !text.contains("med2e3_train_step "), "{text}");
        numbers.begin("run", "cpu", 3, 9);
        numbers.measured(1.5);
        let text = numbers.text();
        for line in ["med2e3_train_step 3\n", "med2e3_train_last_step 9\n", "med2e3_validation_loss 1.5\n"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("med2e3_train_loss"), "{text}");
    }
}
