//! Adapters by the published names of the maps that they adapt.

use std::collections::BTreeMap;

use super::names::map_path;
use super::nearest::nearest;
use super::roles::role_name;
use crate::model::error::ModelError;
use crate::model::language_model::{LanguageModel, LanguageModelConfig};
use crate::model::layers::Init;
use crate::model::lora::{ALL_LINEAR, LoraConfig, MapAdapter};

/// Adds fresh adapters to the maps that the config's targets name.
///
/// # Errors
/// A name that is not one of a map of the blocks, numbers out of range.
pub(in crate::model) fn adapt(llm: &mut LanguageModel, lora: &LoraConfig, init: &Init) -> Result<(), ModelError> {
    let adapters = adapters_of(lora, llm.config())?;
    llm.adapt(lora, init, |layer, role| adapters.get(&map_path(layer, role)).copied())
}

/// The adapter of every adapted map, by its path.
///
/// # Errors
/// A name that is not one of a map of the blocks.
pub(crate) fn adapters_of(
    lora: &LoraConfig,
    llm: &LanguageModelConfig,
) -> Result<BTreeMap<String, MapAdapter>, ModelError> {
    let maps = maps(llm);
    let is_all = lora.targets == [ALL_LINEAR];
    let named = [("lora.ranks", lora.ranks.keys().collect()), ("lora.alphas", lora.alphas.keys().collect())];
    let targets: Vec<&String> = if is_all { Vec::new() } else { lora.targets.iter().collect() };
    for (field, names) in named.into_iter().chain([("lora.targets", targets)]) {
        if let Some(unknown) = names.into_iter().find(|name| !maps.iter().any(|map| LoraConfig::is_name_of(name, map)))
        {
            let known: Vec<String> = llm.model_type.roles().iter().map(|role| role_name(*role).to_owned()).collect();
            let expected = format!("some of {} (did you mean {}?)", known.join(", "), nearest(unknown, known.iter()));
            return Err(ModelError::config(field, expected, unknown));
        }
    }
    let is_target = |map: &String| is_all || lora.targets.iter().any(|name| LoraConfig::is_name_of(name, map));
    Ok(maps.into_iter().filter(is_target).map(|map| (map.clone(), lora.of_map(&map))).collect())
}

/// The paths of all maps that can be adapted, such as `model.layers.0.mlp.up_proj`.
pub(crate) fn maps(llm: &LanguageModelConfig) -> Vec<String> {
    let of_block = |layer| llm.model_type.roles().iter().map(move |role| map_path(layer, *role));
    (0..llm.num_hidden_layers).flat_map(of_block).collect()
}

/// Values of maps under as few names as say the same: a last name where all maps of that name have the value, else the path.
pub(crate) fn by_shortest_names<V: Copy + PartialEq>(
    values: &BTreeMap<String, V>,
    llm: &LanguageModelConfig,
) -> BTreeMap<String, V> {
    let maps = maps(llm);
    let last = |map: &str| map.rsplit('.').next().unwrap_or_default().to_owned();
    let is_of_all = |name: &str, value: &V| {
        maps.iter().filter(|map| last(map) == name).all(|map| values.get(map).is_some_and(|of_map| of_map == value))
    };
    let shortest = values.iter().map(|(map, value)| {
        let name = last(map);
        (if is_of_all(&name, value) { name } else { map.clone() }, *value)
    });
    shortest.collect()
}
