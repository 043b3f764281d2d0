//! The folder of all rows: new, or one of the same configuration.

use std::fs;
use std::path::Path;

use med2e3_program::note;
use med2e3_program::output::{OutputError, is_occupied};
use med2e3_store::put_whole;
use toml::Table;

use crate::TrainerError;
use crate::config::AblateConfig;
use crate::differences::{another_run, binding_hash, differences};
use crate::lock::RunLock;
use crate::train;
use crate::verb::answers::log;

/// The configuration's name.
const CONFIG: &str = "ablate.toml";

/// Keys that may change between starts: which seeds there are, where and how fast it goes, and what paths lead to. What a stage's own
/// resumption lets free binds here where it changes the stage's length.
fn free() -> Vec<String> {
    let above = ["seeds", "device", "threads", "start.checkpoint"].map(str::to_owned);
    let of_stage = |stage: &str| {
        let keys = train::FREE.iter().filter(|key| !train::LENGTH_KEYS.contains(key));
        keys.map(|key| format!("{stage}.{key}")).collect::<Vec<_>>()
    };
    let of_answers = log::FREE.iter().map(|key| format!("evaluate.{key}"));
    above.into_iter().chain(of_stage("pretrain")).chain(of_stage("finetune")).chain(of_answers).collect()
}

/// Makes the folder this ablation's, or goes on in it where it holds the same one; gives the hash of what binds.
///
/// # Errors
/// The folder holds something else, or an ablation of another configuration: with the keys that differ; the system refuses.
pub(super) fn claim(config: &AblateConfig, out: &Path) -> Result<String, TrainerError> {
    let here = Table::try_from(config).expect("a parsed configuration can be written");
    let free = free();
    let free: Vec<&str> = free.iter().map(String::as_str).collect();
    let _lock = RunLock::wait(out)?;
    let path = out.join(CONFIG);
    if is_occupied(out) {
        let there = fs::read_to_string(&path).ok().and_then(|text| text.parse::<Table>().ok());
        let Some(there) = there else {
            let problem = "holds something else than an ablation".into();
            let hint = "give another --out".into();
            return Err(OutputError::Occupied { path: out.to_owned(), problem, hint }.into());
        };
        let found = differences(&there, &here, &free);
        if !found.binding.is_empty() {
            return Err(another_run(out, &found.binding_words()));
        }
        found.free.iter().for_each(|changed| note(format_args!("note: {changed}")));
    }
    put_whole(&path, here.to_string().as_bytes())?;
    Ok(binding_hash(&here, &free))
}
