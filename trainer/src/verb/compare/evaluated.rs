//! One evaluation, read from its folder: that of `med2e3 evaluate`, or any other with a report of its kind.

use std::fs;
use std::path::Path;

use med2e3_program::with_causes;
use med2e3_schemas::comparison::{ComparedRun, UnleakedScore};
use med2e3_schemas::evaluation::{Answer, EvaluateReport, Score};
use med2e3_store::FileError;

use crate::TrainerError;
use crate::config::EvaluateConfig;
use crate::files::json::{read_json, read_report, read_text};
use crate::generate::Decoding;
use crate::verb::answers::log::{ANSWERED, Answered, CONFIG};

/// An evaluation.
pub(in crate::verb) struct Evaluated {
    /// What is reported of it.
    pub(in crate::verb) run: ComparedRun,
    /// Its report.
    pub(in crate::verb) report: EvaluateReport,
    /// What its folder does not state, or not readably, a sentence each.
    pub(in crate::verb) notes: Vec<String>,
}

/// Which question an answer is to: a sample and a turn.
pub(super) fn key(answer: &Answer) -> (&str, u32) {
    (&answer.sample_id, answer.turn)
}

impl Evaluated {
    /// # Errors
    /// The folder is no evaluation, or one that has not ended; a report that does not read, is empty, or answers a question twice.
    pub(in crate::verb) fn read(folder: &Path) -> Result<Evaluated, TrainerError> {
        fs::read_dir(folder).map_err(FileError::of(folder, "list"))?;
        let path = folder.join("report.json");
        let refused = |path: &Path, expected: &str, found: &str| {
            Err(TrainerError::File { path: path.into(), expected: expected.into(), found: found.into() })
        };
        if !path.is_file() {
            return match folder.join(CONFIG).is_file() {
                true => refused(folder, "an evaluation that has ended", "no report.json; the same command goes on"),
                false => refused(folder, "the folder of an evaluation", "no report.json"),
            };
        }
        let report: EvaluateReport = read_report(&path, "the whole report of an evaluation")?;
        if report.answers.is_empty() {
            return refused(&path, "answers", "none");
        }
        let mut keys: Vec<(&str, u32)> = report.answers.iter().map(key).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            let (sample, turn) = twice[0];
            return refused(&path, "one answer to a question", &format!("sample {sample}, turn {turn} twice"));
        }
        let mut notes = Vec::new();
        let missing: Vec<&str> = [CONFIG, ANSWERED].into_iter().filter(|name| !folder.join(name).is_file()).collect();
        if !missing.is_empty() {
            let names = missing.join(" and no ");
            let run = folder.display();
            notes.push(format!("{run}: no {names}, so not all of decoding, dataset and selection is known."));
        }
        let config = stated(&folder.join(CONFIG), &mut notes, |path| {
            let parsed = toml::from_str::<EvaluateConfig>(&read_text(path)?);
            parsed.map_err(|error| TrainerError::File {
                path: path.into(),
                expected: "the configuration of an evaluation".into(),
                found: error.message().into(),
            })
        });
        let answered: Option<Answered> =
            stated(&folder.join(ANSWERED), &mut notes, |path| read_json(path, "JSON as this program writes it"));
        // Programs that do not count them, and earlier versions, leave no such file.
        let answers_cut = (answered.is_some() || report.answers_cut > 0).then_some(report.answers_cut);
        let (checkpoint_hash, selection_hash, dataset_hash) = match answered {
            Some(answered) => (Some(answered.checkpoint), Some(answered.selection), answered.dataset),
            None => (None, None, None),
        };
        let run = ComparedRun {
            path: folder.display().to_string(),
            checkpoint: report.checkpoint.clone(),
            checkpoint_hash,
            dataset: config.as_ref().map(|config| config.dataset.display().to_string()),
            dataset_hash,
            selection_hash,
            decoding: config.as_ref().map(|config| in_words(config.decoding, config.max_new_tokens)),
            meteor: report.meteor.clone(),
            bert_score: report.bert_score.clone(),
            answers: report.answers.len() as u64,
            answers_cut,
            samples_without_volume: report.samples_without_volume,
            turns_not_asked: report.turns_not_asked,
            leaked: report.leaked.clone(),
            without_leaked: without_leaked(&report),
        };
        Ok(Evaluated { run, report, notes })
    }
}

/// The means over whole tasks without samples that share something with the training split.
fn without_leaked(report: &EvaluateReport) -> Vec<UnleakedScore> {
    let of = |score: &Score| {
        let mean = score.without_leaked.clone().filter(|_| score.topic.is_none())?;
        Some(UnleakedScore { task: score.task, metric: score.metric.clone(), mean })
    };
    report.scores.iter().filter_map(of).collect()
}

/// What a file beside the report states; nothing where it is not there or, with a note, where it does not read.
fn stated<T>(path: &Path, notes: &mut Vec<String>, read: impl FnOnce(&Path) -> Result<T, TrainerError>) -> Option<T> {
    if !path.is_file() {
        return None;
    }
    read(path).map_err(|error| notes.push(format!("{}; what it states is not known.", with_causes(&error)))).ok()
}

fn in_words(decoding: Decoding, max_new_tokens: usize) -> String {
    let way = match decoding {
        Decoding::Greedy => "greedy".into(),
        Decoding::Sample { temperature, top_p, seed } => {
            format!("drawn at temperature {temperature}, top-p {top_p}, seed {seed}")
        }
        Decoding::Beam { beams, length_penalty } => format!("{beams} beams, length penalty {length_penalty}"),
    };
    format!("{way}, at most {max_new_tokens} tokens")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::compare::made_up::{answer, report};
    use med2e3_schemas::sample::Task;

    fn written(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("report.json"), text).unwrap();
        folder
    }

    fn refused(folder: &Path) -> String {
        let error = Evaluated::read(folder).err().unwrap().to_string();
        error.strip_prefix(&folder.display().to_string()).map_or(error.clone(), str::to_owned)
    }

    #[test]
    fn a_folder_that_is_no_evaluation_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(refused(folder.path()), ": expected the folder of an evaluation, found no report.json");
        fs::write(folder.path().join(CONFIG), "").unwrap();
        assert!(refused(folder.path()).starts_with(": expected an evaluation that has ended"));
        assert!(refused(&folder.path().join("nothing")).contains("no such file or folder"));

        let whole = serde_json::to_string(&report(vec![answer("1", "c", Task::Caption, &[("bleu1", 0.5)])])).unwrap();
        let cut = refused(written(&whole[..whole.len() / 2]).path());
        assert!(cut.contains("/report.json: expected the whole report of an evaluation, found EOF"), "{cut}");
        let other = refused(written(r#"{"name":"a training"}"#).path());
        assert!(other.contains("found missing field"), "{other}");
        let empty = serde_json::to_string(&report(vec![])).unwrap();
        assert_eq!(refused(written(&empty).path()), "/report.json: expected answers, found none");
    }

    #[test]
    fn a_question_has_one_answer() {
        let one = answer("1", "c", Task::OpenVqa, &[("bleu1", 0.5)]);
        let later = Answer { turn: 2, ..one.clone() };
        let both = serde_json::to_string(&report(vec![one.clone(), later.clone()])).unwrap();
        assert_eq!(Evaluated::read(written(&both).path()).unwrap().run.answers, 2);
        let twice = serde_json::to_string(&report(vec![one, later.clone(), later])).unwrap();
        let said = refused(written(&twice).path());
        assert_eq!(said, "/report.json: expected one answer to a question, found sample 1, turn 2 twice");
    }

    #[test]
    fn what_is_not_stated_is_said() {
        let whole = serde_json::to_string(&report(vec![answer("1", "c", Task::Caption, &[("bleu1", 0.5)])])).unwrap();
        let folder = written(&whole);
        let found = Evaluated::read(folder.path()).unwrap();
        assert_eq!((found.run.decoding, found.run.selection_hash, found.notes.len()), (None, None, 1));
        assert!(found.notes[0].contains("no evaluate.toml and no answered.json, so not all of"), "{:?}", found.notes);
        assert_eq!(found.run.answers_cut, None);
        fs::write(folder.path().join(CONFIG), "device = 3").unwrap();
        fs::write(folder.path().join(ANSWERED), r#"{"checkpoint":"c","selection":"s"}"#).unwrap();
        let found = Evaluated::read(folder.path()).unwrap();
        assert_eq!((found.run.selection_hash.as_deref(), found.run.dataset_hash), (Some("s"), None));
        assert!(found.notes.len() == 1 && found.notes[0].contains("the configuration of an evaluation"));
        let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/demo/evaluate.toml");
        fs::copy(demo, folder.path().join(CONFIG)).unwrap();
        let found = Evaluated::read(folder.path()).unwrap();
        assert_eq!(found.run.decoding.as_deref(), Some("greedy, at most 32 tokens"));
        assert!(found.notes.is_empty() && found.run.answers_cut == Some(0));
    }
}
