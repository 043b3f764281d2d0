//! Whether a model was made for a dataset: sizes, vocabulary, and inputs made in the same way.

use std::path::Path;

use med2e3_feed::QuestionForm;
use med2e3_input::text::{Tokenizer, TokenizerDifference, tokenizer_difference};
use med2e3_program::note;
use med2e3_schemas::inputs::{Difference, Inputs};
use med2e3_shards::Dataset;

use crate::TrainerError;
use crate::config::OtherInputs;
use crate::model::{M3dClipConfig, Med2e3Config};
use crate::text_tokenizer::TextTokenizer;

/// The tokens in which the model's scorer reads a question.
pub(crate) fn question_form(config: &Med2e3Config) -> QuestionForm {
    if config.variant.needs_text_encoder() { QuestionForm::Bert } else { QuestionForm::Llm }
}

/// Fails with [`TrainerError::Config`] unless the key's value fits.
pub(crate) fn expect(key: &str, fits: bool, expected: String, found: String) -> Result<(), TrainerError> {
    if fits { Ok(()) } else { Err(TrainerError::Config { key: key.into(), expected, found }) }
}

/// The key of a difference between tokenizers.
const TOKENIZER: &str = "tokenizer";

/// What a checkpoint learned from.
pub(crate) struct Learned<'a> {
    /// The checkpoint's folder, for messages.
    pub(crate) checkpoint: &'a Path,
    /// Its tokenizer, where it has one.
    pub(crate) tokenizer: Option<&'a Path>,
    /// How its inputs were made, where it is known.
    pub(crate) inputs: Option<&'a Inputs>,
}

/// Rows that an embedding table needs for the ids of a dataset's tokenizer.
///
/// # Errors
/// The tokenizer can't be read.
pub(crate) fn vocabulary(dataset: &Dataset) -> Result<i64, TrainerError> {
    // Ids, not a count of entries: a vocabulary may have gaps.
    Ok(Tokenizer::load(&dataset.tokenizer())?.largest_id().map_or(1, |largest| i64::from(largest) + 1))
}

/// Checks a model's sizes against a dataset.
pub(crate) fn check(config: &Med2e3Config, dataset: &Dataset) -> Result<(), TrainerError> {
    let index = dataset.index();
    let shape = index.voxels.shape_dhw.map(|n| n as i64);
    expect(
        "data.dataset",
        index.voxels.is_unit_range(),
        "voxels in 0..1".into(),
        "Hounsfield units; prepare it with a window: volume.recipe.ct.intensity".into(),
    )?;
    let (needed, stated) = (vocabulary(dataset)?, config.llm.vocab_size);
    expect(
        "model.llm.vocab_size",
        stated >= needed,
        format!("{needed} or more, as the dataset's tokenizer has ids; a fresh model that leaves it out has as many"),
        stated.to_string(),
    )?;
    let sizes = config.vision3d.img_size;
    expect(
        "model.vision3d.img_size",
        sizes == shape,
        format!("{shape:?}, the dataset's volumes"),
        format!("{sizes:?}"),
    )?;
    let channels = config.vision3d.in_channels;
    expect("model.vision3d.in_channels", channels == 1, "1, as a CT has".into(), channels.to_string())?;
    let (visual, stated) = (config.visual_token_count(), i64::from(index.visual_tokens));
    expect(
        "model",
        visual <= stated,
        format!("at most {stated} visual tokens, as the dataset's length budget counted"),
        visual.to_string(),
    )
}

/// The keys under which a configuration states what belongs to an M3D-CLIP.
pub(crate) struct ClipKeys {
    pub(crate) dataset: &'static str,
    pub(crate) sizes: &'static str,
    pub(crate) tokenizer: &'static str,
    pub(crate) tokens: &'static str,
}

/// Whether an M3D-CLIP, its tokenizer and a dataset belong together.
pub(crate) fn check_clip(
    keys: &ClipKeys,
    config: &M3dClipConfig,
    tokenizer: &TextTokenizer,
    dataset: &Dataset,
) -> Result<(), TrainerError> {
    let format = dataset.voxels();
    let unit = "voxels in 0..1".into();
    let units = "Hounsfield units; prepare it with an intensity window".into();
    expect(keys.dataset, format.is_unit_range(), unit, units)?;
    let (shape, sizes) = (format.shape_dhw.map(|n| n as i64), config.vision.img_size);
    expect(keys.sizes, sizes == shape, format!("volumes of {shape:?}, as the dataset's"), format!("{sizes:?}"))?;
    let channels = config.vision.in_channels;
    expect(keys.sizes, channels == 1, "1 channel, as a CT has".into(), channels.to_string())?;
    let (entries, vocabulary) = (tokenizer.vocab_size() as i64, config.text.vocab_size);
    let expected = format!("at most {vocabulary} tokens, as the weights have");
    expect(keys.tokenizer, entries <= vocabulary, expected, entries.to_string())?;
    let (most, positions) = (tokenizer.max_tokens(), config.text.max_position_embeddings);
    let expected = format!("at most {positions}, the weights' positions");
    expect(keys.tokens, most as i64 <= positions, expected, most.to_string())
}

/// Checks that the dataset's inputs are made as those that a checkpoint learned from.
///
/// # Errors
/// They are made in another way and `other` does not accept that.
pub(crate) fn check_inputs(learned: &Learned<'_>, dataset: &Dataset, other: OtherInputs) -> Result<(), TrainerError> {
    let mut differences = Vec::new();
    match (learned.inputs, &dataset.index().inputs) {
        (Some(own), Some(stated)) => differences = own.differences(stated),
        (None, _) => say_unknown("checkpoint", learned.checkpoint),
        (Some(_), None) => say_unknown("dataset", dataset.root()),
    }
    if let Some(tokenizer) = learned.tokenizer {
        // The files tell more than a hash of one: what differs, and what is written in other words only.
        differences.retain(|difference| difference.key != TOKENIZER);
        differences.extend(tokenizers_differ(tokenizer, &dataset.tokenizer())?);
        // Which token ends an answer is known from files next to it.
        let text = |inputs: Option<&Inputs>| inputs.and_then(|inputs| inputs.text.as_ref()?.end_token);
        let ends = [learned.inputs, dataset.index().inputs.as_ref()].map(text);
        if let [Some(own), Some(stated)] = ends
            && own != stated
        {
            let [expected, found] = [own, stated].map(|id| format!("end token {id}"));
            differences.push(Difference { key: TOKENIZER, expected, found });
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let error = TrainerError::OtherInputs {
        dataset: dataset.root().to_owned(),
        checkpoint: learned.checkpoint.to_owned(),
        differences: differences.iter().map(in_words).collect(),
    };
    match other {
        OtherInputs::Refuse => Err(error),
        OtherInputs::Accept => {
            note(format_args!("note: {}", error.to_string().split("\nhint").next().unwrap_or_default()));
            Ok(())
        }
    }
}

fn say_unknown(what: &str, path: &Path) {
    note(format_args!(
        "note: the {what} {} does not state how its inputs were made; recipe, window and template are not compared",
        path.display()
    ));
}

fn in_words(difference: &Difference) -> String {
    let Difference { key, expected, found } = difference;
    format!("\n  {key}: {expected} in the checkpoint, {found} in the dataset")
}

/// The first thing in which a checkpoint's tokenizer differs from a dataset's. Their files may be written in other words.
fn tokenizers_differ(own: &Path, dataset: &Path) -> Result<Option<Difference>, TrainerError> {
    let difference = tokenizer_difference(&Tokenizer::load(own)?, &Tokenizer::load(dataset)?)?;
    Ok(difference.map(|TokenizerDifference { first, second }| Difference {
        key: TOKENIZER,
        expected: first,
        found: second,
    }))
}

/// Whether a checkpoint's tokenizer makes the ids of a dataset's.
pub(crate) fn is_same_tokenizer(own: &Path, dataset: &Path) -> Result<bool, TrainerError> {
    tokenizers_differ(own, dataset).map(|difference| difference.is_none())
}
