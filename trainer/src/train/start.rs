//! What a run begins with: fresh weights, another checkpoint's, or its own last checkpoint.

use std::collections::BTreeSet;
use std::path::Path;

use med2e3_feed::FeedCursor;
use med2e3_program::note;
use med2e3_shards::Dataset;
use tch::{Device, Kind};

use super::data::{TrainData, of_keys};
use super::optimizer::AdamW;
use super::resume::resumable;
use crate::TrainerError;
use crate::config::{ModelConfig, Start, TrainConfig};
use crate::files::checkpoint::{CarriedFile, Checkpoint, Tokenizers, TrainState};
use crate::files::model_files::ModelFiles;
use crate::fit::{self, Learned, expect};
use crate::machine::check_memory;
use crate::model::piece::{How, Piece, Tunings};
use crate::model::weights::Table;
use crate::model::{LoraConfig, Med2e3, Med2e3Config, Part};
use crate::trained_parts::LlmKind;

/// What to do where `out` holds a run already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// An error that names `--resume`.
    Refuse,
    /// Go on from its last checkpoint.
    Resume,
}

/// Where the first weights come from.
pub(super) enum Origin {
    /// Drawn from the seed.
    Fresh(Box<Med2e3Config>),
    /// The checkpoint that the configuration names.
    Checkpoint(Checkpoint),
    /// This run's own last checkpoint.
    Resumed(Checkpoint),
}

impl Origin {
    /// `out` is the run's folder.
    pub(super) fn find(
        config: &TrainConfig,
        dataset: &Dataset,
        out: &Path,
        existing: Existing,
    ) -> Result<Origin, TrainerError> {
        if let Some(checkpoint) = resumable(config, out, existing)? {
            return Ok(Origin::Resumed(checkpoint));
        }
        Origin::of_start(config, dataset)
    }

    /// Where the first weights of a run that is not resumed come from.
    pub(super) fn of_start(config: &TrainConfig, dataset: &Dataset) -> Result<Origin, TrainerError> {
        Ok(match &config.model.start {
            Start::Fresh(sizes) => Origin::Fresh(Box::new(sizes.completed().for_vocabulary(fit::vocabulary(dataset)?))),
            Start::Checkpoint(path) => Origin::Checkpoint(Checkpoint::open(path)?),
        })
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Origin::Fresh(_) => None,
            Origin::Checkpoint(checkpoint) | Origin::Resumed(checkpoint) => Some(checkpoint),
        }
    }

    /// The model's sizes, before there is a model.
    pub(super) fn sizes(&self) -> Result<Med2e3Config, TrainerError> {
        Ok(match self {
            Origin::Fresh(sizes) => (**sizes).clone(),
            Origin::Checkpoint(checkpoint) | Origin::Resumed(checkpoint) => {
                ModelFiles::open(checkpoint.folder(), None)?.config().clone()
            }
        })
    }

    /// The model, adapters included, with the configured parts trainable, and how each piece is trained. Trained pieces are f32:
    /// the optimizer makes them `kind` and keeps what that leaves over. All else is of this kind already.
    pub(super) fn model(
        &self,
        config: &ModelConfig,
        seed: u64,
        device: Device,
        kind: Kind,
    ) -> Result<(Med2e3, Tunings), TrainerError> {
        let mut model = match self {
            Origin::Fresh(sizes) => fresh(sizes, device, seed)?,
            Origin::Checkpoint(checkpoint) | Origin::Resumed(checkpoint) => checkpoint.model(device)?,
        };
        let has_adapters = config.lora.is_some() || model.config().lora.is_some();
        let llm = LlmKind { has_adapters, is_tied: model.config().llm.tie_word_embeddings };
        let tunings = built_pieces(&model, &config.train.tunings(llm)?)?;
        if let Some(wanted) = &config.lora {
            // Adapters of a checkpoint may rest while other parts learn; fresh ones would never be more than zero.
            let learn = config.train.asks_for_adapters() || model.config().lora.is_some();
            let expected =
                "llm in the list of model.train, or llm.blocks = \"lora\" in its table, so that the adapters learn";
            expect("model.lora", learn, expected.into(), "adapters that do not learn".into())?;
            add_adapters(&mut model, wanted, seed)?;
        }
        let is_full = |piece| tunings.of(piece).how == How::Full;
        let tables = [(Table::Embeddings, Piece::LlmEmbeddings), (Table::Head, Piece::LlmHead)];
        let learning: Vec<Table> =
            tables.into_iter().filter(|(_, piece)| is_full(*piece)).map(|(table, _)| table).collect();
        model.store_with_adapters(&learning);
        model.tune(&tunings);
        model.frozen_to_kind(kind);
        Ok((model, tunings))
    }

    /// The tokenizers that the run's checkpoints hold, once the dataset's inputs are known to be made as the checkpoint's were.
    pub(super) fn tokenizers(&self, config: &TrainConfig, dataset: &Dataset) -> Result<Tokenizers, TrainerError> {
        let mut text = config.model.text_tokenizer.clone();
        let mut carried = CarriedFile::of_tokenizer(&dataset.tokenizer());
        // What the dataset does not name is not its own.
        carried.retain(|file| dataset.index().files.contains_key(&file.path));
        if let Some(checkpoint) = self.checkpoint() {
            let (stored, inputs) = (checkpoint.tokenizers(), checkpoint.inputs()?);
            let tokenizer = stored.llm.as_deref();
            let learned = Learned { checkpoint: checkpoint.folder(), tokenizer, inputs: inputs.as_ref() };
            fit::check_inputs(&learned, dataset, config.data.other_inputs)?;
            text = text.or(stored.text);
            // Files of the checkpoint's own tokenizer go along only with that.
            let is_same = |path| fit::is_same_tokenizer(path, &dataset.tokenizer());
            let is_same = tokenizer.map(is_same).transpose()?.unwrap_or(false);
            let of_encoder = |file: &CarriedFile| file.path.contains('/');
            carried.retain(|_| !is_same);
            carried.extend(stored.carried.into_iter().filter(|file| is_same || of_encoder(file)));
        }
        Ok(Tokenizers { llm: Some(dataset.tokenizer()), text, carried })
    }

    /// The first state; that of a resumed run, whose moments the optimizer then has.
    /// `trained` names what learns.
    pub(super) fn state(
        &self,
        config: &TrainConfig,
        data: &TrainData,
        trained: &[String],
        optimizer: &mut AdamW,
    ) -> Result<TrainState, TrainerError> {
        let (selection, trained) = (data.selection_hash(), trained.to_vec());
        let beginning = FeedCursor::start(data.samples.hash, config.data.order.order(config.seed)?, config.data.tail);
        let Origin::Resumed(checkpoint) = self else {
            return Ok(TrainState {
                step: 0,
                cursor: beginning,
                selection,
                validation: Vec::new(),
                trained,
                skipped: Vec::new(),
            });
        };
        let (mut state, moments) = checkpoint.state()?;
        if state.selection != selection {
            return Err(TrainerError::Config {
                key: "data".into(),
                expected: "the samples that the run began with".into(),
                found: "others; the dataset or its subset has changed".into(),
            });
        }
        state.cursor.check(&beginning).map_err(of_keys)?;
        // A mix may change behind this position.
        state.cursor = FeedCursor { position: state.cursor.position, ..beginning };
        optimizer.load_state(&moments).map_err(|problem| moments.named(problem))?;
        Ok(state)
    }
}

/// A model of fresh weights, if the memory holds it.
fn fresh(sizes: &Med2e3Config, device: Device, seed: u64) -> Result<Med2e3, TrainerError> {
    let shapes = Med2e3::unloaded(sizes, Device::Cpu, Kind::Float)?;
    let count: u128 = Part::ALL.into_iter().map(|part| u128::from(shapes.parameter_count(part))).sum();
    check_memory("model.start.fresh", 4 * count, &format!("{count} weights"))?;
    Ok(Med2e3::new(sizes, device, seed)?)
}

/// The pieces of `wanted` that the variant builds.
///
/// # Errors
/// None of those that learn is built.
fn built_pieces(model: &Med2e3, wanted: &Tunings) -> Result<Tunings, TrainerError> {
    let is_built = |part: &Part| model.parameter_count(*part) > 0;
    let learning: BTreeSet<Part> = wanted.learning().map(|(piece, _)| piece.part()).collect();
    let (built, absent): (Vec<Part>, Vec<Part>) = learning.iter().partition(|part| is_built(part));
    let expected = format!("some of {}, which the variant builds", names(Part::ALL.into_iter().filter(is_built)));
    expect("model.train", !built.is_empty(), expected, names(learning.into_iter()))?;
    if !absent.is_empty() {
        note(format_args!("note: model.train names {}, which the variant does not build", names(absent.into_iter())));
    }
    let mut tunings = Tunings::default();
    for piece in built.into_iter().flat_map(Piece::of_part) {
        tunings.set(piece, wanted.of(piece));
    }
    Ok(tunings)
}

fn names(parts: impl Iterator<Item = Part>) -> String {
    parts.map(Part::name).collect::<Vec<_>>().join(", ")
}

/// Adds fresh adapters where the model has none; those of a checkpoint must be the wanted ones.
fn add_adapters(model: &mut Med2e3, wanted: &LoraConfig, seed: u64) -> Result<(), TrainerError> {
    match &model.config().lora {
        None => Ok(model.add_adapters(wanted, seed)?),
        // Which tables are stored with them follows from what learned.
        Some(found) if *found == (LoraConfig { tables: found.tables.clone(), ..wanted.clone() }) => Ok(()),
        Some(found) => Err(TrainerError::Config {
            key: "model.lora".into(),
            expected: format!("{found:?}, as the checkpoint has"),
            found: format!("{wanted:?}"),
        }),
    }
}
