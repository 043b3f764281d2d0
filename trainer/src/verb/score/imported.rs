//! Scores that other programs computed of the same answers, such as those of models that judge reports: they get the intervals, tables
//! and comparisons of any metric, and a name that says where they come from.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::Task;
use med2e3_store::read_regular;
use serde::Serialize;

use super::{MOST, of_file};
use crate::TrainerError;
use crate::predictions::{Unread, values};

/// What the names of imported metrics begin with.
const IMPORTED: &str = "imported.";

/// A metric and its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// What it is called: letters, digits, `-` and `_`.
    pub name: String,
    /// CSV, JSON or JSON lines with `id` (of a sample) and `value`.
    pub path: PathBuf,
}

/// Words that are no `NAME=FILE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected NAME=FILE, the name of letters, digits, - and _, found `{0}`")]
pub struct ImportedError(String);

impl FromStr for Imported {
    type Err = ImportedError;

    fn from_str(words: &str) -> Result<Imported, ImportedError> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match words.split_once('=') {
            Some((name, path)) if is_name(name) && !path.is_empty() => {
                Ok(Imported { name: name.into(), path: path.into() })
            }
            _ => Err(ImportedError(words.into())),
        }
    }
}

impl Imported {
    /// Adds its values to the answers: to all of each task that it has a value of.
    ///
    /// # Errors
    /// A file that does not read; a value of no answer; a task of which only some answers have one.
    pub(super) fn add_to(&self, answers: &mut [Answer]) -> Result<(), TrainerError> {
        let refused = |expected: String, found: String| of_file(&self.path, Unread { expected, found });
        let given = read_regular(&self.path, MOST)?;
        let mut values: HashMap<String, f64> = values(given).map_err(|unread| of_file(&self.path, unread))?;
        let name = format!("{IMPORTED}{}", self.name);
        for task in Task::ALL {
            let of_task = || answers.iter().filter(|answer| answer.task == *task);
            let missing: Vec<&Answer> = of_task().filter(|answer| !values.contains_key(&answer.sample_id)).collect();
            if missing.is_empty() || missing.len() == of_task().count() {
                continue;
            }
            let (count, first) = (of_task().count(), &missing[0].sample_id);
            let found = format!("none of {}, such as {first}", missing.len());
            return Err(refused(format!("a value of each of {count} answers of {task}, or of none"), found));
        }
        for answer in answers {
            if let Some(value) = values.remove(&answer.sample_id) {
                answer.metrics.insert(name.clone(), value);
            }
        }
        match values.keys().min() {
            None => Ok(()),
            Some(first) => Err(refused(
                "values of samples that are scored".into(),
                format!("{} of others, such as {first}", values.len()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::compare::made_up::answer;

    fn added(text: &str) -> Result<Vec<Option<f64>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("green.csv");
        std::fs::write(&path, text).unwrap();
        let mut answers = vec![
            answer("a", "1", Task::Caption, &[("bleu1", 0.5)]),
            answer("b", "1", Task::Caption, &[("bleu1", 0.25)]),
            answer("c", "2", Task::OpenVqa, &[("bleu1", 1.0)]),
        ];
        let imported = Imported { name: "green".into(), path };
        let said = |error: TrainerError| error.to_string().split_once(": ").unwrap().1.to_owned();
        imported.add_to(&mut answers).map_err(said)?;
        Ok(answers.iter().map(|answer| answer.metrics.get("imported.green").copied()).collect())
    }

    #[test]
    fn values_go_to_their_samples_and_to_whole_tasks() {
        assert_eq!(added("id,value\nb,-1.5\na,2e-1\n"), Ok(vec![Some(0.2), Some(-1.5), None]));
        assert_eq!(added("{\"id\": \"c\", \"value\": 3}\n"), Ok(vec![None, None, Some(3.0)]));
        for (text, said) in [
            (
                "id,value\na,1\n",
                "expected a value of each of 2 answers of caption, or of none, found none of 1, such as b",
            ),
            ("id,value\nc,1\nd,1\ne,1\n", "expected values of samples that are scored, found 2 of others, such as d"),
            ("id,value\nc,1\nc,1\n", "expected one value of `c`, found another one in row 2 (line 3)"),
            ("id,value\nc,nan\n", "expected a finite number as `value` in row 1 (line 2), found none"),
            ("id,value\nc,inf\n", "expected a finite number as `value` in row 1 (line 2), found `inf`"),
            ("id,value\nc,good\n", "expected a finite number as `value` in row 1 (line 2), found `good`"),
            ("{\"id\": \"c\", \"value\": null}", "expected a finite number as `value` in row 1, found none"),
            ("id,score\nc,1\n", "expected a column `value`, found `id`, `score`"),
            ("id,value\n", "expected values, found none"),
        ] {
            let found = added(text).unwrap_err();
            assert!(found.starts_with(said), "{found}");
        }
    }

    #[test]
    fn a_name_and_a_file_are_stated() {
        let parsed: Imported = "green=a=b.csv".parse().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.path), ("green", PathBuf::from("a=b.csv")));
        for words in ["green", "=f", "a b=f", "green="] {
            assert!(words.parse::<Imported>().is_err(), "{words}");
        }
    }
}
