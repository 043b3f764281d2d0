//! Which runs are compared, as a command line states them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::TrainerError;

/// A system: one run, or several that differ in their seed alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// What it is called.
    pub name: String,
    /// Folders of evaluations.
    pub runs: Vec<PathBuf>,
}

impl System {
    /// A system of one run, which has its folder's path as its name.
    pub fn of_run(run: &Path) -> System {
        System { name: run.display().to_string(), runs: vec![run.to_owned()] }
    }
}

/// What is asked of evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What tells two or more systems apart, and the tables.
    Comparison,
    /// The tables at least, for which one system is enough.
    Tables,
}

/// Words that are no `NAME=RUN,RUN`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected NAME=RUN or NAME=RUN,RUN,.., found `{0}`")]
pub struct SystemError(String);

impl FromStr for System {
    type Err = SystemError;

    /// A name, and the folders of its runs with commas between them; so a folder with a comma in its name can't be stated.
    fn from_str(words: &str) -> Result<System, SystemError> {
        let parts = words.split_once('=').map(|(name, runs)| (name.trim(), runs.split(',')));
        match parts {
            Some((name, runs)) if !name.is_empty() && runs.clone().all(|run| !run.trim().is_empty()) => {
                Ok(System { name: name.into(), runs: runs.map(PathBuf::from).collect() })
            }
            _ => Err(SystemError(words.into())),
        }
    }
}

/// The place of the baseline: the named system, or the first one.
///
/// # Errors
/// Fewer systems than are wanted, two of one name, a run given twice, a baseline that is none of them.
pub(super) fn checked(systems: &[System], baseline: Option<&str>, wanted: Wanted) -> Result<usize, TrainerError> {
    let refused = |key: &str, expected: &str, found: String| {
        Err(TrainerError::Config { key: key.into(), expected: expected.into(), found })
    };
    match (wanted, systems.len()) {
        (Wanted::Comparison, count @ 0..2) => {
            return refused("compare", "two or more systems, or one with --tables", count.to_string());
        }
        (Wanted::Tables, 0) => return refused("compare --tables", "a system", "none".into()),
        _ => {}
    }
    let (mut names, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for system in systems {
        if !names.insert(system.name.as_str()) {
            return refused("compare", "a name of its own for each system", format!("{} twice", system.name));
        }
        for run in &system.runs {
            // A folder that is not there is refused when it is read.
            if !folders.insert(run.canonicalize().unwrap_or_else(|_| run.clone())) {
                return refused("compare", "each run once", format!("{} twice", run.display()));
            }
        }
    }
    let Some(baseline) = baseline else { return Ok(0) };
    match systems.iter().position(|system| system.name == baseline) {
        Some(place) => Ok(place),
        None => refused("--baseline", &format!("one of {}", Vec::from_iter(names).join(", ")), baseline.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(name: &str, runs: &[&str]) -> System {
        System { name: name.into(), runs: runs.iter().map(PathBuf::from).collect() }
    }

    #[test]
    fn a_system_is_a_name_and_its_runs() {
        assert_eq!("ours=a/1,a/2".parse(), Ok(system("ours", &["a/1", "a/2"])));
        assert_eq!("ours = a=b".parse(), Ok(system("ours", &[" a=b"])));
        for wrong in ["ours", "=a", "ours=", "ours=a,,b", " =a"] {
            assert_eq!(wrong.parse::<System>(), Err(SystemError(wrong.into())), "{wrong}");
        }
        assert_eq!(System::of_run(Path::new("runs/a")), system("runs/a", &["runs/a"]));
    }

    #[test]
    fn what_can_not_be_compared_is_named() {
        let two = [system("a", &["x"]), system("b", &["y", "z"])];
        let checked = |systems: &[System], baseline| checked(systems, baseline, Wanted::Comparison);
        assert_eq!((checked(&two, None).unwrap(), checked(&two, Some("b")).unwrap()), (0, 1));
        let refused = |systems: &[System], baseline| checked(systems, baseline).unwrap_err().to_string();
        assert_eq!(refused(&two[..1], None), "compare: expected two or more systems, or one with --tables, found 1");
        assert_eq!(super::checked(&two[..1], None, Wanted::Tables).unwrap(), 0);
        let none = super::checked(&[], None, Wanted::Tables).unwrap_err().to_string();
        assert_eq!(none, "compare --tables: expected a system, found none");
        assert_eq!(refused(&two, Some("c")), "--baseline: expected one of a, b, found c");
        let again = [two[0].clone(), system("a", &["z"])];
        assert_eq!(refused(&again, None), "compare: expected a name of its own for each system, found a twice");
        let again = [two[0].clone(), system("b", &["x"])];
        assert_eq!(refused(&again, None), "compare: expected each run once, found x twice");
    }
}
