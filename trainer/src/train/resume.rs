//! Whether a folder holds the run that a configuration describes, and the checkpoint to go on from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use med2e3_program::note;
use med2e3_program::output::{OutputError, is_occupied};
use serde::Serialize;
use toml::{Table, Value};

use super::start::Existing;
use crate::TrainerError;
use crate::files::checkpoint::Checkpoint;

/// Keys that decide nothing of what is learned: where and how fast a run goes, what it writes, and where its data is. The data
/// itself is compared with what the checkpoint states.
const FREE: [&str; 12] = [
    "name",
    "device",
    "threads",
    "checkpoint_every",
    "validation",
    "data.dataset",
    "data.readers",
    "data.depth",
    "data.other_inputs",
    "step.micro_batch",
    "step.recompute",
    "model.text_tokenizer",
];

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
            note(format_args!("note: {} holds no run yet; this one begins", out.display()));
        }
        return Ok(None);
    }
    let found = fs::read_to_string(out.join("train.toml")).ok().and_then(|text| text.parse::<Table>().ok());
    let own = Table::try_from(config).expect("a parsed configuration can be written");
    let (problem, hint) = match (found.map(|found| difference(&found, &own)), existing) {
        (Some(None), Existing::Resume) => {
            let last = Checkpoint::open_last(out)?;
            if last.is_none() {
                note(format_args!("note: {} holds no checkpoint yet; the run begins again", out.display()));
            }
            return Ok(last);
        }
        (Some(None), Existing::Refuse) => {
            ("holds this run already".to_owned(), "--resume goes on from its last checkpoint")
        }
        (Some(Some(difference)), _) => (
            format!("holds another run than this one: {difference}"),
            "state what it began with, or give another --out",
        ),
        (None, _) => ("holds something else than a run".to_owned(), "give another --out"),
    };
    Err(OutputError::Occupied { path: out.to_owned(), problem, hint: hint.into() }.into())
}

/// The first key in which another run's configuration differs, with both values.
fn difference(there: &Table, here: &Table) -> Option<String> {
    let [there, here] = [there, here].map(|table| {
        let mut values = BTreeMap::new();
        flatten("", table, &mut values);
        values
    });
    let differing = here.keys().chain(there.keys()).find(|key| !is_free(key) && there.get(*key) != here.get(*key))?;
    let words =
        |values: &BTreeMap<String, &Value>| values.get(differing).map_or("absent".into(), |value| value.to_string());
    Some(format!("{differing} is {} there, {} here", words(&there), words(&here)))
}

fn is_free(key: &str) -> bool {
    FREE.iter().any(|free| key.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn flatten<'a>(prefix: &str, table: &'a Table, values: &mut BTreeMap<String, &'a Value>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&path, inner, values),
            _ => {
                values.insert(path, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_learned_tells_runs_apart() {
        let text = "seed = 1\nthreads = 1\ncheckpoint_every = 3\n[data]\ndataset = \"a\"\nreaders = 1\nepochs = 2\n\
                    [step]\nmicro_batch = \"whole\"\n[validation]\nevery = 5\n";
        let there: Table = text.parse().unwrap();
        let after = |from: &str, to: &str| difference(&there, &text.replace(from, to).parse().unwrap());
        for (from, to) in [
            ("threads = 1", "threads = 2"),
            ("checkpoint_every = 3\n", ""),
            ("dataset = \"a\"", "dataset = \"b\""),
            ("readers = 1", "readers = 3"),
            ("every = 5", "every = 6"),
            ("micro_batch = \"whole\"", "micro_batch = { tokens = 5, volumes = 1 }"),
            ("[validation]\nevery = 5\n", ""),
        ] {
            assert_eq!(after(from, to), None, "{to}");
        }
        assert_eq!(after("seed = 1", "seed = 2").unwrap(), "seed is 1 there, 2 here");
        assert_eq!(after("epochs = 2", "epochs = 4").unwrap(), "data.epochs is 2 there, 4 here");
        assert_eq!(after("epochs = 2", "max_steps = 4").unwrap(), "data.max_steps is absent there, 4 here");
    }
}
