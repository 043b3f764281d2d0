//! What each program says about its run: one JSON file a run, read by people's scripts and shown by `med2e3 report`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Id;
use crate::evaluation::Answer;
use crate::explanation::{AttentionMap, DeletionScore, QuestionDeletion, QuestionFocus};
use crate::sample::{Split, Task};

/// How many rows of one table went which way. `manifest_rows = rows + quarantined + duplicates`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCounts {
    /// Rows that the manifest has.
    pub manifest_rows: u64,
    /// Rows that were written to shards.
    pub rows: u64,
    /// Rows set aside, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Rows whose id an earlier row has.
    pub duplicates: u64,
}

impl TableCounts {
    /// Rows set aside for any reason.
    pub fn quarantined_rows(&self) -> u64 {
        self.quarantined.values().copied().fold(0, u64::saturating_add)
    }

    /// Whether every manifest row is accounted for.
    pub fn add_up(&self) -> bool {
        let parts = [self.rows, self.quarantined_rows(), self.duplicates];
        // Counts come from files: a sum beyond 64 bits is none.
        parts.into_iter().try_fold(0, u64::checked_add) == Some(self.manifest_rows)
    }

    /// Adds another table's counts.
    pub fn add(&mut self, other: &TableCounts) {
        let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        add(&mut self.manifest_rows, other.manifest_rows);
        add(&mut self.rows, other.rows);
        add(&mut self.duplicates, other.duplicates);
        for (reason, count) in &other.quarantined {
            add(self.quarantined.entry(reason.clone()).or_default(), *count);
        }
    }
}

/// What reading a manifest found, besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestCounts {
    /// Cases by what told them apart: table, patient_id, pattern, folder.
    pub cases: BTreeMap<String, u64>,
    /// Rows of tables of texts that hold no text.
    pub rows_without_text: u64,
    /// Volumes that no text is about, where there are texts.
    pub volumes_without_text: u64,
    /// Places in texts that were replaced since they may tell who a patient is, by kind.
    pub scrubbed: BTreeMap<String, u64>,
    /// Texts that look as if they told who a patient is, and were stored as they are, by kind of what was found in them.
    pub identities: BTreeMap<String, u64>,
    /// Texts that have any of `identities`.
    pub texts_with_identities: u64,
}

/// `report.json` of `med2e3-data prepare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrepareReport {
    /// The table of volumes.
    pub volumes: TableCounts,
    /// The table of texts.
    pub texts: TableCounts,
    /// Source files or series read.
    pub inputs_read: u64,
    /// Bytes of source files read.
    pub bytes_read: u64,
    /// Bytes of shards written.
    pub bytes_written: u64,
    /// Thread seconds by step: wait, read, inflate, decode, resample, encode, tokenize, write.
    pub step_seconds: BTreeMap<String, f64>,
    /// Wall seconds.
    pub seconds: f64,
    /// Texts that the length budget cut.
    pub truncated: u64,
    /// Files of listed folders that are volumes or parts of them. With `passed_over` all files below these folders.
    #[serde(default)]
    pub files_in_volumes: u64,
    /// Files and folders of listed folders that are neither, by reason.
    #[serde(default)]
    pub passed_over: BTreeMap<String, u64>,
    /// What reading the manifest found, besides its rows.
    #[serde(default)]
    pub manifest: ManifestCounts,
    /// Volumes with a note, by the note with every number as `N`.
    #[serde(default)]
    pub notes: BTreeMap<String, u64>,
    /// Texts that hold the words of special tokens, such as `<|endoftext|>`; they are tokenized as plain text.
    #[serde(default)]
    pub special_words: u64,
    /// Shards that an earlier run had finished.
    pub shards_reused: u64,
}

/// Numbers that JSON has no word for.
mod number_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        number.is_finite().then_some(*number).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Option::<f64>::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
    }
}

/// The loss of one task's targets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskLoss {
    /// Mean cross-entropy of the task's targets in nats, each counting the same. Null in a file where it is not a number.
    #[serde(with = "number_or_null")]
    pub loss: f64,
    /// Targets of the task.
    pub targets: u64,
}

/// What a training step computed, how fast, and in how much memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepWork {
    /// Texts of the step.
    pub texts: u64,
    /// Tokens of the language model, visual ones included, padding left out.
    pub tokens: u64,
    /// Volumes that went through the encoders; one that texts of several micro-batches show counts in each.
    pub volumes: u64,
    /// Share of the computed tokens that are padding, 0 to 1.
    pub padding_share: f64,
    /// Texts of a second.
    pub texts_per_second: f64,
    /// Tokens of a second.
    pub tokens_per_second: f64,
    /// Volumes of a second.
    pub volumes_per_second: f64,
    /// Share of the step's seconds that it waited for data, 0 to 1.
    pub wait_share: f64,
    /// Model FLOPs utilization: the FLOPs of forward and backward pass, without padding and recomputation, a second, over the
    /// device's peak. Absent where the peak is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfu: Option<f64>,
    /// Hardware FLOPs utilization: the same with padding and recomputation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hfu: Option<f64>,
    /// The most bytes that tensors held on the device at one time of the step. Absent where nothing counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
}

/// What the feed did for a step: the growth of its readers' sums since the step before, for batches that are yet to come too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepFeed {
    /// Micro-batches that were ready when the step asked for its first.
    pub ready: u64,
    /// Stored bytes that were read.
    pub bytes: u64,
    /// Seconds of having them, of all readers together, as those below.
    pub read_seconds: f64,
    /// Of comparing their hash.
    pub hash_seconds: f64,
    /// Of decoding them.
    pub decode_seconds: f64,
    /// Of making batches of texts.
    pub collate_seconds: f64,
}

/// One line of `train.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainStep {
    /// Optimizer step, from 1.
    pub step: u64,
    /// Pass over the data, from 0.
    pub epoch: u64,
    /// Cross-entropy of the step's targets in nats: the mean over all of them, or the mean of the means of the step's loss groups.
    /// Null in the log where it is not a number.
    #[serde(with = "number_or_null")]
    pub loss: f64,
    /// Loss and targets of each task that has a target in the step; empty in logs of earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_task: BTreeMap<Task, TaskLoss>,
    /// Share of targets whose most likely token is right. Null in the log where nothing was computed.
    #[serde(with = "number_or_null")]
    pub token_accuracy: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping. Null in the log where it is not a number.
    #[serde(with = "number_or_null")]
    pub gradient_norm: f64,
    /// The same after clipping; the same number where nothing is clipped. Null where it is not a number, absent in logs of earlier
    /// versions.
    #[serde(default)]
    pub clipped_norm: Option<f64>,
    /// Targets of the step.
    pub targets: u64,
    /// Loss groups of the step without a target, by their place in it; they count 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targetless_groups: Vec<usize>,
    /// Whether the step changed no weight, since its gradients were not finite or none of its samples reads.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Samples that the step went without, since a volume of theirs does not read; their targets are in `targets` and count 0.
    #[serde(default, skip_serializing_if = "crate::outcome::is_zero")]
    pub bad_samples: u64,
    /// Seconds that the step took. A GPU is heard of one step later: there the first step after a start, a measurement or a
    /// checkpoint looks shorter than it was, and the last one before has the rest.
    pub seconds: f64,
    /// Of these, seconds spent waiting for the batch.
    pub wait_seconds: f64,
    /// What the feed's readers did meanwhile; none in logs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<StepFeed>,
    /// What it computed and how fast; none in logs of earlier versions.
    #[serde(flatten)]
    pub work: Option<StepWork>,
}

/// A line of a run's `feed-rejects.jsonl`: a sample that it goes without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedReject {
    /// The step that met it first.
    pub step: u64,
    /// The sample's key.
    pub sample: Id,
    /// The volume that does not read as it was written.
    pub volume: Id,
    /// The volume's shard.
    pub shard: PathBuf,
    /// The volume's row there, from 0.
    pub row: u64,
    /// What was expected and found.
    pub reason: String,
}

/// `report.json` of `med2e3 train`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The run's name in its configuration.
    pub name: String,
    /// Seed of initialization and order.
    pub seed: u64,
    /// Where it ran.
    pub device: String,
    /// Parameters of the model, by part.
    pub parameters: BTreeMap<String, u64>,
    /// Parts that were trained.
    pub trained: Vec<String>,
    /// Samples in the selection.
    pub samples: u64,
    /// Samples left out because their volume is in quarantine.
    pub samples_without_volume: u64,
    /// Every step.
    pub steps: Vec<TrainStep>,
    /// Loss on the validation split by step, where it was measured.
    pub validation: Vec<(u64, f64)>,
    /// Wall seconds.
    pub seconds: f64,
    /// Folder of the last checkpoint, relative to the run.
    pub checkpoint: String,
}

/// `run.json` of a training: what is known before its first step and its log does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLength {
    /// Steps of the whole run.
    pub steps: u64,
    /// What `micro_batch = "auto"` came to; absent where the configuration states it, and in runs of earlier versions. A run that goes
    /// on keeps it, since the draws of adapters' dropout depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<SettledBudget>,
}

/// The most that is computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledBudget {
    /// Tokens of a micro-batch.
    pub tokens: usize,
    /// Distinct volumes of a micro-batch.
    pub volumes: usize,
}

/// One step of contrastive training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipStep {
    /// Optimizer step, from 1.
    pub step: u64,
    /// Pass over the data, from 0.
    pub epoch: u64,
    /// Mean of the cross-entropies over each volume's captions and over each caption's volumes, in nats.
    pub loss: f64,
    /// Share of the step's volumes whose own caption is the most similar.
    pub accuracy: f64,
    /// The learned logit scale before the step.
    pub logit_scale: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Norm of all gradients before clipping.
    pub gradient_norm: f64,
    /// Pairs of the step.
    pub pairs: u64,
    /// Whether the step changed no weight, since its gradients were not finite.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Seconds that the step took.
    pub seconds: f64,
    /// Of these, seconds spent waiting for the batch.
    pub wait_seconds: f64,
}

/// `report.json` of `med2e3 train-clip`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainClipReport {
    /// The run's name in its configuration.
    pub name: String,
    /// Seed of initialization and order.
    pub seed: u64,
    /// Where it ran.
    pub device: String,
    /// Parameters of the model.
    pub parameters: u64,
    /// Pairs in the selection.
    pub pairs: u64,
    /// Pairs left out because their volume is in quarantine.
    pub samples_without_volume: u64,
    /// Every step.
    pub steps: Vec<ClipStep>,
    /// Loss of the first pairs of the validation split by step, where it was measured.
    pub validation: Vec<(u64, f64)>,
    /// Wall seconds.
    pub seconds: f64,
    /// Folder of the last checkpoint, relative to the run.
    pub checkpoint: String,
}

/// `validation/step-N.json` of a training run: what was measured after step N.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// The step, from 1.
    pub step: u64,
    /// Mean cross-entropy over all targets that were measured, in nats. Null where it is not a number.
    #[serde(with = "number_or_null")]
    pub loss: f64,
    /// The same of each task that has targets among them.
    pub by_task: BTreeMap<Task, TaskLoss>,
    /// The most likely answers to a few samples, the same ones each time.
    pub answers: Vec<Answer>,
}

/// One question about one volume, explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The sample, its answer and its scores.
    pub answer: Answer,
    /// Number of slices, so that the uniform line is at one over it.
    pub slices: u32,
    /// Slices shown, in order.
    pub shown: Vec<u32>,
    /// Picture of the shown slices side by side, relative to the run.
    pub picture: String,
    /// A JPEG picture of all slices of the volume, relative to the run: 8 in a row, from left to right and top to bottom, slice 0 first,
    /// each as high and wide as the volume's. Absent in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// How its scores are spread. Absent in reports of earlier versions, as what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus: Option<QuestionFocus>,
    /// How likely its expected answer is without some slices, where that was asked for and scores weigh slices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<QuestionDeletion>,
    /// Where its answer's tokens look, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<AttentionMap>,
}

/// `report.json` of `med2e3 explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// The checkpoint, as configured.
    pub checkpoint: String,
    /// Volumes in order, each with its questions.
    pub explanations: Vec<Explanation>,
    /// What deletion of slices says over all questions; empty where it was not asked for, and in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletion: Vec<DeletionScore>,
    /// Wall seconds.
    pub seconds: f64,
}

/// Shares of queries whose right item is among the first 1, 5 and 10. Guessing reaches k over the number of items where one
/// is right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recalls {
    /// R@1.
    pub at_1: f64,
    /// R@5.
    pub at_5: f64,
    /// R@10.
    pub at_10: f64,
}

/// Retrieval both ways.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalScores {
    /// A volume's caption among all captions; M3D's `eval_itr.py` prints it as IR.
    pub image_to_text: Recalls,
    /// A caption's volume among all volumes; M3D's `eval_itr.py` prints it as TR.
    pub text_to_image: Recalls,
}

/// `report.json` of `med2e3 retrieve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrieveReport {
    /// Part of the study.
    pub split: Split,
    /// M3D-CLIP's weights, as configured.
    pub clip: String,
    /// Pairs of a volume and its caption: queries each way.
    pub pairs: u64,
    /// Different captions among them; several series of a case share one.
    pub distinct_texts: u64,
    /// Samples left out because their volume is in quarantine.
    pub samples_without_volume: u64,
    /// Captions that were cut at the most tokens that the run allows.
    pub truncated_texts: u64,
    /// Only the own partner is right, as in M3D's evaluation.
    pub by_index: RetrievalScores,
    /// Every item with the same caption is right.
    pub by_text: RetrievalScores,
    /// Wall seconds.
    pub seconds: f64,
}

/// What `med2e3-data demo-set` cut, in `demo-set.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DemoSetReport {
    /// The atlas' file name.
    pub atlas: String,
    /// Least distance of boxes of different splits, in mm.
    pub split_gap_mm: f64,
    /// Boxes by split.
    pub boxes: BTreeMap<String, u64>,
    /// Series by split.
    pub series: BTreeMap<String, u64>,
    /// Series by form: nifti, png, jpeg.
    pub forms: BTreeMap<String, u64>,
    /// Inputs that are broken on purpose.
    pub broken: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_earlier_versions_are_read() {
        let old = r#"{"step":3,"epoch":0,"loss":null,"token_accuracy":0.5,"learning_rate":0.001,"gradient_norm":2.0,"targets":7,"skipped":true,"seconds":1.5,"wait_seconds":0.25}"#;
        let step: TrainStep = serde_json::from_str(old).unwrap();
        assert!(step.loss.is_nan() && step.by_task.is_empty() && step.clipped_norm.is_none() && step.work.is_none());
        assert!(step.feed.is_none() && !serde_json::to_string(&step).unwrap().contains("feed"));
        let work = StepWork {
            texts: 4,
            tokens: 100,
            volumes: 2,
            padding_share: 0.25,
            texts_per_second: 2.0,
            tokens_per_second: 50.0,
            volumes_per_second: 1.0,
            wait_share: 0.125,
            mfu: None,
            hfu: Some(0.5),
            peak_bytes: Some(1 << 40),
        };
        let by_task = BTreeMap::from([
            (Task::Caption, TaskLoss { loss: 1.5, targets: 3 }),
            (Task::ClosedVqa, TaskLoss { loss: f64::NAN, targets: 4 }),
        ]);
        let feed = Some(StepFeed { ready: 3, bytes: 1 << 40, read_seconds: 0.5, ..StepFeed::default() });
        let new = TrainStep { loss: 1.25, by_task, clipped_norm: Some(1.0), feed, work: Some(work), ..step };
        let line = serde_json::to_string(&new).unwrap();
        assert!(line.contains(r#""by_task":{"caption":{"loss":1.5,"targets":3},"closed_vqa":{"loss":null"#), "{line}");
        assert!(line.contains(r#""texts":4"#) && !line.contains("mfu"), "{line}");
        let mut back: TrainStep = serde_json::from_str(&line).unwrap();
        assert!(back.by_task.remove(&Task::ClosedVqa).unwrap().loss.is_nan());
        let mut expected = new;
        expected.by_task.remove(&Task::ClosedVqa);
        assert_eq!(back, expected);
    }
}
