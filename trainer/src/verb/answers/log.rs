//! `answers.jsonl`: one line an answer, written as answers come. A run that was killed has lost the batch in work alone, and goes on
//! when it is started again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use med2e3_program::note;
use med2e3_program::output::{OutputError, is_occupied};
use med2e3_schemas::evaluation::Answer;
use med2e3_schemas::sample::SampleRow;
use med2e3_shards::SampleRows;
use med2e3_store::{FileError, put_whole};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::TrainerError;
use crate::differences::{another_run, differences};
use crate::files::json::{read_json, write_json};
use crate::lock::RunLock;
use crate::verb::turns::Asked;

/// The log's name.
const ANSWERS: &str = "answers.jsonl";
/// The file that says of what model and questions the answers are.
pub(in crate::verb) const ANSWERED: &str = "answered.json";
/// The configuration's name.
pub(in crate::verb) const CONFIG: &str = "evaluate.toml";

/// Keys of the configuration that may change between starts: where and how fast, and what paths lead to; what lies there is
/// compared by its hash.
pub(in crate::verb) const FREE: [&str; 7] =
    ["device", "threads", "batch_size", "checkpoint", "dataset", "meteor.wordnet", "bert_score.model"];

/// What the answers are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::verb) struct Answered {
    /// Hash of the checkpoint's manifest, which has the hashes of all its files.
    pub(in crate::verb) checkpoint: String,
    /// Hash of the selected samples.
    pub(in crate::verb) selection: String,
    /// Hash of the dataset's index, for reports; another index may have the same samples. Absent in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::verb) dataset: Option<String>,
}

/// A question: its sample and its turn.
type Key = (String, u32);

/// The folder of an evaluation, kept from other processes until this is dropped.
pub(in crate::verb) struct AnswerFolder {
    out: PathBuf,
    _lock: RunLock,
}

impl AnswerFolder {
    /// Makes the folder this run's, or goes on in it where it holds the same run without a report.
    ///
    /// # Errors
    /// The folder holds something else, another run or one that has ended; another process writes to it; the system refuses.
    pub(in crate::verb) fn claim(
        out: &Path,
        config: &impl Serialize,
        answered: &Answered,
    ) -> Result<AnswerFolder, TrainerError> {
        let lock = RunLock::take(out)?;
        if is_occupied(out) {
            check_same(out, config, answered)?;
        } else {
            let text = toml::to_string(config).expect("a parsed configuration can be written");
            write_json(&out.join(ANSWERED), answered)?;
            put_whole(&out.join(CONFIG), text.as_bytes())?;
        }
        Ok(AnswerFolder { out: out.to_owned(), _lock: lock })
    }

    /// The log of answers to these questions; those that are there already are told on standard error.
    ///
    /// # Errors
    /// A log that does not read, or that holds answers to other questions.
    pub(in crate::verb) fn log(&self, asked: &Asked) -> Result<AnswerLog, TrainerError> {
        AnswerLog::open(self.out.join(ANSWERS), asked)
    }

    /// The log of a control's answers.
    ///
    /// # Errors
    /// As [`AnswerFolder::log`].
    pub(in crate::verb) fn log_of_control(&self, name: &str, asked: &Asked) -> Result<AnswerLog, TrainerError> {
        let folder = self.out.join("controls");
        fs::create_dir_all(&folder).map_err(FileError::of(&folder, "create"))?;
        AnswerLog::open(folder.join(format!("{name}.jsonl")), asked)
    }
}

/// Answers on the disk, open for more.
pub(in crate::verb) struct AnswerLog {
    path: PathBuf,
    file: File,
    answers: HashMap<Key, Answer>,
}

impl AnswerLog {
    fn open(path: PathBuf, asked: &Asked) -> Result<AnswerLog, TrainerError> {
        let answers = if path.is_file() { whole_lines(&path)? } else { HashMap::new() };
        let keys = asked.samples.rows.iter().zip(&asked.turns).map(|(row, turn)| (row.sample_id.to_string(), *turn));
        let count = keys.filter(|key| answers.contains_key(key)).count();
        if count < answers.len() {
            let found = format!("{} of questions that are not asked", answers.len() - count);
            return Err(TrainerError::File { path, expected: "answers to this run's questions".into(), found });
        }
        if count > 0 {
            note(format_args!("note: {}: {count} of {} answers are there already", path.display(), asked.turns.len()));
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(FileError::of(&path, "open"))?;
        Ok(AnswerLog { path, file, answers })
    }

    /// The questions that have no answer yet.
    pub(in crate::verb) fn open_questions(&self, asked: &Asked) -> Asked {
        let both = asked.samples.rows.iter().zip(&asked.turns);
        let is_open =
            |(row, turn): &(&SampleRow, &u32)| !self.answers.contains_key(&(row.sample_id.to_string(), **turn));
        let (rows, turns) = both.filter(is_open).map(|(row, turn)| (row.clone(), *turn)).unzip();
        Asked { samples: SampleRows { rows, ..asked.samples }, turns, not_asked: asked.not_asked }
    }

    /// Adds an answer; it is on the disk's way before this returns.
    ///
    /// # Errors
    /// The system refuses.
    pub(in crate::verb) fn append(&mut self, answer: Answer) -> Result<(), TrainerError> {
        let line = serde_json::to_string(&answer).expect("an answer is plain data") + "\n";
        self.file.write_all(line.as_bytes()).map_err(FileError::of(&self.path, "write"))?;
        self.answers.insert((answer.sample_id.clone(), answer.turn), answer);
        Ok(())
    }

    /// All answers in the order of the questions.
    ///
    /// # Panics
    /// A question is open.
    pub(in crate::verb) fn in_order(mut self, asked: &Asked) -> Vec<Answer> {
        let keys = asked.samples.rows.iter().zip(&asked.turns);
        let mut take = |key: Key| self.answers.remove(&key).expect("every question has its answer");
        keys.map(|(row, turn)| take((row.sample_id.to_string(), *turn))).collect()
    }
}

/// Whether the folder holds this run, and no report.
fn check_same(out: &Path, config: &impl Serialize, answered: &Answered) -> Result<(), TrainerError> {
    let refuse = |problem: String, hint: &str| {
        Err(OutputError::Occupied { path: out.to_owned(), problem, hint: hint.into() }.into())
    };
    let there = fs::read_to_string(out.join(CONFIG)).ok().and_then(|text| text.parse::<Table>().ok());
    let Some(there) = there else {
        return refuse("is not empty".into(), "give another --out, or remove the folder");
    };
    let here = Table::try_from(config).expect("a parsed configuration can be written");
    let found = differences(&there, &here, &FREE);
    let mut binding = found.binding_words();
    if binding.is_empty() {
        let of: Answered = read_json(&out.join(ANSWERED), "JSON as this program writes it")?;
        let pairs =
            [("checkpoint", &of.checkpoint, &answered.checkpoint), ("selection", &of.selection, &answered.selection)];
        let differing = pairs.into_iter().filter(|(_, there, here)| there != here);
        let words = differing.map(|(what, there, here)| format!("the {what}'s hash is {there} there, {here} here"));
        binding = words.collect::<Vec<_>>().join("; ");
    }
    if !binding.is_empty() {
        return Err(another_run(out, &binding));
    }
    if out.join("report.json").is_file() {
        return refuse("holds this run, which has ended".into(), "give another --out");
    }
    found.free.iter().for_each(|changed| note(format_args!("note: {changed}")));
    Ok(())
}

/// The answers of a log. What follows its last end of line was cut by a kill, and is cut off.
fn whole_lines(path: &Path) -> Result<HashMap<Key, Answer>, TrainerError> {
    let bytes = fs::read(path).map_err(FileError::of(path, "read"))?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if end < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(FileError::of(path, "open"))?;
        file.set_len(end as u64).map_err(FileError::of(path, "cut"))?;
    }
    let mut answers = HashMap::new();
    for (number, line) in bytes[..end].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let refused = |found: String| TrainerError::File {
            path: path.to_owned(),
            expected: format!("an answer in line {}", number + 1),
            found,
        };
        let answer: Answer = serde_json::from_slice(line).map_err(|error| refused(error.to_string()))?;
        let key = (answer.sample_id.clone(), answer.turn);
        if answers.insert(key, answer).is_some() {
            return Err(refused("one to a question that an earlier line answers".into()));
        }
    }
    Ok(answers)
}
