//! Whether a folder holds the run that a configuration describes, and the checkpoint to go on from.

use std::fs;
use std::path::Path;

use med2e3_program::note;
use med2e3_program::output::{OutputError, is_occupied};
use med2e3_schemas::config::moved_values;
use serde::Serialize;
use toml::Table;

use super::start::Existing;
use crate::TrainerError;
use crate::config::MOVED;
use crate::differences::{Difference, Differences, another_run, differences};
use crate::files::checkpoint::Checkpoint;

/// Keys that may change when a run goes on: where, how fast, in which pieces and how long it goes, what it writes, and where its
/// data and its start lie. The data itself is compared with what the checkpoint states. A change is said.
pub(crate) const FREE: [&str; 22] = [
    "name",
    "device",
    "threads",
    "checkpoint",
    "validation",
    "compute.algorithms",
    "compute.attention",
    "compute.matmul",
    "data.dataset",
    "data.readers",
    "data.depth",
    "data.epochs",
    "data.max_steps",
    "data.on_bad_sample",
    "data.max_bad",
    "data.other_inputs",
    "step.batch",
    "step.max_skipped",
    "step.micro_batch",
    "step.recompute",
    "model.start.checkpoint",
    "model.text_tokenizer",
];
/// Those of them by which the learning rate's way changes.
pub(crate) const LENGTH: [&str; 3] = ["data.epochs", "data.max_steps", "step.batch"];

/// Changes of a mix's weights. What was fed is compared with what the checkpoint's cursor states.
const MIX_CHANGES: &str = "data.order.mix.then";

/// The checkpoint to go on from, where the folder holds this run already; `None` where the run begins.
///
/// # Errors
/// The folder holds something else, or a run that is not to be resumed; a checkpoint that does not read.
pub(super) fn resumable<C: Serialize>(
    config: &C,
    out: &Path,
    existing: Existing,
) -> Result<Option<Checkpoint>, TrainerError> {
    if !is_occupied(out) {
        if existing == Existing::Resume {
            note(format_args!("note: {} holds no run yet: beginning at step 1", out.display()));
        }
        return Ok(None);
    }
    let found = fs::read_to_string(out.join("train.toml")).ok().and_then(|text| text.parse::<Table>().ok());
    let own = Table::try_from(config).expect("a parsed configuration can be written");
    let (problem, hint) = match (found.map(|found| changes(found, &own)), existing) {
        (Some(found), Existing::Resume) if found.binding.is_empty() => {
            found.free.iter().for_each(|changed| note(format_args!("note: {}", words(changed))));
            let last = Checkpoint::open_last(out)?;
            if last.is_none() {
                note(format_args!("note: no checkpoint found in {}: beginning at step 1", out.display()));
            }
            return Ok(last);
        }
        (Some(found), Existing::Refuse) if found.binding.is_empty() => {
            ("holds this run already".to_owned(), "--resume goes on from its last checkpoint")
        }
        (Some(found), _) => return Err(another_run(out, &binding_words(&found))),
        (None, _) => ("holds something else than a run".to_owned(), "give another --out"),
    };
    Err(OutputError::Occupied { path: out.to_owned(), problem, hint: hint.into() }.into())
}

/// What a run that goes on may change, and what not.
fn changes(mut there: Table, here: &Table) -> Differences {
    // A run of an earlier version. Where both keys are there, the later one is this version's.
    let _ = moved_values(&mut there, &MOVED);
    let free = [&FREE[..], &[MIX_CHANGES]].concat();
    differences(&there, here, &free)
}

/// What makes it another run, and how a run may get other weights.
fn binding_words(found: &Differences) -> String {
    let words = found.binding_words();
    match found.binding.iter().any(|differs| differs.key.starts_with("data.order.mix.")) {
        true => format!(
            "{words} (other weights from a later sample on: data.order.mix.then = [{{ from = SAMPLES, .. }}], a multiple of 1000)"
        ),
        false => words,
    }
}

/// A change in words.
fn words(changed: &Difference) -> String {
    match LENGTH.contains(&changed.key.as_str()) {
        true => format!("{changed}: the learning rate falls over the new length"),
        false => changed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_learned_tells_runs_apart() {
        let text = "seed = 1\nthreads = 1\ncheckpoint = { every_steps = 3 }\n[data]\ndataset = \"a\"\nreaders = 1\nepochs = 2\n\
                    [step]\nmicro_batch = \"whole\"\n[validation]\nevery = 5\n";
        let there: Table = text.parse().unwrap();
        let after = |from: &str, to: &str| changes(there.clone(), &text.replace(from, to).parse().unwrap());
        for (from, to) in [
            ("threads = 1", "threads = 2"),
            ("checkpoint = { every_steps = 3 }\n", ""),
            ("checkpoint = { every_steps = 3 }\n", "checkpoint = { keep = 9 }\n"),
            ("dataset = \"a\"", "dataset = \"b\""),
            ("readers = 1", "readers = 3"),
            ("epochs = 2", "epochs = 4"),
            ("epochs = 2", "max_steps = 4"),
            ("every = 5", "every = 6"),
            ("micro_batch = \"whole\"", "micro_batch = { tokens = 5, volumes = 1 }"),
            ("[validation]\nevery = 5\n", ""),
        ] {
            let found = after(from, to);
            assert!(found.binding.is_empty() && !found.free.is_empty(), "{to}");
        }
        let found = after("readers = 1\nepochs = 2", "readers = 3\nepochs = 4");
        assert_eq!(
            words(&found.free[0]),
            "data.epochs is 2 there, 4 here: the learning rate falls over the new length"
        );
        assert_eq!(words(&found.free[1]), "data.readers is 1 there, 3 here");
        assert_eq!(after("seed = 1", "seed = 2").binding_words(), "seed is 1 there, 2 here");
        // Weights change only where it is said from which sample on.
        let mix = |text: &str| format!("[data.order.mix]\n{text}").parse::<Table>().unwrap();
        let of = |there: &str, here: &str| changes(mix(there), &mix(here));
        let then = of("caption = 1.0", "caption = 1.0\nthen = [{ from = 1000, caption = 2.0 }]");
        assert!(then.binding.is_empty() && then.free[0].key == MIX_CHANGES);
        let silent = binding_words(&of("caption = 1.0", "caption = 2.0"));
        assert!(silent.contains("is 1.0 there, 2.0 here") && silent.contains(MIX_CHANGES), "{silent}");
        // A run of an earlier version.
        let earlier: Table = "checkpoint_every = 3\n[data]\nbatch_size = 2\n".parse().unwrap();
        let now: Table = "checkpoint = { every_steps = 3 }\n[data]\n[step]\nbatch = 2\n".parse().unwrap();
        let found = changes(earlier, &now);
        assert!(found.binding.is_empty() && found.free.is_empty(), "{:?}", found.binding);
    }
}
