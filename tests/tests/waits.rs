//! No training step makes the host wait for the device, as far as the sources show it. Operations that wait by themselves are counted
//! in a run (`HostReads`).

use std::ops::Range;

use med2e3_tests::source::{Source, names, sources};

/// What the host waits for a device by: its numbers, and copies that are not queued.
const WAITS: [&str; 12] = [
    "double_value",
    "int64_value",
    "f_double_value",
    "f_int64_value",
    "Vec::try_from",
    "Vec::<f32>::try_from",
    "Vec::<f64>::try_from",
    "Vec::<i64>::try_from",
    "copy_data",
    "to_device(",
    "f_to_device(",
    "to(",
];

/// Where a training step is.
const STEP: [&str; 8] = [
    "trainer/src/model/",
    "trainer/src/train/mod.rs",
    "trainer/src/train/run.rs",
    "trainer/src/train/step_sums.rs",
    "trainer/src/train/optimizer/",
    "trainer/src/augmentation.rs",
    "trainer/src/device_batch.rs",
    "trainer/src/staging.rs",
];

/// Files there that no step runs.
const BESIDE: [&str; 7] = [
    // Weights are made, loaded and merged before or after the steps.
    "trainer/src/model/layers/init.rs",
    "trainer/src/model/weights/",
    "trainer/src/model/lora.rs",
    // Tensors of the host, which no device has to be asked for.
    "trainer/src/model/input.rs",
    "trainer/src/model/text_encoder/host_texts.rs",
    // A comparison with a reference, and what explain asks.
    "trainer/src/model/logits.rs",
    "trainer/src/model/probe.rs",
];

/// Functions there that wait, each for a reason of its own.
const WAITING: [(&str, &str); 6] = [
    // Before a checkpoint is written.
    ("trainer/src/train/run.rs", "check_weights"),
    // What a checkpoint stores, and what is loaded from one.
    ("trainer/src/train/optimizer/adamw.rs", "updates"),
    ("trainer/src/train/optimizer/bucket.rs", "put_remainder"),
    // The numbers of the step before, which have long arrived.
    ("trainer/src/staging.rs", "values"),
    // The other verbs' batches, and M3D-CLIP's.
    ("trainer/src/device_batch.rs", "codes"),
    ("trainer/src/device_batch.rs", "augmented"),
];

/// What a file waits by outside its functions of [`WAITING`].
fn waits(path: &str, code: &str) -> Vec<&'static str> {
    let waiting = WAITING.iter().filter(|(file, _)| *file == path);
    let rest = waiting.fold(code.to_owned(), |code, (_, function)| match place_of(&code, function) {
        Some(place) => format!("{}{}", &code[..place.start], &code[place.end..]),
        None => code,
    });
    WAITS.into_iter().filter(|word| names(&rest, word)).collect()
}

/// Where the function of this name is.
fn place_of(code: &str, name: &str) -> Option<Range<usize>> {
    let start = code.find(&format!("fn {name}("))?;
    let mut depth = 0;
    let end = code[start..].char_indices().find_map(|(at, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (c == '}' && depth == 0).then_some(start + at + 1)
    });
    Some(start..end.expect("a function ends"))
}

#[test]
fn no_step_waits_for_the_device() {
    let planted = "fn check_weights() { if true { x.double_value(&[]) } }\nfn forward() { y.to_device(device); }";
    assert_eq!(waits("trainer/src/train/run.rs", planted), ["to_device("]);
    assert_eq!(waits("trainer/src/train/step_sums.rs", planted).len(), 2);
    assert_eq!(waits("trainer/src/model/loss.rs", "let losses = Vec::<f32>::try_from(loss);").len(), 1);
    let sources = sources();
    let is_step = |source: &&Source| source.is_rust() && source.is_under(&STEP) && !source.is_under(&BESIDE);
    let step: Vec<&Source> = sources.iter().filter(is_step).collect();
    for place in STEP.iter().chain(&BESIDE) {
        assert!(sources.iter().any(|source| source.path.starts_with(place)), "{place} is gone");
    }
    for (file, function) in WAITING {
        let code = step.iter().find(|source| source.path == file).expect("the file is there").product_code();
        let place = place_of(&code, function).expect("the function is there");
        assert!(!waits("", &code[place]).is_empty(), "{file}: {function} waits for nothing");
    }
    let waiting: Vec<String> = step
        .iter()
        .flat_map(|source| waits(&source.path, &source.product_code()).into_iter().map(|word| (&source.path, word)))
        .map(|(path, word)| format!("{path} names `{word}`"))
        .collect();
    assert!(waiting.is_empty(), "{}", waiting.join("\n"));
}
