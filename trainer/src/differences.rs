//! In which keys the configuration of a run that is there and the one that is to go on in its folder differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use med2e3_program::output::OutputError;
use toml::{Table, Value};

use crate::TrainerError;

/// A key in which two configurations differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The key with those of the tables above it: `step.batch`.
    pub(crate) key: String,
    there: String,
    here: String,
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} there, {} here", self.key, self.there, self.here)
    }
}

/// All of them, in the order of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Of runs that are not the same.
    pub(crate) binding: Vec<Difference>,
    /// Of one run that goes on in another way.
    pub(crate) free: Vec<Difference>,
}

impl Differences {
    /// Those of runs that are not the same, in words; empty where there is none.
    pub(crate) fn binding_words(&self) -> String {
        self.binding.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// Compares two configurations. Keys of `free`, and those below them, may differ in one run.
pub(crate) fn differences(there: &Table, here: &Table, free: &[&str]) -> Differences {
    let [there, here] = [there, here].map(|table| {
        let mut values = BTreeMap::new();
        flatten("", table, &mut values);
        values
    });
    let keys: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    let word = |values: &BTreeMap<String, &Value>, key: &str| {
        values.get(key).map_or("absent".into(), |value| value.to_string())
    };
    let differing = keys.into_iter().filter(|key| there.get(*key) != here.get(*key));
    let found = differing.map(|key| Difference { key: key.clone(), there: word(&there, key), here: word(&here, key) });
    let (free, binding) = found.partition(|found| is_of(&found.key, free));
    Differences { binding, free }
}

/// The hash, as hex, of what tells a configuration's runs from others: its values by their keys, but those of `free`.
pub(crate) fn binding_hash(config: &Table, free: &[&str]) -> String {
    let mut values = BTreeMap::new();
    flatten("", config, &mut values);
    let binding = values.iter().filter(|(key, _)| !is_of(key, free));
    let text: String = binding.map(|(key, value)| format!("{key} = {value}\n")).collect();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Whether a key is one of these, or below one.
fn is_of(key: &str, keys: &[&str]) -> bool {
    keys.iter().any(|of| key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Refuses a folder that holds another run: `differs` says in what.
pub(crate) fn another_run(out: &Path, differs: &str) -> TrainerError {
    let problem = format!("holds another run than this one: {differs}");
    OutputError::Occupied {
        path: out.to_owned(),
        problem,
        hint: "state what it began with, or give another --out".into(),
    }
    .into()
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
    fn every_key_that_differs_is_named_and_free_ones_are_told_apart() {
        let there: Table =
            "seed = 1\nthreads = 1\nways = 1\n[step]\nbatch = 2\n[way]\nof = { go = 1 }\n".parse().unwrap();
        let here: Table =
            "seed = 2\nthreads = 2\nother = true\n[step]\nbatch = 2\n[way]\nof = { go = 2 }\n".parse().unwrap();
        let found = differences(&there, &here, &["threads", "way"]);
        assert_eq!(
            found.binding_words(),
            "other is absent there, true here; seed is 1 there, 2 here; ways is 1 there, absent here"
        );
        let free: Vec<String> = found.free.iter().map(ToString::to_string).collect();
        assert_eq!(free, ["threads is 1 there, 2 here", "way.of.go is 1 there, 2 here"]);
        assert_eq!(differences(&there, &there, &[]), Differences::default());
        let hash = |table: &Table, free: &[&str]| binding_hash(table, free);
        assert_ne!(hash(&there, &["threads", "way"]), hash(&here, &["threads", "way"]));
        let all = ["seed", "threads", "way", "ways", "other"];
        assert_eq!(hash(&there, &all), hash(&here, &all));
        assert_ne!(hash(&there, &all[..4]), hash(&here, &all[..4]));
    }
}
