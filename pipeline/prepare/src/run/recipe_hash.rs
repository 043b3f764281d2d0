//! Recipe hashes: everything in a configuration that changes the bytes of a table's shards, as a hash for each table.
//!
//! They come from canonical bytes ([`Identity`]), never from how the code spells a value, so that renaming code makes no
//! dataset again. A new parameter whose default changes no byte must leave the identity of that default unchanged.

use std::path::Path;

use med2e3_input::recipe::{CtCrop, Intensity};
use med2e3_input::text::template::END_TOKEN;
use med2e3_input::text::{Template, Tokenizer};
use med2e3_input::volume::DeepPictures;
use med2e3_schemas::codec::VoxelCodec;
use med2e3_schemas::identity::Identity;
use med2e3_schemas::quarantine::Table;

use super::folder::RunFolder;
use super::text_tools::TextTools;
use crate::PrepareError;
use crate::config::{PrepareConfig, Recipe, TextConfig, VolumeConfig};

/// Rises when the bytes of a shard change for the same recipe and inputs, so that old shards are made again.
const RECIPE_REVISION: u64 = 4;

/// The recipe hash of each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeHashes {
    volumes: String,
    samples: String,
}

impl RecipeHashes {
    /// The hashes of a configuration and of the files that it names; `tools` are those of its texts, where it has texts.
    ///
    /// # Errors
    /// A file that can't be read.
    pub fn of(
        config: &PrepareConfig,
        folder: &RunFolder,
        tools: Option<&TextTools>,
    ) -> Result<RecipeHashes, PrepareError> {
        // As the library writes it: a file in other words makes the same rows.
        let tokenizer = tools.map(|tools| tools.tokenizer.to_json()).transpose()?;
        let questions = tools.and_then(|tools| tools.question_tokenizer.as_ref());
        let questions = questions.map(|tokenizer| tokenizer.identity()).transpose()?;
        // Other names mean other ids in every row. The key itself is not hashed, only what it makes of a fixed name.
        let names = folder.provenance.volume_id("recipe").0;
        let prompts = config.text.caption_prompts.as_deref().map(contents).transpose()?;
        let engine = &config.engine;
        let mut volumes = Identity::of_kind("volume recipe");
        add_volume(volumes.number(RECIPE_REVISION), &config.volume);
        volumes.bytes(&names).number(engine.volumes_per_range as u64);
        let mut samples = Identity::of_kind("text recipe");
        add_text(samples.number(RECIPE_REVISION), &config.text);
        samples.bytes(&names).number(engine.texts_per_range as u64);
        for file in
            [prompts.as_deref(), tokenizer.as_deref().map(str::as_bytes), questions.as_deref().map(str::as_bytes)]
        {
            samples.maybe(file, |identity, bytes| {
                identity.bytes(bytes);
            });
        }
        // What earlier versions did not know of a tokenizer, where it is there: other hashes stay as they were.
        let tokenizer = tools.map(|tools| &tools.tokenizer);
        if tokenizer.is_some_and(|tokenizer| tokenizer.bos().is_some() && tokenizer.ends_texts()) {
            samples.text("a start token before an end token");
        }
        if let Some(end) = tokenizer.and_then(Tokenizer::end_token).filter(|end| end.text != END_TOKEN) {
            samples.text(&end.text);
        }
        Ok(RecipeHashes { volumes: volumes.finish(), samples: samples.finish() })
    }

    /// The hash of one table's recipe.
    pub fn of_table(&self, table: Table) -> &str {
        match table {
            Table::Volumes => &self.volumes,
            Table::Texts => &self.samples,
        }
    }

    /// Both as one.
    pub fn joined(&self) -> String {
        Identity::of_kind("recipe").text(&self.volumes).text(&self.samples).finish()
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, PrepareError> {
    std::fs::read(path).map_err(PrepareError::file(path, "read"))
}

fn add_volume(identity: &mut Identity, config: &VolumeConfig) {
    identity.list(&config.shape, |identity, n| {
        identity.number(*n as u64);
    });
    identity.text(config.voxels.as_str()).text(config.recipe.as_str());
    if config.deep_pictures == DeepPictures::Range {
        identity.text("16-bit grey by its range");
    }
    if config.codec != VoxelCodec::Zstd1 {
        identity.text("codec").text(config.codec.as_str());
    }
    // `volume.shape` is the shape of every recipe.
    let Recipe::Ct(recipe) = &config.recipe else { return };
    identity.maybe(recipe.spacing_mm.as_ref(), |identity, mm| {
        identity.list(mm, |identity, mm| {
            identity.float(*mm);
        });
    });
    // A window is its numbers, whether they were stated or named.
    match recipe.intensity {
        Intensity::None => identity.text("none"),
        Intensity::Window(window) => {
            let level = window.level();
            identity.text("window").float(level.center).float(level.width)
        }
        Intensity::Percentile(range) => identity.text("percentile").double(range.low).double(range.high),
    };
    match recipe.crop {
        CtCrop::None => identity.text("none"),
        CtCrop::Foreground => identity.text("foreground"),
        CtCrop::AboveHu(hu) => identity.text("above_hu").float(hu),
    };
    // Shards without it are made again.
    if config.inputs().hounsfield().is_some() {
        identity.text("a scale of Hounsfield units");
    }
}

fn add_text(identity: &mut Identity, config: &TextConfig) {
    let template = match config.template {
        Template::Phi => "phi",
        Template::PretrainVision3d => "pretrain_vision3d",
        Template::Phi3Chat => "phi3_chat",
        Template::M3d => "m3d",
    };
    identity.text(template).number(config.length as u64).number(config.visual_tokens as u64);
    identity.flag(config.keep_end);
}
