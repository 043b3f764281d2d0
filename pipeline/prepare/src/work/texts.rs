//! Texts: the template laid out and tokenized, targets known from the layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use med2e3_input::InputError;
use med2e3_input::text::template::IMAGE3D_TOKEN;
use med2e3_input::text::{LengthBudget, Template, Turn};
use med2e3_program::with_causes;
use med2e3_schemas::Id;
use med2e3_schemas::manifest::{ManifestText, range_identity, texts_from_batch};
use med2e3_schemas::quarantine::{QuarantineRecord, Reason, Table};
use med2e3_schemas::sample::{SampleRow, Task, schema, to_batch};
use med2e3_shards::{PageLayout, ShardWriter};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::receipt::{Receipt, ShardFiles};
use super::{Committed, Outlook, RangeWork, WorkSpec, count_key, entries_of};
use crate::PrepareError;
use crate::config::TextConfig;
use crate::progress::{RowProgress, Step, StepClock};
use crate::provenance::Provenance;
use crate::run::TextTools;

/// The work on ranges of texts.
pub(super) struct Texts {
    files: ShardFiles,
    provenance: Provenance,
    template: Template,
    budget: LengthBudget,
    tools: TextTools,
    threads: Arc<ThreadPool>,
    progress: Arc<RowProgress>,
    clock: Arc<StepClock>,
}

impl Texts {
    /// Work that tokenizes with `tools` and writes shards of the spec's dataset.
    pub(super) fn new(
        spec: &WorkSpec,
        config: &TextConfig,
        tools: TextTools,
        provenance: Provenance,
        threads: Arc<ThreadPool>,
        progress: Arc<RowProgress>,
    ) -> Texts {
        Texts {
            files: ShardFiles::new(spec, provenance.clone()),
            provenance,
            template: config.template,
            budget: LengthBudget {
                total: config.length,
                visual_tokens: config.visual_tokens,
                keep_end: config.keep_end,
            },
            tools,
            threads,
            progress,
            clock: Arc::new(StepClock::default()),
        }
    }

    /// The row's turns: its own, or its instruction as the template's data writes it.
    fn turns(&self, entry: &ManifestText) -> Vec<Turn> {
        match &entry.turns {
            Some(turns) => {
                let turns = turns.iter();
                turns.map(|turn| Turn { question: turn.question.clone(), answer: Some(turn.answer.clone()) }).collect()
            }
            None => {
                let question = self.template.with_image(entry.task, &entry.question);
                vec![Turn { question, answer: Some(entry.answer.clone()) }]
            }
        }
    }

    /// Whether a text of the row holds the words of a special token of either tokenizer.
    fn holds_special_words(&self, entry: &ManifestText) -> bool {
        let turns = entry.turns.iter().flatten().flat_map(|turn| [&turn.question, &turn.answer]);
        let mut texts = turns.chain([&entry.question, &entry.answer]);
        let questions = self.tools.question_tokenizer.as_ref();
        texts.any(|text| self.tools.tokenizer.holds_special_words(text))
            || questions.is_some_and(|tokenizer| tokenizer.holds_special_words(&entry.question))
    }

    fn encode(&self, entry: &ManifestText) -> Result<SampleRow, (Reason, String)> {
        let error = |error: InputError| (error.reason(), with_causes(&error));
        if let Some(refusal) = &entry.refusal {
            return Err((refusal.reason, refusal.detail.clone()));
        }
        let turns = self.turns(entry);
        let marks: usize = turns.iter().map(|turn| turn.question.matches(IMAGE3D_TOKEN).count()).sum();
        if marks != entry.volume_ids.len() {
            let detail = format!("expected {} image marks, found {marks}", entry.volume_ids.len());
            return Err((Reason::BadRow, detail));
        }
        let tokenizer = &self.tools.tokenizer;
        let encoded = self.template.encode(tokenizer, &turns, &self.budget).map_err(error)?;
        let pretrain_ids = match entry.task {
            Task::Caption => {
                let encoded = Template::PretrainVision3d.encode(tokenizer, &turns, &self.budget).map_err(error)?;
                Some(encoded.ids)
            }
            Task::OpenVqa | Task::ClosedVqa => None,
        };
        let question_ids_bert =
            self.tools.question_tokenizer.as_ref().map(|tokenizer| tokenizer.encode(&entry.question));
        Ok(SampleRow {
            sample_id: entry.sample_id,
            // Volumes whose mark the budget cut away are not part of the sample.
            volume_ids: entry.volume_ids[..encoded.images].to_vec(),
            task: entry.task,
            topic: entry.topic,
            split: entry.split,
            case_id: self.provenance.case(&entry.case_id),
            question: entry.question.clone(),
            answer: entry.answer.clone(),
            choices: entry.choices.clone(),
            answer_choice: entry.answer_choice.clone(),
            ids: encoded.ids,
            target_spans: encoded.target_spans,
            pretrain_ids,
            question_ids_llm: tokenizer.encode(&entry.question).map_err(error)?,
            question_ids_bert: question_ids_bert.transpose().map_err(error)?,
            truncated: encoded.truncated,
        })
    }
}

impl RangeWork for Texts {
    fn table(&self) -> Table {
        self.files.table()
    }

    fn clock(&self) -> &Arc<StepClock> {
        &self.clock
    }

    fn finished(&self, range_id: u32, range_hash: &str) -> Option<Committed> {
        let (_, Receipt { committed, .. }) = self.files.find(range_id)?;
        (committed.outcome.range_hash == range_hash).then(|| self.progress.skip(&committed.outcome))?;
        Some(committed)
    }

    fn outlook(&self, _: u32, rows: &[RecordBatch]) -> Result<Outlook, PrepareError> {
        // A text costs less than to look whether it is there.
        let made = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(Outlook { made, ..Outlook::default() })
    }

    fn earlier_inputs(&self, _: u32) -> Vec<(Id, bool)> {
        Vec::new()
    }

    fn commit(&self, range_id: u32, rows: &[RecordBatch]) -> Result<Committed, PrepareError> {
        let entries = entries_of(rows, texts_from_batch)?;
        let identity = range_identity(entries.iter().map(|(ordinal, entry)| (*ordinal, entry)));
        let mut outcome = self.files.outcome(identity.clone(), entries.len());
        outcome.duplicates = entries.iter().filter(|(_, entry)| entry.duplicate).count() as u64;
        let encoded: Vec<_> = self.clock.time(Step::Tokenize, || {
            self.threads.install(|| {
                let fresh = entries.par_iter().filter(|(_, entry)| !entry.duplicate);
                fresh.map(|(ordinal, entry)| (*ordinal, entry, self.encode(entry))).collect()
            })
        });
        (0..outcome.duplicates).for_each(|_| self.progress.step(true));
        let mut samples = Vec::with_capacity(encoded.len());
        for (ordinal, entry, result) in encoded {
            self.progress.step(result.is_ok());
            match result {
                Ok(row) => {
                    outcome.special_words += u64::from(self.holds_special_words(entry));
                    samples.push(row);
                }
                Err((reason, detail)) => outcome.rejects.push(QuarantineRecord {
                    table: Table::Texts,
                    ordinal,
                    path: entry.images.join(", "),
                    row: entry.row.clone(),
                    reason,
                    detail,
                    byte_offset: None,
                }),
            }
        }
        outcome.rows = samples.len() as u64;
        outcome.truncated = samples.iter().filter(|row| row.truncated).count() as u64;
        let counts = count(&samples);
        let committed = Committed { range_id, outcome, counts, ..Committed::default() };
        self.clock.time(Step::Write, || {
            let mut writer = ShardWriter::create(&self.files.path(range_id), schema(), PageLayout::Samples)?;
            for group in samples.chunks(PageLayout::Samples.rows_per_group(0)) {
                writer.write(&to_batch(group))?;
            }
            // A sample is a function of its manifest row and the recipe.
            self.files.commit(writer, Id::of_parts([identity.as_bytes()]), committed, BTreeMap::new())
        })
    }
}

fn count(rows: &[SampleRow]) -> BTreeMap<String, BTreeMap<String, u64>> {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows {
        let key = count_key(row.task, row.topic);
        *counts.entry(row.split.to_string()).or_default().entry(key).or_default() += 1;
    }
    counts
}
