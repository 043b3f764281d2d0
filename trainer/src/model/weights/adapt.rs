//! Adapters by the published names of the maps that they adapt.

use super::nearest::nearest;
use super::roles::role_name;
use crate::model::error::ModelError;
use crate::model::language_model::LanguageModel;
use crate::model::layers::Init;
use crate::model::lora::{ALL_LINEAR, LoraConfig};

/// Adds fresh adapters to the maps that the config's targets name.
///
/// # Errors
/// A target that is not a map of the blocks, numbers out of range.
pub(in crate::model) fn adapt(llm: &mut LanguageModel, lora: &LoraConfig, init: &Init) -> Result<(), ModelError> {
    let known: Vec<String> = llm
        .blocks
        .first()
        .map_or(Vec::new(), |block| block.linears().into_iter().map(|(role, _)| role_name(role).to_owned()).collect());
    let targets = if lora.targets == [ALL_LINEAR] { &known } else { &lora.targets };
    if let Some(unknown) = targets.iter().find(|target| !known.contains(target)) {
        let expected = format!("some of {} (did you mean {}?)", known.join(", "), nearest(unknown, known.iter()));
        return Err(ModelError::config("lora.targets", expected, unknown));
    }
    llm.adapt(lora, init, |role| targets.iter().any(|target| target == role_name(role)))
}
