//! Whether a model was made for a dataset: sizes, vocabulary, and the same tokenizer.

use std::path::Path;

use med2e3_feed::QuestionForm;
use med2e3_input::text::Tokenizer;
use med2e3_shards::Dataset;
use med2e3_store::MappedFile;

use crate::TrainerError;
use crate::model::Med2e3;

/// The tokens in which the model's scorer reads a question.
pub(crate) fn question_form(model: &Med2e3) -> QuestionForm {
    if model.reads_questions_as_text() { QuestionForm::Bert } else { QuestionForm::Llm }
}

/// Fails with [`TrainerError::Config`] unless the key's value fits.
pub(crate) fn expect(key: &str, fits: bool, expected: String, found: String) -> Result<(), TrainerError> {
    if fits { Ok(()) } else { Err(TrainerError::Config { key: key.into(), expected, found }) }
}

/// Checks a model against a dataset; `tokenizer` is that of its checkpoint, where it comes from one.
pub(crate) fn check(model: &Med2e3, tokenizer: Option<&Path>, dataset: &Dataset) -> Result<(), TrainerError> {
    let index = dataset.index();
    let (config, shape) = (model.config(), index.voxels.shape_dhw.map(|n| n as i64));
    expect(
        "data.dataset",
        index.voxels.is_unit_range(),
        "voxels in 0..1".into(),
        "Hounsfield units; prepare it with a window: volume.recipe.ct.intensity".into(),
    )?;
    let entries = Tokenizer::load(&dataset.tokenizer())?.vocab_size() as i64;
    let vocabulary = config.llm.vocab_size;
    expect(
        "model.llm.vocab_size",
        vocabulary >= entries,
        format!("{entries} or more, as the dataset's tokenizer has"),
        vocabulary.to_string(),
    )?;
    let sizes = config.vision3d.img_size;
    expect(
        "model.vision3d.img_size",
        sizes == shape,
        format!("{shape:?}, the dataset's volumes"),
        format!("{sizes:?}"),
    )?;
    let (visual, stated) = (config.visual_token_count(), i64::from(index.visual_tokens));
    expect(
        "model",
        visual <= stated,
        format!("at most {stated} visual tokens, as the dataset's length budget counted"),
        visual.to_string(),
    )?;
    if let Some(path) = tokenizer {
        let same = MappedFile::open(path)?.as_ref() == MappedFile::open(&dataset.tokenizer())?.as_ref();
        let expected = format!("the tokenizer of {}", dataset.tokenizer().display());
        expect("checkpoint", same, expected, format!("another one in {}", path.display()))?;
    }
    Ok(())
}
